"""What each container that we write can carry, and what each of its tracks would need."""

import io
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Discard, Disposition

from edgecolor.errors import UnsupportedMediaError


@dataclass(frozen=True)
class Container:
    """One kind of output file."""

    extension: str
    muxer: str  # FFmpeg's name
    family: str  # FFmpeg's name among those of its demuxer: two files of one family keep times tick for tick
    encoders: tuple[str, ...]  # that we write into it, the one to take first in front
    says_range: bool = False  # limited or full
    says_colors: bool = False  # matrix, primaries, transfer
    says_aspect: bool = False  # sample aspect ratio; Matroska's is put in afterwards, see matroska_aspect.py
    says_rotation: bool = False
    chapters: bool = False
    attachments: bool = False
    cover_art: bool = False
    copies: frozenset[str] | None = None  # codecs that may be copied into it; None asks FFmpeg's muxer


_MPEGTS_COPIES = frozenset((
    "h264", "hevc", "mpeg2video", "mpeg1video", "mpeg4", "mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts",
    "truehd", "opus", "s302m", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "klv", "timed_id3", "scte_35",
))  # fmt: skip
_NVENC = ("h264_nvenc", "hevc_nvenc")  # last everywhere: they are taken where they are asked for
_MP4 = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4", "mjpeg", "ffv1", *_NVENC)
_MOV = ("libx264", "libx265", "prores_ks", "mpeg4", "mjpeg", *_NVENC)
_MKV = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "mpeg4", "mjpeg", *_NVENC)
_TS = ("libx264", "libx265", *_NVENC)
# H.264 also in AVI: it is the only codec there that states range and matrix. Without B-frames (see the writer), because
# AVI stores no presentation times.
_AVI = ("libx264", "ffv1", "mpeg4", "mjpeg")

CONTAINERS = (
    Container(".mkv", "matroska", "matroska", _MKV, says_range=True, says_colors=True, says_aspect=True,
              says_rotation=True, chapters=True, attachments=True, cover_art=True),
    Container(".mp4", "mp4", "mp4", _MP4, says_range=True, says_colors=True, says_aspect=True, says_rotation=True,
              chapters=True, cover_art=True),
    Container(".m4v", "mp4", "mp4", _MP4, says_range=True, says_colors=True, says_aspect=True, says_rotation=True,
              chapters=True, cover_art=True),
    Container(".mov", "mov", "mp4", _MOV, says_colors=True, says_aspect=True, says_rotation=True, chapters=True),
    Container(".webm", "webm", "matroska", ("libvpx-vp9", "libsvtav1"), says_range=True, says_colors=True,
              says_aspect=True, says_rotation=True, chapters=True),
    Container(".avi", "avi", "avi", _AVI),
    Container(".ts", "mpegts", "mpegts", _TS, copies=_MPEGTS_COPIES),
    Container(".mts", "mpegts", "mpegts", _TS, copies=_MPEGTS_COPIES),
    Container(".m2ts", "mpegts", "mpegts", _TS, copies=_MPEGTS_COPIES),
)  # fmt: skip
_SUGGESTED = (".mkv", ".mp4", ".mov", ".ts")


def container_of(path: Path) -> Container:
    """The container that a file name asks for; UnsupportedMediaError if it is none of ours."""
    for container in CONTAINERS:
        if container.extension == path.suffix.lower():
            return container
    known = " ".join(container.extension for container in CONTAINERS)
    found = f"the extension {path.suffix}" if path.suffix else "no extension"
    raise UnsupportedMediaError(f"{path.name} has {found}: name the output with one of {known}")


def containers_with(wanted: str, encoder: str | None = None) -> str:
    """Extensions of the containers that have a property, such as "chapters", for messages."""
    fitting = [c.extension for c in CONTAINERS if getattr(c, wanted) and (encoder is None or encoder in c.encoders)]
    return " or ".join(fitting[:2])


def stream_kind(stream: av.stream.Stream) -> str:
    """What a stream is to us: its media type, or cover, chapters, timecode."""
    if stream.type == "video" and stream.disposition & Disposition.attached_pic:
        return "cover"
    # MP4 keeps chapters as a text track, which the demuxer shows as well as the chapters, and hides with "discard".
    if stream.type == "data" and stream.discard == Discard.all:
        return "chapters"
    if stream.type == "data" and "timecode" in stream.metadata:
        return "timecode"
    return stream.type


def can_carry(container: Container, stream: av.stream.Stream, supported: set[str]) -> bool:
    """Whether a stream can be copied into a container, of whose muxer FFmpeg says that it supports these codecs."""
    kind = stream_kind(stream)
    if kind in ("chapters", "timecode"):
        return True  # both are written anew, from the chapters and from the metadata
    if kind == "attachment":
        return container.attachments
    if kind == "cover" and not container.cover_art:
        return False
    name = codec_name(stream)
    if container.copies is not None:
        return name in container.copies
    if container.muxer == "avi" and kind not in ("video", "audio"):
        return False
    return stream.codec_context is not None and stream.codec_context.name in supported


def refuse_stream(container: Container, stream: av.stream.Stream) -> UnsupportedMediaError:
    """The error for a stream that the container cannot carry, naming one that can."""
    others = [c for c in CONTAINERS if c.extension in _SUGGESTED and c.muxer != container.muxer]
    able = next((c.extension for c in others if can_carry(c, stream, supported_codecs(c))), None)
    kind = {"cover": "cover art", "data": "data stream", "attachment": "attachment"}.get(
        stream_kind(stream), f"{stream.type} stream"
    )
    advice = f"write to {able} instead" if able else "no container here can; allow it to be left out"
    return UnsupportedMediaError(
        f"{container.extension[1:]} cannot carry the {kind} {stream.index} ({codec_name(stream)}): {advice}"
    )


def supported_codecs(container: Container) -> set[str]:
    """Names of the codecs, as decoders and encoders are called, that FFmpeg's muxer takes."""
    with av.open(io.BytesIO(), "w", format=container.muxer) as output:
        return output.supported_codecs


def codec_name(stream: av.stream.Stream) -> str:
    """The codec's general name (aac, subrip), or for attachments the file's name."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return getattr(stream, "name", None) or "unknown codec"
