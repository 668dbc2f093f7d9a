"""Lightness and ab -> RGB for still images, and the way from the token grid to their size."""

from functools import cache

import cv2
import numpy as np

from edgecolor.color.gamut import HUE_STEP, LIGHTNESS_STEP, largest_chroma
from edgecolor.color.lab import lab_to_linear_planes, linear_to_srgb
from edgecolor.color.resize import shrink
from edgecolor.errors import ShapeError
from edgecolor.stages.upsample_ab import enlarge_model, fit_ab_to_luma

CHUNK = 1 << 14  # pixels at a time: all intermediates stay in the processor's second-level cache
LINEAR_CODES = 1 << 16  # steps of linear light in the table of the sRGB curve; 20 of them to the first 8-bit code


def upsample_ab_to_image(ab: np.ndarray, lightness: np.ndarray) -> np.ndarray:
    """Enlarge ab to an image's size, with the edges of its lightness (see upsample_ab).

    ab         (2, h, w) float32, ab units, upright
    lightness  (H, W) float32, L*
    returns    (H, W, 2) float32, ab units, a view of two contiguous planes
    raises     ShapeError if an argument has another number of axes
    """
    if ab.ndim != 3 or len(ab) != 2 or lightness.ndim != 2:
        raise ShapeError(f"ab is (2, h, w) and lightness (H, W), got {ab.shape} and {lightness.shape}")
    ab, lightness = ab.astype(np.float32, copy=False), lightness.astype(np.float32, copy=False)
    gain, offset = fit_ab_to_luma(ab, shrink(lightness, *ab.shape[1:]) / 100)
    return enlarge_model(gain / 100, offset, lightness)


def ab_to_rgb(lightness: np.ndarray, ab: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """Make the picture.

    lightness  (H, W) float32, L*; below 0 is black, above 100 white
    ab         (H, W, 2) float32, ab units; where no such color exists at this lightness, the most vivid one of the
               same hue angle is taken
    dtype      uint8 or uint16: codes from 0 to 255 or to 65535
    returns    (H, W, 3) RGB of that type; R = G = B where ab is zero
    raises     ShapeError if the two do not belong together
    """
    if ab.shape != (*lightness.shape, 2):
        raise ShapeError(f"ab is {ab.shape} for lightness of {lightness.shape}: both have the image's height and width")
    planes = [np.asarray(plane, dtype=np.float32).reshape(1, -1) for plane in (lightness, ab[..., 0], ab[..., 1])]
    rgb = np.empty((lightness.size, 3), dtype)
    for start in range(0, lightness.size, CHUNK):
        part = slice(start, start + CHUNK)
        light, a, b = (plane[:, part] for plane in planes)
        linear = lab_to_linear_planes(light, *_into_gamut(light, a, b))
        for channel, plane in enumerate(linear):
            rgb[part, channel] = _codes(plane[0]) if dtype == np.uint8 else _fine_codes(plane[0])
    return rgb.reshape(*lightness.shape, 3)


def _into_gamut(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw (1, n) planes of ab toward gray until they exist in sRGB, keeping their hue."""
    chroma, hue = cv2.cartToPolar(a, b, angleInDegrees=True)
    limit = cv2.remap(largest_chroma(), hue / HUE_STEP, lightness / LIGHTNESS_STEP, cv2.INTER_LINEAR)
    factor = limit / np.maximum(chroma, np.maximum(limit, 1e-6))
    return a * factor, b * factor


def _codes(linear: np.ndarray) -> np.ndarray:
    index = cv2.addWeighted(linear, LINEAR_CODES - 1, linear, 0, 0, dtype=cv2.CV_16U)
    return _code_of_linear().take(index.ravel())


def _fine_codes(linear: np.ndarray) -> np.ndarray:
    """16-bit sRGB codes: no table, in the darkest tones its steps would be too wide for them."""
    return np.rint(linear_to_srgb(linear.clip(0, 1)) * 65535).astype(np.uint16)


@cache
def _code_of_linear() -> np.ndarray:
    """The 8-bit sRGB code of linear light in LINEAR_CODES steps."""
    srgb = linear_to_srgb(np.arange(LINEAR_CODES) / (LINEAR_CODES - 1))
    return np.rint(srgb * 255).astype(np.uint8)
