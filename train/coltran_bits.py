"""Bits per dimension of a ColTran stage on pictures: how well it predicts the next color, given those before."""

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ConfigError, ModelError
from edgecolor.models.coltran_colorizer import Colorizer
from edgecolor.train.checkpoint import check_fits, load_checkpoint
from edgecolor.train.code_loss import code_inputs
from edgecolor.train.dataset import Batch, ab_of, bent_lightness
from edgecolor.train.pictures import read_pictures


def stage_of_checkpoint(path: Path) -> nn.Module:
    """A trained stage with its averaged weights. raises ModelError"""
    from edgecolor.models import PARTS, build_model

    state = load_checkpoint(path)
    name = state["config"]["model"]
    if name not in PARTS:
        raise ModelError(f"{path} is of model {name!r}, no stage of ColTran: give a checkpoint of one")
    model = build_model(name)
    check_fits(state, name, model, path)
    model.load_state_dict(state["ema"])
    return model.eval().requires_grad_(False)


def square(rgb: np.ndarray, side: int) -> Batch:
    """The middle square of a picture (H, W, 3) uint8 at that side, as a batch of one."""
    extent = min(rgb.shape[:2])
    top, left = ((size - extent) // 2 for size in rgb.shape[:2])
    rgb = rgb[top : top + extent, left : left + extent]
    rgb = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA if extent > side else cv2.INTER_LINEAR)
    lightness = torch.from_numpy(bent_lightness(rgb, 1.0))[None, None]
    return Batch(lightness, torch.from_numpy(ab_of(rgb, 1))[None])


def terms(stage: nn.Module, gray: Tensor, rgb: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, logits and targets of everything that a stage predicts."""
    if isinstance(stage, Colorizer):
        said = stage(gray, rgb)
        yield "bits_per_dim", said.logits, said.targets
        yield "parallel_bits_per_dim", said.parallel, said.targets
    else:
        for index, logits in enumerate(stage.channels(gray, stage.poor(rgb))):
            yield "bits_per_dim", logits, rgb[..., index]


@torch.no_grad()
def bits_per_dim(stage: nn.Module, data: str | Path, limit: int | None = None) -> dict[str, float]:
    """Means over pictures, and over channels for an upsampler.

    raises  ConfigError where no picture can be read
    """
    sums: dict[str, list[float]] = {}
    pictures = 0
    for _, rgb in read_pictures(data, limit):
        if rgb is None:
            continue
        pictures += 1
        for name, logits, targets in terms(stage, *code_inputs(square(rgb, stage.side))):
            nats = F.cross_entropy(logits.flatten(0, -2), targets.flatten()).item()
            sums.setdefault(name, []).append(nats / math.log(2))
    if not pictures:
        raise ConfigError(f"{data}: none of its pictures can be read")
    return {"pictures": pictures, **{name: float(np.mean(values)) for name, values in sums.items()}}
