"""How often each color token occurs in a data set."""

import numpy as np

from edgecolor.color.tokens import Palette
from edgecolor.train.dataset import Photographs


def token_prior(photographs: Photographs, palette: Palette, crops: int = 4000, seed: int = 0) -> np.ndarray:
    """Mean soft encoding over random crops, mixed with a trace of uniform so that no token is impossible: (Q,) float64."""
    rng = np.random.default_rng(seed)
    count = np.zeros(len(palette))
    for _ in range(crops):
        _, ab = photographs.crop(rng, 32)
        index, weight = palette.nearest(ab.reshape(-1, 2))
        count += np.bincount(index.ravel(), weight.ravel(), minlength=len(palette))
    count = count / count.sum() + 1e-7
    return count / count.sum()
