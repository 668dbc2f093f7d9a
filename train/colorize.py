"""Open whatever can color a picture, so that it can be judged: a model file, a trainer's checkpoint, or nothing."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from edgecolor.config import ColorConfig
from edgecolor.errors import ModelError
from edgecolor.manifest import weights_sha256
from edgecolor.models import MODELS, build_model, manifest_of
from edgecolor.train.checkpoint import check_fits, load_checkpoint

GRAY = "gray"  # the model's name that stands for leaving pictures as they are


class Colors(Protocol):
    """What is judged; edgecolor.Colorizer is one."""

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W) uint8 gray to (H, W, 3) uint8 RGB."""

    def frame(self, image: np.ndarray, seconds: float) -> np.ndarray:
        """The same for the next frame of a clip, at that time."""


class LeftGray:
    """The colorizer that does nothing: its figures are the first row of every table."""

    def image(self, image: np.ndarray) -> np.ndarray:
        return np.repeat(image[..., None], 3, axis=2)

    def frame(self, image: np.ndarray, seconds: float) -> np.ndarray:
        return self.image(image)


@dataclass(frozen=True)
class Opened:
    colors: Colors
    architecture: str | None  # a key of MODELS, where the network is one of ours


def is_checkpoint(model: str | Path) -> bool:
    return Path(model).suffix == ".pt"


def model_of_checkpoint(path: str | Path, ema: bool = True) -> tuple[nn.Module, Tensor | None]:
    """The network of a trainer's checkpoint, in evaluation mode, and the prior of its training data.

    raises  ModelError where the file is damaged, is no checkpoint, or is of a model unknown here
    """
    state = load_checkpoint(Path(path))
    name = state["config"]["model"]
    if name not in MODELS:
        raise ModelError(f"{path} is of model {name!r}, known here are {', '.join(MODELS)}")
    model = build_model(name)
    check_fits(state, name, model, Path(path))
    model.load_state_dict(state["ema"] if ema else state["model"])
    return model.eval().requires_grad_(False), state.get("prior")


def open_colors(model: str | Path, backend: str = "auto", config: ColorConfig | None = None) -> Opened:
    """Open a model for judging.

    model   "gray", a trainer's checkpoint (.pt; its averaged weights are taken), or what edgecolor.open_colorizer takes
    raises  as edgecolor.open_colorizer, and as model_of_checkpoint
    """
    from edgecolor.colorize import open_colorizer

    if str(model) == GRAY:
        return Opened(LeftGray(), None)
    if not is_checkpoint(model):
        colors = open_colorizer(model, backend=backend, config=config)
        return Opened(colors, colors.net.manifest.name)
    from safetensors.torch import save_file

    name = load_checkpoint(Path(model))["config"]["model"]
    network, _ = model_of_checkpoint(model)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        digest = weights_sha256((key, value.numpy().tobytes()) for key, value in weights.items())
        save_file(weights, path, metadata=manifest_of(name, network).replace(weights_sha256=digest).to_metadata())
        return Opened(open_colorizer(path, backend="torch", config=config), name)
