"""Colors on the token grid over time: looks of the network, each blended with the ones before it, and after it too
where the frames may wait for those.

Past looks are blended by ColorTokenDecode as they come, as probabilities, with a weight that halves every half-life.
That is the filter half of a Kalman filter of colors that drift; looking ahead is the other half, the smoother of Rauch,
Tung and Striebel (AIAA Journal, 1965): from the last look of a window back to the first, each look's probabilities are
blended with those of the one after it, by the same weight. Without tokens both halves are done in ab. What is blended
then gets back the chroma that the looks had. A frame between two looks takes its colors from both, along the motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecolor.chroma_gain import SAMPLED, chroma_power, chroma_power_of, moved_map, power_ratio, restored
from edgecolor.config import ColorConfig
from edgecolor.hint_field import HintField
from edgecolor.hints import Hint, HintedInput
from edgecolor.look_state import LookState, LookStates, blend
from edgecolor.motion.codec_motion import CodecMotion
from edgecolor.motion.flow import Flow, Motion, search_picture, warp_by
from edgecolor.motion.pace import Pace
from edgecolor.motion.scene_cut import SceneCuts
from edgecolor.recollection import Recollection, as_logits

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend


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
    state: LookState | None = None  # that ab was made from; None once no later look can change it
    chroma_power: np.ndarray | None = None  # of ab before chroma was restored; this and the next as in chroma_gain.py
    power_ratio: np.ndarray | None = None  # of what the network said to that
    users: np.ndarray | None = None  # (h, w) in [0, 1]: share of colors that the user gave, which are not restored
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
        self._states = LookStates(net, temperature)
        self.flow = Flow(*grid)
        self._cuts = SceneCuts(config.scene_cut)
        self._pace = Pace(config.network_rate)
        self.codec_motion: CodecMotion | None = None  # from frame to frame, where the file's own motion is to be used
        self._last: Look | None = None
        self.scene_cuts = 0  # seen since the beginning, the first frame not counted

    def see(
        self,
        lightness: np.ndarray,
        seconds: float,
        paced: bool = True,
        given: np.ndarray | None = None,
        begun: Sequence[Hint] = (),
        vectors: np.ndarray | None = None,
    ) -> Seen:
        """Take the next frame.

        lightness  (h0, w0) float32 L*
        paced      False: the network looks at it in any case
        given      its colors, where they are known: token probabilities (h, w, Q)
        begun      hints that are for this frame
        vectors    the file's motion vectors, see LumaFrame
        """
        if self.codec_motion is not None:
            self.codec_motion.follow(vectors)
        is_cut = self._cuts.is_cut(lightness)
        picture = search_picture(lightness)
        if paced and given is None and not begun and not is_cut and not self._pace.is_due(seconds):
            motion = self._to_last(picture)
            if self._pace.is_explained(motion):
                return Seen(seconds, picture, self._last, motion)
        self._pace.looked(seconds)
        if self.codec_motion is not None:
            self.codec_motion.begin()
        self._last = self._look(lightness, picture, seconds, is_cut, given, begun)
        return Seen(seconds, picture, self._last, None)

    def _to_last(self, picture: np.ndarray) -> Motion:
        """From this frame to the last look."""
        if self.codec_motion is not None and self.codec_motion.cells is not None:
            motion = self.flow.checked(picture, self._last.picture, self.codec_motion.cells)
            if self._pace.is_explained(motion):
                return motion
        return self.flow.towards(picture, self._last.picture)

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
        if self.half_life:
            look.state = self._states.of(ab)
            look.chroma_power = chroma_power_of(ab)
            look.power_ratio = np.ones_like(look.chroma_power)
            look.users = np.broadcast_to(np.float32(self._users(look.is_given)), ab.shape[1:])
            if weight and not look.is_given:
                kept = self._without_fresh(keep)[0]
                look.power_ratio = self._power_ratio(look, before, kept, cells[0])
                look.users = np.maximum(look.users, kept * warp_by(before.users, cells[0]))
                look.ab = restored(ab, look.power_ratio * look.chroma_power, look.users)
        if weight:
            before.next, before.onward = look, onward
        return look

    def _users(self, is_given: bool) -> np.ndarray | float:
        """Share of the user's colors in the look that was asked about last."""
        if is_given or (isinstance(self.hints, HintedInput) and self.hints):
            return 1.0  # how far a network takes hints that are its input, it does not say
        return self.recollection.users if self.recollection else 0.0

    def _power_ratio(self, look: Look, before: Look, keep: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Look.power_ratio, blended with that of the looks before as colors are: by itself it would flicker."""
        said = chroma_power(self._states.said(look.state, before.state, keep, cells))
        keep = keep[SAMPLED, SAMPLED]
        return (1 - keep) * power_ratio(said, look.chroma_power) + keep * moved_map(before.power_ratio, cells)

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
        first = max((i + 1 for i, look in enumerate(looks[:-1]) if look.is_settled), default=0)
        last = looks[-1]
        last.is_settled = count == len(looks)
        if first == len(looks) - 1:
            return
        channels = np.flatnonzero(np.any([look.state.telling for look in looks[first:]], axis=0))
        later, ratio, users = last.state.values.take(channels, axis=2), last.power_ratio, last.users
        for i in reversed(range(first, len(looks) - 1)):
            look = looks[i]
            own = look.state.values.take(channels, axis=2)  # in memory as the state is; indexing would turn it over
            if look.is_given:  # the user's colors stay, and those before see them as they are
                later, ratio, users = own, look.power_ratio, look.users
            else:
                share = look.next.weight * look.onward.shown
                later = blend(own, later, look.onward.cells, share)
                users = np.maximum(look.users, share * warp_by(users, look.onward.cells))
                part = share[SAMPLED, SAMPLED]
                ratio = (1 - part) * look.power_ratio + part * moved_map(ratio, look.onward.cells)
            if i < count:
                if not look.is_given:
                    ab = self._states.ab(later, channels)
                    look.ab, look.users = restored(ab, ratio * look.chroma_power, users), users
                look.state, look.is_settled = None, True

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
        first, second = moved(seen.look.ab, seen.motion), moved(after.ab, onward)
        ab = first * (1 - right) + second * right
        users = np.maximum(warp_by(seen.look.users, seen.motion.cells), warp_by(after.users, onward.cells))
        right = right[SAMPLED, SAMPLED]
        return restored(ab, (1 - right) * chroma_power_of(first) + right * chroma_power_of(second), users)
