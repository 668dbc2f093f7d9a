"""The shape of samples in Matroska and WebM, read back with FFmpeg's demuxer. pytest tests/test_matroska_aspect.py"""

import re
import zlib
from fractions import Fraction

import av
import pytest
from media import FRAMES, demux, jpeg, make_video, recolor

from edgecolor.video import EncodeOptions, VideoReader
from edgecolor.video.matroska_aspect import write_aspect

ASPECT = Fraction(64, 45)  # PAL, widescreen
MKV = {"pts": [40 * i for i in range(FRAMES)], "time_base": Fraction(1, 1000)}
TABLE, INFO, TRACKS = (bytes.fromhex(name) for name in ("114d9b74", "1549a966", "1654ae6b"))
CHAPTERS = [{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]


def aspects(path):
    """Of every video track."""
    with av.open(str(path)) as container:
        return [stream.sample_aspect_ratio or None for stream in container.streams.video]  # or 0 / 1 in PyAV 19


def entries(path):
    """Of the table of contents: which element is meant, and the first bytes of what lies at its position."""
    data = path.read_bytes()
    segment = data.index(b"\x18\x53\x80\x67") + 4
    origin = segment + 9 - data[segment].bit_length()  # where positions count from
    found = re.findall(rb"\x53\xab\x84(.{4})\x53\xac(?:\x81(.)|\x82(..)|\x83(...))", data[: origin + 200], re.DOTALL)
    positions = [(name, int.from_bytes(b"".join(at), "big")) for name, *at in found]
    return [(name, data[origin + at : origin + at + 4]) for name, at in positions]


def checksums(path):
    """Stored and computed, of the elements of the header that have one."""
    data, found = path.read_bytes(), []
    for name in (TABLE, INFO, TRACKS):
        at = re.search(rb"(?<!\x53\xab\x84)" + re.escape(name), data).end()  # the element, not its entry in the table
        count = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + count], "big") - (1 << 7 * count)
        content = data[at + count : at + count + size]
        assert content[:2] == b"\xbf\x84"
        found.append((content[2:6], zlib.crc32(content[6:]).to_bytes(4, "little")))
    return found


@pytest.mark.parametrize(
    ("name", "codec"),
    [("b.mkv", "ffv1"), ("b.mkv", "libvpx-vp9"), ("b.mkv", "libsvtav1"), ("b.mkv", "prores_ks"), ("b.mkv", "libx264"),
     ("b.webm", "libvpx-vp9"), ("b.webm", "libsvtav1")],
)  # fmt: skip
def test_every_codec_in_matroska_keeps_the_aspect_ratio(tmp_path, name, codec):
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    source = make_video(tmp_path / "a.mp4", aspect=ASPECT, pix_fmt=pix_fmt)
    plain = make_video(tmp_path / "plain.mp4", pix_fmt=pix_fmt)
    reader, writer = recolor(source, tmp_path / name, EncodeOptions(codec=codec))
    recolor(plain, tmp_path / f"plain-{name}", EncodeOptions(codec=codec))
    assert aspects(tmp_path / name) == [ASPECT] and not any("aspect" in note for note in writer.notes)
    with VideoReader(tmp_path / name) as again:
        assert again.sample_aspect_ratio == ASPECT
    found, expected = (demux(tmp_path / file)[0] for file in (name, f"plain-{name}"))
    assert found.pts == expected.pts and len(found.pts) == FRAMES
    if codec not in ("libx264", "ffv1"):  # which say it in the stream too
        assert found.payloads == expected.payloads


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_all_else_in_the_file_stays_and_is_found(tmp_path, codec):
    rich = make_video(
        tmp_path / "rich.mkv",
        **MKV,
        audio="aac",
        subtitles=[(0, 300, "first"), (320, 570, "second")],
        chapters=CHAPTERS,
        attachments=[("font.ttf", "font/ttf", b"\0\1not a font"), ("cover.jpg", "image/jpeg", jpeg())],
        metadata={"title": "An old film"},
        aspect=ASPECT,
        rotation=90,
        matrix=1, primaries=1, transfer=1, range=1,
        copies_of_video=1,
        keyframes=range(0, FRAMES, 5),
    )  # fmt: skip
    recolor(rich, tmp_path / "b.mkv", EncodeOptions(codec=codec))
    before, after = demux(rich), demux(tmp_path / "b.mkv")
    assert [(t.kind, t.payloads) for t in after[1:]] == [(t.kind, t.payloads) for t in before[1:]]
    assert all(stored == computed for stored, computed in checksums(tmp_path / "b.mkv"))
    table = entries(tmp_path / "b.mkv")
    assert len(table) >= 5 and all(name == there for name, there in table)
    with av.open(str(tmp_path / "b.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == ASPECT and container.chapters()[0]["metadata"] == {"title": "One"}
        container.seek(600_000)  # by the index at the end
        frame = next(container.decode(stream))
        assert (frame.pts > 400) == (codec == "ffv1")  # every frame of it is a keyframe
        assert frame.rotation == 90 and stream.codec_context.colorspace == 1


def test_the_track_that_is_meant_is_changed_and_no_other(tmp_path):
    path = make_video(tmp_path / "a.mkv", **MKV, codec="ffv1", audio="aac", copies_of_video=2)
    assert aspects(path) == [None] * 3
    size, payloads = path.stat().st_size, [track.payloads for track in demux(path)]
    write_aspect(path, 1, ASPECT)
    assert aspects(path) == [None, ASPECT, None]
    write_aspect(path, 2, Fraction(8, 9))
    write_aspect(path, 1, Fraction(12, 11))  # once more
    assert aspects(path) == [None, Fraction(12, 11), Fraction(8, 9)]
    assert path.stat().st_size == size and [track.payloads for track in demux(path)] == payloads


@pytest.mark.parametrize("aspect", [Fraction(1, 2), Fraction(10, 11), Fraction(4320, 4739), Fraction(65535, 65534)])
def test_odd_ratios_are_kept_exactly_and_sizes_stay_near(tmp_path, aspect):
    path = make_video(tmp_path / "a.mkv", **MKV, width=352, height=288, codec="ffv1")
    write_aspect(path, 0, aspect)
    assert aspects(path) == [aspect]
    data = path.read_bytes()
    shown = [re.search(name + rb"([\x81-\x84])", data) for name in (b"\x54\xb0", b"\x54\xba")]
    width, height = (int.from_bytes(data[at.end() : at.end() + at[1][0] - 128], "big") for at in shown)
    assert Fraction(width, height) == aspect * 352 / 288
    if aspect.denominator < 100:  # others have no such ratio in numbers as small
        assert abs(height - 288) < 12


def test_what_is_not_built_as_ffmpeg_builds_it_stays_as_it_was(tmp_path):
    path = make_video(tmp_path / "a.mkv", **MKV, codec="ffv1")
    good = path.read_bytes()
    room = good.index(b"\xec\x01")
    for bad, why in (
        (b"", "no segment"),
        (b"\0" * 400, "not Matroska"),
        (good[:300], "does not end where its parent does"),
        (good[:room] + b"\xed" + good[room + 1 :], "table of contents, room behind it"),
    ):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=why):
            write_aspect(path, 0, ASPECT)
        assert path.read_bytes() == bad
    path.write_bytes(good)
    with pytest.raises(ValueError, match="1 tracks, and track 3"):
        write_aspect(path, 3, ASPECT)


def test_a_ratio_that_cannot_be_written_is_noted_and_no_work_is_lost(tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("it has too little room")

    monkeypatch.setattr("edgecolor.video.writer.write_aspect", refuse)
    source = make_video(tmp_path / "a.mp4", aspect=ASPECT)
    _, writer = recolor(source, tmp_path / "b.mkv", EncodeOptions(codec="ffv1"))
    assert writer.notes[-1] == "the file does not say its sample aspect ratio 64:45 (it has too little room)"
    assert len(demux(tmp_path / "b.mkv")[0].pts) == FRAMES
    _, writer = recolor(source, tmp_path / "c.mkv")  # H.264 says it itself
    assert not any("aspect" in note for note in writer.notes) and aspects(tmp_path / "c.mkv") == [ASPECT]
