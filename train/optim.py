"""Optimizers, the curve of their rates, and the running average of weights."""

import math

import torch
from torch import Tensor, nn

from edgecolor.train.config import OptimConfig

POLY_POWER = 0.9


def rate_at(step: int, total: int, warmup: int, schedule: str = "cosine") -> float:
    """Share of the peak rate: a linear warm-up, then down to zero by half a cosine or a power, or constant."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return (1 - done) ** POLY_POWER if schedule == "poly" else 1.0


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict]:
    """The encoder at its own rate; no decay for vectors (biases, norms) and for the tokens."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or name == "tokens"
            groups.setdefault((name.startswith("encoder."), plain), []).append(parameter)
    return [
        {
            "params": params,
            "peak": config.encoder_lr if encoder else config.lr,
            "weight_decay": 0.0 if plain else config.weight_decay,
        }
        for (encoder, plain), params in groups.items()
    ]


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, config)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.momentum > 0)
    if config.kind == "rmsprop":
        return torch.optim.RMSprop(groups, lr=0.0, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, config.beta2), fused=True)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Take up a saved state, but keep the rates and decays of today's config: they may have been changed on purpose."""
    today = [{key: group[key] for key in ("peak", "weight_decay")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, today, strict=True):
        group.update(values)


class WeightEma:
    """Running average of parameters and buffers, with a half-life in steps, shorter at the start."""

    def __init__(self, model: nn.Module, halflife: int):
        self.decay = 0.5 ** (1 / max(1, halflife))
        self.state = {name: value.detach().clone().float() for name, value in model.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in state.items():
            self.state[name].copy_(value)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        names = list(self.state)
        current = model.state_dict()
        torch._foreach_lerp_([self.state[n] for n in names], [current[n].float() for n in names], 1 - decay)
