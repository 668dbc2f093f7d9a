"""Frames that wait until what comes after them has a say in their colors."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgecolor.smoothing import Look, Seen, Smoother

MOST_WAITING = 96  # frames, however short they are: what waits is in memory
MOST_STATES = 1 << 29  # bytes of looks' states that wait


class LookAhead:
    """Holds frames back until the looks of the next `window` seconds have a say in their colors.

    Frames of up to two windows wait, or of two looks, so that each time the way back from the last look settles half of
    them.
    """

    def __init__(self, smoother: Smoother, window: float):
        self.smoother, self.window = smoother, window
        self._waiting: deque[tuple[Any, Seen | None]] = deque()
        self._frames = 0  # of what waits
        self._looks: list[Look] = []  # of the scene, that are not behind all that waits

    @property
    def is_full(self) -> bool:
        """Whether so many frames wait that the next one should get a look, which sets free those before the last."""
        states = sum(look.state.values.nbytes for look in self._looks if look.state is not None)
        return self._frames >= MOST_WAITING or states >= MOST_STATES

    def add(self, item: Any, seen: Seen | None) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Take the next item with its frame (None where it is none); give what is ready, in order, with its ab."""
        if seen is not None and seen.motion is None:
            if not seen.look.weight:
                yield from self.rest()
            self._looks.append(seen.look)
            # However short the window, one look after those that are settled has a say.
            is_over = len(self._looks) > 2 and seen.seconds - self._looks[0].seconds >= 2 * self.window
            if is_over or (len(self._looks) > 1 and self.is_full):
                yield from self._settled(seen.seconds - self.window)
        self._waiting.append((item, seen))
        self._frames += seen is not None

    def _settled(self, until: float) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Everything before the last look up to that time; before the second one at least."""
        count = max(sum(look.seconds <= until for look in self._looks), 2)
        if self.is_full:  # half of them at once: each time the way back is over all that are left
            count = max(count, len(self._looks) // 2 + 1)
        self.smoother.settle(self._looks, count)
        self._looks = self._looks[count - 1 :]
        while self._waiting and not _is_of(self._waiting[0][1], self._looks[0]):
            yield self._next()

    def rest(self) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Everything that waits: the scene is over."""
        if self._looks:
            self.smoother.settle(self._looks, len(self._looks))
        self._looks = []
        while self._waiting:
            yield self._next()

    def _next(self) -> tuple[Any, np.ndarray | None]:
        item, seen = self._waiting.popleft()
        self._frames -= seen is not None
        return item, None if seen is None else self.smoother.between(seen)


def _is_of(seen: Seen | None, look: Look) -> bool:
    return seen is not None and seen.look is look
