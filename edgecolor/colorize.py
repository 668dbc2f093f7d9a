"""Open, loop, close: the only place where backends, video and pipeline meet."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecolor.backends import open_backend
from edgecolor.backends.views import with_views
from edgecolor.compare import SideBySide
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.hints import Hint, check_times
from edgecolor.images import check_image_output, check_transparency, read_image, write_image
from edgecolor.mood import brighten
from edgecolor.overlap import overlapped
from edgecolor.pipeline import Colorizer
from edgecolor.references import Reference

Progress = Callable[[int, int | None], None]  # frames done, and how many there will be, where the file says


@dataclass
class VideoReport:
    """What came of one video."""

    frames: int
    seconds: float  # it took
    scene_cuts: int
    backend: str
    model: str
    warnings: list[str] = field(default_factory=list)  # what was lost or changed, one line each

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


def open_colorizer(
    model: str | os.PathLike | None = None,
    *,
    backend: str = "auto",
    config: ColorConfig | None = None,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] = (),
    threads: int | None = None,
) -> Colorizer:
    """Load a model: a name from `edgecolor models`, a path to a model file, or None for the default one.

    raises  ModelError (unknown, damaged, not ours), MissingDependencyError (the backend is not installed), ConfigError
            (a model that takes no references, or no hints)
    """
    net = with_views(open_backend(model, backend, threads), config.views if config else None)
    return Colorizer(net, config, references, hints)


def colorize_image(
    image: np.ndarray,
    model: str | os.PathLike | None = None,
    *,
    backend: str = "auto",
    temperature: float | None = None,
    saturation: float | None = None,
    working_size: int | None = None,
    hints: Sequence[Hint] | None = None,
    colorizer: Colorizer | None = None,
) -> np.ndarray:
    """Colorize one picture.

    image      (H, W) gray or (H, W, 3) RGB, uint8 or uint16; of a color picture only its lightness is used
    hints      colors at places of the picture; what they are put on takes them
    colorizer  one that is open already, for many pictures; model to working_size are then its own
    returns    (H, W, 3) RGB of the image's type, of the same lightness
    raises     ShapeError, ConfigError, ModelError, MissingDependencyError
    """
    if colorizer is None:
        config = ColorConfig(temperature=temperature, saturation=saturation, working_size=working_size)
        colorizer = open_colorizer(model, backend=backend, config=config)
    elif any(option is not None for option in (model, temperature, saturation, working_size)):
        raise ConfigError("give either an open colorizer or the options for a new one, not both")
    return colorizer.image(image, hints)


def colorize_image_file(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    model: str | os.PathLike | None = None,
    *,
    backend: str = "auto",
    config: ColorConfig | None = None,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] | None = None,
    colorizer: Colorizer | None = None,
    brightness: float = 0.0,
    overwrite: bool = False,
    compare: bool = False,
    threads: int | None = None,
) -> list[str]:
    """Colorize a picture's file into another, see images.py; EXIF, ICC profile, resolution and transparency are kept,
    and 16 bits in PNG and TIFF.

    brightness  in [-1, 1]: bends the lightness of the result, see mood.brighten; 0 keeps it
    returns     one line for each thing that could not be kept

    The other options are those of colorize_video.
    """
    if not -1 <= brightness <= 1:
        raise ConfigError(f"brightness must lie in [-1, 1], got {brightness}")
    src, dst = Path(src), Path(dst)
    check_image_output(dst, src, overwrite)
    still = read_image(src, deep=True)
    check_transparency(dst, still)
    if colorizer is None:
        colorizer = open_colorizer(model, backend=backend, config=config, references=references, threads=threads)
    rgb = brighten(colorizer.image(still.rgb, hints), brightness)
    if compare:
        rgb = np.concatenate([still.rgb, rgb], axis=1)
        still.alpha = None if still.alpha is None else np.concatenate([still.alpha, still.alpha], axis=1)
    return still.notes + write_image(dst, rgb, still)


def colorize_video(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    model: str | os.PathLike | None = None,
    *,
    backend: str = "auto",
    config: ColorConfig | None = None,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] = (),
    colorizer: Colorizer | None = None,
    encode=None,
    start: float = 0.0,
    duration: float | None = None,
    overwrite: bool = False,
    compare: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> VideoReport:
    """Colorize a video file; sound, subtitles, chapters, timestamps and metadata are carried over.

    src, dst         files; dst appears under its name only when it is complete
    model, backend   as for open_colorizer; config: temperature, saturation, smoothing
    references       pictures whose colors are carried to what looks like it, and corrected frames
    hints            colors at places of frames; each follows its thing until a scene cut
    colorizer        one that is open already, instead of the five before
    encode           video.EncodeOptions: codec, crf, preset, pix_fmt; None for the container's usual ones
    start, duration  colorize only this span, in seconds
    compare          write the original and the colored picture side by side
    progress         called after each frame with the number of frames done, and the number expected or None
    raises           EdgeColorError of some kind, with a line for the user; nothing is left under dst's name then
    """
    from edgecolor.video import EncodeOptions, VideoReader, VideoWriter

    began = time.monotonic()
    if colorizer is not None and (model is not None or config is not None or references or hints):
        raise ConfigError("give either an open colorizer or the model and options for a new one, not both")
    chosen = (config or ColorConfig()) if colorizer is None else colorizer.config
    with VideoReader(src, start=start, duration=duration, vectors=chosen.motion == "codec") as reader:
        double = SideBySide(reader.luma_format) if compare else None
        size = double.size if double else None
        with VideoWriter(dst, reader, encode or EncodeOptions(), overwrite=overwrite, size=size) as writer:
            if colorizer is None:
                colorizer = open_colorizer(
                    model, backend=backend, config=config, references=references, hints=hints, threads=threads
                )
            chroma_format = double.single(writer.chroma_format) if double else writer.chroma_format
            length = reader.duration_seconds
            check_times(colorizer.hints, start, None if length is None else start + length)
            colorizer.begin(reader.luma_format, chroma_format, float(reader.span.origin - reader.span.shift))
            frames = 0
            with closing(overlapped(reader)) as read, closing(overlapped(colorizer.colors(read), 16)) as items:
                for item, ab in items:
                    if ab is None:
                        writer.copy(item)
                        continue
                    colored = colorizer.chroma(item, ab)
                    writer.write(double(colored) if double else colored)
                    frames += 1
                    if progress:
                        progress(frames, reader.frames_estimate)
        warnings = [*reader.warnings, *writer.notes, *colorizer.unused]
    return VideoReport(
        frames,
        time.monotonic() - began,
        colorizer.scene_cuts,
        colorizer.net.name,
        colorizer.net.manifest.name,
        warnings,
    )
