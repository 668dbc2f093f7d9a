"""Bad input and output: one line that says what was found, and nothing left under the output's name."""

import gc
import os
import resource
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from media import FRAMES, decode, jpeg, make_video, recolor, silence

from edgecolor.errors import ConfigError, MediaError, MediaNotFoundError
from edgecolor.frames import ColorFrame
from edgecolor.video import VideoReader, VideoWriter

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source(tmp_path):
    return make_video(tmp_path / "old.mp4", audio="aac")


def one_line(error) -> str:
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda p: None, MediaNotFoundError, "does not exist: check the name"),
        (lambda p: p.mkdir(), MediaError, "is a folder: name one video file"),
        (lambda p: p.touch(), MediaError, r"is empty \(0 bytes\)"),
        (lambda p: p.write_text("Dear diary,\nno film today.\n" * 50), MediaError, "is not a video"),
        (lambda p: p.write_bytes(os.urandom(5000)), MediaError, "is not a video"),
        (lambda p: p.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n\n" * 3), MediaError, "video"),
    ],
    ids=["missing", "folder", "empty", "text", "noise", "subtitles"],
)
def test_what_is_not_a_video_is_refused_in_one_line(tmp_path, make, kind, message):
    path = tmp_path / "old.mp4"
    make(path)
    with pytest.raises(kind, match=message) as caught:
        VideoReader(path)
    assert one_line(caught.value).startswith(str(path))


def test_a_file_without_video_is_refused_naming_what_it_has(tmp_path):
    path = tmp_path / "old.mkv"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=48000)
        text = output.add_mux_stream("subrip")
        output.start_encoding()
        packet = av.Packet(b"hello")
        packet.stream, packet.pts, packet.dts, packet.duration = text, 0, 0, 500
        output.mux(packet)
        output.mux(sound.encode(silence()))
        output.mux(sound.encode(None))
    with pytest.raises(MediaError) as caught:
        VideoReader(path)
    assert one_line(caught.value) == f"{path} has no video stream, only audio and subtitle"


def test_a_cover_picture_is_not_a_video_stream(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=48000)
        cover = output.add_mux_stream("mjpeg", width=16, height=16)
        cover.disposition = av.stream.Disposition.attached_pic
        output.start_encoding()
        packet = av.Packet(jpeg())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        output.mux(packet)
        for index in range(4):
            output.mux(sound.encode(silence(1024 * index)))
        output.mux(sound.encode(None))
    with pytest.raises(MediaError, match="has no video stream, only audio and cover art"):
        VideoReader(path)


@pytest.mark.parametrize(("start", "duration"), [(-1, None), (0, 0), (0, -2), (99, None), (float("nan"), None)])
def test_an_impossible_span_is_refused(source, start, duration):
    with pytest.raises(ConfigError) as caught:
        VideoReader(source, start=start, duration=duration)
    one_line(caught.value)


def test_a_colon_in_the_name_is_no_protocol(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source.rename("http:old%03d.mp4")
    recolor(Path("http:old%03d.mp4"), Path("new:%d.mp4"))
    assert len(decode(tmp_path / "new:%d.mp4")) == FRAMES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["http:old%03d.mp4", "new:%d.mp4"]


def test_an_output_that_is_the_input_is_refused_under_any_name(tmp_path, source):
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    before = source.read_bytes()
    for name in ("old.mp4", "link.mp4", "hard.mp4", "./old.mp4"):
        with VideoReader(source) as reader, pytest.raises(MediaError, match="is the input itself") as caught:
            VideoWriter(tmp_path / name, reader, overwrite=True)
        one_line(caught.value)
    assert source.read_bytes() == before


def test_an_existing_output_is_kept_unless_it_may_be_overwritten(tmp_path, source):
    target = tmp_path / "new.mp4"
    target.write_text("precious")
    with VideoReader(source) as reader, pytest.raises(MediaError, match="exists: choose another name"):
        VideoWriter(target, reader)
    assert target.read_text() == "precious"
    with VideoReader(source) as reader:
        writer = VideoWriter(target, reader, overwrite=True)
        assert target.read_text() == "precious"
        writer.abort()
    assert target.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.mp4", "old.mp4"]


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path, source):
    target = tmp_path / "new.mp4"
    with VideoReader(source) as reader:
        writer = VideoWriter(target, reader)
        _write_gray(reader, writer)
        target.write_text("precious")
        with pytest.raises(MediaError, match="has appeared meanwhile"):
            writer.finish()
    assert target.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.mp4", "old.mp4"]


def test_a_missing_or_unwritable_output_folder_is_refused(tmp_path, source):
    with VideoReader(source) as reader:
        with pytest.raises(MediaNotFoundError, match="the folder .* does not exist"):
            VideoWriter(tmp_path / "nowhere" / "new.mp4", reader)
        with pytest.raises(MediaError, match="is not a folder"):
            VideoWriter(source / "new.mp4", reader)
        (tmp_path / "dir.mp4").mkdir()
        with pytest.raises(MediaError, match="is a folder: name a file"):
            VideoWriter(tmp_path / "dir.mp4", reader)
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o555)
        unwritable = folder if os.geteuid() else Path("/proc")  # root may write into any real folder
        with pytest.raises(MediaError, match="cannot write in") as caught:
            VideoWriter(unwritable / "new.mp4", reader)
        one_line(caught.value)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_while_writing_leaves_nothing_behind(tmp_path, source, error):
    with pytest.raises(error), VideoReader(source) as reader, VideoWriter(tmp_path / "new.mp4", reader) as writer:
        _write_gray(reader, writer, count=3)
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]


def test_nothing_has_the_outputs_name_before_it_is_finished(tmp_path, source):
    with VideoReader(source) as reader, VideoWriter(tmp_path / "new.mp4", reader) as writer:
        _write_gray(reader, writer)
        assert not (tmp_path / "new.mp4").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.mp4", "old.mp4"]


def test_a_writer_that_got_no_frame_leaves_nothing_and_says_so(tmp_path, source):
    with VideoReader(source) as reader:
        writer = VideoWriter(tmp_path / "new.mp4", reader)
        with pytest.raises(MediaError, match="no frame lies in the chosen span"):
            writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "old.mp4", pts=[512 * i for i in range(60)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # the kernel then refuses to grow a file further
    try:
        with pytest.raises(MediaError) as caught:
            recolor(source, tmp_path / "new.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "new.mp4" in one_line(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]


def test_a_killed_process_leaves_no_file_under_the_outputs_name(tmp_path, source):
    script = f"""
        import sys, time
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from edgecolor.video import VideoReader, VideoWriter
        from test_video_errors import _write_gray
        with VideoReader({str(source)!r}) as reader, VideoWriter({str(tmp_path / "new.mp4")!r}, reader) as writer:
            _write_gray(reader, writer)
            print("written", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"written\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not (tmp_path / "new.mp4").exists()
    recolor(source, tmp_path / "new.mp4")
    assert len(decode(tmp_path / "new.mp4")) == FRAMES


def _write_gray(reader, writer, count=None):
    chroma = np.full((writer.chroma_format.height, writer.chroma_format.width), 128, np.uint8)
    for index, item in enumerate(reader):
        if index == count:
            return
        if hasattr(item, "luma"):
            writer.write(ColorFrame(item, chroma, chroma))
        else:
            writer.copy(item)


def test_the_reader_keeps_no_frame_that_it_has_given_away(source):
    with VideoReader(source) as reader:
        given = [weakref.ref(item) for item in reader if hasattr(item, "luma")]
        gc.collect()
        assert len(given) == FRAMES
        assert sum(reference() is not None for reference in given) == 0


@pytest.mark.parametrize("span", [{"start": float("inf")}, {"duration": float("inf")}, {"start": float("nan")}])
def test_a_span_without_end_is_refused(source, span):
    with pytest.raises(ConfigError, match="infinite"):
        VideoReader(source, **span)


def test_a_span_before_the_first_frame_is_said_to_be_empty(tmp_path):
    late = make_video(tmp_path / "late.mp4", pts=[25600 + 512 * i for i in range(5)], audio="aac")
    with pytest.raises(MediaError, match="no frame lies in the chosen span"):
        VideoReader(late, start=0.5, duration=0.5)
