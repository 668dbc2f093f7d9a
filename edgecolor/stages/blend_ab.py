"""Smoothing over time for models that predict ab without tokens: the past's ab, brought here, and blended in."""

import numpy as np

from edgecolor.errors import ShapeError
from edgecolor.stages.logits_to_ab import warp

Array = np.ndarray


def blend_ab(ab: Array, past: Array, motion: Array, keep: Array) -> Array:
    """(1 - keep) ab + keep past, with the past sampled where each cell came from.

    ab, past  (N, 2, h, w) float32, ab units; past is the state, zeros at the start
    motion    (N, h, w, 2), (dx, dy) in cells: where this cell was in the previous frame, relative to itself
    keep      (N, h, w) in [0, 1]: weight of the past
    returns   (N, 2, h, w) float32: the colors, and the next state
    raises    ShapeError for shapes that do not fit
    """
    batch, _, h, w = ab.shape
    for name, array, shape in (("past", past, ab.shape), ("motion", motion, (batch, h, w, 2)),
                               ("keep", keep, (batch, h, w))):  # fmt: skip
        if array.shape != shape:
            raise ShapeError(f"{name} must be {shape} beside ab {ab.shape}, found {array.shape}")
    moved = warp(past.transpose(0, 2, 3, 1), motion).transpose(0, 3, 1, 2)
    keep = keep[:, None].astype(np.float32)
    return np.ascontiguousarray((1 - keep) * ab + keep * moved, dtype=np.float32)
