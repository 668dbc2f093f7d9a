"""What the network says, corrected by what is remembered: pictures given as references, earlier scenes, and hints."""

from typing import TYPE_CHECKING

import numpy as np

from edgecolor.color.tokens import softmax
from edgecolor.hint_field import HintField
from edgecolor.memory import TokenMemory

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

LEAST_PROBABILITY = 1e-12  # far below what blending keeps in float32; its logarithm is finite
LEARN_EVERY = 1.0  # seconds between two looks that are learnt


def as_logits(probs: np.ndarray) -> np.ndarray:
    """Probabilities of any shape as logits that softmax turns into them."""
    return np.log(np.maximum(probs, LEAST_PROBABILITY))


class Recollection:
    """Holds the memories of one video.

    references   (since, memory) each, by time; the last one that has begun holds
    shot_memory  weight of what earlier looks of this video say, in [0, 1]; 0: nothing is learnt
    hints        what the user put in; outdoes the rest
    """

    def __init__(self, references: list[tuple[float, TokenMemory]], shot_memory: float, hints: HintField | None = None):
        self.hints = hints
        self.references, self.shot_memory = sorted(references, key=lambda pair: pair[0]), shot_memory
        self.users: np.ndarray | float = 0.0  # (h, w) in [0, 1]: share of the user's colors in the last look
        self._shots = TokenMemory()
        self._features: np.ndarray | None = None
        self._learnt: float | None = None  # in seconds

    def __bool__(self) -> bool:
        return bool(self.references) or self.shot_memory > 0 or bool(self.hints)

    def logits(self, net: "Backend", lightness: np.ndarray, seconds: float) -> np.ndarray:
        """(1, h, w, Q) for lightness (1, 1, h0, w0): the network's where nothing like it is remembered."""
        logits, features = net.logits(lightness)
        self._features = features[0]
        probs, self.users = None, 0.0
        for memory, weight in ((self._shots, self.shot_memory), (self._reference(seconds), 1.0)):
            if memory is None or not len(memory):
                continue
            remembered, trust = memory.recall(self._features)
            share = (weight * trust)[..., None]
            if memory is not self._shots:
                self.users = trust
            probs = softmax(logits)[0] if probs is None else probs
            probs = (1 - share) * probs + share * remembered
        if self.hints:
            plain = softmax(logits)[0]
            probs = self.hints.paint(plain if probs is None else probs, plain, self._features, lightness[0, 0])
            self.users = np.maximum(self.users, self.hints.share)
        return logits if probs is None else as_logits(probs)[None]

    def corrected(self, net: "Backend", lightness: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The same for a frame whose probabilities are given, (h, w, Q): hints for this very frame come on top."""
        if self.hints and self.hints.begins:
            logits, features = net.logits(lightness)
            given = self.hints.paint_begun(given, softmax(logits)[0], features[0], lightness[0, 0])
        return as_logits(given)[None]

    def _reference(self, seconds: float) -> TokenMemory | None:
        return next((memory for since, memory in reversed(self.references) if since <= seconds), None)

    def learn(self, net: "Backend", seconds: float) -> None:
        """Remember what came of the frame that was asked about last: the network's state, now and then."""
        if self.shot_memory and (self._learnt is None or seconds - self._learnt >= LEARN_EVERY):
            self._shots.learn(self._features, net.probs()[0], only_new=True)
            self._learnt = seconds
