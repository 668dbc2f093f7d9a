"""Hints for a model of color tokens: what they make of its probabilities, in the frame they were given on and later.

In its own frame a hint spreads over the thing that it is on (hint_spread.py). From look to look its share in each cell
then goes along the motion, as the colors themselves do; what the motion does not show, and what it has carried
astray, is set right by a memory of what looked how in the hint's own frame (memory.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgecolor.hint_spread import Appearance, grow, spread
from edgecolor.hints import Hint
from edgecolor.memory import TokenMemory
from edgecolor.motion.flow import Motion, warp_by
from edgecolor.references import LEAST_SATURATION, probs_of

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

CORRECTION = 1.0  # seconds after which half of what motion says is replaced by what is remembered
LEARN_EVERY = 1.0  # seconds between two looks that are learnt
MOST_PLACES = 16384
LEAST_SHARE = 0.01  # less is not seen, and costs as much
DRIFT = np.ones((5, 5), np.uint8)  # cells around a hinted one that may be the hint's a look later


class CarriedHints:
    """The hints of one moment, on their way through a scene.

    colors    (n, Q) float32: probabilities that paint the color of each
    shares    (h, w, n) float32 in [0, 1], in the frame of the hints
    own       how the cell of each looks
    features  (h, w, C) float32 of that frame
    """

    def __init__(self, colors: np.ndarray, shares: np.ndarray, own: list[Appearance], features: np.ndarray):
        self.colors, self.shares, self.own = colors, shares, own
        self._shown = np.ones(shares.shape[:2], np.float32)
        self._elapsed = self._since_learnt = 0.0  # seconds since the last look, and since one was learnt
        self._memory = TokenMemory(capacity=MOST_PLACES)
        self._memory.learn(features, shares)

    def follow(self, back: Motion, elapsed: float) -> None:
        self.shares = np.stack([warp_by(share, back.cells) for share in np.moveaxis(self.shares, 2, 0)], axis=2)
        self._shown = back.shown
        self._elapsed = elapsed

    def arrive(self, features: np.ndarray, probs: np.ndarray, lightness: np.ndarray, stride: int) -> None:
        """Set right what motion has made of the shares, by what this look shows; probs are the network's own."""
        remembered, trust = self._memory.recall(features)
        trust, shown = trust[..., None], self._shown[..., None]
        weight = trust * (1 - 2.0 ** (-self._elapsed / CORRECTION))
        carried = (1 - weight) * self.shares + weight * remembered
        # Another thing of the same looks, in view all the time, stays without the hint: it is not near.
        near = np.stack([cv2.dilate(share, DRIFT) for share in np.moveaxis(self.shares, 2, 0)], axis=2)
        carried = np.minimum(carried, near)
        hidden = self._shown < 0.5
        grown = carried
        if (near.sum(axis=2) * hidden).any():
            grown = grow(carried, ~hidden, self.own, features, probs, lightness, stride)
        self.shares = shown * carried + (1 - shown) * np.maximum(grown * hidden[..., None], trust * remembered)
        self.shares /= np.maximum(self.shares.sum(axis=2, keepdims=True), 1)
        self._since_learnt += self._elapsed
        if self._since_learnt >= LEARN_EVERY:
            self._memory.learn(features, self.shares, only_new=True)
            self._since_learnt = 0.0


class HintField:
    """All hints of one video.

    net            an open backend of a model with tokens
    width, height  of the upright picture, in pixels
    temperature, saturation  of the video's colors
    """

    def __init__(self, net: "Backend", width: int, height: int, temperature: float, saturation: float):
        self.manifest, self.size, self.temperature = net.manifest, (width, height), temperature
        self.saturation = max(saturation, LEAST_SATURATION)
        self._carried: list[CarriedHints] = []
        self._begun: list[Hint] = []
        self.fresh: np.ndarray | float = 0.0  # (h, w): share of hints that begin at this look, unknown to the past

    def __bool__(self) -> bool:
        return bool(self._carried or self._begun)

    @property
    def begins(self) -> bool:
        """Whether some are for the look that comes."""
        return bool(self._begun)

    @property
    def share(self) -> np.ndarray | float:
        """(h, w) in [0, 1]: how far the hints have painted the last look."""
        return np.max([carried.shares.sum(axis=2) for carried in self._carried], axis=0) if self._carried else 0.0

    def forget(self) -> None:
        """The scene is over."""
        self._carried = []

    def follow(self, back: Motion, onward: Motion, elapsed: float) -> None:
        """Go from the last look to this one, `elapsed` seconds later."""
        for carried in self._carried:
            carried.follow(back, elapsed)

    def begin(self, hints: Sequence[Hint]) -> None:
        """Those are put into the look that comes, besides the ones that are there."""
        self._begun, self.fresh = list(hints), 0.0

    def paint(self, probs: np.ndarray, plain: np.ndarray, features: np.ndarray, lightness: np.ndarray) -> np.ndarray:
        """What a look becomes.

        probs      (h, w, Q) float32, token probabilities without the hints
        plain      (h, w, Q) float32, those that the network itself gives; by them a hint finds the edges of things
        features   (h, w, C) float32 of the network
        lightness  (h0, w0) float32, L*
        """
        for carried in self._carried:
            carried.arrive(features, plain, lightness, self.manifest.stride)
            probs = self._mixed(probs, carried)
        return self.paint_begun(probs, plain, features, lightness)

    def paint_begun(
        self, probs: np.ndarray, plain: np.ndarray, features: np.ndarray, lightness: np.ndarray
    ) -> np.ndarray:
        """The same with the hints alone that are for this very frame."""
        if not self._begun:
            return probs
        (h, w), (width, height) = probs.shape[:2], self.size
        cells = [(int((hint.y + 0.5) / height * h), int((hint.x + 0.5) / width * w)) for hint in self._begun]
        ab = np.stack([hint.ab() for hint in self._begun]) / self.saturation
        colors = probs_of(ab[None], self.manifest.palette, self.temperature)[0]
        carried = CarriedHints(colors, *spread(cells, features, plain, lightness, self.manifest.stride), features)
        self._carried.append(carried)
        self._begun, self.fresh = [], carried.shares.sum(axis=2)
        return self._mixed(probs, carried)

    def _mixed(self, probs: np.ndarray, carried: CarriedHints) -> np.ndarray:
        """Mixed so that the annealed mean is the mean of the two colors by their shares; else a few per cent of a
        hint, being sure of itself, would outdo whatever the network only thinks likely.
        """
        shares = carried.shares
        where = shares.sum(axis=2) > LEAST_SHARE
        share, mixed = shares[where], probs.copy()
        annealed = (1 - share.sum(axis=1, keepdims=True)).clip(0) * _sharpened(probs[where], self.temperature)
        annealed += share @ _sharpened(carried.colors, self.temperature)
        mixed[where] = _sharpened(annealed, 1 / self.temperature)
        return mixed


def _sharpened(probs: np.ndarray, temperature: float) -> np.ndarray:
    """(n, Q) to the power of 1 / temperature, summing to 1 again."""
    powers = (probs / probs.max(axis=-1, keepdims=True)) ** np.float32(1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)
