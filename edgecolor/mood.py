"""The mood of colors, for every model: warmth of all of them, and the brightness of a picture."""

import numpy as np

from edgecolor.color.lab import srgb_to_lab
from edgecolor.config import ColorConfig
from edgecolor.manifest import Manifest
from edgecolor.stages.ab_to_rgb import ab_to_rgb

Array = np.ndarray
# Where white goes in ab when light changes from D65 to D50 and nothing adapts, at length 1.
DAYLIGHT = np.array([0.134, 0.991], np.float32)
STRIP = 2**20  # pixels at a time


def warmth_shift(manifest: Manifest, config: ColorConfig) -> Array:
    """What the config's warmth adds to ab before saturation, which is a factor on all: (2, 1, 1) float32."""
    saturation = manifest.saturation if config.saturation is None else config.saturation
    warmth = config.warmth / saturation if saturation else 0.0  # gray stays gray
    return (np.float32(warmth) * DAYLIGHT)[:, None, None]


def brighten(rgb: Array, brightness: float) -> Array:
    """Bend the lightness of a picture, black and white staying; colors keep their ab as far as the gamut has them.

    rgb         (H, W, 3) uint8 or uint16
    brightness  in [-1, 1]: at 1 the lightness L* of 25 becomes 50, at -1 that of 50 becomes 25; 0 changes nothing
    returns     (H, W, 3) of the same type
    """
    if not brightness:
        return rgb
    rows = max(1, STRIP // rgb.shape[1])
    strips = []
    for top in range(0, len(rgb), rows):
        lab = srgb_to_lab(rgb[top : top + rows].astype(np.float32) / np.iinfo(rgb.dtype).max)
        lightness = 100 * (lab[..., 0].clip(0, 100) / 100) ** np.float32(2.0**-brightness)
        strips.append(ab_to_rgb(lightness, lab[..., 1:], rgb.dtype.type))
    return np.concatenate(strips)
