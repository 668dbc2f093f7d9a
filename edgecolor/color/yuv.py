"""Y'CbCr <-> gamma-coded R'G'B' for BT.601, BT.709 and BT.2020 (non-constant luminance), limited and full range.

Channels stand last. R'G'B' is in [0, 1]; Y', Cb and Cr are code values at their bit depth, as floats until
`round_codes`. Source: ITU-R BT.601-7, BT.709-6, BT.2020-2 (weights and limited range), ITU-T H.273 (full range).

Note [The curve of R'G'B']. Gray, lightness and ab are read off R'G'B' with the sRGB curve, whatever the transfer tag
says: that is how a desktop shows the picture, and untagged old material has no better reading. The primaries are those
of Rec. 709, except that the BT.2020 matrix brings its own.
"""

from functools import cache

import numpy as np

from edgecolor.color.lab import PRIMARIES_XY, gray_to_lightness, lightness_to_gray, rgb_to_xyz_matrix
from edgecolor.errors import ConfigError
from edgecolor.frames import Matrix

# How much of Y' is red and how much is blue; the rest is green.
RED_BLUE_WEIGHTS = {Matrix.BT601: (0.299, 0.114), Matrix.BT709: (0.2126, 0.0722), Matrix.BT2020: (0.2627, 0.0593)}
PRIMARIES_XY_2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
BIT_DEPTHS = (8, 10, 12)


def luma_weights(matrix: Matrix) -> np.ndarray:
    """The weights of R', G', B' in Y': (3,) float64, sums to 1."""
    red, blue = RED_BLUE_WEIGHTS[matrix]
    return np.array([red, 1 - red - blue, blue])


def xyz_matrix(matrix: Matrix) -> np.ndarray:
    """Linear RGB to XYZ in the primaries that go with a Y'CbCr matrix: (3, 3) float64 (see the note above)."""
    return rgb_to_xyz_matrix(PRIMARIES_XY_2020 if matrix is Matrix.BT2020 else PRIMARIES_XY)


def luma_range(bit_depth: int, full_range: bool) -> tuple[int, int]:
    """The Y' codes of black and of white."""
    _check_depth(bit_depth)
    return (0, 2**bit_depth - 1) if full_range else (16 << bit_depth - 8, 235 << bit_depth - 8)


def chroma_range(bit_depth: int, full_range: bool) -> tuple[int, int]:
    """The Cb and Cr code of gray, and the codes between the two ends of Cb (which lie half as far from gray each)."""
    _check_depth(bit_depth)
    return 1 << bit_depth - 1, 2**bit_depth - 1 if full_range else 224 << bit_depth - 8


def rgb_to_ycbcr(rgb: np.ndarray, matrix: Matrix, bit_depth: int, full_range: bool) -> np.ndarray:
    """R'G'B' (..., 3) to Y', Cb, Cr code values (..., 3) float64, neither rounded nor clipped."""
    rgb = np.asarray(rgb, dtype=np.float64)
    black, white = luma_range(bit_depth, full_range)
    neutral, extent = chroma_range(bit_depth, full_range)
    red, blue = RED_BLUE_WEIGHTS[matrix]
    luma = rgb @ luma_weights(matrix)
    cb = (rgb[..., 2] - luma) / (2 * (1 - blue))  # in [-0.5, 0.5]
    cr = (rgb[..., 0] - luma) / (2 * (1 - red))
    return np.stack([black + luma * (white - black), neutral + cb * extent, neutral + cr * extent], axis=-1)


def ycbcr_to_rgb(ycbcr: np.ndarray, matrix: Matrix, bit_depth: int, full_range: bool) -> np.ndarray:
    """Y', Cb, Cr code values (..., 3) to R'G'B' (..., 3) float64, not clipped: many codes are no color at all."""
    ycbcr = np.asarray(ycbcr, dtype=np.float64)
    black, white = luma_range(bit_depth, full_range)
    neutral, extent = chroma_range(bit_depth, full_range)
    weight_red, weight_blue = RED_BLUE_WEIGHTS[matrix]
    luma = (ycbcr[..., 0] - black) / (white - black)
    blue = luma + (ycbcr[..., 1] - neutral) / extent * (2 * (1 - weight_blue))
    red = luma + (ycbcr[..., 2] - neutral) / extent * (2 * (1 - weight_red))
    green = (luma - weight_red * red - weight_blue * blue) / (1 - weight_red - weight_blue)
    return np.stack([red, green, blue], axis=-1)


def round_codes(codes: np.ndarray, bit_depth: int) -> np.ndarray:
    """Float code values to integers, clipped to what the bit depth holds: uint8 for 8 bits, else uint16."""
    _check_depth(bit_depth)
    return np.clip(np.rint(codes), 0, 2**bit_depth - 1).astype(np.uint8 if bit_depth == 8 else np.uint16)


def luma_to_gray(codes: np.ndarray, bit_depth: int, full_range: bool) -> np.ndarray:
    """Y' codes to the gamma-coded gray (R' = G' = B') that they show, clamped to [0, 1]; same shape, float64."""
    black, white = luma_range(bit_depth, full_range)
    return np.clip((np.asarray(codes, dtype=np.float64) - black) / (white - black), 0, 1)


def gray_to_luma(gray: np.ndarray, bit_depth: int, full_range: bool) -> np.ndarray:
    """Gamma-coded gray in [0, 1] to float Y' codes, same shape."""
    black, white = luma_range(bit_depth, full_range)
    return black + np.asarray(gray, dtype=np.float64) * (white - black)


@cache
def lightness_of_luma(bit_depth: int, full_range: bool) -> np.ndarray:
    """L* of every Y' code, (2^bit_depth,) float32 in [0, 100], read-only; codes below black and above white clamp."""
    codes = np.arange(2**bit_depth)
    lightness = gray_to_lightness(luma_to_gray(codes, bit_depth, full_range)).clip(0, 100).astype(np.float32)
    lightness.setflags(write=False)
    return lightness


def lightness_to_luma(lightness: np.ndarray, bit_depth: int, full_range: bool) -> np.ndarray:
    """L* in [0, 100] to float Y' codes of a gray of that lightness, same shape."""
    return gray_to_luma(lightness_to_gray(np.asarray(lightness, dtype=np.float64)), bit_depth, full_range)


def _check_depth(bit_depth: int) -> None:
    if bit_depth not in BIT_DEPTHS:
        raise ConfigError(f"bit depth {bit_depth} is not supported: convert to 8, 10 or 12")
