"""A CT2 that computes in milliseconds, and what its luminance masks are by definition."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from edgecolor.color.tokens import palette
from edgecolor.models.ct2 import CT2, CT2Config
from edgecolor.models.ct2_luminance import token_masks

SMALL = CT2Config(dim=24, layers=2, decoder_layers=1, grid=3)
TRAINING = Path(__file__).resolve().parent.parent / "train" / "configs" / "ct2-tiny.yaml"
CENTERS = palette("ab313").centers


def small(**changes) -> CT2:
    torch.manual_seed(0)
    return CT2(dataclasses.replace(SMALL, **changes)).eval()


def lightness_with_edges(*shape: int) -> np.ndarray:
    """L* of all four groups: (N, 1, h0, w0) float32, in areas of odd sizes, with some noise."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    blocks = 100 * ((x // 21 + 2 * (y // 13)) % 5) / 4
    noise = np.random.default_rng(0).normal(0, 3, (shape[0], *blocks.shape))
    return (blocks + noise).clip(0, 100).astype(np.float32)[:, None]


def possible_tokens(lightness: np.ndarray, side: int) -> np.ndarray:
    """By the definition: a square of side x side pixels may have each token that one of its pixels may have."""
    masks = token_masks("ab313")
    n, _, h0, w0 = lightness.shape
    possible = np.zeros((n, h0 // side, w0 // side, len(CENTERS)), bool)
    for i, y, x in np.ndindex(possible.shape[:3]):
        square = lightness[i, 0, y * side : (y + 1) * side, x * side : (x + 1) * side]
        for group in set(np.minimum(square // 25, 3).astype(int).ravel()):
            possible[i, y, x] |= masks[group]
    return possible
