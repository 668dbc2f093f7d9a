"""Write the colored frames, and with them everything else that the source file holds."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from edgecolor.errors import MediaError, ShapeError, UnsupportedMediaError
from edgecolor.frames import ChromaFormat, ColorFrame
from edgecolor.video.carried import changes, check_carried, tags_and_siting
from edgecolor.video.clocks import Ticks, may_reorder, mp4_timescales, video_clock
from edgecolor.video.containers import container_of
from edgecolor.video.copies import StreamCopies, choose_streams, file_tags, lost_entries, stream_tags
from edgecolor.video.decoder import CaptionedLumaFrame
from edgecolor.video.encoders import EncodeOptions, choose_encoder, choose_pix_fmt, encoder_options
from edgecolor.video.matroska_aspect import write_aspect
from edgecolor.video.output_file import OutputFile
from edgecolor.video.planes import chroma_shifts, planes_to_frame
from edgecolor.video.pyav import METADATA
from edgecolor.video.reader import CopiedPacket, VideoReader

_MP4_FILE_TAGS = frozenset((
    "title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "compilation",
    "episode_sort", "season_number", "media_type", "gapless_playback", "creation_time", "timecode", "hd_video",
))  # fmt: skip


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
        # Chroma at half height would mix the two fields of an interlaced picture more than the source does.
        kept = chroma_shifts(reader.pix_fmt) if self.encoder.keeps_chroma or reader.interlaced else None
        self.pix_fmt = choose_pix_fmt(self.encoder, self.container, options, luma.bit_depth, kept, self._size)
        check_carried(reader, self.container, self.encoder)
        streams, self.notes = choose_streams(reader, self.container, options.drop_unsupported)
        self.tags, siting = tags_and_siting(reader, self.encoder)
        log2_x, log2_y = chroma_shifts(self.pix_fmt)
        width, height = self._size
        self.chroma_format = ChromaFormat(-(-width >> log2_x), -(-height >> log2_y), log2_x, log2_y, siting)
        self.notes += changes(reader, self.container, self.encoder, self.pix_fmt, self.chroma_format)
        self.notes += lost_entries(reader, [reader.stream, *streams], self.container)
        self._ticks = Ticks(video_clock(self.container, reader), reader.frame_rate)
        self._dtype = np.dtype(np.uint8 if luma.bit_depth == 8 else np.uint16)
        self._frames = 0
        self._closed = False
        self._file = OutputFile(self.path, reader.path, overwrite)
        try:
            self._open(streams, options)
        except BaseException:
            self.abort()
            raise

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
            carrier.pict_type = 0  # else the encoder would repeat the source's choice of keyframes
        picture = planes_to_frame(planes, self.pix_fmt, carrier)
        self._tag(picture)
        picture.pts, picture.duration = self._ticks.of(source.pts, source.duration, source.time_base)
        picture.time_base = self._ticks.clock
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
            before = [stream for stream in self._output.streams if stream.index < self._stream.index]
            self._output.close()
            self._say_aspect(sum(stream.type != "attachment" for stream in before))
        except (OSError, av.error.FFmpegError) as error:
            self.abort()
            raise error if isinstance(error, MediaError) else self._file.describe(error) from error
        except BaseException:
            self.abort()
            raise
        self._closed = True
        if self._ticks.moved:
            self.notes.append(f"{self._ticks.moved} frames were moved to a later tick, two shared one")
        if self._copies.moved_packets:
            self.notes.append(f"{self._copies.moved_packets} packets of copied streams were moved to a later tick")
        if self._copies.lifted_packets:
            self.notes.append(f"{self._copies.lifted_packets} packets of priming sound before zero are stored at zero")
        self._file.publish()

    def _say_aspect(self, track: int) -> None:
        """Where the muxer did not. track: of the picture, among those of the file"""
        aspect = self._reader.sample_aspect_ratio
        if self.container.family != "matroska" or aspect in (None, 0, 1):
            return
        try:
            write_aspect(self._file.partial, track, aspect)
        except ValueError as error:
            if not self.encoder.says_aspect:
                shape = f"{aspect.numerator}:{aspect.denominator}"
                self.notes.append(f"the file does not say its sample aspect ratio {shape} ({error})")

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
        os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder has no other way to be told to print errors only
        try:
            self._output = av.open(
                f"file:{self._file.partial}",
                "w",
                format=self.container.muxer,
                container_options=container_options,
                **METADATA,
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
            if self.encoder.needs:
                what += f"; it needs {self.encoder.needs}"
            raise MediaError(
                f"FFmpeg cannot write this with {self.encoder.name} in {self.container.extension[1:]} ({what}): "
                "try another codec, pix_fmt or container"
            ) from error

    def _add_video(self, options: EncodeOptions) -> av.VideoStream:
        reader, source = self._reader, self._reader.stream
        stream = self._output.add_stream(self.encoder.name, rate=reader.frame_rate or Fraction(25))
        codec = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = self.pix_fmt
        stream.time_base = codec.time_base = self._ticks.clock
        codec.thread_type, codec.thread_count = "AUTO", options.threads
        codec.flags |= Flags.frame_duration
        codec.sample_aspect_ratio = reader.sample_aspect_ratio or Fraction(0)
        self._tag(codec)
        fields = (reader.field_order or "tt") if reader.interlaced else None
        chosen = encoder_options(self.encoder, options, reader.hdr, fields)
        if self.encoder.says_siting and self.tags.chroma_location:
            chosen["chroma_sample_location"] = self.tags.chroma_location
        if not may_reorder(self.container, reader):
            chosen["bf"] = "0"
        stream.options = chosen
        if self.encoder.name in ("libx265", "hevc_nvenc") and self.container.family == "mp4":
            codec.codec_tag = "hvc1"  # without it Apple's players refuse HEVC
        # Rotation is said by the display matrix, to which some players would add the old entry.
        own = {key: value for key, value in stream_tags(source, self.container).items() if key.lower() != "rotate"}
        stream.metadata.update(own)
        stream.disposition = source.disposition
        if reader.display_matrix is not None:
            stream.set_display_matrix(reader.display_matrix)
        return stream

    def _container_options(self, streams: list[av.stream.Stream]) -> dict[str, str]:
        family = self.container.family
        if family == "mp4":
            options = mp4_timescales(self._ticks.clock, streams)
            if not {key.lower() for key in file_tags(self._reader)} <= _MP4_FILE_TAGS:
                # Keeps entries that iTunes' list has no place for, at the price of players that read only that list.
                options["movflags"] = "use_metadata_tags"
            return options
        if family == "matroska":
            return {"default_mode": "passthrough"}  # else it marks the first stream of each kind as default
        return {"mpegts_copyts": "1"} if family == "mpegts" else {}

    # Writing

    def _tag(self, target: av.VideoFrame | av.VideoCodecContext) -> None:
        target.colorspace, target.color_range = self.tags.matrix, self.tags.range
        target.color_primaries, target.color_trc = self.tags.primaries, self.tags.transfer
