"""Y' plane as decoded -> lightness at the working size, upright, as the network wants it."""

import cv2
import numpy as np

from edgecolor.color.lab import lightness_of_code, srgb_to_lab
from edgecolor.color.resize import shrink
from edgecolor.color.yuv import lightness_of_luma
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import LumaFormat
from edgecolor.stages.check import check_luma, check_rotation


def working_size(width: int, height: int, short: int = 256, multiple: int = 32, longest: int = 1024) -> tuple[int, int]:
    """The size at which the network sees a picture.

    width, height  of the upright picture, in samples
    short          what the short side becomes; less where the long side would pass `longest`
    multiple       both sides are rounded to the nearest multiple of it, and are at least one
    longest        the most that a side may be
    returns        (h0, w0)
    raises         ConfigError for sizes below 1, or a `longest` below `multiple`
    """
    if min(width, height, short, multiple) < 1 or longest < multiple:
        raise ConfigError(
            f"cannot fit {width} x {height} to a short side of {short} in multiples of {multiple} up to {longest}: "
            f"sizes are positive, and the longest side is at least one multiple"
        )
    scale = min(short / min(width, height), longest / max(width, height))
    h0, w0 = (
        min(max(int(side * scale / multiple + 0.5), 1), longest // multiple) * multiple for side in (height, width)
    )
    return h0, w0


def image_to_lightness(image: np.ndarray) -> np.ndarray:
    """(H, W) gray or (H, W, 3) RGB, uint8 or uint16 -> (H, W) float32, L*."""
    is_picture = (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) and image.size
    if image.dtype not in (np.uint8, np.uint16) or not is_picture:
        raise ShapeError(f"an image is (H, W) or (H, W, 3), uint8 or uint16, got {image.shape} {image.dtype}")
    white = np.iinfo(image.dtype).max
    if image.ndim == 2:
        return lightness_of_code(white + 1)[image]
    rows = max(1, 2**20 // image.shape[1])  # strips of a megapixel: the float intermediates stay small
    strips = (image[top : top + rows] for top in range(0, len(image), rows))
    return np.concatenate([srgb_to_lab(strip.astype(np.float32) / white)[..., 0] for strip in strips])


class FrameToLightness:
    """Turn luma planes of one format into lightness.

    luma_format  of the planes
    h0, w0       size of the result, upright (see working_size)
    """

    def __init__(self, luma_format: LumaFormat, h0: int, w0: int):
        self.luma_format = luma_format
        self._turns = check_rotation(luma_format.rotation) // 90
        self._coded_size = (w0, h0) if self._turns % 2 else (h0, w0)
        self._lightness = lightness_of_luma(luma_format.bit_depth, luma_format.full_range)

    def __call__(self, luma: np.ndarray) -> np.ndarray:
        """luma (height, width) as decoded -> (1, 1, h0, w0) float32, L* in [0, 100], contiguous and of its own memory.

        raises  ShapeError if the plane is not of the format
        """
        check_luma(luma, self.luma_format)
        small = shrink(luma, *self._coded_size)
        if self._turns:
            small = np.ascontiguousarray(np.rot90(small, -self._turns))
        if small.dtype == np.uint8:
            return cv2.LUT(small, self._lightness)[None, None]
        return self._lightness.take(small, mode="clip")[None, None]


def resize_lightness(lightness: np.ndarray, h0: int, w0: int) -> np.ndarray:
    """Lightness of a still image, (H, W) float32, upright -> (h0, w0) float32."""
    return shrink(lightness, h0, w0)
