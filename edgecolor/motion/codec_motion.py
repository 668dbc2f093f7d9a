"""Motion between frames of which neighbors are joined by the video's own motion vectors.

Cheap where the vectors are at hand, and coarse: they serve the encoder, which wants something similar, not the thing
itself. What they say is to be checked (Flow.checked).
"""

import cv2
import numpy as np

from edgecolor.frames import LumaFormat
from edgecolor.motion.flow import warp_by

LATTICE = 8  # px: side of the blocks that vectors are laid out in


def vectors_to_cells(vectors: np.ndarray, luma_format: LumaFormat, h: int, w: int) -> np.ndarray:
    """Vectors of a frame, see LumaFrame.vectors, as motion (h, w, 2) of the upright picture's cells, in cells.

    Blocks without a vector were coded anew, mostly: they are taken as unmoved, and fail the check if they are not.
    """
    height, width = luma_format.height, luma_format.width
    laid = np.zeros((-(-height // LATTICE), -(-width // LATTICE), 2), np.float32)
    rows, columns = laid.shape[:2]
    left = np.floor((vectors[:, 0] - vectors[:, 2] / 2) / LATTICE + 0.5).astype(np.intp)
    top = np.floor((vectors[:, 1] - vectors[:, 3] / 2) / LATTICE + 0.5).astype(np.intp)
    sizes = vectors[:, 2:4].astype(np.intp)
    for wide, high in np.unique(sizes, axis=0):
        like = (sizes == (wide, high)).all(axis=1)
        for down in range(max(high // LATTICE, 1)):
            for right in range(max(wide // LATTICE, 1)):
                y, x = np.clip(top[like] + down, 0, rows - 1), np.clip(left[like] + right, 0, columns - 1)
                laid[y, x] = vectors[like, 4:6]
    turns = luma_format.rotation // 90
    for _ in range(turns):  # a quarter clockwise each: right becomes down, down becomes left
        laid = np.rot90(laid, -1)
        laid = np.stack([-laid[..., 1], laid[..., 0]], axis=-1)
    upright = (height, width) if turns % 2 else (width, height)
    cells = cv2.resize(np.ascontiguousarray(laid), (w, h), interpolation=cv2.INTER_AREA)
    return cells * np.float32([w / upright[0], h / upright[1]])


class CodecMotion:
    """Leads from frame to frame back to the one where it began.

    cells  (h, w, 2): where each cell of the last frame was in the first one, relative to itself; None where a frame in
           between does not say
    """

    def __init__(self, luma_format: LumaFormat, h: int, w: int):
        self._format, self._grid = luma_format, (h, w)
        self.cells: np.ndarray | None = None

    def begin(self) -> None:
        """The last frame is the first one from now on."""
        self.cells = np.zeros((*self._grid, 2), np.float32)

    def follow(self, vectors: np.ndarray | None) -> None:
        """Take the next frame."""
        if vectors is None or self.cells is None:
            self.cells = None
            return
        step = vectors_to_cells(vectors, self._format, *self._grid)
        self.cells = step + warp_by(self.cells, step)
