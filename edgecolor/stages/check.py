"""Checks that several stages share."""

import numpy as np

from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import LumaFormat


def check_rotation(rotation: int) -> int:
    """The rotation itself; raises ConfigError unless it is 0, 90, 180 or 270."""
    if rotation not in (0, 90, 180, 270):
        raise ConfigError(f"a video can be turned by 0, 90, 180 or 270 degrees, found {rotation}")
    return rotation


def check_luma(luma: np.ndarray, luma_format: LumaFormat) -> None:
    """Raise ShapeError unless a luma plane has the size and type of its format."""
    dtype = np.dtype(np.uint8 if luma_format.bit_depth == 8 else np.uint16)
    size = (luma_format.height, luma_format.width)
    if luma.shape != size or luma.dtype != dtype:
        raise ShapeError(f"luma is {luma.dtype} {luma.shape}, its format says {dtype} {size}: a stage serves one video")
