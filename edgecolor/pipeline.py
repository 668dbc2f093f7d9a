"""Colorizer: the stages in order, and the state between frames."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.frames import ChromaFormat, ColorFrame, LumaFormat, LumaFrame
from edgecolor.hint_field import HintField
from edgecolor.hints import TIME_ROUNDING, DueHints, Hint, HintedInput, check_places
from edgecolor.look_ahead import LookAhead
from edgecolor.mood import warmth_shift
from edgecolor.motion.codec_motion import CodecMotion
from edgecolor.recollection import Recollection
from edgecolor.references import LEAST_SATURATION, Reference, learn_references
from edgecolor.smoothing import Seen, Smoother
from edgecolor.stages.ab_to_frame import AbToChroma
from edgecolor.stages.ab_to_rgb import ab_to_rgb, upsample_ab_to_image
from edgecolor.stages.frame_to_lightness import FrameToLightness, image_to_lightness, resize_lightness, working_size
from edgecolor.stages.upsample_ab import UpsampleAb

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend


class Colorizer:
    """Colorizes pictures, or the frames of one video after the other, with a network that is given to it.

    net     an open backend; it keeps the token probabilities between frames
    config  temperature, saturation, smoothing; what is None there is taken from the model's manifest
    references  pictures whose colors are carried to what looks like it
    hints   colors at places of the video's or the picture's full size; each follows its thing to the next scene cut
    raises  ConfigError where the model can take no references or hints

    One Colorizer serves one video at a time: `begin`, then `colors` of all its items, or `ab` frame by frame,
    and `chroma` of each result (in another thread, if wanted: it touches no state). For pictures of one's own: `image`
    and `frame`.
    """

    def __init__(
        self,
        net: "Backend",
        config: ColorConfig | None = None,
        references: Sequence[Reference] = (),
        hints: Sequence[Hint] = (),
    ):
        self.net, self.references, self.hints = net, references, hints
        config, manifest = config or ColorConfig(), net.manifest
        if config.half_life is None:
            config = replace(config, half_life=manifest.half_life)
        self.config = config
        self.temperature = manifest.temperature if config.temperature is None else config.temperature
        self.saturation = manifest.saturation if config.saturation is None else config.saturation
        self.short_side = manifest.working_size if config.working_size is None else config.working_size
        self.multiple = manifest.multiple
        self._warmth = warmth_shift(manifest, config)
        self.look_ahead = config.look_ahead if config.half_life else 0.0  # without smoothing there is nothing to settle
        self._size: tuple[int, int] | None = None
        self._smoother: Smoother | None = None
        self._due: DueHints | None = None
        self._frames, self._passed = 0, -math.inf  # how many came since the beginning, and seconds of the last one
        if references and manifest.kind != "tokens":
            raise ConfigError(f"{manifest.name} has no color tokens, which references need: take a model with tokens")
        self._check_hints(hints)

    def _start(self, width: int, height: int) -> tuple[int, int]:
        """Choose the working size of an upright picture and let the network make its buffers for it."""
        size = working_size(width, height, self.short_side, self.multiple)
        if size != self._size:
            self.net.start(1, *size)
            self._size = size
        return size

    def _check_hints(self, hints: Sequence[Hint]) -> None:
        manifest = self.net.manifest
        if hints and manifest.kind != "tokens" and not manifest.hints:
            raise ConfigError(f"{manifest.name} takes no hints: take edge or another model with tokens, or siggraph17")

    def _forget(self, upright: tuple[int, int], hints: Sequence[Hint], origin: float = 0.0) -> None:
        """Begin anew, for frames of that width and height; origin as for begin."""
        check_places(hints, *upright)
        height, width = self._size
        grid = (height // self.net.manifest.stride, width // self.net.manifest.stride)
        memories, self._given = learn_references(
            self.net, self.references, height, width, self.temperature, self.saturation
        )
        shot_memory = self.config.shot_memory if self.net.manifest.kind == "tokens" else 0.0
        memories = [(since + origin if since else -math.inf, memory) for since, memory in memories]
        field = painter = None
        if self.net.manifest.hints:
            painter = HintedInput(self.net, grid, *upright, max(self.saturation, LEAST_SATURATION))
        elif hints:
            painter = field = HintField(self.net, *upright, self.temperature, self.saturation)
        self._frames, self._passed, self._origin = 0, -math.inf, origin
        self._due = DueHints(hints, origin)
        recollection = Recollection(memories, shot_memory, field)
        self._smoother = Smoother(self.net, self.config, self.temperature, grid, recollection, painter)

    @property
    def scene_cuts(self) -> int:
        """How many were seen since the beginning, the first frame not counted."""
        return self._smoother.scene_cuts if self._smoother else 0

    @property
    def unused(self) -> list[str]:
        """One line for each reference and hint whose frame or time has not come since the beginning."""
        lines = []
        for reference in self.references:
            if reference.frame is not None and reference.frame >= self._frames:
                counted = f"{self._frames} frames came, counted from 0 where coloring starts"
                lines.append(f"the corrected frame {reference.frame} was not used: {counted}")
            elif reference.since and reference.since > self._passed + TIME_ROUNDING:
                lines.append(f"the reference from {reference.since:g} s on was not used: the video was over before")
        late = self._due.left if self._due else []
        return lines + [f"hint {hint} was not used, the video was over before: give an earlier time" for hint in late]

    def begin(self, luma_format: LumaFormat, chroma_format: ChromaFormat, origin: float = 0.0) -> None:
        """Get ready for the frames of one video, and forget the one before.

        origin  what the frames' times are, in seconds, where those of references and hints count from
        raises  ConfigError for a hint outside of the picture
        """
        height, width = self._start(*luma_format.upright)
        stride = self.net.manifest.stride
        self._to_lightness = FrameToLightness(luma_format, height, width)
        self._upsample = UpsampleAb(luma_format, chroma_format, height // stride, width // stride)
        self._to_chroma = AbToChroma(luma_format, self.saturation)
        self._forget(luma_format.upright, self.hints, origin)
        if self.config.motion == "codec":
            self._smoother.codec_motion = CodecMotion(luma_format, height // stride, width // stride)

    def colors(self, items: Iterable) -> Iterator[tuple[Any, np.ndarray | None]]:
        """A video's items, in order, each with its ab on the token grid, (2, h, w) float32; None where it is no frame.

        They come late by up to twice the look-ahead, or by two looks where these are further apart.
        """
        if not self.look_ahead:
            for item in items:
                yield item, self.ab(item) if isinstance(item, LumaFrame) else None
            return
        for item, ab in self._settled(items):
            yield item, None if ab is None else ab + self._warmth

    def _settled(self, items: Iterable) -> Iterator[tuple[Any, np.ndarray | None]]:
        ahead = LookAhead(self._smoother, self.look_ahead)
        for item in items:
            yield from ahead.add(item, self._see(item, not ahead.is_full) if isinstance(item, LumaFrame) else None)
        yield from ahead.rest()

    def ab(self, frame: LumaFrame) -> np.ndarray:
        """The colors of the next frame on the token grid, smoothed with those before: (2, h, w) float32, ab units."""
        return self._see(frame).ab() + self._warmth

    def _see(self, frame: LumaFrame, paced: bool = True) -> Seen:
        given = self._given.get(self._frames)
        self._frames += 1
        self._passed = frame.pts_seconds - self._origin
        begun = self._due.take(frame.pts_seconds, float((frame.duration or 0) * frame.time_base))
        lightness = self._to_lightness(frame.luma)[0, 0]
        return self._smoother.see(lightness, frame.pts_seconds, paced, given, begun, frame.vectors)

    def chroma(self, frame: LumaFrame, ab: np.ndarray) -> ColorFrame:
        """Bring ab to the chroma planes of the frame it was made for; the luma is passed on as it is."""
        planes, luma_at_chroma = self._upsample(ab, frame.luma)
        return ColorFrame(frame, *self._to_chroma(luma_at_chroma, planes))

    def frame(self, image: np.ndarray, seconds: float) -> np.ndarray:
        """Colorize the next frame of a sequence of one's own, smoothed with the ones before.

        image    (H, W) gray or (H, W, 3) RGB, uint8 or uint16; only its lightness is used
        seconds  its time; what matters is the distance to the frame before, and that a hint begins with the first
                 frame at its time or later
        returns  (H, W, 3) RGB of the image's type
        """
        return self._frame(image, seconds, self.hints)

    def _frame(self, image: np.ndarray, seconds: float, hints: Sequence[Hint]) -> np.ndarray:
        lightness = image_to_lightness(image)
        height, width = lightness.shape
        known = self._size
        h0, w0 = self._start(width, height)
        if known != (h0, w0) or self._smoother is None:
            self._forget((width, height), hints)
        begun = self._due.take(seconds, 0.0)
        ab = self._smoother.see(resize_lightness(lightness, h0, w0), seconds, paced=False, begun=begun).ab()
        ab = (ab + self._warmth) * np.float32(self.saturation)
        return ab_to_rgb(lightness, upsample_ab_to_image(ab, lightness), image.dtype.type)

    def image(self, image: np.ndarray, hints: Sequence[Hint] | None = None) -> np.ndarray:
        """Colorize one picture by itself: as `frame`, without a past.

        hints   for this picture; None: those that the colorizer was made with
        raises  ConfigError for hints outside of the picture, hints or references with a time, and hints that the model
                cannot take
        """
        hints = self.hints if hints is None else hints
        self._check_hints(hints)
        if timed := [hint for hint in hints if hint.seconds]:
            raise ConfigError(f"hint {timed[0]} has a time, and this is a picture: leave the @ and the time out")
        if late := [reference for reference in self.references if reference.since]:
            raise ConfigError(f"a reference holds from {late[0].since:g} s on, and this is a picture: leave the @ and "
                              "the time out")  # fmt: skip
        self._smoother = None
        return self._frame(image, 0.0, hints)
