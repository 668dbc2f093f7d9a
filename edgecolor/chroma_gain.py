"""Making up for the chroma that blending takes away: the mean of looks that disagree is grayish.

Chroma power is the mean square of chroma around every fourth cell, and a little; so where the looks agree colors are
left as they are, things of a few cells aside. All maps of it are (rows, columns) of those cells.
"""

import cv2
import numpy as np

from edgecolor.motion.flow import warp_by

EVERY = 4  # cells
SAMPLED = slice(1, None, EVERY)  # of rows and columns
NEAR = (3, 3)  # sampled cells over which the mean is taken
LEAST_CHROMA = 2.0  # ab units: what is less colorful is gray enough to stay so
MOST_GAIN = 3.0  # where looks disagree so much, their mean is left calm


def chroma_power(ab: np.ndarray) -> np.ndarray:
    """Of ab (2, rows, columns) at the sampled cells: mean square of chroma around each, and that of the least."""
    a, b = ab.astype(np.float32)
    return cv2.blur(a * a + b * b, NEAR, borderType=cv2.BORDER_REPLICATE) + LEAST_CHROMA**2


def chroma_power_of(ab: np.ndarray) -> np.ndarray:
    """The same of ab (2, h, w)."""
    return chroma_power(ab[:, SAMPLED, SAMPLED])


def power_ratio(said: np.ndarray, blended: np.ndarray) -> np.ndarray:
    """Of two chroma powers, as far as it will be made up for."""
    return np.minimum(said / blended, MOST_GAIN**2)


def moved_map(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """A map (rows, columns) of another frame brought here along motion (h, w, 2) in cells."""
    return warp_by(values, cells[SAMPLED, SAMPLED] / np.float32(EVERY))


def restored(ab: np.ndarray, wanted: np.ndarray, users: np.ndarray | float = 0.0) -> np.ndarray:
    """ab (2, h, w) brought to the chroma power wanted (rows, columns): at most MOST_GAIN times its chroma, never less.

    users  (h, w) in [0, 1]: share of colors that are to stay as they are
    """
    factor = np.sqrt(np.clip(wanted / chroma_power_of(ab), 1, MOST_GAIN**2))
    factor = cv2.resize(factor, ab.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    return ab * (1 + (factor - 1) * (1 - np.float32(users)))
