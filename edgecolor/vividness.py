"""How colorful ab is, and making up for what blending takes away: the mean of looks that disagree is grayish."""

import numpy as np

MOST_LIFT = 2.0  # where looks disagree so much, their mean is left calm


def vividness(ab: np.ndarray) -> float:
    """Colorfulness of ab (2, ...) in ab units, 0 for gray; grows in proportion with ab.

    source  Hasler and Suesstrunk, SPIE 2003, the measure in CIELAB
    """
    a, b = ab.reshape(2, -1).astype(np.float64)
    return float(np.hypot(a.std(), b.std()) + 0.37 * np.hypot(a.mean(), b.mean()))


def lifted(ab: np.ndarray, found: float, wanted: float) -> np.ndarray:
    """ab (2, h, w), as vivid as found, made as vivid as wanted: at most MOST_LIFT times, and never less vivid."""
    return ab * np.float32(min(max(wanted / found, 1.0), MOST_LIFT) if found else 1.0)
