"""ColTran's settings, and its symbols: 3 bits of each of R', G', B' make one of 512 color codes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecolor.errors import ConfigError, ShapeError

CHANNELS = 3
GRAYS = 256  # levels of a full channel, and of gray
COARSE = 8  # levels of a channel in a code
CODES = COARSE**CHANNELS
STEP = GRAYS // COARSE


@dataclass(frozen=True)
class ColTranConfig:
    """Widths and depths of the three stages; the defaults are the published ones."""

    width: int = 512
    heads: int = 4
    hidden: int = 512  # between the two dense layers of a block
    encoder_layers: int = 4  # of gray, in the colorizer
    outer_layers: int = 2  # over the rows above
    inner_layers: int = 2  # along the row
    color_layers: int = 4  # of the color upsampler
    spatial_layers: int = 3  # of the spatial upsampler
    side: int = 64  # pixels of colorizer and color upsampler, each way
    full_side: int = 256  # pixels of the spatial upsampler

    def __post_init__(self):
        for name, value in vars(self).items():
            if type(value) is not int or value < 1:
                raise ConfigError(f"{name} must be a whole number from 1 on, got {value!r}")
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} cannot be shared by {self.heads} heads: make it a multiple")
        if self.full_side % self.side:
            raise ConfigError(f"full_side {self.full_side} must be a multiple of side {self.side}")


class CodeLogits(NamedTuple):
    """What a stage says of pictures whose colors are known, each symbol given those before it."""

    logits: Tensor  # (N, H, W, Q)
    targets: Tensor  # (N, H, W) int64
    parallel: Tensor | None = None  # (N, H, W, Q), of the colorizer's parallel head


def rgb_to_codes(rgb: Tensor) -> Tensor:
    """8-bit R'G'B' (..., 3) to color codes (...), 64 R + 8 G + B of their upper three bits."""
    r, g, b = (rgb.long() // STEP).unbind(-1)
    return (r * COARSE + g) * COARSE + b


def codes_to_coarse(codes: Tensor) -> Tensor:
    """Color codes (...) to the three channels' levels (..., 3), 0 to 7."""
    return torch.stack([codes // COARSE**2, codes // COARSE % COARSE, codes % COARSE], dim=-1)


def codes_to_rgb(codes: Tensor) -> Tensor:
    """Color codes (...) to 8-bit R'G'B' (..., 3), the lower end of each level, as published."""
    return codes_to_coarse(codes) * STEP


def shrink_rgb(rgb: Tensor, side: int) -> Tensor:
    """8-bit (N, H, W, 3) to (N, side, side, 3), averaged over areas."""
    planes = rgb.permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(planes, side).round().long().permute(0, 2, 3, 1)


def enlarge_rgb(rgb: Tensor, side: int) -> Tensor:
    """8-bit (N, h, w, 3) to (N, side, side, 3), each pixel repeated."""
    times = side // rgb.shape[1]
    return rgb.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def check_side(picture: Tensor, side: int, what: str) -> None:
    """raises ShapeError unless a picture (N, H, W, ...) has the side that a stage was made for"""
    if picture.ndim < 3 or tuple(picture.shape[1:3]) != (side, side):
        wanted = f"(N, {side}, {side}) for this ColTran, which is trained with crops of {side}"
        raise ShapeError(f"{what} must be {wanted}, got {tuple(picture.shape)}")
