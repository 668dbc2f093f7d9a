"""What every backend keeps between the frames of a model without tokens: the ab so far, and the user's hints."""

import numpy as np

from edgecolor.backends.base import Array, Grid
from edgecolor.stages.blend_ab import blend_ab


class AbState:
    """Of N pictures of the sizes in `grid`; zeros at the start, and no hints."""

    def __init__(self, grid: Grid):
        self.grid = grid
        self.ab = np.zeros(grid.ab, np.float32)
        self.hint(None)

    def hint(self, hints: Array | None) -> None:
        """Take hints, (N, 3, h0, w0), or None for none: `hints` is a copy of them from now on."""
        self.hints = (
            np.zeros(self.grid.hints, np.float32) if hints is None else self.grid.checked("hints", hints).copy()
        )

    def blend(self, ab: Array, keep: Array | float, motion: Array | None) -> Array:
        """ab (N, 2, h, w) that the network says of the next frame, blended with the past; the rest as Backend.step."""
        grid = self.grid
        motion = np.zeros(grid.motion, np.float32) if motion is None else grid.checked("motion", motion)
        self.ab = blend_ab(ab, self.ab, motion, grid.checked_keep(keep))
        return self.ab.copy()
