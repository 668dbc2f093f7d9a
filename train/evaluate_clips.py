"""Judge a model on clips: colorize them as gray ones, and look at closeness, steadiness, bleeding and cost.

What `edgecolor colorize` would write is judged: a Colorizer gets each file whole, with its look-ahead, and what it
writes is decoded again. Anything else that gives colors is asked frame by frame.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from edgecolor.colorize import colorize_video
from edgecolor.errors import ConfigError, MediaError
from edgecolor.pipeline import Colorizer
from edgecolor.train.bleeding import Bleeding
from edgecolor.train.clip_metrics import ColorDistributionConsistency, WarpError
from edgecolor.train.clips import clip_files, frames_of, seconds_of
from edgecolor.train.colorize import Colors
from edgecolor.train.evaluate import Evaluation, summarize, to_gray
from edgecolor.train.metrics import picture_metrics, rgb8_to_lab
from edgecolor.train.moving_patterns import Ghosting, MovingPatterns
from edgecolor.train.steady_colors import SteadyColors, mean_colors

PICTURE_EVERY = 8  # frames between those whose distance from the original and bleeding are measured


@dataclass
class ColoredClip:
    """A clip in color."""

    frames: Iterator[np.ndarray]  # (H, W, 3) uint8 RGB each
    cpu_seconds: float = 0.0  # it took on all cores, decoding and encoding included
    seconds: float = 0.0  # it took


def color_clip(colors: Colors, path: Path, folder: Path, limit: int | None = None) -> ColoredClip:
    """Color a clip as if it were gray; `folder` holds what is written until the frames are read.

    limit  the first so many frames
    """
    if not isinstance(colors, Colorizer):
        return _color_frames(colors, ((to_gray(frame), seconds) for frame, seconds in frames_of(path, limit)))
    from edgecolor.video import EncodeOptions

    seconds = seconds_of(path)
    duration = None
    if limit is not None and limit < len(seconds):
        duration = (seconds[limit - 1] + seconds[limit]) / 2
    target = folder / "colored.mkv"
    encode = EncodeOptions(codec="ffv1", drop_unsupported=True)
    cpu = time.process_time()
    report = colorize_video(path, target, colorizer=colors, encode=encode, duration=duration, overwrite=True)
    cpu = time.process_time() - cpu
    return ColoredClip((frame for frame, _ in frames_of(target, limit)), cpu, report.seconds)


def _color_frames(colors: Colors, grays: Iterable[tuple[np.ndarray, float]]) -> ColoredClip:
    colored = ColoredClip(iter(()))

    def frames() -> Iterator[np.ndarray]:
        for gray, seconds in grays:
            cpu, since = time.process_time(), time.perf_counter()
            ours = colors.frame(gray, seconds)
            colored.cpu_seconds += time.process_time() - cpu
            colored.seconds += time.perf_counter() - since
            yield ours

    colored.frames = frames()
    return colored


class ClipFigures:
    """Takes a clip's frames, ours beside the original's, in order."""

    def __init__(self):
        self.rgb, self.rgb_original = ColorDistributionConsistency(), ColorDistributionConsistency()
        self.chroma, self.chroma_original = (ColorDistributionConsistency(chroma_only=True) for _ in range(2))
        self.warp = WarpError()
        self.bleeding, self.bleeding_original = Bleeding(), Bleeding()
        self.rows: list[dict[str, float]] = []
        self.count = 0

    def add(self, ours: np.ndarray, original: np.ndarray) -> None:
        """Both (H, W, 3) uint8 RGB."""
        gray = to_gray(original)
        for cdc, frame in ((self.rgb, ours), (self.chroma, ours), (self.rgb_original, original),
                           (self.chroma_original, original)):  # fmt: skip
            cdc.add(frame)
        self.warp.add(gray, ours, original)
        if self.count % PICTURE_EVERY == 0:
            self.rows.append(picture_metrics(ours, original))
            self.bleeding.add(gray, rgb8_to_lab(ours)[..., 1:])
            self.bleeding_original.add(gray, rgb8_to_lab(original)[..., 1:])
        self.count += 1

    def values(self) -> dict[str, float]:
        """Every figure; raises MediaError before the first frame."""
        if not self.rows:
            raise MediaError("not one frame came: give a whole clip")
        warp, warp_original = self.warp.values()
        ab, ab_original = self.warp.ab_values()
        return summarize(self.rows) | {
            "cdc": self.rgb.value(),
            "cdc_original": self.rgb_original.value(),
            "cdc_chroma": self.chroma.value(),
            "cdc_chroma_original": self.chroma_original.value(),
            "warp_error_x1000": 1000 * warp,
            "warp_error_x1000_original": 1000 * warp_original,
            "warp_error_ab": ab,
            "warp_error_ab_original": ab_original,
            "bleeding_ab": self.bleeding.value(),
            "bleeding_ab_original": self.bleeding_original.value(),
            "bleeding_percent": self.bleeding.percent(),
            "bleeding_percent_original": self.bleeding_original.percent(),
        }


def evaluate_clip(colors: Colors, path: Path, limit: int | None = None) -> tuple[dict[str, float], int, list]:
    """Figures of one clip, how many frames it has, and its first frame as a row of a contact sheet."""
    figures = ClipFigures()
    example: list = []
    with tempfile.TemporaryDirectory() as folder:
        colored = color_clip(colors, path, Path(folder), limit)
        originals = frames_of(path, limit)
        for original, _ in originals:
            ours = next(colored.frames, None)
            if ours is None:
                raise MediaError(f"{path} decodes to more frames than were colored: it is damaged, give a whole clip")
            if not figures.count:
                example = [(path.name, to_gray(original), ours, original)]
            figures.add(ours, original)
    if not figures.count:
        raise MediaError(f"{path} holds no frame that decodes: give a whole clip")
    cost = {
        "seconds_per_frame": colored.seconds / figures.count,
        "cpu_ms_per_frame": 1000 * colored.cpu_seconds / figures.count,
    }
    return figures.values() | cost, figures.count, example


def ghosting(colors: Colors, clip: MovingPatterns | None = None) -> dict[str, float]:
    """What a coloring leaves behind on the moving patterns, against the same without smoothing, frame by frame.

    The figures of Ghosting, and ghosting_steady_ab: the first of them with the network's flicker left out, each thing
    in the mean of the colors that the network gives it. NaN for what is no Colorizer, whose network cannot be replaced.
    """
    clip = clip or MovingPatterns()
    found, steady = Ghosting(clip), Ghosting(clip)
    with tempfile.TemporaryDirectory() as folder:
        path = clip.write(Path(folder) / "patterns.mkv")
        if not isinstance(colors, Colorizer):
            unsmoothed = [colors.image(gray) for gray, _ in clip]
            _add_clip(found, color_clip(colors, path, Path(folder)).frames, unsmoothed)
        else:
            unsmoothed = _add_both(found, colors, path, Path(folder))
            net = SteadyColors(colors.net.manifest, mean_colors(clip, unsmoothed) / max(colors.saturation, 1e-6))
            # The colors are warm already, and memory asks for what only a real network has.
            config = replace(colors.config, warmth=0.0, shot_memory=0.0)
            _add_both(steady, type(colors)(net, config), path, Path(folder))
    return found.figures() | {"ghosting_steady_ab": steady.figures()["ghosting_ab"]}


def _add_both(found: Ghosting, colorizer: Colorizer, path: Path, folder: Path) -> list[np.ndarray]:
    """Set the clip as that colorizer smooths it against the one it does not smooth, which is given back."""
    alone = Colorizer(colorizer.net, replace(colorizer.config, half_life=0.0, network_rate=0.0))
    unsmoothed = list(color_clip(alone, path, folder).frames)
    _add_clip(found, color_clip(colorizer, path, folder).frames, unsmoothed)
    return unsmoothed


def _add_clip(found: Ghosting, smoothed: Iterable[np.ndarray], unsmoothed: list[np.ndarray]) -> None:
    for index, pair in enumerate(zip(islice(smoothed, found.clip.frames), unsmoothed, strict=True)):
        found.add(index, *pair)


def evaluate_clips(open_colors, data: str | Path, limit: int | None = None) -> Evaluation:
    """Means over the clips of a folder, or of one file, and the ghosting on a clip of our own.

    open_colors  called for each clip: the state between frames starts anew
    limit        frames of each clip
    """
    files = clip_files(data)
    if not files:
        raise ConfigError(f"{data} holds no clip")
    judged = [evaluate_clip(open_colors(), path, limit) for path in files]
    metrics = _means([figures for figures, _, _ in judged]) | ghosting(open_colors())
    examples = [row for _, _, rows in judged for row in rows]
    return Evaluation(metrics, sum(count for _, count, _ in judged), 0, examples=examples)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over clips; those that do not know a figure (no strong edge, too few frames) do not count in it."""
    known = {name: [row[name] for row in rows if not np.isnan(row[name])] for name in rows[0]}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}
