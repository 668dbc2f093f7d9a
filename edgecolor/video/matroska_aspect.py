"""The shape of samples in the header of a finished Matroska or WebM file.

FFmpeg's muxer takes it from a field of the stream that PyAV lets nobody set, and VP9, AV1, FFV1 and ProRes do not say
it themselves there. So it is put in afterwards: the tracks grow by a few bytes, which are taken from the room that the
muxer leaves behind its table of contents, and nothing after the tracks moves.

source  RFC 8794 (EBML), RFC 9559 (Matroska)
"""

import zlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

SEGMENT, SEEK_HEAD, SEEK, SEEK_POSITION = (bytes.fromhex(name) for name in ("18538067", "114D9B74", "4DBB", "53AC"))
TRACKS, TRACK, VIDEO, WIDTH, HEIGHT = (bytes.fromhex(name) for name in ("1654AE6B", "AE", "E0", "B0", "BA"))
SHOWN_WIDTH, SHOWN_HEIGHT, SHOWN_UNIT = (bytes.fromhex(name) for name in ("54B0", "54BA", "54B2"))
CRC, VOID = bytes.fromhex("BF"), bytes.fromhex("EC")
LONGEST_HEADER = 16 << 20  # bytes; it holds the setup of every codec, a few kilobytes each


class Element(NamedTuple):
    name: bytes
    at: int  # where it begins in what it was read from
    whole: bytes
    content: bytes


def write_aspect(path: Path, track: int, aspect: Fraction) -> None:
    """Let a file say how wide the samples of a track are.

    track   counted from 0
    aspect  width over height of a sample
    raises  ValueError where the header is not built as FFmpeg builds it: the file stays as it was. OSError
    """
    with path.open("r+b") as file:
        changed = with_aspect(file.read(LONGEST_HEADER), track, aspect)
        file.seek(0)
        file.write(changed)


def with_aspect(header: bytes, track: int, aspect: Fraction) -> bytes:
    """The header up to the end of its tracks, as long as it was. See write_aspect"""
    origin = _content_of_segment(header)
    parts: list[Element] = []
    for part in _elements(header[origin:]):
        parts.append(part)
        if part.name == TRACKS:
            break
    if [part.name for part in (*parts[:2], *parts[-1:])] != [SEEK_HEAD, VOID, TRACKS]:
        raise ValueError("it does not begin with a table of contents, room behind it, and tracks")
    table, room, *between, tracks = parts
    changed = _with_shape(tracks, track, aspect)
    grown = len(changed) - len(tracks.whole)
    pointing = _pointing(table, {part.at: part.at - grown for part in (*between, tracks)})
    kept = b"".join(part.whole for part in between)
    return header[:origin] + pointing + _void(len(room.whole) - grown) + kept + changed


def _with_shape(tracks: Element, track: int, aspect: Fraction) -> bytes:
    entries = [element for element in _elements(tracks.content) if element.name == TRACK]
    if track >= len(entries):
        raise ValueError(f"it has {len(entries)} tracks, and track {track} is meant")
    entry = entries[track]
    video = _child(entry, VIDEO)
    return _replaced(tracks, {entry.at: _replaced(entry, {video.at: _shown(video, aspect)})})


def _shown(video: Element, aspect: Fraction) -> bytes:
    """The video's element with the size at which it is to be shown, in pixels: the ratio exact, the height as near to
    the stored one as that allows."""
    width, height = (int.from_bytes(_child(video, name).content, "big") for name in (WIDTH, HEIGHT))
    ratio = aspect * width / height
    times = max(1, round(height / ratio.denominator))
    sizes = {SHOWN_WIDTH: ratio.numerator * times, SHOWN_HEIGHT: ratio.denominator * times}
    old = (SHOWN_WIDTH, SHOWN_HEIGHT, SHOWN_UNIT)
    kept = [element.whole for element in _elements(video.content) if element.name not in old]
    kept += [_written(name, size.to_bytes((size.bit_length() + 7) // 8, "big")) for name, size in sizes.items()]
    return _written(VIDEO, b"".join(kept))


def _pointing(table: Element, moved: Mapping[int, int]) -> bytes:
    """The table of contents, with other positions for what moved; no longer than it was."""
    changed = {}
    for seek in _elements(table.content):
        if seek.name == SEEK:
            position = _child(seek, SEEK_POSITION)
            at, count = int.from_bytes(position.content, "big"), len(position.content)
            at = moved.get(at, at)
            if at >= 256**count:
                raise ValueError("its table of contents has no room for larger numbers")
            changed[seek.at] = _replaced(seek, {position.at: _written(SEEK_POSITION, at.to_bytes(count, "big"))})
    return _replaced(table, changed)


def _replaced(parent: Element, changed: Mapping[int, bytes]) -> bytes:
    """The parent with other children at those places; its checksum, if it has one, is made anew."""
    children = list(_elements(parent.content))
    content = b"".join(changed.get(child.at, child.whole) for child in children if child.name != CRC)
    if children[0].name == CRC:  # of all that follows
        content = _written(CRC, zlib.crc32(content).to_bytes(4, "little")) + content
    return _written(parent.name, content, len(parent.whole) - len(parent.name) - len(parent.content))


def _child(parent: Element, name: bytes) -> Element:
    for element in _elements(parent.content):
        if element.name == name:
            return element
    raise ValueError(f"an element {parent.name.hex()} lacks {name.hex()}")


def _content_of_segment(header: bytes) -> int:
    at = 0
    while at < len(header):
        name, content, size = _head(header, at)
        if name == SEGMENT:
            return content
        at = content + size
    raise ValueError("it has no segment")


def _elements(data: bytes) -> Iterator[Element]:
    at = 0
    while at < len(data):
        name, content, size = _head(data, at)
        end = content + size
        if end > len(data):
            raise ValueError(f"an element {name.hex()} does not end where its parent does")
        yield Element(name, at, data[at:end], data[content:end])
        at = end


def _head(data: bytes, at: int) -> tuple[bytes, int, int]:
    """Name, where the content begins, and how long it is; the first set bit says how many bytes each of them takes."""
    ends = []
    for begin in (at, at + 9 - data[at].bit_length()):
        if begin >= len(data) or not data[begin]:
            raise ValueError("it is not Matroska")
        ends.append(begin + 9 - data[begin].bit_length())
    size = int.from_bytes(data[ends[0] : ends[1]], "big")
    return data[at : ends[0]], ends[1], size & (1 << 7 * (ends[1] - ends[0])) - 1


def _written(name: bytes, content: bytes, count: int = 1) -> bytes:
    """count: bytes of the length, at least"""
    while len(content) >= (1 << 7 * count) - 1:  # all bits set would mean an unknown size
        count += 1
    return name + (len(content) | 1 << 7 * count).to_bytes(count, "big") + content


def _void(size: int) -> bytes:
    """Room of that many bytes, its own head included."""
    if size < 9 + 1:
        if size < 2:
            raise ValueError("it has too little room")
        return _written(VOID, bytes(size - 2))
    return VOID + (size - 9 | 1 << 56).to_bytes(8, "big") + bytes(size - 9)
