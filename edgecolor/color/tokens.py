"""Color tokens: the palettes of ab bins, soft encoding of a color into them, and decoding back.

Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016. The 313 bins cannot be generated from the
sRGB gamut alone, so the table of runs is given as facts; the 326-bin variant adds the thirteen bins listed.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from edgecolor.errors import ConfigError, ShapeError

STEP = 10  # ab units between neighbouring bins
# a: first b, last b. Every row of constant a is one contiguous run.
RUNS_313 = {
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100),
    -40: (-40, 100), -30: (-50, 100), -20: (-50, 100), -10: (-60, 100), 0: (-70, 100),
    10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90), 50: (-100, 80),
    60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}  # fmt: skip
EXTRA_326 = (
    (-110, 70), (-110, 80), (-100, 60), (-100, 70), (-100, 80), (-90, 40), (-70, 100),
    (-60, 100), (20, -90), (80, 80), (110, -70), (110, -60), (110, -50),
)  # fmt: skip

ANNEALED_MEAN_T = 0.38
SOFT_NEIGHBOURS = 5
SOFT_SIGMA = 5.0  # ab units
TINY = 1e-30  # probabilities below it count as this, so that their logarithm is finite in float32


@dataclass(frozen=True)
class Palette:
    """The bin centers of one set of color tokens, sorted by a, then b; the row is the token."""

    name: str

    @cached_property
    def centers(self) -> np.ndarray:
        """(Q, 2) float32, ab units."""
        bins = {(a, b) for a, (first, last) in RUNS_313.items() for b in range(first, last + 1, STEP)}
        if self.name == "ab326":
            bins |= set(EXTRA_326)
        centers = np.array(sorted(bins), dtype=np.float32)
        centers.setflags(write=False)
        return centers

    def __len__(self) -> int:
        return len(self.centers)

    def soft_encode(self, ab: np.ndarray, neighbours: int = SOFT_NEIGHBOURS, sigma: float = SOFT_SIGMA) -> np.ndarray:
        """Spread each color over its nearest bins, with Gaussian weights.

        ab       (..., 2), ab units
        returns  (..., Q) float32, sums to 1 over Q, at most `neighbours` of them above zero
        """
        index, weight = self.nearest(ab, neighbours, sigma)
        encoded = np.zeros((*index.shape[:-1], len(self)), dtype=np.float32)
        np.put_along_axis(encoded, index, weight, axis=-1)
        return encoded

    def nearest(self, ab: np.ndarray, neighbours: int = SOFT_NEIGHBOURS, sigma: float = SOFT_SIGMA):
        """The same as soft_encode, sparse: token indices (..., k) int64 and weights (..., k) float32."""
        if ab.shape[-1] != 2:
            raise ShapeError(f"ab must have 2 values in its last axis, found {ab.shape[-1]}")
        distance = ((ab[..., None, :].astype(np.float32) - self.centers) ** 2).sum(axis=-1)
        index = np.argpartition(distance, neighbours - 1, axis=-1)[..., :neighbours]
        near = np.take_along_axis(distance, index, axis=-1)
        # Relative to the nearest, so that a color far outside every bin still sums to 1 instead of 0 / 0.
        weight = np.exp(-(near - near.min(axis=-1, keepdims=True)) / (2 * sigma**2))
        return index, weight / weight.sum(axis=-1, keepdims=True)


PALETTES = ("ab313", "ab326")


@cache
def palette(name: str) -> Palette:
    """The palette of that name: "ab313" (Zhang 2016) or "ab326" (Colorful)."""
    if name not in PALETTES:
        raise ConfigError(f"unknown palette {name!r}: known are {', '.join(PALETTES)}")
    return Palette(name)


def rebalancing_weights(prior: np.ndarray, uniform: float = 0.5) -> np.ndarray:
    """Loss weight of each token: rare colors count more, and the mean over the data is 1.

    prior    (Q,) how often each token occurs, sums to 1
    uniform  lambda in [0, 1]: share of the uniform distribution mixed into the prior; 1 is no rebalancing
    returns  (Q,) float64, sum(prior * weights) = 1
    """
    prior = np.asarray(prior, dtype=np.float64)
    if not 0 <= uniform <= 1:
        raise ConfigError(f"lambda (uniform) must lie in [0, 1], got {uniform}")
    if (prior < 0).any() or not np.isclose(prior.sum(), 1, atol=1e-4):
        raise ShapeError(f"a prior has no negative entries and sums to 1, this one sums to {prior.sum():.6g}")
    weights = 1 / ((1 - uniform) * prior + uniform / len(prior))
    return weights / (prior * weights).sum()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, safe for any finite logits."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def annealed_mean(probs: np.ndarray, centers: np.ndarray, temperature: float = ANNEALED_MEAN_T) -> np.ndarray:
    """Reduce each token distribution to one ab color.

    probs        (..., Q), sums to 1 over Q
    centers      (Q, 2), ab units
    temperature  in (0, 1]; 1 is the plain mean (dull), toward 0 the mode (vivid, blotchy)
    returns      (..., 2), ab units, inside the convex hull of centers
    source       Zhang, Isola, Efros, ECCV 2016, "Class Probabilities to Point Estimates"
    """
    if probs.shape[-1] != len(centers):
        raise ShapeError(f"{probs.shape[-1]} tokens in probs, {len(centers)} in the palette: use one manifest's")
    if not 0 < temperature <= 1:
        raise ConfigError(f"temperature must lie in (0, 1], got {temperature}")
    # In log space: at T = 0.05 a flat 313-token cell raised to 1 / T is all zeros in float32.
    return softmax(np.log(np.maximum(probs, TINY)) / temperature) @ centers


def mode(probs: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """ab of the most probable token, (..., 2); ties take the lowest index."""
    return centers[probs.argmax(axis=-1)]
