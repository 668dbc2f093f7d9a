"""Remember what colors things had, by how the network's encoder sees them.

A memory is a list of places: encoder features, and the token probabilities there. A place of a new frame asks for the
ones that look like it. So colors are carried from pictures that the user gives, and from earlier scenes.
"""

import numpy as np

from edgecolor.errors import ShapeError

SHARPNESS = 20.0  # of the vote among remembered places: two whose squared distances differ by 0.05 weigh e : 1
LEAST_SPREAD = 1e-3  # of a feature that hardly varies


class TokenMemory:
    """Features are standardized by the first picture that is learnt, then brought to length 1; squared distances of
    such vectors lie in [0, 4].

    alike, strange  squared distance up to which a remembered place counts fully, and from which it does not count.
                    Measured on clips with edge's features: the same thing seconds later is at 0.02 to 0.8, things of
                    other films at 1.0 to 1.4
    capacity        places; the oldest are forgotten
    """

    def __init__(self, alike: float = 0.5, strange: float = 1.0, capacity: int = 4096):
        self.alike, self.strange, self.capacity = alike, strange, capacity
        self._mean: np.ndarray | None = None
        self._spread: np.ndarray | None = None
        self._places: np.ndarray | None = None  # (n, C)
        self._probs: np.ndarray | None = None  # (n, Q)

    def __len__(self) -> int:
        return 0 if self._places is None else len(self._places)

    def learn(self, features: np.ndarray, probs: np.ndarray, only_new: bool = False) -> None:
        """Remember a picture.

        features  (h, w, C) float32 of the network
        probs     (h, w, Q) float32, the token probabilities there
        only_new  leave out places that are like remembered ones
        raises    ShapeError where the two do not belong together
        """
        if features.shape[:2] != probs.shape[:2]:
            raise ShapeError(f"features are {features.shape} beside probabilities of {probs.shape}")
        places, probs = (_halved(grid).reshape(-1, grid.shape[2]) for grid in (features, probs))
        if self._mean is None:
            self._mean, self._spread = places.mean(axis=0), places.std(axis=0) + LEAST_SPREAD
        places = self._standard(places)
        if len(self):
            if only_new:
                new = self._distances(places).min(axis=1) > self.alike
                places, probs = places[new], probs[new]
            places, probs = np.concatenate([self._places, places]), np.concatenate([self._probs, probs])
        self._places, self._probs = places[-self.capacity :], probs[-self.capacity :]

    def recall(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is remembered of things that look like this.

        features  (h, w, C) float32
        returns   probs (h, w, Q) float32, and how far to trust them, (h, w) float32 in [0, 1]; of an empty memory
                  nothing: ShapeError
        """
        if not len(self):
            raise ShapeError("the memory is empty: learn a picture first")
        h, w, _ = features.shape
        half = _halved(features)
        distances = self._distances(self._standard(half.reshape(-1, half.shape[2])))
        least = distances.min(axis=1, keepdims=True)
        votes = np.exp((least - distances) * SHARPNESS)
        probs = (votes @ self._probs) / votes.sum(axis=1, keepdims=True)
        trust = np.clip((self.strange - least[:, 0]) / (self.strange - self.alike), 0, 1)
        probs, trust = probs.reshape(*half.shape[:2], -1), trust.reshape(*half.shape[:2], 1)
        return _doubled(probs, h, w), _doubled(trust, h, w)[..., 0]

    def _standard(self, places: np.ndarray) -> np.ndarray:
        places = (places - self._mean) / self._spread
        return places / (np.linalg.norm(places, axis=1, keepdims=True) + 1e-6)

    def _distances(self, places: np.ndarray) -> np.ndarray:
        return 2 - 2 * (places @ self._places.T)


def _halved(grid: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 cells: half the size is enough for things, and takes a sixteenth of the comparisons."""
    grid = np.pad(grid, ((0, grid.shape[0] % 2), (0, grid.shape[1] % 2), (0, 0)), mode="edge")
    return (grid[::2, ::2] + grid[1::2, ::2] + grid[::2, 1::2] + grid[1::2, 1::2]) / 4


def _doubled(grid: np.ndarray, h: int, w: int) -> np.ndarray:
    """Back to (h, w), linearly, so that no blocks of 2 x 2 show."""
    for axis, size in ((0, h), (1, w)):
        grid = np.moveaxis(grid, axis, 0)
        double = np.empty((2 * len(grid), *grid.shape[1:]), np.float32)
        double[::2] = 0.75 * grid + 0.25 * grid[np.maximum(np.arange(len(grid)) - 1, 0)]
        double[1::2] = 0.75 * grid + 0.25 * grid[np.minimum(np.arange(len(grid)) + 1, len(grid) - 1)]
        grid = np.moveaxis(double[:size], 0, axis)
    return np.ascontiguousarray(grid)
