"""The training loop: one config in, checkpoints and an EMA of the weights out; resumes exactly where it stopped."""

import json
import logging
import math
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette, rebalancing_weights
from edgecolor.errors import EdgeColorError
from edgecolor.models import build_model
from edgecolor.train.checkpoint import load_checkpoint, save_checkpoint
from edgecolor.train.config import TrainConfig, to_plain
from edgecolor.train.dataset import Batch, Photographs, prefetch
from edgecolor.train.losses import TokenLoss
from edgecolor.train.prior import token_prior

log = logging.getLogger(__name__)


class TrainingError(EdgeColorError, RuntimeError):
    """The run cannot go on."""


def rate_at(step: int, total: int, warmup: int) -> float:
    """Share of the peak rate: a linear warm-up, then half a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is native there; emulated, it is three times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict]:
    """The encoder at its own rate; no decay for vectors (biases, norms) and for the tokens."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or name == "tokens"
            groups.setdefault((name.startswith("encoder."), plain), []).append(parameter)
    optim = config.optim
    return [
        {
            "params": params,
            "peak": optim.encoder_lr if encoder else optim.lr,
            "weight_decay": 0.0 if plain else optim.weight_decay,
        }
        for (encoder, plain), params in groups.items()
    ]


class WeightEma:
    """Running average of parameters and buffers, with a half-life in steps, shorter at the start."""

    def __init__(self, model: nn.Module, halflife: int):
        self.decay = 0.5 ** (1 / max(1, halflife))
        self.state = {name: value.detach().clone().float() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        names = list(self.state)
        current = model.state_dict()
        torch._foreach_lerp_([self.state[n] for n in names], [current[n].float() for n in names], 1 - decay)


class Trainer:
    def __init__(self, config: TrainConfig, folder: Path, device: str = "cpu"):
        self.config, self.folder, self.device = config, folder, torch.device(device)
        torch.manual_seed(config.seed)
        self.model = build_model(config.model)
        if config.init_encoder:
            from safetensors.torch import load_file

            self.model.encoder.load_imagenet(load_file(config.init_encoder))
        for module in [self.model.encoder.stem, *self.model.encoder.blocks[: config.frozen_blocks]]:
            module.requires_grad_(False)
        self.photographs = Photographs(config.data)
        colors = palette(self.model.config.palette)
        prior = token_prior(self.photographs, colors, seed=config.seed)
        self.prior = torch.from_numpy(prior)
        self.loss = TokenLoss(colors, rebalancing_weights(prior, config.uniform)).to(self.device)
        with torch.no_grad():
            self.model.token_bias.copy_(self.prior.log())
        self.model.to(self.device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, config), lr=0.0, fused=True)
        self.ema = WeightEma(self.model, config.optim.ema_halflife)
        self.step = 0
        native = computes_bf16(self.device)
        half = config.precision == "bf16" or (config.precision == "auto" and native)
        log.info("computing in %s", "bf16 autocast" if half else "float32")
        self.autocast = torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        state = {
            "config": to_plain(self.config),
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state,
            "optimizer": self.optimizer.state_dict(),
            "prior": self.prior,
        }
        save_checkpoint(self.checkpoint, state)

    def resume(self) -> bool:
        """Take up the folder's checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        state = load_checkpoint(self.checkpoint)
        self.model.load_state_dict(state["model"])
        self.ema.state = state["ema"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.prior, self.step = state["prior"], state["step"]
        return True

    def phase_at(self, step: int):
        for phase in self.config.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise ValueError(f"step is past the last phase by {step}")

    def batch_at(self, step: int) -> Batch:
        """The batch of a step depends on the seed and the step alone, so a resumed run sees what it would have seen."""
        phase = self.phase_at(step)
        return self.photographs.batch(np.random.default_rng((self.config.seed, step)), phase.crop, phase.batch)

    def train_step(self, batch: Batch) -> float:
        rate = rate_at(self.step, self.config.total_steps, self.config.optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        lightness = batch.lightness.to(self.device).contiguous(memory_format=torch.channels_last)
        with self.autocast:
            logits, _ = self.model(lightness)
        loss = self.loss(logits, batch.ab.to(self.device))
        if not torch.isfinite(loss):
            torch.save({"lightness": batch.lightness, "ab": batch.ab}, self.folder / "non-finite-batch.pt")
            raise TrainingError(f"the loss is {loss.item()} at step {self.step}: its batch is in {self.folder}")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(self.model, self.step)
        self.step += 1
        return loss.item()

    def run(self) -> None:
        """Train to the last step, or to SIGTERM, and leave a checkpoint either way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stop = []
        previous = signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
        losses: list[float] = []
        crops, waited, since = 0, 0.0, time.monotonic()
        try:
            batches = prefetch(self.batch_at, self.step, self.config.total_steps)
            while not stop and self.step < self.config.total_steps:
                before = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - before
                losses.append(self.train_step(batch))
                crops += len(batch.lightness)
                if self.step % self.config.log_every == 0:
                    elapsed = time.monotonic() - since
                    line = {
                        "step": self.step,
                        "loss": round(float(np.mean(losses)), 4),
                        "crops_per_second": round(crops / elapsed, 1),
                        "waiting": round(waited / elapsed, 3),
                    }
                    log.info("%s", json.dumps(line))
                    with open(self.folder / "log.jsonl", "a", encoding="utf-8") as out:
                        out.write(json.dumps(line) + "\n")
                    losses, crops, waited, since = [], 0, 0.0, time.monotonic()
                if self.step % self.config.checkpoint_every == 0:
                    self.save()
            batches.close()
            self.save()
        finally:
            signal.signal(signal.SIGTERM, previous)
