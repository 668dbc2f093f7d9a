"""How often each color token occurs in a data set."""

from pathlib import Path

import numpy as np

from edgecolor.color.tokens import SOFT_NEIGHBOURS, SOFT_SIGMA, Palette
from edgecolor.errors import ConfigError
from edgecolor.train.dataset import Photographs


def token_prior(
    photographs: Photographs,
    palette: Palette,
    crops: int = 4000,
    seed: int = 0,
    neighbours: int = SOFT_NEIGHBOURS,
    sigma: float = SOFT_SIGMA,
) -> np.ndarray:
    """Mean soft encoding over random crops, with a trace of uniform so that no token is impossible: (Q,) float64."""
    rng = np.random.default_rng(seed)
    count = np.zeros(len(palette))
    for _ in range(crops):
        _, ab = photographs.crop(rng, 32)
        index, weight = palette.nearest(ab.reshape(-1, 2), neighbours, sigma)
        count += np.bincount(index.ravel(), weight.ravel(), minlength=len(palette))
    count = count / count.sum() + 1e-7
    return count / count.sum()


def read_prior(path: str | Path, palette: Palette) -> np.ndarray:
    """The prior.npy of fit-tokens: (Q,) float64. raises ConfigError where it is of another palette, or no prior"""
    try:
        prior = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ConfigError(f"prior: there is no {path}; edgecolor fit-tokens makes one") from error
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"prior: {path} is no .npy file ({error})") from error
    if prior.shape != (len(palette),):
        raise ConfigError(f"prior: {path} has shape {prior.shape}, palette {palette.name} has {len(palette)} tokens")
    if not np.isfinite(prior).all() or (prior <= 0).any() or abs(prior.sum() - 1) > 1e-4:
        raise ConfigError(f"prior: {path} is no distribution: entries must be positive and sum to 1")
    return prior.astype(np.float64)
