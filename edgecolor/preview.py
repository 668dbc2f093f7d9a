"""One frame under different settings, side by side, so that a person can choose by looking."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edgecolor.backends import open_backend
from edgecolor.backends.views import with_views
from edgecolor.color.resize import shrink
from edgecolor.color.yuv import ycbcr_to_rgb
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Siting
from edgecolor.hints import Hint, check_places
from edgecolor.images import Still, check_image_output, is_image, read_image, write_image
from edgecolor.mood import warmth_shift
from edgecolor.picture_grid import CELL, picture_grid
from edgecolor.pipeline import Colorizer
from edgecolor.references import Reference
from edgecolor.stages.ab_to_frame import AbToChroma
from edgecolor.stages.upsample_ab import UpsampleAb

# Setting -> the values that are shown unless others are given.
AXES: dict[str, tuple[float, ...]] = {
    "temperature": (0.2, 0.4, 0.6, 1.0),
    "half-life": (0.0, 0.25, 1.0, 3.0),
    "saturation": (0.7, 1.0, 1.3, 1.6),
    "warmth": (-20.0, -10.0, 0.0, 10.0, 20.0),
    "working-size": (192, 256, 384, 512),
    "look-ahead": (0.0, 0.5, 1.0),
}
OF_VIDEOS, OF_PICTURES = "temperature,half-life", "temperature,saturation"  # grids that are drawn unless one is given
OVER_TIME = ("half-life", "look-ahead")  # settings that a picture by itself does not have
MOST_CELLS = 36
HALF_LIVES = 3  # that are run through before the frame: what is older weighs an eighth
SHORTEST, LONGEST = 0.5, 4.0  # seconds that are run through before it
FOLLOWED = 30.0  # seconds before it from which a hint is followed up to it: the frames in between are held in memory
TOLERANCE = 1e-3  # seconds: some containers round times to it

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Axis:
    """A setting, and the values that it is tried with; empty: those of AXES and the one that is set."""

    name: str
    values: tuple[float, ...] = ()

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


def parse_grid(text: str) -> list[Axis]:
    """Read one or two axes, such as "temperature,half-life" or "saturation=0.8/1/1.2"; ConfigError if it is unclear."""
    axes = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, listed = part.partition("=")
        if name not in AXES:
            raise ConfigError(f"the grid has no axis {name!r}: choose from {', '.join(AXES)}")
        try:
            values = tuple(float(value) for value in listed.split("/")) if listed else ()
        except ValueError as error:
            raise ConfigError(f"{part!r} lists no numbers: write it as {name}={_listed(AXES[name])}") from error
        axes.append(Axis(name, values))
    names = [axis.name for axis in axes]
    if not 1 <= len(axes) <= 2 or len(set(names)) < len(names):
        raise ConfigError(f"a grid has one or two different axes, such as temperature,half-life; got {text!r}")
    return axes


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}".removesuffix(".00")


def _listed(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)


def _values(axis: Axis, now: float) -> tuple[float, ...]:
    return axis.values or tuple(sorted({*AXES[axis.name], now}))


def _with(config: ColorConfig, axes: list[Axis], values: tuple[float, ...]) -> ColorConfig:
    """The settings of one cell; raises ConfigError where a value is impossible."""
    for axis, value in zip(axes, values, strict=True):
        if axis.name == "working-size" and not value.is_integer():
            raise ConfigError(f"working-size is in whole pixels, got {value:g}")
        config = replace(config, **{axis.field: int(value) if axis.name == "working-size" else value})
    return config


class Excerpt(NamedTuple):
    """The frames around a time, made small."""

    frames: list[LumaFrame]
    index: int  # of the one that is on the screen then
    luma_format: LumaFormat
    full: tuple[int, int]  # width and height of the file's pictures, upright
    origin: float  # what the frames' times are at the file's beginning, in seconds


def out_of_reach(hints: Sequence[Hint], at: float | None) -> list[Hint]:
    """Those that a preview at that time does not show, because they begin too long before it."""
    return [hint for hint in hints if hint.seconds < (at or 0.0) - FOLLOWED]


def preview(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    grid: str | None = None,
    at: float | None = None,
    model: str | os.PathLike | None = None,
    *,
    backend: str = "auto",
    config: ColorConfig | None = None,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] = (),
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Color one frame of a video, or a picture, in every combination of settings, and write them as one picture.

    dst       PNG, JPEG, TIFF or WebP
    grid      as parse_grid takes it: the first axis runs to the right, the second down; None: OF_VIDEOS, OF_PICTURES
    at        seconds from the beginning of a video; None for its beginning; for a picture it has no meaning
    config    what the settings are that do not vary
    references, hints  as for colorize_video, but no corrected frames; hints that begin after the frame's look-ahead, or
              that out_of_reach names, have no part in it
    progress  called with the number of frames that were run through, and of those that will be
    returns   how many columns and rows there are
    raises    ConfigError (axis, value, time), MediaError and the others of colorize_video
    """
    src, dst, config = Path(src), Path(dst), config or ColorConfig()
    still = is_image(src)
    axes = parse_grid((OF_PICTURES if still else OF_VIDEOS) if grid is None else grid)
    if still and (vain := [axis.name for axis in axes if axis.name in OVER_TIME]):
        raise ConfigError(f"{vain[0]} is for videos, and {src.name} is a picture: take another axis")
    if still and at is not None:
        raise ConfigError(f"a time is for videos, and {src.name} is a picture: leave it out")
    check_image_output(dst, src, overwrite)
    net = with_views(open_backend(model, backend, threads), config.views)
    if any(reference.frame is not None for reference in references):
        raise ConfigError("a preview counts no frames, so it takes no corrected ones: give them as references")
    colorizer = Colorizer(net, config, references, hints)
    config = colorizer.config
    now = [_setting(colorizer, axis.field) for axis in axes]
    choices = [_values(axis, value) for axis, value in zip(axes, now, strict=True)]
    if len(list(product(*choices))) > MOST_CELLS:
        raise ConfigError(f"{' x '.join(str(len(values)) for values in choices)} cells are too many to compare: list "
                          f"fewer values, such as {axes[0].name}={_listed(choices[0][:3])}")  # fmt: skip
    cells = {values: _with(config, axes, values) for values in product(*choices)}
    shown = _of_picture(src, colorizer, cells) if still else _of_video(src, colorizer, cells, at or 0.0, progress)
    texts = [[_text(axis, value, set_to) for value in values]
             for axis, values, set_to in zip(axes, choices, now, strict=True)]  # fmt: skip
    down = choices[1] if len(axes) == 2 else (None,)
    rows = [[shown[(right,) if low is None else (right, low)] for right in choices[0]] for low in down]
    title = src.name if still else f"{src.name} at {_clock(at or 0.0)}"
    picture = picture_grid(rows, texts[0], texts[1] if len(axes) == 2 else [""], title)
    write_image(dst, picture, Still(picture))
    return len(choices[0]), len(down)


def _setting(colorizer: Colorizer, field: str) -> float:
    """What a setting is, where it is left to the model too."""
    own = {"temperature": colorizer.temperature, "saturation": colorizer.saturation,
           "working_size": colorizer.short_side}  # fmt: skip
    return own[field] if field in own else getattr(colorizer.config, field)


def _text(axis: Axis, value: float, now: float) -> str:
    return f"{axis.name} {value:g}{' (as set)' if value == now else ''}"


def _of_picture(src: Path, as_set: Colorizer, cells: dict[tuple, ColorConfig]) -> dict[tuple, np.ndarray]:
    rgb = read_image(src).rgb
    height, width = rgb.shape[:2]
    check_places(as_set.hints, width, height)
    size = _fitting(width, height, max(Colorizer(as_set.net, config).short_side for config in cells.values()))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    hints = _placed_in(size, as_set.hints, (width, height))
    return {
        values: Colorizer(as_set.net, config, as_set.references, hints).image(small) for values, config in cells.items()
    }


def _placed_in(size: tuple[int, int], hints: Sequence[Hint], full: tuple[int, int]) -> list[Hint]:
    """The hints at their places in a picture of another size; both are (width, height)."""
    x, y = (there / here for there, here in zip(size, full, strict=True))
    return [replace(h, x=max(0.0, (h.x + 0.5) * x - 0.5), y=max(0.0, (h.y + 0.5) * y - 0.5)) for h in hints]


def _fitting(width: int, height: int, working_size: int) -> tuple[int, int]:
    """A size that fills a cell and gives the network all it wants, never larger than the original."""
    factor = min(1.0, max(min(CELL[0] / width, CELL[1] / height), working_size / min(width, height)))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _of_video(
    src: Path, as_set: Colorizer, cells: dict[tuple, ColorConfig], at: float, progress: Progress | None
) -> dict[tuple, np.ndarray]:
    net, late = as_set.net, out_of_reach(as_set.hints, at)
    hints = [hint for hint in as_set.hints if hint not in late]
    since_hint = max((at - hint.seconds + SHORTEST for hint in hints), default=0.0)
    # Saturation and warmth are applied to what comes out, so their values share one run.
    runs = dict.fromkeys(_run_of(config) for config in cells.values())
    before = {config: max(_before(config), since_hint) for config in runs}
    after = max(2 * config.look_ahead for config in runs)
    largest = max(Colorizer(net, config).short_side for config in runs)
    excerpt = _read(src, at, max(before.values()), after + SHORTEST, largest)
    check_places(hints, *excerpt.full)
    hints = _placed_in(excerpt.luma_format.upright, hints, excerpt.full)
    frames, luma_format, target = excerpt.frames, excerpt.luma_format, excerpt.frames[excerpt.index]
    for done, config in enumerate(runs, 1):
        first = next(i for i, frame in enumerate(frames) if _seconds_to(frame, target) <= before[config])
        colorizer = Colorizer(net, config, as_set.references, hints)
        runs[config] = _ab_of(target, colorizer, frames[first:], luma_format, excerpt.origin)
        if progress:
            progress(done * len(frames), len(runs) * len(frames))
    chroma_format = _full_chroma(luma_format)
    pictures = {}
    for values, config in cells.items():
        ab = runs[_run_of(config)] + warmth_shift(net.manifest, config)
        planes, luma = UpsampleAb(luma_format, chroma_format, *ab.shape[1:])(ab, target.luma)
        cb, cr = AbToChroma(luma_format, Colorizer(net, config).saturation)(luma, planes)
        pictures[values] = _upright_rgb(target.luma, cb, cr, luma_format)
    return pictures


def _run_of(config: ColorConfig) -> ColorConfig:
    return replace(config, saturation=None, warmth=0.0)


def _upright_rgb(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray, coded: LumaFormat) -> np.ndarray:
    """(H, W, 3) uint8 RGB of planes of one size, as a player shows them."""
    rgb = ycbcr_to_rgb(np.stack([luma, cb, cr], axis=-1), coded.matrix, coded.bit_depth, coded.full_range)
    rgb = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(rgb, -(coded.rotation // 90)))


def _full_chroma(luma_format: LumaFormat) -> ChromaFormat:
    return ChromaFormat(luma_format.width, luma_format.height, 0, 0, Siting.CENTER)


def _before(config: ColorConfig) -> float:
    """Seconds that are run through before the frame, so that what is smoothed is."""
    return min(max(HALF_LIVES * config.half_life, SHORTEST), LONGEST)


def _seconds_to(frame: LumaFrame, target: LumaFrame) -> float:
    return target.pts_seconds - frame.pts_seconds


def _read(src: Path, at: float, before: float, after: float, working_size: int) -> Excerpt:
    """The frames around a time; ConfigError where the file is over before it."""
    from edgecolor.video import VideoReader

    begin = max(0.0, at - before)
    late = ConfigError(f"{src.name} is over before {_clock(at)}: give an earlier time")
    frames: list[LumaFrame] = []
    try:
        reader = VideoReader(src, start=begin)
    except ConfigError as error:
        raise late from error
    with reader:
        coded, rest = reader.luma_format, reader.duration_seconds
        width, height = _fitting(coded.width, coded.height, working_size)
        # Times count from where reading begins, or from the file's own zero where that is its beginning.
        wanted = at - begin if begin else at + float(reader.span.origin)
        for item in reader:
            if isinstance(item, LumaFrame):
                frames.append(replace(item, luma=shrink(item.luma, height, width)))
                if item.pts_seconds > wanted + after:
                    break
        period = 1 / float(reader.frame_rate or 25)
    if begin and (not frames or frames[0].pts_seconds > wanted + TOLERANCE):
        return _read(src, at, 4 * before, after, working_size)  # it has been on the screen for longer
    if not frames or (frames[-1].pts_seconds + period <= wanted if rest is None else at - begin >= rest):
        raise late
    shown = sum(frame.pts_seconds <= wanted + TOLERANCE for frame in frames)
    small = replace(coded, width=width, height=height)
    return Excerpt(frames, max(shown, 1) - 1, small, coded.upright, wanted - at)


def _ab_of(
    target: LumaFrame, colorizer: Colorizer, frames: list[LumaFrame], luma_format: LumaFormat, origin: float
) -> np.ndarray:
    """(2, h, w) of one of the frames, each colored after the ones before it."""
    colorizer.begin(luma_format, _full_chroma(luma_format), origin)
    return next(ab for frame, ab in colorizer.colors(frames) if frame is target)
