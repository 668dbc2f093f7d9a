"""Read the frames of clips, as RGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgecolor.errors import MediaError, MediaNotFoundError

CLIP_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".ts", ".ogv")


def is_clips(where: str | Path) -> bool:
    """Whether a path is a video file, or a folder with nothing but video files to offer."""
    path = Path(where)
    return path.suffix.lower() in CLIP_SUFFIXES or (path.is_dir() and bool(clip_files(path)))


def clip_files(where: str | Path) -> list[Path]:
    path = Path(where)
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in CLIP_SUFFIXES)
    return [path]


@contextmanager
def video_of(path: Path):
    """A clip's open container and its video stream.

    raises  MediaNotFoundError, MediaError where the file is no video or, inside the block, does not decode
    """
    import av

    if not path.is_file():
        raise MediaNotFoundError(f"{path}: no such clip")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path} has no video stream: give a clip")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise MediaError(f"{path} does not decode ({error.strerror}): give a whole clip") from error


def frames_of(path: Path, limit: int | None = None) -> Iterator[tuple[np.ndarray, float]]:
    """Each frame of a clip as (H, W, 3) uint8 RGB, with its time in seconds; errors as video_of."""
    with video_of(path) as (container, stream):
        stream.thread_type = "AUTO"
        for i, frame in enumerate(container.decode(stream)):
            if limit is not None and i >= limit:
                return
            yield frame.to_ndarray(format="rgb24"), float(frame.time if frame.time is not None else i / 25)


def seconds_of(path: Path) -> list[float]:
    """The time of each frame of a clip after the file's beginning, without decoding; errors as video_of."""
    import av

    with video_of(path) as (container, stream):
        begin = max(0.0, (container.start_time or 0) / av.time_base)
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = [packet.dts if packet.pts is None else packet.pts for packet in packets]
        return sorted(float(time * stream.time_base) - begin for time in times if time is not None)
