"""Read a video file: luma planes of one video stream, and every other stream as packets, in the file's order."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container.core import Flags as ContainerFlags
from av.stream import Disposition

from edgecolor.errors import ConfigError, MediaError
from edgecolor.frames import LumaFormat, LumaFrame
from edgecolor.video import planes, tags
from edgecolor.video.damage import Damage, HoleFinder, Joins
from edgecolor.video.decoder import LumaDecoder
from edgecolor.video.open_input import open_input, read_siting_and_field_order
from edgecolor.video.side_data import HdrMetadata, display_matrix, hdr_metadata
from edgecolor.video.span import Span

_MAX_READ_ERRORS = 100  # in a row, before the rest of the file is given up
_STATES_DURATION = {"mp4", "matroska", "avi"}  # formats whose header says how long the file is


@dataclass
class CopiedPacket:
    """A packet of a stream that is copied as it is: audio, subtitles, data, further video."""

    packet: av.Packet  # times in counts of its own time_base
    stream_index: int  # of the stream in the source file


class VideoReader:
    """A video file, opened: iterate to get `LumaFrame`s and `CopiedPacket`s in the order in which they are stored.

    start, duration  the span to read, in seconds from the file's beginning; None reads to the end. With a start, times
                     are moved so that the span begins near zero, all streams by the same amount.
    threads          for the decoder; 0 leaves it to FFmpeg
    vectors          frames are to have the file's own motion vectors, where they are known
    raises           MediaNotFoundError, MediaError with one line that says what is wrong with the file;
                     ConfigError for a start or duration that is negative, infinite or past the end

    luma_format, frame_rate (average), duration_seconds and frames_estimate are known once it is open; `damage` and
    `warnings` grow while reading. It can be read once, by one thread at a time.
    """

    def __init__(
        self,
        path: str | Path,
        start: float = 0.0,
        duration: float | None = None,
        threads: int = 0,
        vectors: bool = False,
    ):
        if not 0 <= start < math.inf:
            raise ConfigError(f"start is in seconds and cannot be negative or infinite, got {start}")
        if duration is not None and not 0 < duration < math.inf:
            raise ConfigError(f"duration is in seconds, must be positive and cannot be infinite, got {duration}")
        self.path = Path(path)
        self.container, self.stream = open_input(self.path)
        try:
            self.span = Span.of(self.container, self.stream, start, duration)
            self._prepare(threads, vectors)
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
    def damage(self) -> Damage:
        return self._decoder.damage

    @property
    def luma_format(self) -> LumaFormat:
        return self._decoder.luma_format

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that is not taken over as it was; complete once everything is read."""
        lines = [*self._format_warnings, *self._decoder.warnings]
        if self._joins.count:
            lines.append(f"time stamps jump back {self._joins.count} times; the parts were joined end to end")
        if self.damage:
            lines.append(f"{self.path.name} is damaged: {self.damage}")
        return lines

    # Opening

    def _prepare(self, threads: int, vectors: bool) -> None:
        stream = self.stream
        self.format_names = frozenset(self.container.format.name.split(","))
        # AVI stores no presentation times, and those that FFmpeg would make up are one frame late.
        avi = "avi" in self.format_names
        if avi:
            self.container.flags &= ~ContainerFlags.gen_pts.value
        chroma_location, self.field_order = read_siting_and_field_order(self.container, stream)
        self._decoder = LumaDecoder(stream, self.span, chroma_location, avi, threads, vectors)
        self.time_base: Fraction = self._decoder.time_base
        self.frame_rate: Fraction | None = self._decoder.frame_rate
        self.sample_aspect_ratio: Fraction | None = stream.sample_aspect_ratio or None  # width over height of a sample
        total = self.container.duration and self.container.duration / av.time_base
        self.duration_seconds: float | None = self.span.length(total)
        self.frames_estimate: int | None = self._estimate_frames(total)
        self.cover_art: dict[int, bytes] = {}  # pictures by stream index
        self._start_over()

    def _start_over(self) -> None:
        self._decoder.start_over(Damage())
        self._holes, self._joins = HoleFinder(), Joins()
        self._video_packets = 0
        self._latest_end = Fraction(0)
        self._demuxer = self.container.demux()
        self._items = self._read()
        self._pending: deque[LumaFrame | CopiedPacket] = deque()

    def _read_first_frame(self) -> None:
        """Decode one frame: only that says for sure what the luma is like. What is read on the way is kept."""
        for item in self._items:
            if item is not None:
                self._pending.append(item)
            if self._decoder.first is not None:
                break
        if (first := self._decoder.first) is None:
            if self.span.end is not None and not self.damage:  # the picture begins later than the sound
                raise MediaError(f"no frame lies in the chosen span of {self.path}: choose another")
            raise MediaError(f"{self.path} holds no frame that can be decoded ({self.damage})")
        self.first_pts = 0 if self.span.begin is not None else self._decoder.last_pts
        self.pix_fmt = first.format.name
        self.rgb = planes.is_rgb(self.pix_fmt)
        self.interlaced = first.interlaced_frame
        self.display_matrix = display_matrix(first, self.stream)
        self.hdr: HdrMetadata | None = hdr_metadata(first)
        self.tags = tags.tags_to_write(self._decoder.tags_of(first), self.luma_format, self.rgb)
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
            if self._decoder.last_pts is not None and self._decoder.last_pts > begin:
                return False
            if self._decoder.keyframe_seen:
                return True
        return False

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
                yield from self._decoder.decode(packet)
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

    def _compare_with_header(self) -> None:
        """At the end: note what did not come out, and what the file's header promises and was not there."""
        damage, whole = self.damage, self.span.begin is None and self.span.end is None
        damage.lost_frames = self._decoder.late_frames
        if whole:
            # Behind an edit list, MP4's own count includes frames that are never shown; its index does not.
            stated = len(self.stream.index_entries) if "mp4" in self.format_names else self.stream.frames
            damage.lost_frames += max(0, stated - self._video_packets)
        if damage:  # without damage, packets that give no frame are meant so
            damage.lost_frames += self._decoder.swallowed
        if whole and self.container.duration and self.format_names & _STATES_DURATION:
            # FFmpeg writes into Matroska when the last packet ends, others how long after the first that is.
            begin = 0 if "matroska" in self.format_names else self.span.origin
            promised = Fraction(self.container.duration, av.time_base) + begin
            slack = max(Fraction(1, 2), 3 / self.frame_rate if self.frame_rate else 0)
            damage.ended_early |= self._latest_end < promised - slack
