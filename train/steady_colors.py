"""A stand-in for a network that never flickers: on the moving patterns it gives each thing one color, in every frame.

What smoothing changes of its answers is smoothing's own doing: a ghost, or an edge that it moved.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecolor.backends.ab_state import AbState
from edgecolor.backends.base import Array, Grid, centers_of
from edgecolor.manifest import Manifest
from edgecolor.recollection import as_logits
from edgecolor.stages.frame_to_lightness import image_to_lightness
from edgecolor.stages.logits_to_ab import color_token_decode
from edgecolor.train.metrics import rgb8_to_lab
from edgecolor.train.moving_patterns import GRAYS_BETWEEN, MovingPatterns


def mean_colors(clip: MovingPatterns, colored: Sequence[np.ndarray]) -> np.ndarray:
    """ab (4, 2) of the clip's things, over all of its frames; colored holds (height, width, 3) uint8 RGB each."""
    sums = np.zeros((len(GRAYS_BETWEEN) + 1, 3))
    for index, frame in enumerate(colored):
        ab = rgb8_to_lab(frame)[..., 1:]
        for thing, where in enumerate(clip.things(index)):
            sums[thing] += *ab[where].sum(axis=0, dtype=np.float64), where.sum()
    return (sums[:, :2] / sums[:, 2:]).astype(np.float32)


class SteadyColors:
    """A Backend for one picture at a time; it tells the things by their gray.

    manifest  of the network that it stands in for
    colors    ab (4, 2) of the things, before saturation; with tokens, the nearest token stands for each
    """

    name = "steady"

    def __init__(self, manifest: Manifest, colors: np.ndarray):
        self.manifest = replace(manifest, hints=False)
        self.centers, self.colors = centers_of(manifest), colors
        self._limits = image_to_lightness(np.uint8([GRAYS_BETWEEN]))[0]

    def start(self, batch: int, h0: int, w0: int) -> None:
        self.grid = Grid(self.manifest, len(self.centers), batch, h0, w0)
        self._ab, self._state = AbState(self.grid), np.zeros(self.grid.probs, np.float32)

    def step(self, lightness: Array, keep, motion: Array | None = None, temperature: float | None = None) -> Array:
        things = np.searchsorted(self._limits, lightness[0, 0])
        _, h, w = self.grid.keep
        in_cells = things.reshape(h, self.manifest.stride, w, self.manifest.stride)
        shares = np.stack([(in_cells == thing).mean(axis=(1, 3)) for thing in range(len(self.colors))], axis=-1)
        if self.manifest.kind != "tokens":
            return self._ab.blend(np.moveaxis(shares @ self.colors, 2, 0)[None].astype(np.float32), keep, motion)
        probs = np.zeros(self.grid.probs, np.float32)
        for thing, color in enumerate(self.colors):
            probs[0, ..., np.linalg.norm(self.centers - color, axis=1).argmin()] += shares[..., thing]
        motion = np.zeros(self.grid.motion, np.float32) if motion is None else motion
        keep, temperature = self.grid.checked_keep(keep), self.grid.checked_temperature(temperature)
        ab, self._state = color_token_decode(as_logits(probs), self._state, motion, keep, self.centers, temperature)
        return ab

    def probs(self) -> Array:
        return self._state.copy()
