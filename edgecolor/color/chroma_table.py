"""Which Cb and Cr give a color of wanted ab at a given Y': a table over (Y', a, b), gamut included.

At a fixed Y' the colors that exist form a convex polygon in (Cb, Cr), the section of the R'G'B' cube. So whatever is
interpolated between entries that lie in the gamut lies in it too.
"""

from functools import lru_cache, reduce

import numpy as np

from edgecolor.color.gamut import over_white
from edgecolor.color.lab import lab_to_linear_planes, lab_to_srgb
from edgecolor.color.yuv import RED_BLUE_WEIGHTS, chroma_range, luma_range, luma_weights, xyz_matrix
from edgecolor.frames import Matrix

LEVELS = 256  # of Y': the codes of 8 bits, and as many steps of deeper codes
REACH = 110  # ab units: a and b run from -REACH to REACH
STEP = 5  # ab units between entries; 256 x 45 rows stay below the 32,767 that cv2.remap can address
NODES = 2 * REACH // STEP + 1
HUES = 180  # of the search for the gamut's boundary
CHROMAS = np.linspace(0, REACH * 2**0.5, 25)
LIGHTNESSES = np.linspace(0, 100, 51)


def codes_per_level(bit_depth: int, full_range: bool) -> float:
    """Y' codes from one level of the table to the next, so that white is a level in either range."""
    return (2**bit_depth - 1) / (LEVELS - 1) if full_range else 2.0 ** (bit_depth - 8)


@lru_cache(maxsize=8)
def chroma_table(matrix: Matrix, bit_depth: int, full_range: bool) -> np.ndarray:
    """Build the table, in about 0.4 s.

    returns  (2, LEVELS * NODES, NODES) float32, read-only: Cb and Cr as float code values. Row l * NODES + i, column j
             is for Y' = l * codes_per_level, b = i * STEP - REACH and a = j * STEP - REACH. Decoded at this Y' the
             entry has the ab of its place; where such a color does not exist, the one of the same hue angle that has
             the largest chroma that does.
    """
    black, white = luma_range(bit_depth, full_range)
    codes = np.arange(LEVELS) * codes_per_level(bit_depth, full_range)
    # Codes below black and above white repeat: build each distinct level once.
    levels, level_of_code = np.unique(np.clip((codes - black) / (white - black), 0, 1), return_inverse=True)
    blue_red = _blue_red_difference(levels, matrix)[:, level_of_code]
    neutral, extent = chroma_range(bit_depth, full_range)
    red, blue = RED_BLUE_WEIGHTS[matrix]
    scale = np.array([extent / (2 * (1 - blue)), extent / (2 * (1 - red))]).reshape(2, 1, 1, 1)
    table = (neutral + scale * blue_red).astype(np.float32).reshape(2, LEVELS * NODES, NODES)
    table.setflags(write=False)
    return table


def _blue_red_difference(levels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """B' - Y' and R' - Y' at every level and node: (2, levels, NODES, NODES)."""
    hues, lightness = _solve_lightness(levels, matrix)
    limit = _largest_chroma(hues, lightness, matrix)  # (levels, hues + 1)

    axis = np.arange(NODES) * STEP - float(REACH)
    a, b = np.meshgrid(axis, axis)  # rows are b
    chroma, hue = np.hypot(a, b).ravel(), np.arctan2(b, a).ravel() % (2 * np.pi)
    left, right, part = _between(hues, hue)
    chroma = np.minimum(chroma, limit[:, left] * (1 - part) + limit[:, right] * part)  # (levels, nodes)
    low, high, rise = _between(CHROMAS, chroma)
    level = np.arange(len(levels))[:, None]
    solved = (lightness[level, left, low] * (1 - rise) + lightness[level, left, high] * rise) * (1 - part)
    solved += (lightness[level, right, low] * (1 - rise) + lightness[level, right, high] * rise) * part

    lab = np.stack([solved, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1).astype(np.float32)
    rgb = lab_to_srgb(lab, xyz_matrix(matrix)).astype(np.float64)
    rgb -= (rgb @ luma_weights(matrix))[..., None]
    # What lies outside the cube even so (a few thousandths; more in nearly white yellow, see the note in gamut.py) is
    # drawn to gray in a straight line.
    y = levels[:, None, None]
    room = np.where(rgb > 0, 1 - y, y) / np.maximum(np.abs(rgb), 1e-12)
    rgb *= np.minimum(reduce(np.minimum, np.moveaxis(room, -1, 0)), 1)[..., None]
    rgb[:, (a == 0).ravel() & (b == 0).ravel()] = 0  # gray is neutral to the last bit
    return np.moveaxis(rgb[..., [2, 0]], -1, 0).reshape(2, len(levels), NODES, NODES)


def _solve_lightness(levels: np.ndarray, matrix: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """L* of the color with a given hue, chroma and Y': hues (HUES + 1,) in radians, L* (levels, HUES + 1, chromas)."""
    hues = np.linspace(0, 2 * np.pi, HUES + 1)
    lightness = np.empty((len(levels), HUES + 1, len(CHROMAS)))
    lab = _polar_lab(LIGHTNESSES, hues[:, None, None], CHROMAS[:, None])
    luma = lab_to_srgb(lab, xyz_matrix(matrix)) @ luma_weights(matrix).astype(np.float32)  # (hues, chromas, L*)
    # Y' grows with L* wherever the color exists; far outside the gamut the extended curve may dip.
    luma = np.maximum.accumulate(luma, axis=-1)
    for i in range(HUES + 1):
        for j in range(len(CHROMAS)):
            lightness[:, i, j] = np.interp(levels, luma[i, j], LIGHTNESSES)
    return hues, lightness


def _largest_chroma(hues: np.ndarray, lightness: np.ndarray, matrix: Matrix) -> np.ndarray:
    """The chroma at which each hue leaves the gamut, at each level: (levels, hues)."""
    # In linear light, where the way out of the cube is nearly straight.
    linear = lab_to_linear_planes(
        *np.moveaxis(_polar_lab(lightness, hues[:, None], CHROMAS), -1, 0), xyz_matrix(matrix)
    )
    above, below = reduce(np.maximum, linear) - 1 - over_white(lightness), -reduce(np.minimum, linear)
    excess = np.maximum(above, below)  # (levels, hues, chromas)
    outside = excess > 1e-6
    outside[..., -1] = True  # nothing that the table asks for lies beyond
    first = np.maximum(outside.argmax(axis=-1), 1)[..., None]
    inner, outer = (np.take_along_axis(excess, k, axis=-1)[..., 0] for k in (first - 1, first))
    part = np.clip(-inner / np.maximum(outer - inner, 1e-12), 0, 1)
    first = first[..., 0]
    return CHROMAS[first - 1] + part * (CHROMAS[first] - CHROMAS[first - 1])


def _polar_lab(lightness, hue, chroma) -> np.ndarray:
    parts = np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
    return np.stack(parts, axis=-1).astype(np.float32)


def _between(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The entries of an even grid around each value, and how far between them it lies."""
    place = np.clip(values / (grid[1] - grid[0]), 0, len(grid) - 1)
    low = np.minimum(place.astype(np.intp), len(grid) - 2)
    return low, low + 1, place - low
