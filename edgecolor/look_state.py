"""What a look at one frame leaves behind, in a form that can be blended: token probabilities, or ab without tokens.

A state is (h, w, C) float32: C = Q probabilities that sum to 1, or C = 2 in ab units.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgecolor.chroma_gain import SAMPLED
from edgecolor.color.tokens import annealed_mean, palette
from edgecolor.motion.flow import warp_by
from edgecolor.stages.logits_to_ab import bilinear

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

# Weight in the annealed mean of a token next to its cell's most probable one, below which it is of no account: all of
# them together come to 0.04 ab units at most on the frames it was tried on.
LEAST_WEIGHT = 1e-3
AT_ONCE = 64  # channels that OpenCV brings along: more than 127 some versions of it take for something else
STILL = 0.05  # cells: what moves less is taken from its own place
LEAST_SAID = 0.02  # share of a look in its state; of less, rounding leaves little to be read


@dataclass
class LookState:
    """values (h, w, C); least: share of the most probable token that is of account, None without tokens."""

    values: np.ndarray
    least: float | None

    @cached_property
    def telling(self) -> np.ndarray:
        """(C,) bool: the channels that matter for the color of any cell; a quarter of the tokens, mostly."""
        if self.least is None:
            return np.ones(self.values.shape[-1], bool)
        return (self.values >= self.least * self.values.max(-1, keepdims=True)).any((0, 1))


def blend(own: np.ndarray, other: np.ndarray, cells: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(1 - share) of own values (h, w, C), and share (h, w) of another look's, brought here along cells (h, w, 2)."""
    moved = cells * (np.abs(cells).max(axis=2, keepdims=True) > STILL)
    parts = [warp_by(other[..., i : i + AT_ONCE], moved) for i in range(0, other.shape[2], AT_ONCE)]
    blended = np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)
    blended -= own  # in place: three more arrays of this size would take as long as all the rest
    blended *= share[..., None]
    blended += own
    return blended


class LookStates:
    """Reads a network's states.

    net  a backend that was started
    """

    def __init__(self, net: "Backend", temperature: float):
        self.net, self.temperature = net, temperature
        self.centers = palette(net.manifest.palette).centers if net.manifest.kind == "tokens" else None

    def of(self, ab: np.ndarray) -> LookState:
        """The state after the step or decode that gave ab (2, h, w)."""
        if self.centers is None:
            return LookState(np.ascontiguousarray(np.moveaxis(ab, 0, 2)), None)
        return LookState(self.net.probs()[0], LEAST_WEIGHT**self.temperature)

    def ab(self, values: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """(2, h, w) of values that have only the channels of these indices left."""
        if self.centers is not None:
            values = annealed_mean(values, self.centers[channels], self.temperature)
        return np.ascontiguousarray(np.moveaxis(values, 2, 0), dtype=np.float32)

    def said(self, state: LookState, before: LookState, keep: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """What the network said of this frame by itself, at the sampled cells: ab (2, rows, columns).

        state   (1 - keep) of what it said, and keep of `before`, the earlier state, brought here
        keep    (h, w)
        cells   (h, w, 2): motion to the earlier frame
        """
        h, w, _ = state.values.shape
        rows, columns = np.mgrid[:h, :w].astype(np.float32)
        x, y = columns + cells[..., 0], rows + cells[..., 1]
        past = bilinear(before.values, x[SAMPLED, SAMPLED], y[SAMPLED, SAMPLED])
        keep = keep[SAMPLED, SAMPLED, None]
        said = past + (state.values[SAMPLED, SAMPLED] - past) / np.maximum(1 - keep, LEAST_SAID)
        if self.centers is not None:
            said = annealed_mean(np.maximum(said, 0), self.centers, self.temperature)
        return np.moveaxis(said, 2, 0)
