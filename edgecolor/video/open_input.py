"""Open a video file, or say in one line why it cannot be opened."""

import re
import threading
from pathlib import Path

import av
from av.stream import Disposition

from edgecolor.errors import MediaError, MediaNotFoundError
from edgecolor.video.pyav import METADATA

_NOT_FILMS = {"tty", "lrc", "bin", "xbin", "adf", "idf"}  # demuxers that draw text or take any bytes for a picture
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails
_FIELD_ORDERS = {
    "top first": "tt",
    "bottom first": "bb",
    r"top coded first \(swapped\)": "tb",
    r"bottom coded first \(swapped\)": "bt",
}
_log_lock = threading.Lock()


def open_input(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a file and choose the video stream to colorize: the one marked as default, else the first.

    raises  MediaNotFoundError, MediaError: a folder, an empty file, not a video, no video stream, no decoder for it
    """
    check_is_file(path)
    try:
        # "file:" keeps FFmpeg from taking a colon in the name for a protocol. Old tags are often not UTF-8.
        container = av.open(f"file:{path}", **METADATA)
    except av.error.FFmpegError as error:
        raise MediaError(_why_not(path, error)) from error
    try:
        return container, _choose_stream(container, path)
    except BaseException:
        container.close()
        raise


def check_is_file(path: Path) -> None:
    """Raise MediaNotFoundError or MediaError unless the path is a file with something in it."""
    if not path.exists():
        raise MediaNotFoundError(f"{path} does not exist: check the name")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: name one video file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes): copy it again from its source")


def read_siting_and_field_order(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[str | None, str | None]:
    """FFmpeg's names for the chroma siting (left) and the field order (tt); None where the file does not say.

    Not every PyAV has attributes for them, but FFmpeg's own description of the file, at the verbose level, names both.
    """
    with _log_lock:
        level = av.logging.get_level()
        av.logging.set_libav_level(av.logging.VERBOSE)
        av.logging.set_level(av.logging.VERBOSE)
        try:
            description = container.dumps_format()
        finally:
            av.logging.set_level(level)
            av.logging.set_libav_level(av.logging.INFO)
    line = re.search(rf"Stream #0:{stream.index}\b.*: Video: .*", description)
    text = line[0] if line else ""
    siting = re.search(r"[(,] ?(left|center|topleft|top|bottomleft|bottom)\)", text)
    order = next((name for words, name in _FIELD_ORDERS.items() if re.search(rf"[(,] ?{words}[,)]", text)), None)
    return siting[1] if siting else None, order


def _choose_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    films = [stream for stream in container.streams.video if not stream.disposition & _STILLS]
    if container.format.name in _NOT_FILMS:
        raise MediaError(f"{path} is not a video: FFmpeg takes it for text ({container.format.name})")
    if not films:
        raise MediaError(f"{path} has no video stream, only {_what_else(container)}")
    usable = [stream for stream in films if stream.codec_context is not None]
    if not usable:
        raise MediaError(f"{path} holds video in a codec that this FFmpeg cannot decode: convert it first")
    return next((stream for stream in usable if stream.disposition & Disposition.default), usable[0])


def _what_else(container: av.container.InputContainer) -> str:
    kinds = ["cover art" if stream.type == "video" else str(stream.type) for stream in container.streams]
    kinds = list(dict.fromkeys(kinds))
    return " and ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds) or "nothing"


def _why_not(path: Path, error: av.error.FFmpegError) -> str:
    if isinstance(error, PermissionError):
        return f"{path} cannot be read: you have no permission for it"
    boxes = _mp4_boxes(path)
    if boxes and "moov" not in boxes:
        return f"{path} was cut off before its index (the moov box) was written: it cannot be played or repaired here"
    return f"{path} is not a video that FFmpeg can read ({error.strerror})"


def _mp4_boxes(path: Path) -> list[str]:
    """Names of the top-level boxes of an MP4 or QuickTime file, empty for any other file."""
    names = []
    with path.open("rb") as file:
        size = path.stat().st_size
        position = 0
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length, name = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:], "big")
            if not names and name not in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
                return []
            names.append(name.decode("latin-1"))
            if length < 8:
                break
            position += length
    return names
