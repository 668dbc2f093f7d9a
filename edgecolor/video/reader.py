"""Read a video file: luma planes of one video stream, and every other stream as packets, in the file's order."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.container.core import Flags as ContainerFlags
from av.stream import Disposition

from edgecolor.errors import ConfigError, MediaError
from edgecolor.frames import LumaFormat, LumaFrame
from edgecolor.video import planes, tags
from edgecolor.video.damage import Damage, HoleFinder, Joins
from edgecolor.video.open_input import open_input, read_chroma_location
from edgecolor.video.side_data import HdrMetadata, carries_captions, clockwise_rotation, display_matrix, hdr_metadata
from edgecolor.video.span import Span

_MAX_READ_ERRORS = 100  # in a row, before the rest of the file is given up
_STATES_DURATION = {"mp4", "matroska", "avi"}  # formats whose header says how long the file is


@dataclass
class CopiedPacket:
    """A packet of a stream that is copied as it is: audio, subtitles, data, cover art, further video."""

    packet: av.Packet  # times in counts of its own time_base
    stream_index: int  # of the stream in the source file


@dataclass
class CaptionedLumaFrame(LumaFrame):
    """A frame that carries closed captions or the like; the decoder's frame takes them to the encoder."""

    decoded: av.VideoFrame | None = None


class VideoReader:
    """A video file, opened: iterate to get `LumaFrame`s and `CopiedPacket`s in the order in which they are stored.

    start, duration  the span to read, in seconds from the file's beginning; None reads to the end. With a start, times
                     are moved so that the span begins near zero, all streams by the same amount.
    threads          for the decoder; 0 leaves it to FFmpeg
    raises           MediaNotFoundError, MediaError with one line that says what is wrong with the file;
                     ConfigError for a start or duration that is negative or past the end

    luma_format, frame_rate (average), duration_seconds and frames_estimate are known once it is open; `damage` and
    `warnings` grow while reading. It can be read once, by one thread at a time.
    """

    def __init__(self, path: str | Path, start: float = 0.0, duration: float | None = None, threads: int = 0):
        if not start >= 0:
            raise ConfigError(f"start is in seconds and cannot be negative, got {start}")
        if duration is not None and not duration > 0:
            raise ConfigError(f"duration is in seconds and must be positive, got {duration}")
        self.path = Path(path)
        self.container, self.stream = open_input(self.path)
        try:
            self.span = Span.of(self.container, self.stream, start, duration)
            self._prepare(threads)
            self._read_first_frame()
            if start:
                self._seek()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a reader cannot be used after that."""
        self._pending = deque()
        self.container.close()

    def __iter__(self) -> Iterator[LumaFrame | CopiedPacket]:
        while self._pending:
            yield self._pending.popleft()
        yield from filter(None, self._items)

    @property
    def copied_streams(self) -> list[av.stream.Stream]:
        """Every stream but the one that is colorized, in the file's order."""
        return [stream for stream in self.container.streams if stream.index != self.stream.index]

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that is not taken over as it was; complete once everything is read."""
        lines = list(self._format_warnings)
        if self._missing_pts:
            lines.append(f"{self._missing_pts} frames had no time stamp; theirs were made from the frames before")
        if self._joins.count:
            lines.append(f"time stamps jump back {self._joins.count} times; the parts were joined end to end")
        if self._scaled_frames:
            sizes = ", ".join(f"{width} x {height}" for width, height in sorted(self._other_sizes))
            first = f"{self.luma_format.width} x {self.luma_format.height}"
            lines.append(f"{self._scaled_frames} frames of another size ({sizes}) were scaled to {first}")
        if self.damage:
            lines.append(f"{self.path.name} is damaged: {self.damage}")
        return lines

    # Opening

    def _prepare(self, threads: int) -> None:
        stream, codec = self.stream, self.stream.codec_context
        self.format_names = frozenset(self.container.format.name.split(","))
        self.time_base: Fraction = stream.time_base
        self.frame_rate: Fraction | None = stream.average_rate or stream.guessed_rate or None
        self.chroma_location = read_chroma_location(self.container, stream)
        self.sample_aspect_ratio: Fraction | None = stream.sample_aspect_ratio or None  # width over height of a sample
        total = self.container.duration and self.container.duration / av.time_base
        self.duration_seconds: float | None = self.span.length(total)
        self.frames_estimate: int | None = self._estimate_frames(total)
        self.cover_art: dict[int, bytes] = {}  # pictures by stream index
        # AVI stores no presentation times, and those that FFmpeg would make up are one frame late.
        self._times_from_dts = "avi" in self.format_names
        if self._times_from_dts:
            self.container.flags &= ~ContainerFlags.gen_pts.value
        codec.thread_type = "AUTO"
        codec.thread_count = threads
        codec.flags |= Flags.output_corrupt  # a frame with errors keeps sound and picture together; it is counted
        self._first: av.VideoFrame | None = None
        self._other_sizes: set[tuple[int, int]] = set()
        self._start_over()

    def _start_over(self) -> None:
        self.damage = Damage()
        self._holes, self._joins = HoleFinder(), Joins()
        self._missing_pts = self._scaled_frames = self._late_frames = self._last_duration = 0
        self._video_packets = self._sent_packets = self._decoded_frames = 0
        self._last_pts: int | None = None
        self._keyframe_seen = False
        self._latest_end = Fraction(0)
        self._demuxer = self.container.demux()
        self._items = self._read()
        self._pending: deque[LumaFrame | CopiedPacket] = deque()

    def _read_first_frame(self) -> None:
        """Decode one frame: only that says for sure what the luma is like. What is read on the way is kept."""
        for item in self._items:
            if item is not None:
                self._pending.append(item)
            if self._first is not None:
                break
        if (first := self._first) is None:
            raise MediaError(f"{self.path} holds no frame that can be decoded ({self.damage})")
        self.first_pts = 0 if self.span.begin is not None else self._last_pts
        self.pix_fmt = first.format.name
        self.rgb = planes.is_rgb(self.pix_fmt)
        self.interlaced = first.interlaced_frame
        self.display_matrix = display_matrix(first, self.stream)
        self.hdr: HdrMetadata | None = hdr_metadata(first)
        self.source_tags = self._tags_of(first)
        self.tags = tags.tags_to_write(self.source_tags, self.luma_format, self.rgb)
        self.siting = tags.siting_of(self.tags, self.stream.codec_context.codec.canonical_name)
        self._format_warnings = []
        if (bits := max(part.bits for part in first.format.components)) > 12:
            self._format_warnings.append(f"{self.pix_fmt} has {bits} bits; the luma is rounded to 12")
        if planes.has_alpha(self.pix_fmt):
            self._format_warnings.append(f"{self.pix_fmt} has transparency, which is not kept")

    def _seek(self) -> None:
        """Go to a keyframe at or before the span's first frame."""
        begin, origin = (int(moment / self.time_base) for moment in (self.span.begin, self.span.origin))
        for earlier in (0, 5, 60):  # seconds; without an index a seek may land between keyframes, or too late
            target = begin - int(earlier / self.time_base)
            if target <= origin:
                break
            self.container.seek(target, stream=self.stream)
            self._start_over()
            if self._reaches_keyframe(begin):
                return
        self.container.seek(origin, stream=self.stream)
        self._start_over()

    def _reaches_keyframe(self, begin: int) -> bool:
        for item in self._items:
            if item is not None:
                self._pending.append(item)
            if self._last_pts is not None and self._last_pts > begin:
                return False
            if self._keyframe_seen:
                return True
        return False

    def _tags_of(self, frame: av.VideoFrame) -> tags.ColorTags:
        codec = self.stream.codec_context
        return tags.ColorTags(
            matrix=frame.colorspace if frame.colorspace != tags.UNTAGGED else codec.colorspace,
            primaries=frame.color_primaries if frame.color_primaries != tags.UNTAGGED else codec.color_primaries,
            transfer=frame.color_trc if frame.color_trc != tags.UNTAGGED else codec.color_trc,
            range=frame.color_range or codec.color_range,
            chroma_location=self.chroma_location,
        )

    def _luma_format_of(self, frame: av.VideoFrame) -> LumaFormat:
        name = frame.format.name
        matrix, full = tags.understand(self._tags_of(frame), frame.width, frame.height, name, planes.is_rgb(name))
        return LumaFormat(
            width=frame.width,
            height=frame.height,
            bit_depth=planes.luma_bit_depth(name),
            matrix=matrix,
            full_range=full,
            rotation=clockwise_rotation(display_matrix(frame, self.stream)),
        )

    def _estimate_frames(self, total: float | None) -> int | None:
        """From the file's own count where it has one, else from duration and rate."""
        tag = next((v for k, v in self.stream.metadata.items() if k.startswith("NUMBER_OF_FRAMES")), "0")
        count, length = self.stream.frames or (int(tag) if tag.isdecimal() else 0), self.duration_seconds
        if count:
            return round(count * min(1.0, length / total)) if total else count
        return round(length * self.frame_rate) if length is not None and self.frame_rate else None

    # Reading

    def _read(self) -> Iterator[LumaFrame | CopiedPacket | None]:
        """Everything in the span, times moved; None stands for a frame that is outside."""
        for packet in self._packets():
            index = packet.stream.index
            if index == self.stream.index:
                yield from self._decode(packet)
            elif packet.stream.disposition & Disposition.attached_pic:
                if packet.size and index not in self.cover_art:
                    self.cover_art[index] = bytes(packet)
            elif packet.size and self.span.take_packet(packet):
                yield CopiedPacket(packet, index)

    def _packets(self) -> Iterator[av.Packet]:
        """All packets up to the span's end, then an empty one that flushes the decoder."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                packet = next(self._demuxer)
            except StopIteration:
                break
            except av.error.FFmpegError:
                errors += 1
                self.damage.broken_packets += 1
                self._demuxer = self.container.demux()
                continue
            errors = 0
            self._note(packet)
            if packet.size == 0:
                continue  # AVI stores an empty packet where a frame was dropped, FFmpeg would take it for the end
            if not self.span.is_past(packet):
                yield packet
            elif self.span.finished(packet, self.stream.index, self.container.streams):
                break
        else:
            self.damage.ended_early = True
        flush = av.Packet()
        flush.stream, flush.time_base = self.stream, self.time_base
        yield flush
        self._compare_with_header()

    def _note(self, packet: av.Packet) -> None:
        if packet.dts is None:
            return
        if "mpegts" in self.format_names:
            self._joins.straighten(packet)
        if "matroska" in self.format_names:
            self._holes.note(packet)
            self.damage.skipped_bytes = self._holes.skipped
        if packet.stream.index == self.stream.index:
            self._video_packets += 1
            self.damage.broken_packets += packet.is_corrupt
        end = (packet.dts if packet.pts is None else packet.pts) + (packet.duration or 0)
        self._latest_end = max(self._latest_end, end * packet.time_base)

    def _decode(self, packet: av.Packet) -> Iterator[LumaFrame | None]:
        self._sent_packets += bool(packet.size)
        try:
            frames = self.stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if packet.dts is None or self.span.holds(packet.dts, self.time_base):  # before it, the seek is to blame
                self.damage.broken_packets += 1
            return
        for frame in frames:
            self._decoded_frames += 1
            yield self._luma_frame(frame)

    def _luma_frame(self, frame: av.VideoFrame) -> LumaFrame | None:
        if self._first is None:
            self._first = frame
            self.luma_format = self._luma_format_of(frame)
        last, pts = self._last_pts, self._time_of(frame)
        self._keyframe_seen |= frame.key_frame
        if last is not None and pts <= last:
            self._late_frames += 1  # behind a damage, decoders give frames out of order
            self._last_pts = last
            return None
        if not self.span.holds(pts, self.time_base):
            return None
        self.damage.concealed_frames += frame.is_corrupt
        luma = planes.frame_to_luma(self._in_first_shape(frame), self.luma_format.full_range)
        times = (self.span.move(pts, self.time_base), self.time_base, frame.duration or None)
        if carries_captions(frame):
            return CaptionedLumaFrame(luma, *times, decoded=frame)
        return LumaFrame(luma, *times)

    def _in_first_shape(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Some broadcast recordings change size or format on the way; an encoder cannot."""
        wanted = self.luma_format
        if planes.luma_bit_depth(frame.format.name) != wanted.bit_depth:
            raise MediaError(
                f"{self.path} changes from {wanted.bit_depth} bits to {frame.format.name} at "
                f"{float(self._last_pts * self.time_base):.3f} s: split it there and colorize the parts"
            )
        if (frame.width, frame.height) == (wanted.width, wanted.height):
            return frame
        self._scaled_frames += 1
        self._other_sizes.add((frame.width, frame.height))
        return frame.reformat(width=wanted.width, height=wanted.height)

    def _time_of(self, frame: av.VideoFrame) -> int:
        pts = frame.pts
        if self._times_from_dts and frame.dts is not None:
            pts = frame.dts - self.stream.codec_context.reorder_depth * self._ticks_per_frame()
        elif pts is None:
            self._missing_pts += not self._times_from_dts
            pts = frame.dts
            if self._last_pts is not None and (pts is None or pts <= self._last_pts):
                pts = self._last_pts + (self._last_duration or self._ticks_per_frame())
        self._last_pts, self._last_duration = pts or 0, frame.duration
        return self._last_pts

    def _ticks_per_frame(self) -> int:
        return max(1, round(1 / (self.frame_rate * self.time_base))) if self.frame_rate else 1

    def _compare_with_header(self) -> None:
        """At the end: note what did not come out, and what the file's header promises and was not there."""
        damage, whole = self.damage, self.span.begin is None and self.span.end is None
        damage.lost_frames = self._late_frames
        if whole:
            # Behind an edit list, MP4's own count includes frames that are never shown; its index does not.
            stated = len(self.stream.index_entries) if "mp4" in self.format_names else self.stream.frames
            damage.lost_frames += max(0, stated - self._video_packets)
        if damage:  # without damage, packets that give no frame are meant so
            damage.lost_frames += max(0, self._sent_packets - self._decoded_frames)
        if whole and self.container.duration and self.format_names & _STATES_DURATION:
            promised = Fraction(self.container.duration, av.time_base) + self.span.origin
            slack = max(Fraction(1, 2), 3 / self.frame_rate if self.frame_rate else 0)
            damage.ended_early |= self._latest_end < promised - slack
