"""The output's clock: ticks per second, and frame times in whole ticks."""

from fractions import Fraction
from math import lcm

import av

from edgecolor.video.containers import Container
from edgecolor.video.copies import nearest
from edgecolor.video.reader import VideoReader

_REORDERING = 4  # frames that an encoder with B-frames may hold back
_MAX_TIMESCALE = 2**31 - 1
_FINE_TIMESCALE = 10_000  # ticks per second below which FFmpeg makes an MP4 clock finer
_FASTEST_AVI = 240  # frames per second; a finer grid would fill the file with empty frames


def video_clock(container: Container, reader: VideoReader) -> Fraction:
    """Seconds per tick of the video: in MP4 the source's own, elsewhere what the container prescribes."""
    source = reader.time_base
    if container.family == "matroska":
        return Fraction(1, 1000)
    if container.family == "mpegts":
        return Fraction(1, 90000)
    if container.family == "avi":
        base = reader.stream.base_rate
        return 1 / Fraction(base if base and base <= _FASTEST_AVI else reader.frame_rate or 25)
    if "mp4" in reader.format_names:
        return Fraction(1, source.denominator)
    scale = source.denominator if source.denominator <= 1_000_000 else 90000
    while scale < _FINE_TIMESCALE:
        scale *= 2
    return Fraction(1, scale)


def mp4_timescales(clock: Fraction, streams: list[av.stream.Stream]) -> dict[str, str]:
    """The muxer's options that keep MP4 times exact.

    Edit lists count in the movie's timescale, a millisecond by default: too coarse for a first frame after zero. It
    becomes a common multiple of the tracks' clocks.
    """
    clocks = [clock, *(stream.time_base for stream in streams if stream.type in ("audio", "video"))]
    common = lcm(*(each.denominator for each in clocks))
    movie = common if common <= _MAX_TIMESCALE else clock.denominator
    return {"movie_timescale": str(movie), "video_track_timescale": str(clock.denominator)}


def may_reorder(container: Container, reader: VideoReader) -> bool:
    """Whether decoding times may precede presentation times, as B-frames want."""
    if container.family == "mpegts":
        # It has no negative times: FFmpeg would move every stream of a file that begins at zero.
        return reader.first_pts * reader.time_base * (reader.frame_rate or 25) >= _REORDERING
    return container.family != "avi"  # stores no presentation times


class Ticks:
    """Frame times in counts of a clock: the nearest, but each later than the one before."""

    def __init__(self, clock: Fraction, frame_rate: Fraction | None):
        self.clock = clock
        self.moved = 0  # frames that did not get the nearest tick, because it was taken
        self._usual = max(1, nearest(1 / ((frame_rate or 25) * clock)))
        self._last: int | None = None

    def of(self, pts: int, duration: int | None, time_base: Fraction) -> tuple[int, int]:
        """(pts, duration) of the next frame, given those in counts of time_base."""
        ratio = time_base / self.clock
        ticks = nearest(pts * ratio)
        if self._last is not None and ticks <= self._last:
            self.moved += 1
            ticks = self._last + 1
        self._last = ticks
        return ticks, max(1, nearest(duration * ratio)) if duration else self._usual
