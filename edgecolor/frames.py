"""What crosses the border between video, pipeline and backends: planes with their time and their color tags."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np


class Matrix(str, Enum):
    """The weights that make Y' from R'G'B'."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"  # non-constant luminance


class Siting(str, Enum):
    """Where a chroma sample sits among the luma samples that it covers."""

    LEFT = "left"  # horizontally on the left luma sample, vertically between two rows (MPEG-2, H.26x)
    CENTER = "center"  # in the middle of the luma block (JPEG, MPEG-1)
    TOPLEFT = "topleft"  # on the top left luma sample (DV, BT.2020 4:2:0)


@dataclass(frozen=True)
class LumaFormat:
    """How to understand the luma planes of a video; the same for every frame of it."""

    width: int  # of the luma plane as decoded, in samples
    height: int
    bit_depth: int  # 8 (uint8 planes), 10 or 12 (uint16 planes, values in the low bits)
    matrix: Matrix
    full_range: bool  # True: black is 0 and white 2^n - 1; False: 16 and 235, scaled to the bit depth
    rotation: int = 0  # degrees clockwise by which a player turns the picture upright: 0, 90, 180 or 270

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the picture as a player shows it."""
        size = self.width, self.height
        return size if self.rotation % 180 == 0 else size[::-1]


@dataclass(frozen=True)
class ChromaFormat:
    """The chroma planes that the encoder wants."""

    width: int  # in samples: luma width divided by 2^log2_x, rounded up
    height: int
    log2_x: int  # 1 for 4:2:0 and 4:2:2, 0 for 4:4:4
    log2_y: int  # 1 for 4:2:0, else 0
    siting: Siting


@dataclass
class LumaFrame:
    """One decoded frame: luma as the decoder gave it."""

    luma: np.ndarray  # (height, width) uint8 or uint16
    pts: int  # in counts of time_base
    time_base: Fraction  # seconds per count
    duration: int | None = None  # in counts of time_base, None where the container does not say
    # (n, 6) float32, in luma samples as decoded: x and y of a block's middle, its width and height, and (dx, dy) to
    # where it was in the frame shown before. None where that is not known, or nobody asked.
    vectors: np.ndarray | None = None

    @property
    def pts_seconds(self) -> float:
        return float(self.pts * self.time_base)


@dataclass
class ColorFrame:
    """One colored frame on its way to the encoder: the source's luma untouched, and new chroma."""

    source: LumaFrame
    cb: np.ndarray  # (chroma height, chroma width), same dtype and bit depth as the luma
    cr: np.ndarray
