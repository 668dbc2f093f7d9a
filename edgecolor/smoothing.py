"""Colors on the token grid over time: looks of the network, each blended with the ones before it, and after it too
where the frames may wait for those.

Past looks are blended by ColorTokenDecode as they come, as probabilities, with a weight that halves every half-life.
That is the filter half of a Kalman filter of colors that drift; looking ahead is the other half, the smoother of Rauch,
Tung and Striebel (AIAA Journal, 1965): from the last look of a window back to the first, each look's ab is blended with
the one after it, by the same weight. This half is done in ab: as probabilities it looked and measured the same
(docs/flicker.md), and took as long as half a network. A frame between two looks takes its colors from both, along the
motion.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecolor.config import ColorConfig
from edgecolor.hint_field import HintField
from edgecolor.hints import Hint, HintedInput
from edgecolor.motion.flow import Flow, Motion, search_picture, warp_by
from edgecolor.motion.pace import Pace
from edgecolor.motion.scene_cut import SceneCuts
from edgecolor.recollection import Recollection, as_logits

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

MOST_WAITING = 96  # frames, however short they are: what waits is in memory


def keep_of(elapsed: float, half_life: float) -> float:
    """Weight of the past after `elapsed` seconds: 1/2 after one half-life; 0 where smoothing is off."""
    return 2.0 ** (-max(elapsed, 0.0) / half_life) if half_life > 0 else 0.0


@dataclass
class Look:
    """One frame that the network looked at."""

    seconds: float
    picture: np.ndarray  # as motion is searched in
    ab: np.ndarray  # (2, h, w), by this look and the ones before it; once settled by those after it too
    weight: float  # of the look before it, where both show the same thing
    next: "Look | None" = None  # the next one of the scene
    onward: Motion | None = None  # from this one to the next
    is_settled: bool = False
    is_given: bool = False  # its colors are the user's


@dataclass
class Seen:
    """One frame: a look (motion is None), or what follows a look along the motion."""

    seconds: float
    picture: np.ndarray
    look: Look
    motion: Motion | None

    def ab(self) -> np.ndarray:
        """(2, h, w), whatever comes after."""
        return self.look.ab if self.motion is None else moved(self.look.ab, self.motion)


def moved(ab: np.ndarray, motion: Motion) -> np.ndarray:
    """ab (2, h, w) of another frame brought to where its things are in this one."""
    return np.moveaxis(warp_by(np.moveaxis(ab, 0, 2), motion.cells), 2, 0)


class Smoother:
    """Shows the frames of one video, in order, to the network and blends what it says of them.

    net          a backend that was started with the working size
    grid         (h, w) of its tokens
    recollection has a say in what the network says, if given
    hints        carries the user's colors from look to look, if there are any; the same as the recollection's
    """

    def __init__(
        self,
        net: "Backend",
        config: ColorConfig,
        temperature: float,
        grid: tuple[int, int],
        recollection: Recollection | None = None,
        hints: HintField | HintedInput | None = None,
    ):
        self.net, self.temperature, self.half_life = net, temperature, config.half_life
        self.recollection, self.hints = recollection, hints
        self.flow = Flow(*grid)
        self._cuts = SceneCuts(config.scene_cut)
        self._pace = Pace(config.network_rate)
        self._last: Look | None = None
        self.scene_cuts = 0  # seen since the beginning, the first frame not counted

    def see(
        self,
        lightness: np.ndarray,
        seconds: float,
        paced: bool = True,
        given: np.ndarray | None = None,
        begun: Sequence[Hint] = (),
    ) -> Seen:
        """Take the next frame.

        lightness  (h0, w0) float32 L*
        paced      False: the network looks at it in any case
        given      its colors, where they are known: token probabilities (h, w, Q)
        begun      hints that are for this frame
        """
        is_cut = self._cuts.is_cut(lightness)
        picture = search_picture(lightness)
        if paced and given is None and not begun and not is_cut and not self._pace.is_due(seconds):
            motion = self.flow.towards(picture, self._last.picture)
            if self._pace.is_explained(motion):
                return Seen(seconds, picture, self._last, motion)
        self._pace.looked(seconds)
        self._last = self._look(lightness, picture, seconds, is_cut, given, begun)
        return Seen(seconds, picture, self._last, None)

    def _look(
        self,
        lightness: np.ndarray,
        picture: np.ndarray,
        seconds: float,
        is_cut: bool,
        given: np.ndarray | None,
        begun: Sequence[Hint],
    ) -> Look:
        before, weight, cells, keep = self._last, 0.0, None, 0.0
        if before is not None:
            self.scene_cuts += is_cut
            weight = 0.0 if is_cut else keep_of(seconds - before.seconds, self.half_life)
        if self.hints is not None and is_cut:
            self.hints.forget()
        if weight or (before is not None and self.hints):
            back, onward = self.flow.both(picture, before.picture)
            if self.hints is not None:
                self.hints.follow(back, onward, seconds - before.seconds)
        if self.hints is not None:
            self.hints.begin(begun)
        if weight:
            cells, keep = back.cells[None], weight * back.shown[None]
        ab = self._asked(lightness[None, None], keep, cells, seconds, given)[0]
        look = Look(seconds, picture, ab, weight, is_given=given is not None)
        if weight:
            before.next, before.onward = look, onward
        return look

    def _asked(self, lightness: np.ndarray, keep, cells, seconds: float, given: np.ndarray | None) -> np.ndarray:
        """ab (1, 2, h, w) of one look, blended with the past."""
        if given is not None:
            known = self.recollection
            logits = as_logits(given)[None] if known is None else known.corrected(self.net, lightness, given)
            return self.net.decode(logits, 0.0, None, self.temperature)
        if not self.recollection:
            return self.net.step(lightness, self._without_fresh(keep), cells, self.temperature)
        logits = self.recollection.logits(self.net, lightness, seconds)
        ab = self.net.decode(logits, self._without_fresh(keep), cells, self.temperature)
        self.recollection.learn(self.net, seconds)
        return ab

    def _without_fresh(self, keep):
        """keep, less of it where a hint begins: the past does not know it."""
        return keep if self.hints is None or np.ndim(keep) == 0 else keep * (1 - self.hints.fresh)

    def settle(self, looks: list[Look], count: int) -> None:
        """Blend the first `count` of successive looks of a scene with those after them, as far as they are given."""
        later = looks[-1].ab
        looks[-1].is_settled = count == len(looks)
        for i in range(len(looks) - 2, -1, -1):
            look = looks[i]
            if look.is_settled:
                break
            if not look.is_given:  # the user's colors stay, and those before see them as they are
                share = look.next.weight * look.onward.shown
                later = (1 - share) * look.ab + share * moved(later, look.onward)
            else:
                later = look.ab
            if i < count:
                look.ab, look.is_settled = later, True

    def between(self, seen: Seen) -> np.ndarray:
        """(2, h, w) of a frame, from the looks before and after it."""
        after = seen.look.next
        if seen.motion is None or after is None:
            return seen.ab()
        onward = self.flow.towards(seen.picture, after.picture)
        share = (seen.seconds - seen.look.seconds) / max(after.seconds - seen.look.seconds, 1e-9)
        # What only one of the two looks shows comes from that one; what neither shows, from both.
        left, right = (1 - share) * (seen.motion.shown + 0.01), share * (onward.shown + 0.01)
        right /= left + right
        return moved(seen.look.ab, seen.motion) * (1 - right) + moved(after.ab, onward) * right


class LookAhead:
    """Holds frames back until the looks of the next `window` seconds have a say in their colors.

    Frames of up to two windows wait, so that each time the way back from the last look settles half of them.
    """

    def __init__(self, smoother: Smoother, window: float):
        self.smoother, self.window = smoother, window
        self._waiting: deque[tuple[Any, Seen | None]] = deque()
        self._frames = 0  # of what waits
        self._looks: list[Look] = []  # of the scene, that are not behind all that waits

    @property
    def is_full(self) -> bool:
        """Whether so many frames wait that the next one should get a look, which sets free those before the last."""
        return self._frames >= MOST_WAITING

    def add(self, item: Any, seen: Seen | None) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Take the next item with its frame (None where it is none); give what is ready, in order, with its ab."""
        if seen is not None and seen.motion is None:
            if not seen.look.weight:
                yield from self.rest()
            self._looks.append(seen.look)
            if seen.seconds - self._looks[0].seconds >= 2 * self.window or self.is_full:
                yield from self._settled(seen.seconds - self.window)
        self._waiting.append((item, seen))
        self._frames += seen is not None

    def _settled(self, until: float) -> Iterator[tuple[Any, np.ndarray | None]]:
        """Everything before the last look up to that time; before the second one at least."""
        count = max(sum(look.seconds <= until for look in self._looks), 2)
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
