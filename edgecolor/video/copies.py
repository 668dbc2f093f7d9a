"""The streams that are copied into the output as they are: audio, subtitles, data, attachments, cover art, video."""

import mimetypes
from fractions import Fraction

import av
from av.stream import Disposition

from edgecolor.errors import UnsupportedMediaError
from edgecolor.video.containers import (
    Container,
    can_carry,
    codec_name,
    refuse_stream,
    stream_kind,
    supported_codecs,
)
from edgecolor.video.reader import CopiedPacket, VideoReader

# Written by the muxer itself, or true only of the file they were read from.
_STALE_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands", "software")
_STALE_STREAM_TAGS = ("encoder", "vendor_id", "duration", "bps", "number_of_", "_statistics_")
# The entries that a family has a place for; Matroska keeps everything.
_FILE_TAGS = {
    "avi": {"title", "artist", "comment", "copyright", "date", "genre", "language", "album", "track", "timecode",
            "encoded_by"},
    "mpegts": {"service_name", "service_provider"},
}  # fmt: skip
_STREAM_TAGS = {
    "mp4": {"language", "title", "handler_name", "creation_time", "timecode", "rotate"},
    "avi": {"title"},
    "mpegts": {"language"},
}


def choose_streams(reader: VideoReader, container: Container, drop: bool) -> tuple[list[av.stream.Stream], list[str]]:
    """The source's streams to copy, and a line for each that is left out.

    raises  UnsupportedMediaError for a stream that the container cannot carry, unless such are to be dropped
    """
    supported, kept, notes = supported_codecs(container), [], []
    for stream in reader.copied_streams:
        if not can_carry(container, stream, supported):
            if not drop:
                raise refuse_stream(container, stream)
            notes.append(f"left out: {stream_kind(stream)} {stream.index} ({codec_name(stream)})")
        elif stream_kind(stream) not in ("chapters", "timecode"):
            kept.append(stream)
    return kept, notes


class StreamCopies:
    """Output streams for copied ones, and the packets on their way there."""

    def __init__(self, output: av.container.OutputContainer, container: Container, reader: VideoReader):
        self._output, self._container, self._reader = output, container, reader
        self._streams: dict[int, av.stream.Stream] = {}
        self._last_dts: dict[int, int] = {}
        self.moved_packets = 0  # whose decoding time was before that of the one before
        self.lifted_packets = 0  # that lay before zero

    def add(self, stream: av.stream.Stream) -> None:
        """Add an output stream like this one; UnsupportedMediaError if the muxer refuses it after all."""
        kind = stream_kind(stream)
        if kind == "cover" and self._container.muxer == "matroska":
            self._attach_cover(stream)
            return
        try:
            # "opaque" keeps PyAV from looking for an encoder of the same name, which many codecs do not have.
            copy = self._output.add_stream_from_template(stream, opaque=True)
        except ValueError as error:
            raise refuse_stream(self._container, stream) from error
        _set_tags(copy, stream_tags(stream, self._container))
        copy.disposition = stream.disposition
        if kind != "attachment":
            self._streams[stream.index] = copy

    def write_covers(self) -> None:
        """Write the cover pictures that go into streams of their own; they come before everything else."""
        for index, picture in self._reader.cover_art.items():
            if (stream := self._streams.get(index)) is not None:
                packet = av.Packet(picture)
                packet.stream, packet.time_base = stream, Fraction(1, 90000)
                packet.pts = packet.dts = 0
                packet.is_keyframe = True
                self._output.mux(packet)

    def write(self, copied: CopiedPacket) -> None:
        """Write a packet of a copied stream; one of a stream that was left out is dropped."""
        index, packet, stream = copied.stream_index, copied.packet, self._streams.get(copied.stream_index)
        if stream is None:
            return
        rescale(packet, stream.time_base)
        packet.dts = packet.pts if packet.dts is None else packet.dts
        packet.pts = packet.dts if packet.pts is None else packet.pts
        self._lift(packet, index)
        last = self._last_dts.get(index)
        step = 0 if self._container.family == "matroska" else 1  # others want every packet later than the one before
        if last is not None and packet.dts is not None and packet.dts < last + step and stream.type != "subtitle":
            self.moved_packets += packet.dts < last
            packet.dts = last + step
            packet.pts = max(packet.pts, packet.dts)
        if packet.dts is not None:
            self._last_dts[index] = packet.dts
        packet.stream = stream
        self._output.mux(packet)

    def _lift(self, packet: av.Packet, index: int) -> None:
        """Bring what lies before zero to zero, where the container has no negative times.

        Only a sound encoder's priming lies there, which players drop. Left alone, FFmpeg would move every stream.
        """
        family = self._container.family
        if packet.dts is None or family == "mp4" or family == "matroska" and "matroska" in self._reader.format_names:
            return  # Matroska knows priming as a delay of the track, and FFmpeg carries that over
        lowest = 0
        if family == "matroska":  # of what comes from elsewhere, FFmpeg knows that delay for Opus only
            lowest = -nearest(opus_priming(self._reader.container.streams[index]) / packet.time_base)
        if packet.dts < lowest:
            self.lifted_packets += 1
            packet.pts, packet.dts = max(packet.pts, lowest), lowest

    def _attach_cover(self, stream: av.stream.Stream) -> None:
        """Matroska keeps a cover as an attached file, and takes it for one by its name."""
        picture = self._reader.cover_art.get(stream.index)
        if picture is None:
            raise UnsupportedMediaError(f"the cover art {stream.index} has no picture in it: remove it from the source")
        suffix = {"mjpeg": ".jpg", "png": ".png"}.get(codec_name(stream), f".{codec_name(stream)}")
        name = stream.metadata.get("filename", f"cover{suffix}")
        kind = stream.metadata.get("mimetype") or mimetypes.guess_type(name)[0] or "application/octet-stream"
        copy = self._output.add_attachment(name, kind, picture)
        _set_tags(copy, {**stream_tags(stream, self._container), "filename": name, "mimetype": kind})


def _set_tags(stream: av.stream.Stream, tags: dict[str, str]) -> None:
    stream.metadata.clear()  # PyAV lets the dictionary be filled, not replaced
    stream.metadata.update(tags)


def rescale(packet: av.Packet, time_base: Fraction) -> None:
    """Bring a packet's times into another time base, to the nearest tick."""
    if packet.time_base != time_base:
        ratio = packet.time_base / time_base
        for name in ("pts", "dts", "duration"):
            if (value := getattr(packet, name)) is not None:
                setattr(packet, name, nearest(value * ratio))
        packet.time_base = time_base


def nearest(value: Fraction) -> int:
    """The nearest integer, halves upward."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def opus_priming(stream: av.stream.Stream) -> Fraction:
    """Seconds by which an Opus stream begins before its sound (RFC 7845, pre-skip); 0 for other codecs."""
    head = stream.codec_context.extradata if stream.codec_context and codec_name(stream) == "opus" else None
    return Fraction(int.from_bytes(head[10:12], "little"), 48000) if head and len(head) > 12 else Fraction(0)


def file_tags(reader: VideoReader) -> dict[str, str]:
    """The file's metadata, without what only describes the source file itself."""
    return {key: value for key, value in reader.container.metadata.items() if key.lower() not in _STALE_TAGS}


def lost_entries(reader: VideoReader, streams: list[av.stream.Stream], container: Container) -> list[str]:
    """A line for metadata and dispositions that the container has no place for."""
    name, notes = container.extension[1:], []
    kept = _FILE_TAGS.get(container.family)
    lost = {key for key in file_tags(reader) if kept is not None and key.lower() not in kept}
    kept = _STREAM_TAGS.get(container.family)
    for stream in streams:
        # What the muxer writes itself, and undetermined languages, are no loss.
        own = {key for key, value in stream_tags(stream, container).items() if value != "und"}
        lost |= {key for key in own if kept is not None and key.lower() not in kept}
    if lost:
        notes.append(f"{name} has no place for the metadata {', '.join(sorted(lost))}")
    if container.family in ("avi", "mpegts") and any(stream.disposition & ~Disposition.default for stream in streams):
        notes.append(f"{name} does not store what streams are meant for (commentary, forced and the like)")
    return notes


def stream_tags(stream: av.stream.Stream, container: Container) -> dict[str, str]:
    """A stream's metadata for another file: stale entries left out, the title under the name that the muxer knows."""
    tags = {k: v for k, v in stream.metadata.items() if not k.lower().startswith(_STALE_STREAM_TAGS)}
    if "name" in tags and "title" not in tags:
        tags["title"] = tags.pop("name")  # FFmpeg writes a title into MP4 tracks and reads it back as "name"
    if container.family != "mp4":
        tags.pop("handler_name", None)
    return tags
