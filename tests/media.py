"""Small media for tests, made with PyAV in a temporary folder, and a second look at files that does without our code.

Only `recolor`, at the end, runs what is tested.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from edgecolor.video.pyav import METADATA

WIDTH, HEIGHT, FRAMES = 96, 64, 20


def moving_luma(index: int, width: int = WIDTH, height: int = HEIGHT, bit_depth: int = 8) -> np.ndarray:
    """A gradient with a bright disc that moves: (height, width) in limited range at the bit depth."""
    y, x = np.mgrid[0:height, 0:width]
    scene = 40 + 90 * x / width + 40 * y / height
    scene[(x - 10 - 3 * index) ** 2 + (y - height / 2) ** 2 < (height / 6) ** 2] = 210
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    return (scene * 2 ** (bit_depth - 8)).astype(dtype)


def fill(frame: av.VideoFrame, planes: Sequence[np.ndarray | int]) -> av.VideoFrame:
    """Set a planar frame's planes to arrays or constants; padding is left as it is."""
    wide = 2 if max(component.bits for component in frame.format.components) > 8 else 1
    for plane, values in zip(frame.planes, planes, strict=True):
        memory = np.frombuffer(plane, np.uint8 if wide == 1 else np.uint16)
        memory = memory.reshape(plane.height, plane.line_size // wide)
        if isinstance(values, np.ndarray):
            memory[: values.shape[0], : values.shape[1]] = values
        else:
            memory[:] = values
    return frame


@dataclass
class Clip:
    """What to put into a file. `pts` in counts of time_base; everything has a small, plain default."""

    width: int = WIDTH
    height: int = HEIGHT
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    pts: Sequence[int] = field(default_factory=lambda: [512 * i for i in range(FRAMES)])
    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(25)
    last_duration: int = 0  # of the last frame, in counts of time_base; 0 leaves it to the rate
    options: dict[str, str] = field(default_factory=lambda: {"crf": "10", "preset": "ultrafast"})
    frames: Sequence[av.VideoFrame] | None = None  # instead of moving_luma with gray chroma
    matrix: int = 2  # color tags in FFmpeg's numbers; 2 and (range) 0 are untagged
    primaries: int = 2
    transfer: int = 2
    range: int = 0
    aspect: Fraction = Fraction(0)
    rotation: int | None = None  # counterclockwise, as PyAV has it
    audio: str | None = None  # an audio encoder, such as aac
    audio_start: int = 0  # first sample
    metadata: dict[str, str] = field(default_factory=dict)
    stream_metadata: dict[str, str] = field(default_factory=dict)
    audio_metadata: dict[str, str] = field(default_factory=dict)
    chapters: list[dict] = field(default_factory=list)
    attachments: list[tuple[str, str, bytes]] = field(default_factory=list)  # name, MIME type, content
    cover: bytes | None = None  # a JPEG file, for MP4
    subtitles: list[tuple[int, int, str]] = field(default_factory=list)  # milliseconds from, to, text (SubRip)
    disposition: int | None = None
    audio_disposition: int | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    copies_of_video: int = 0  # further video streams with the same pictures
    keyframes: Iterable[int] = ()  # indices


def bits_of(pix_fmt: str) -> int:
    return max(c.bits for c in av.VideoFormat(pix_fmt, 2, 2).components)


def plain_frame(index: int, clip: Clip) -> av.VideoFrame:
    """A frame of moving_luma with gray chroma in the clip's planar format."""
    bits = bits_of(clip.pix_fmt)
    frame = av.VideoFrame(clip.width, clip.height, clip.pix_fmt)
    chroma = [1 << (bits - 1)] * (len(frame.planes) - 1)
    return fill(frame, [moving_luma(index, clip.width, clip.height, bits), *chroma])


def make_video(path: Path, clip: Clip | None = None, **changes) -> Path:
    """Write a clip to a file. Keyword arguments change fields of the default clip."""
    clip = clip or Clip(**changes)
    output = av.open(str(path), "w", format=clip.format, container_options=clip.container_options, **METADATA)
    videos = [_add_video(output, clip) for _ in range(1 + clip.copies_of_video)]
    audio = _add_audio(output, clip) if clip.audio else None
    subtitle = output.add_mux_stream("subrip", time_base=Fraction(1, 1000)) if clip.subtitles else None
    cover = None
    if clip.cover:
        cover = output.add_mux_stream("mjpeg", width=16, height=16, time_base=Fraction(1, 90000))
        cover.disposition = av.stream.Disposition.attached_pic
    for name, kind, content in clip.attachments:
        output.add_attachment(name, kind, content)
    output.metadata.update(clip.metadata)
    if clip.chapters:
        output.set_chapters(clip.chapters)
    output.start_encoding()
    if cover:
        output.mux(_packet(clip.cover, cover, 0, 0, cover.time_base))
    sounds = list(_encode_audio(audio, clip)) if audio else []
    for packet in sounds:
        output.mux(packet)
    for start, end, text in clip.subtitles:
        output.mux(_packet(text.encode(), subtitle, start, end - start, Fraction(1, 1000)))
    for index, pts in enumerate(clip.pts):
        for video in videos:
            frame = clip.frames[index] if clip.frames else plain_frame(index, clip)
            frame.pts, frame.time_base = pts, clip.time_base
            frame.duration = clip.last_duration if index == len(clip.pts) - 1 else 0
            if index in clip.keyframes:
                frame.pict_type = av.video.frame.PictureType.I
            output.mux(video.encode(frame))
    for video in videos:
        output.mux(video.encode(None))
    output.close()
    return path


def _add_video(output: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    stream = output.add_stream(clip.codec, rate=clip.rate)
    stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pix_fmt
    codec = stream.codec_context
    stream.time_base = codec.time_base = clip.time_base
    codec.thread_count = 1
    codec.flags |= av.codec.context.Flags.frame_duration
    codec.colorspace, codec.color_primaries, codec.color_trc = clip.matrix, clip.primaries, clip.transfer
    codec.color_range, codec.sample_aspect_ratio = clip.range, clip.aspect
    known = {"crf", "preset", "bf", "g"} if clip.codec in ("libx264", "libx265") else set()
    stream.options = {k: v for k, v in clip.options.items() if k in known or k not in ("crf", "preset")}
    if clip.codec == "libx265":
        stream.options = {"x265-params": "log-level=none", **stream.options}
    if clip.rotation is not None:
        stream.set_display_rotation(clip.rotation)
    stream.metadata.update(clip.stream_metadata)
    if clip.disposition is not None:
        stream.disposition = clip.disposition
    return stream


def _add_audio(output: av.container.OutputContainer, clip: Clip) -> av.AudioStream:
    stream = output.add_stream(clip.audio, rate=48000)
    stream.codec_context.layout = "mono"
    stream.metadata.update(clip.audio_metadata)
    if clip.audio_disposition is not None:
        stream.disposition = clip.audio_disposition
    return stream


def _encode_audio(stream: av.AudioStream, clip: Clip) -> Iterable[av.Packet]:
    seconds = float((clip.pts[-1] - clip.pts[0]) * clip.time_base) + 0.04
    size = stream.codec_context.frame_size or 1024
    kind = stream.codec_context.format.name
    for start in range(0, int(seconds * 48000), size):
        tone = np.sin(np.arange(start, start + size) * 440 * 2 * np.pi / 48000)[None] * 0.3
        samples = tone.astype(np.float32) if kind.startswith("flt") else (tone * 32000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, clip.audio_start + start, Fraction(1, 48000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _packet(content: bytes, stream: av.stream.Stream, pts: int, duration: int, base: Fraction) -> av.Packet:
    packet = av.Packet(content)
    packet.stream, packet.time_base = stream, base
    packet.pts = packet.dts = pts
    packet.duration, packet.is_keyframe = duration, True
    return packet


@dataclass
class Track:
    """What a second demux of a file finds in one stream, in the order of presentation."""

    kind: str
    codec: str | None
    time_base: Fraction
    pts: list[int | None]
    durations: list[int | None]
    payloads: list[bytes]
    metadata: dict[str, str]
    disposition: int

    @property
    def seconds(self) -> list[Fraction]:
        return [pts * self.time_base for pts in self.pts]


def demux(path: Path) -> list[Track]:
    """Every stream of a file, packet by packet, read with PyAV alone."""
    with av.open(str(path), **METADATA) as container:
        packets: dict[int, list[av.Packet]] = {stream.index: [] for stream in container.streams}
        for packet in container.demux():
            if packet.size:
                packets[packet.stream_index].append(packet)
        tracks = []
        for stream in container.streams:
            mine = packets[stream.index]
            if stream.type == "video":
                mine = sorted(mine, key=lambda packet: packet.dts if packet.pts is None else packet.pts)
            tracks.append(
                Track(
                    kind=stream.type,
                    codec=stream.codec_context.codec.canonical_name if stream.codec_context else stream.name,
                    time_base=stream.time_base,
                    pts=[packet.pts for packet in mine],
                    durations=[packet.duration for packet in mine],
                    payloads=[bytes(packet) for packet in mine],
                    metadata=dict(stream.metadata),
                    disposition=int(stream.disposition),
                )
            )
        return tracks


def video_track(path: Path) -> Track:
    return next(track for track in demux(path) if track.kind == "video")


def audio_track(path: Path) -> Track:
    return next(track for track in demux(path) if track.kind == "audio")


def decode(path: Path) -> list[av.VideoFrame]:
    """All frames of the first video stream, decoded on one thread."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return list(container.decode(container.streams.video[0]))


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    """The Y' plane of a planar or semi-planar frame, row by row."""
    plane = frame.planes[0]
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    memory = bytes(plane)
    rows = [np.frombuffer(memory, dtype, frame.width, k * plane.line_size) for k in range(frame.height)]
    return np.stack(rows)


def silence(start: int = 0) -> av.AudioFrame:
    """1024 samples of stereo silence at 48 kHz."""
    frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48000, start
    return frame


def jpeg(width: int = 16, height: int = 16) -> bytes:
    """A small gray JPEG file."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1, 25)
    frame = fill(av.VideoFrame(width, height, "yuvj420p"), [90, 128, 128])
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def recolor(source: Path, target: Path, options=None, cb: int | None = None, cr: int | None = None, **reader_options):
    """Run reader and writer as the colorizer does, with constant chroma (gray by default): (reader, writer)."""
    from edgecolor.frames import ColorFrame
    from edgecolor.video import CopiedPacket, VideoReader, VideoWriter

    with VideoReader(source, **reader_options) as reader, VideoWriter(target, reader, options) as writer:
        depth, chroma = reader.luma_format.bit_depth, writer.chroma_format
        dtype = np.uint8 if depth == 8 else np.uint16
        blue, red = (
            np.full((chroma.height, chroma.width), 1 << (depth - 1) if value is None else value, dtype)
            for value in (cb, cr)
        )
        for item in reader:
            if isinstance(item, CopiedPacket):
                writer.copy(item)
            else:
                writer.write(ColorFrame(item, blue, red))
    return reader, writer
