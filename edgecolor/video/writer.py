"""Write the colored frames, and with them everything else that the source file holds."""

from dataclasses import replace
from fractions import Fraction
from math import lcm
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from edgecolor.errors import MediaError, ShapeError, UnsupportedMediaError
from edgecolor.frames import ChromaFormat, ColorFrame, Siting
from edgecolor.video import tags
from edgecolor.video.containers import Container, container_of, containers_with
from edgecolor.video.copies import StreamCopies, choose_streams, file_tags, nearest, stream_tags
from edgecolor.video.encoders import (
    EncodeOptions,
    Encoder,
    choose_encoder,
    choose_pix_fmt,
    encoder_options,
    says_hdr,
)
from edgecolor.video.output_file import OutputFile
from edgecolor.video.planes import chroma_shifts, planes_to_frame
from edgecolor.video.reader import CaptionedLumaFrame, CopiedPacket, VideoReader

_MP4_FILE_TAGS = frozenset((
    "title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "compilation",
    "episode_sort", "season_number", "media_type", "gapless_playback", "creation_time", "timecode", "hd_video",
))  # fmt: skip
_REORDERING = 4  # frames that an encoder with B-frames may hold back
_MAX_TIMESCALE = 2**31 - 1
_FINE_TIMESCALE = 10_000  # ticks per second below which FFmpeg makes an MP4 clock finer


class VideoWriter:
    """An output file that keeps everything of the reader's file but the color of its pictures.

    path       the extension chooses the container
    options    see EncodeOptions
    overwrite  whether an existing file may be replaced
    size       (width, height) of the frames if it is not the source's, for a picture beside another
    raises     ConfigError, MediaError, UnsupportedMediaError before anything is written

    `chroma_format` says which planes `write` wants, `notes` what could not be kept as it was. Nothing appears under
    the output's name before `finish`; as a context manager it finishes on success and leaves nothing behind otherwise.
    """

    def __init__(
        self,
        path: str | Path,
        reader: VideoReader,
        options: EncodeOptions | None = None,
        overwrite: bool = False,
        size: tuple[int, int] | None = None,
    ):
        options = options or EncodeOptions()
        luma = reader.luma_format
        self.path, self._reader = Path(path), reader
        self._size = size or (luma.width, luma.height)
        self.container = container_of(self.path)
        self.encoder = choose_encoder(self.container, options, luma.bit_depth)
        source_chroma = chroma_shifts(reader.pix_fmt)
        self.pix_fmt = choose_pix_fmt(
            self.encoder, self.container, options, luma.bit_depth, source_chroma, self._size
        )
        _check_carried(reader, self.container, self.encoder)
        streams, self.notes = choose_streams(reader, self.container, options.drop_unsupported)
        self.tags, siting = _tags_and_siting(reader, self.encoder)
        log2_x, log2_y = chroma_shifts(self.pix_fmt)
        width, height = self._size
        self.chroma_format = ChromaFormat(-(-width >> log2_x), -(-height >> log2_y), log2_x, log2_y, siting)
        self._dtype = np.dtype(np.uint8 if luma.bit_depth == 8 else np.uint16)
        self._frames = self._moved_frames = 0
        self._last_pts: int | None = None
        self._closed = False
        self._file = OutputFile(self.path, reader.path, overwrite)
        try:
            self._open(streams, options)
        except BaseException:
            self.abort()
            raise
        self._note_changes(source_chroma)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    def write(self, frame: ColorFrame) -> None:
        """Encode a frame; MediaError if the disk is full, ShapeError if a plane has not the promised shape."""
        source = frame.source
        chroma = (self.chroma_format.height, self.chroma_format.width)
        wanted = ((self._size[1], self._size[0]), chroma, chroma)
        planes = [source.luma, frame.cb, frame.cr]
        for name, plane, shape in zip(("luma", "cb", "cr"), planes, wanted, strict=True):
            if plane.shape != shape or plane.dtype != self._dtype:
                raise ShapeError(f"{name} is {plane.shape} {plane.dtype}, the encoder wants {shape} {self._dtype}")
        carrier = None
        if isinstance(source, CaptionedLumaFrame) and self._size == (source.decoded.width, source.decoded.height):
            # The only way in PyAV to hand captions on is a frame made from the one that has them.
            carrier = source.decoded.reformat(format=self.pix_fmt)
            carrier.make_writable()
        picture = planes_to_frame(planes, self.pix_fmt, carrier)
        self._tag(picture)
        picture.pts, picture.duration = self._times(source.pts, source.duration, source.time_base)
        picture.time_base = self._time_base
        try:
            self._output.mux(self._stream.encode(picture))
        except (OSError, av.error.FFmpegError) as error:
            raise self._file.describe(error) from error
        self._frames += 1

    def copy(self, packet: CopiedPacket) -> None:
        """Pass on a packet of another stream; it must not be used after that."""
        try:
            self._copies.write(packet)
        except (OSError, av.error.FFmpegError) as error:
            raise self._file.describe(error) from error

    def finish(self) -> None:
        """Flush the encoder, close the file and give it its name; MediaError if no frame came."""
        if self._closed:
            return
        try:
            if not self._frames:
                raise MediaError(f"no frame lies in the chosen span of {self._reader.path}: choose another")
            self._output.mux(self._stream.encode(None))
            self._output.close()
        except (OSError, av.error.FFmpegError) as error:
            self.abort()
            raise error if isinstance(error, MediaError) else self._file.describe(error) from error
        except BaseException:
            self.abort()
            raise
        self._closed = True
        if self._moved_frames:
            self.notes.append(f"{self._moved_frames} frames were moved to a later tick, two shared one")
        if self._copies.moved_packets:
            self.notes.append(f"{self._copies.moved_packets} packets of copied streams were moved to a later tick")
        if self._copies.lifted_packets:
            self.notes.append(f"{self._copies.lifted_packets} packets of priming sound before zero are stored at zero")
        self._file.publish()

    def abort(self) -> None:
        """Give up: nothing is left behind."""
        if self._closed:
            return
        self._closed = True
        try:
            if getattr(self, "_output", None) is not None:
                self._output.close()
        except (OSError, ValueError, av.error.FFmpegError):
            pass  # the trailer of a file that is thrown away
        finally:
            self._file.discard()

    # Opening

    def _open(self, streams: list[av.stream.Stream], options: EncodeOptions) -> None:
        reader = self._reader
        container_options = self._container_options(streams)
        try:
            self._output = av.open(
                f"file:{self._file.partial}",
                "w",
                format=self.container.muxer,
                container_options=container_options,
                metadata_errors="surrogateescape",
            )
            self._copies = StreamCopies(self._output, self.container, reader)
            # In the source's order, so that "the second audio track" stays the second.
            for stream in sorted([reader.stream, *streams], key=lambda stream: stream.index):
                if stream is reader.stream:
                    self._stream = self._add_video(options)
                else:
                    self._copies.add(stream)
            self._output.metadata.update(file_tags(reader))
            if self.container.chapters:
                self._output.set_chapters(reader.span.chapters(reader.container.chapters()))
            self._output.start_encoding()
            self._copies.write_covers()
        except (ValueError, OSError, av.error.FFmpegError) as error:
            if isinstance(error, UnsupportedMediaError):
                raise
            what = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise MediaError(
                f"FFmpeg cannot write this with {self.encoder.name} in {self.container.extension[1:]} ({what}): "
                "try another codec, pix_fmt or container"
            ) from error

    def _add_video(self, options: EncodeOptions) -> av.VideoStream:
        reader, source = self._reader, self._reader.stream
        rate = reader.frame_rate or Fraction(25)
        stream = self._output.add_stream(self.encoder.name, rate=rate)
        codec = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = self.pix_fmt
        self._time_base = self._clock(rate)
        stream.time_base = codec.time_base = self._time_base
        codec.thread_type, codec.thread_count = "AUTO", options.threads
        codec.flags |= Flags.frame_duration
        codec.sample_aspect_ratio = reader.sample_aspect_ratio or Fraction(0)
        self._tag(codec)
        chosen = encoder_options(self.encoder, options, reader.hdr)
        if self.encoder.says_siting and self.tags.chroma_location:
            chosen["chroma_sample_location"] = self.tags.chroma_location
        if self.encoder.name == "libx264" and not self._stores_reordering():
            chosen["bf"] = "0"
        if reader.interlaced:
            codec.field_order = source.codec_context.field_order
            if self.encoder.name in ("libx264", "mpeg4"):
                chosen["flags"] = chosen.get("flags", "") + "+ilme+ildct"
        stream.options = chosen
        if self.encoder.name == "libx265" and self.container.family == "mp4":
            codec.codec_tag = "hvc1"  # without it Apple's players refuse HEVC
        # Rotation is said by the display matrix, to which some players would add the old entry.
        own = {key: value for key, value in stream_tags(source, self.container).items() if key.lower() != "rotate"}
        stream.metadata.update(own)
        stream.disposition = source.disposition
        if reader.display_matrix is not None:
            stream.set_display_matrix(reader.display_matrix)
        return stream

    def _container_options(self, streams: list[av.stream.Stream]) -> dict[str, str]:
        if self.container.family == "mp4":
            # Edit lists count in the movie's timescale, one millisecond by default: too coarse for a first frame
            # that is not at zero.
            clocks = [self._clock(Fraction(25)), *(s.time_base for s in streams if s.type in ("audio", "video"))]
            common = lcm(*(clock.denominator for clock in clocks))
            fine = common if common <= _MAX_TIMESCALE else clocks[0].denominator
            known = all(key in _MP4_FILE_TAGS for key in file_tags(self._reader))
            return {
                "movie_timescale": str(fine),
                "video_track_timescale": str(clocks[0].denominator),
                # Keeps entries that iTunes' list has no place for, at the price of players that read only that list.
                **({} if known else {"movflags": "use_metadata_tags"}),
            }
        if self.container.family == "matroska":
            return {"default_mode": "passthrough"}  # else it marks the first stream of each kind as default
        return {"mpegts_copyts": "1"} if self.container.family == "mpegts" else {}

    def _clock(self, rate: Fraction) -> Fraction:
        """Seconds per tick of the video in the output."""
        family, source = self.container.family, self._reader.time_base
        if family == "matroska":
            return Fraction(1, 1000)
        if family == "mpegts":
            return Fraction(1, 90000)
        if family == "avi":
            base = self._reader.stream.base_rate
            return 1 / Fraction(base if base and base <= 240 else rate)
        if "mp4" in self._reader.format_names:
            return Fraction(1, source.denominator)
        scale = source.denominator if source.denominator <= 1_000_000 else 90000
        while scale < _FINE_TIMESCALE:
            scale *= 2
        return Fraction(1, scale)

    def _stores_reordering(self) -> bool:
        """Whether decoding times may precede presentation times by some frames."""
        if self.container.family == "mpegts":
            # It has no negative times: FFmpeg would move every stream of a file that begins at zero.
            reader = self._reader
            first = reader.first_pts * reader.time_base
            return first * (reader.frame_rate or 25) >= _REORDERING
        return self.container.family != "avi"

    def _note_changes(self, source_chroma: tuple[int, int] | None) -> None:
        reader, name = self._reader, self.container.extension[1:]
        log2 = (self.chroma_format.log2_x, self.chroma_format.log2_y)
        if source_chroma is not None and log2 != source_chroma:
            self.notes.append(f"chroma is stored as {self.pix_fmt}; the source had {reader.pix_fmt}")
        if reader.hdr and not says_hdr(self.encoder):
            self.notes.append(f"{self.encoder.name} does not store the mastering display and content light data")
        tagged = tags.UNTAGGED not in (reader.tags.matrix,)
        if tagged and not (self.container.says_colors or self.encoder.says_colors):
            self.notes.append(f"{name} with {self.encoder.name} does not store color tags; players will guess them")
        if reader.rgb:
            self.notes.append("RGB became limited-range Y'CbCr by BT.709")

    # Writing

    def _tag(self, target: av.VideoFrame | av.VideoCodecContext) -> None:
        target.colorspace, target.color_range = self.tags.matrix, self.tags.range
        target.color_primaries, target.color_trc = self.tags.primaries, self.tags.transfer

    def _times(self, pts: int, duration: int | None, time_base: Fraction) -> tuple[int, int]:
        """pts and duration in the output's ticks: the nearest, but later than the frame before."""
        ratio = time_base / self._time_base
        ticks = nearest(pts * ratio)
        if self._last_pts is not None and ticks <= self._last_pts:
            self._moved_frames += 1
            ticks = self._last_pts + 1
        self._last_pts = ticks
        length = duration * ratio if duration else 1 / ((self._reader.frame_rate or 25) * self._time_base)
        return ticks, max(1, nearest(Fraction(length)))


def _check_carried(reader: VideoReader, container: Container, encoder: Encoder) -> None:
    """Refuse what container and encoder together cannot hold, naming what can."""
    name, full = container.extension[1:], reader.luma_format.full_range
    if full not in encoder.ranges:
        found = "full" if full else "limited"
        raise UnsupportedMediaError(f"{encoder.name} cannot hold luma in {found} range: use codec libx264")
    if full and not (encoder.says_range or container.says_range):
        raise UnsupportedMediaError(f"{name} with {encoder.name} cannot say that the luma is full range: use libx264")
    aspect = reader.sample_aspect_ratio
    if aspect not in (None, 0, 1) and not (encoder.says_aspect or container.says_aspect):
        shape = f"{aspect.numerator}:{aspect.denominator}"
        raise UnsupportedMediaError(
            f"{name} with {encoder.name} cannot keep the sample aspect ratio {shape}: "
            f"write to {containers_with('says_aspect', encoder.name) or '.mp4 with libx264'} instead"
        )
    if reader.display_matrix is not None and not container.says_rotation:
        raise UnsupportedMediaError(
            f"{name} cannot carry the rotation by {reader.luma_format.rotation} degrees: "
            f"write to {containers_with('says_rotation')} instead"
        )
    chapters = reader.span.chapters(reader.container.chapters())
    if chapters and not container.chapters:
        raise UnsupportedMediaError(
            f"{name} cannot carry the {len(chapters)} chapters: write to {containers_with('chapters')} instead"
        )


def _tags_and_siting(reader: VideoReader, encoder: Encoder) -> tuple[tags.ColorTags, Siting]:
    """The color tags to write, and where the chroma that goes with them sits."""
    written = reader.tags
    if encoder.name == "mjpeg":
        return written, Siting.CENTER
    if encoder.says_siting:
        if written.chroma_location is None and reader.siting is not Siting.LEFT:
            # The source's codec implied it; the output's implies left.
            written = replace(written, chroma_location=reader.siting.value)
        return written, reader.siting
    return written, Siting.LEFT
