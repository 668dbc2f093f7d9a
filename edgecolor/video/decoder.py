"""Packets of one video stream to luma frames: decoding, time stamps, and what goes wrong with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.context import Flags

from edgecolor.errors import MediaError
from edgecolor.frames import LumaFormat, LumaFrame
from edgecolor.video import planes, tags
from edgecolor.video.damage import Damage
from edgecolor.video.motion_vectors import MotionVectors
from edgecolor.video.side_data import carries_captions, clockwise_rotation, display_matrix
from edgecolor.video.span import Span


@dataclass
class CaptionedLumaFrame(LumaFrame):
    """A frame that carries closed captions or the like; the decoder's frame takes them to the encoder."""

    decoded: av.VideoFrame | None = None


class LumaDecoder:
    """Decodes one video stream. What it loses is counted in `damage`, which `start_over` renews after a seek.

    chroma_location   FFmpeg's name for the siting, as the file has it
    times_from_dts    for containers without presentation times: FFmpeg's guesses at them are ignored
    threads           0 leaves it to FFmpeg
    vectors           frames are to have their motion vectors, where the decoder gives them
    """

    def __init__(
        self,
        stream: av.VideoStream,
        span: Span,
        chroma_location: str | None,
        times_from_dts: bool,
        threads: int,
        vectors: bool = False,
    ):
        self._stream, self._span = stream, span
        self._chroma_location, self._times_from_dts = chroma_location, times_from_dts
        self.time_base = Fraction(stream.time_base)
        self.frame_rate: Fraction | None = stream.average_rate or stream.guessed_rate or None
        codec = stream.codec_context
        codec.thread_type = "AUTO"
        codec.thread_count = threads
        codec.flags |= Flags.output_corrupt  # a frame with errors keeps sound and picture together; it is counted
        self._vectors = MotionVectors(codec) if vectors else None
        self.first: av.VideoFrame | None = None
        self.luma_format: LumaFormat | None = None  # known from the first frame on
        self._other_sizes: set[tuple[int, int]] = set()
        self.start_over(Damage())

    def start_over(self, damage: Damage) -> None:
        """Forget the times and counts of what was decoded before a seek."""
        self.damage = damage
        self._missing_pts = self._scaled_frames = self._last_duration = self._sent = self._decoded = 0
        self.late_frames = 0  # that came out behind frames which are to be shown later
        self.last_pts: int | None = None
        self.keyframe_seen = False
        if self._vectors:
            self._vectors.forget()

    def decode(self, packet: av.Packet) -> Iterator[LumaFrame | None]:
        """The frames that come out for a packet; None for each that lies outside the span or comes too late."""
        self._sent += bool(packet.size)
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if packet.dts is None or self._span.holds(packet.dts, self.time_base):  # before it, the seek is to blame
                self.damage.broken_packets += 1
            if self._vectors:
                self._vectors.forget()
            return
        for frame in frames:
            self._decoded += 1
            yield self._luma_frame(frame)

    @property
    def swallowed(self) -> int:
        """Packets for which no frame came out."""
        return max(0, self._sent - self._decoded)

    @property
    def warnings(self) -> list[str]:
        lines = []
        if self._missing_pts:
            lines.append(f"{self._missing_pts} frames had no time stamp; theirs were made from the frames before")
        if self._scaled_frames:
            sizes = ", ".join(f"{width} x {height}" for width, height in sorted(self._other_sizes))
            first = f"{self.luma_format.width} x {self.luma_format.height}"
            lines.append(f"{self._scaled_frames} frames of another size ({sizes}) were scaled to {first}")
        return lines

    def tags_of(self, frame: av.VideoFrame) -> tags.ColorTags:
        """The color tags of a frame, or where it has none, those of the container."""
        codec = self._stream.codec_context
        return tags.ColorTags(
            matrix=frame.colorspace if frame.colorspace != tags.UNTAGGED else codec.colorspace,
            primaries=frame.color_primaries if frame.color_primaries != tags.UNTAGGED else codec.color_primaries,
            transfer=frame.color_trc if frame.color_trc != tags.UNTAGGED else codec.color_trc,
            range=frame.color_range or codec.color_range,
            chroma_location=self._chroma_location,
        )

    def _luma_frame(self, frame: av.VideoFrame) -> LumaFrame | None:
        if self.first is None:
            self.first, self.luma_format = frame, self._luma_format_of(frame)
        last, pts = self.last_pts, self._time_of(frame)
        self.last_pts, self._last_duration = pts, frame.duration
        self.keyframe_seen |= frame.key_frame
        vectors = self._vectors.of(frame) if self._vectors else None
        if last is not None and pts <= last:
            if self._vectors:
                self._vectors.forget()
            self.late_frames += 1  # behind a damage, decoders give frames out of order
            self.last_pts = last
            return None
        if not self._span.holds(pts, self.time_base):
            return None
        self.damage.concealed_frames += frame.is_corrupt
        luma = planes.frame_to_luma(self._in_first_shape(frame), self.luma_format.full_range)
        is_scaled = (frame.width, frame.height) != (self.luma_format.width, self.luma_format.height)
        times = (self._span.move(pts, self.time_base), self.time_base, frame.duration or None)
        facts = (luma, *times, None if is_scaled else vectors)
        return CaptionedLumaFrame(*facts, decoded=frame) if carries_captions(frame) else LumaFrame(*facts)

    def _luma_format_of(self, frame: av.VideoFrame) -> LumaFormat:
        name = frame.format.name
        matrix, full = tags.understand(self.tags_of(frame), frame.width, frame.height, name, planes.is_rgb(name))
        return LumaFormat(
            width=frame.width,
            height=frame.height,
            bit_depth=planes.luma_bit_depth(name),
            matrix=matrix,
            full_range=full,
            rotation=clockwise_rotation(display_matrix(frame, self._stream)),
        )

    def _in_first_shape(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Some broadcast recordings change size or format on the way; an encoder cannot."""
        wanted = self.luma_format
        if planes.luma_bit_depth(frame.format.name) != wanted.bit_depth:
            raise MediaError(
                f"{self._stream.container.name.removeprefix('file:')} changes from {wanted.bit_depth} bits to "
                f"{frame.format.name} at {float(self.last_pts * self.time_base):.3f} s: colorize the parts alone"
            )
        if (frame.width, frame.height) == (wanted.width, wanted.height):
            return frame
        self._scaled_frames += 1
        self._other_sizes.add((frame.width, frame.height))
        return frame.reformat(width=wanted.width, height=wanted.height, threads=1)

    def _time_of(self, frame: av.VideoFrame) -> int:
        pts, last = frame.pts, self.last_pts
        if self._times_from_dts and frame.dts is not None:
            return frame.dts - self._stream.codec_context.reorder_depth * self._ticks_per_frame()
        if pts is None:
            self._missing_pts += not self._times_from_dts
            pts = frame.dts
            if last is not None and (pts is None or pts <= last):
                pts = last + (self._last_duration or self._ticks_per_frame())
        return pts or 0

    def _ticks_per_frame(self) -> int:
        return max(1, round(1 / (self.frame_rate * self.time_base))) if self.frame_rate else 1
