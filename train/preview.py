"""Pictures of what a run trains on: the effects of old film, crops as the network gets them, samples of its output."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgecolor.color.lab import lightness_to_gray
from edgecolor.train.config import TrainConfig
from edgecolor.train.dataset import Photographs, bent_lightness
from edgecolor.train.degrade import EFFECTS, Degrade, one_effect
from edgecolor.train.prediction import lab_to_rgb
from edgecolor.train.report import write_sheet


def to_bytes(rgb: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [0, 1] to (N, H, W, 3) uint8."""
    return (rgb * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def gray_bytes(lightness: np.ndarray) -> np.ndarray:
    """L* (H, W) to (H, W, 3) uint8."""
    gray = np.round(np.clip(lightness_to_gray(lightness), 0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def sample_sheet(lightness: Tensor, ours: Tensor, original: Tensor) -> np.ndarray:
    """Rows of gray, ours, original. lightness (N, 1, H, W); ours, original: ab (N, h, w, 2). (N H, 3 W, 3) uint8."""
    columns = [to_bytes(lab_to_rgb(lightness.float(), ab.float())) for ab in (torch.zeros_like(ours), ours, original)]
    return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)


def write_preview(config: TrainConfig, path: Path, rows: int = 4, size: int = 192) -> None:
    """A contact sheet of crops: original, each effect of old film by itself, then what the config makes of them."""
    photographs = Photographs(config.data)
    rng = np.random.default_rng(config.seed)
    everything = Degrade(config.degrade)
    sheet = []
    for row in range(rows):
        draw = photographs.draw(rng)
        rgb = photographs.cut(photographs.pictures[draw.picture], draw, size)
        lightness = bent_lightness(rgb, 1.0)
        seed = (config.seed, row)
        damaged = [one_effect(name)([lightness], np.random.default_rng(seed))[0] for name in EFFECTS]
        asked = everything([bent_lightness(rgb, draw.bend)], np.random.default_rng(seed))[0]
        sheet.append([rgb, *map(gray_bytes, damaged), gray_bytes(asked)])
    shares = {name: getattr(config.degrade, name) for name in EFFECTS}
    captions = [f"{name} {share:.0%}" if share else f"{name} (off)" for name, share in shares.items()]
    write_sheet(path, sheet, ["original", *captions, "as configured"])
