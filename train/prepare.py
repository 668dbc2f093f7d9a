"""The network that a run starts from."""

from pathlib import Path

from torch import Tensor, nn

from edgecolor.errors import ConfigError, ModelError
from edgecolor.models import build_model
from edgecolor.models.pth import read_pth
from edgecolor.train.checkpoint import check_fits, differences, first_of, load_checkpoint
from edgecolor.train.config import TrainConfig


def prepare_model(config: TrainConfig) -> nn.Module:
    """The config's model with the weights that it starts from, its first blocks frozen."""
    model = build_model(config.model)
    if config.init:
        model.load_state_dict(initial_weights(config, model))
    if config.init_encoder or config.frozen_blocks:
        encoder = getattr(model, "encoder", None)
        if not hasattr(encoder, "load_imagenet"):
            raise ConfigError(f"init_encoder and frozen_blocks: {config.model} has no ImageNet encoder, leave them out")
        if config.init_encoder:
            encoder.load_imagenet(read_weights(config.init_encoder, "init_encoder"))
        if config.frozen_blocks:
            for module in [encoder.stem, *encoder.blocks[: config.frozen_blocks]]:
                module.requires_grad_(False)
    if not config.dropout:
        drop_nothing(model)
    return model


def initial_weights(config: TrainConfig, model: nn.Module) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or what a file of weights alone holds: an exported or a published one."""
    path = Path(config.init)
    if path.suffix not in (".pth", ".safetensors"):
        state = load_checkpoint(path)
        check_fits(state, config.model, model, path)
        return state["ema"]
    weights = {name: value.float() for name, value in read_weights(config.init, "init").items()}
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **weights}
    if wrong := differences(model.state_dict(), weights):
        raise ModelError(f"init: {path} does not fit {config.model}: it has {first_of(wrong)}; give weights of it")
    return weights


def drop_nothing(model: nn.Module) -> None:
    """Switch off dropout, and what a module itself calls dropout or drop_path."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in {"dropout", "drop_path"} & vars(module).keys():
            setattr(module, name, 0.0)


def read_weights(path: str, key: str) -> dict[str, Tensor]:
    """A .safetensors file, or a .pth or .bin of tensors alone; `key` of the config names it.

    raises  ModelError where it is not there or something else
    """
    if Path(path).suffix in (".pth", ".pt", ".bin"):
        return read_pth(Path(path), f"{key}: ")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"{key}: there is no {path}") from error
    except OSError as error:
        raise ModelError(f"{key}: {path} cannot be read ({error.strerror or error}): give a file") from error
    except SafetensorError as error:
        raise ModelError(f"{key}: {path} is not a safetensors file ({error})") from error
