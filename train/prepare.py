"""The network that a run starts from."""

from pathlib import Path

from torch import Tensor, nn

from edgecolor.errors import ConfigError, ModelError
from edgecolor.models import build_model
from edgecolor.models.pth import read_pth
from edgecolor.train.checkpoint import check_fits, load_checkpoint
from edgecolor.train.config import TrainConfig


def prepare_model(config: TrainConfig) -> nn.Module:
    """The config's model with the weights that it starts from, its first blocks frozen."""
    model = build_model(config.model)
    if config.init:
        state = load_checkpoint(Path(config.init))
        check_fits(state, config.model, model, Path(config.init))
        model.load_state_dict(state["ema"])
    if config.init_encoder or config.frozen_blocks:
        encoder = getattr(model, "encoder", None)
        if not hasattr(encoder, "load_imagenet"):
            raise ConfigError(f"init_encoder and frozen_blocks: {config.model} has no ImageNet encoder, leave them out")
        if config.init_encoder:
            encoder.load_imagenet(read_weights(config.init_encoder))
        if config.frozen_blocks:
            for module in [encoder.stem, *encoder.blocks[: config.frozen_blocks]]:
                module.requires_grad_(False)
    if not config.dropout:
        drop_nothing(model)
    return model


def drop_nothing(model: nn.Module) -> None:
    """Switch off dropout, and what a module itself calls dropout or drop_path."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in {"dropout", "drop_path"} & vars(module).keys():
            setattr(module, name, 0.0)


def read_weights(path: str) -> dict[str, Tensor]:
    """A .safetensors file, or a .pth of tensors alone. raises ModelError where it is not there or something else"""
    if Path(path).suffix in (".pth", ".pt"):
        return read_pth(Path(path), "init_encoder: ")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"init_encoder: there is no {path}") from error
    except SafetensorError as error:
        raise ModelError(f"init_encoder: {path} is not a safetensors file ({error})") from error
