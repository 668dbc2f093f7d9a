"""How vivid a color of given lightness and hue can be in sRGB."""

from functools import cache

import numpy as np

from edgecolor.color.lab import lab_to_linear

LIGHTNESS_STEP = 0.5  # L* units between rows of the table
HUE_STEP = 1.0  # degrees between its columns
MOST_CHROMA = 140.0  # ab units; blue, the most vivid color of sRGB, has 133.8
HALVINGS = 14  # of the search, down to 0.01 ab units


def over_white(lightness: np.ndarray) -> np.ndarray:
    """How far a channel of linear light may pass 1 and still count as existing, by L*; same shape, 0 to 0.03.

    Note [Nearly white yellow]. Along a hue the colors that exist are one stretch that begins at gray, but for one
    place: L* 93 to 98 at 99 to 106 degrees. There red rises above 1, on the way to yellow by up to 0.03, before the
    hue enters the gamut again. Stopping at that point would cost three quarters of yellow's chroma. So this much is
    let through at these lightnesses, and whoever uses the limit clips it: three codes of 255 at most.
    """
    return np.interp(lightness, (93, 97, 98.5), (0, 0.03, 0))


@cache
def largest_chroma() -> np.ndarray:
    """The largest chroma that exists in sRGB at each lightness and hue angle.

    returns  (201, 361) float32, ab units, read-only; row i is for L* = i / 2, column j for the hue angle atan2(b, a)
             of j degrees. Channels may pass 1 by over_white(L*) there, which is for the caller to clip.
    """
    lightness = np.arange(0, 100 + LIGHTNESS_STEP, LIGHTNESS_STEP, dtype=np.float32)[:, None]
    hue = np.radians(np.arange(0, 360 + HUE_STEP, HUE_STEP, dtype=np.float32))
    most = 1 + over_white(lightness)
    inside = np.zeros((lightness.size, hue.size), dtype=np.float32)
    step = np.float32(MOST_CHROMA)
    for _ in range(HALVINGS):
        step /= 2
        chroma = inside + step
        lab = np.stack(np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=-1)
        linear = lab_to_linear(lab)
        fits = (linear.min(axis=-1) >= 0) & (linear.max(axis=-1) <= most)
        inside = np.where(fits, chroma, inside)
    inside.setflags(write=False)
    return inside
