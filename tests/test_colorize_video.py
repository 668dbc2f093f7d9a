"""The whole path with the default model: file in, colored file out. pytest tests/test_colorize_video.py"""

import itertools
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from media import Clip, decode, demux, luma_of, make_video

from edgecolor import ColorConfig, colorize_video
from edgecolor.errors import EdgeColorError, MediaError
from edgecolor.video import EncodeOptions

SMALL = ColorConfig(working_size=64)


@pytest.fixture(scope="module")
def photograph_frames():
    """12 gray frames of 192 x 128, a camera move over a photograph, two different ones in turn."""
    from skimage import data

    frames = []
    for name in ("coffee", "astronaut"):
        gray = cv2.resize(
            cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2GRAY), (216, 152), interpolation=cv2.INTER_AREA
        )
        for i in range(6):
            luma = np.ascontiguousarray(gray[2 * i : 2 * i + 128, 3 * i : 3 * i + 192])
            frame = av.VideoFrame.from_ndarray(luma, format="gray").reformat(format="yuv420p")
            frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def gray_clip(photograph_frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "old.mkv"
    pts = [40 * i for i in range(len(photograph_frames))]
    clip = Clip(192, 128, codec="ffv1", pts=pts, time_base=Fraction(1, 1000), frames=photograph_frames, options={})
    return make_video(path, clip)


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_luma_is_bit_exact_and_the_picture_has_color(gray_clip, tmp_path, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    report = colorize_video(gray_clip, tmp_path / "new.mkv", backend=backend, encode=EncodeOptions(codec="ffv1"))
    before, after = decode(gray_clip), decode(tmp_path / "new.mkv")
    assert report.frames == len(before) == len(after) == 12 and report.backend == backend
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(luma_of(old), luma_of(new)) and old.pts == new.pts
        chroma = np.frombuffer(new.planes[1], np.uint8).astype(int) - 128
        assert np.abs(chroma).mean() > 1


def test_both_backends_make_the_same_picture(gray_clip, tmp_path):
    pytest.importorskip("torch")
    for backend in ("onnxruntime", "torch"):
        colorize_video(gray_clip, tmp_path / f"{backend}.mkv", backend=backend, encode=EncodeOptions(codec="ffv1"))
    pairs = zip(decode(tmp_path / "onnxruntime.mkv"), decode(tmp_path / "torch.mkv"), strict=True)
    for one, other in pairs:
        for plane in (1, 2):
            codes = [np.frombuffer(frame.planes[plane], np.uint8).astype(int) for frame in (one, other)]
            assert np.abs(codes[0] - codes[1]).max() <= 1


def test_the_past_does_not_leak_over_a_scene_cut(gray_clip, tmp_path):
    """The first frame after the cut is what it is in a video that begins there."""
    report = colorize_video(gray_clip, tmp_path / "whole.mkv", encode=EncodeOptions(codec="ffv1"))
    assert report.scene_cuts == 1
    colorize_video(gray_clip, tmp_path / "part.mkv", encode=EncodeOptions(codec="ffv1"), start=0.24)
    whole, part = decode(tmp_path / "whole.mkv"), decode(tmp_path / "part.mkv")
    assert len(part) == 6
    for plane in range(3):
        assert bytes(whole[6].planes[plane]) == bytes(part[0].planes[plane])


def test_smoothing_makes_neighbouring_frames_more_alike(gray_clip, tmp_path):
    changes = {}
    for half_life in (0.0, 0.5):
        config = ColorConfig(half_life=half_life, network_rate=0)  # every frame gets a look of its own
        dst = tmp_path / f"{half_life}.mkv"
        colorize_video(gray_clip, dst, config=config, encode=EncodeOptions(codec="ffv1"))
        chroma = [np.frombuffer(frame.planes[1], np.uint8).astype(int) for frame in decode(dst)[:6]]
        changes[half_life] = np.mean([np.abs(b - a).mean() for a, b in zip(chroma, chroma[1:], strict=False)])
    assert changes[0.5] < changes[0.0]


def test_sound_subtitles_chapters_and_tags_come_along(tmp_path):
    src = make_video(
        tmp_path / "old.mkv",
        audio="libopus",
        subtitles=[(0, 400, "hello")],
        metadata={"title": "Summer 1951"},
        chapters=[{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}],
    )
    colorize_video(src, tmp_path / "new.mkv", config=SMALL)
    before, after = demux(src), demux(tmp_path / "new.mkv")
    assert [track.kind for track in before] == [track.kind for track in after]
    for old, new in zip(before[1:], after[1:], strict=True):
        assert old.payloads == new.payloads and old.pts == new.pts
    with av.open(str(tmp_path / "new.mkv")) as container:
        assert container.metadata["title"] == "Summer 1951"
        assert container.chapters()[0]["metadata"]["title"] == "one"


def test_ten_bits_stay_ten_bits(tmp_path):
    src = make_video(tmp_path / "old.mkv", codec="ffv1", pix_fmt="gray10le", options={})
    colorize_video(src, tmp_path / "new.mkv", config=SMALL, encode=EncodeOptions(codec="ffv1"))
    for old, new in zip(decode(src), decode(tmp_path / "new.mkv"), strict=True):
        assert new.format.components[0].bits == 10 and np.array_equal(luma_of(old), luma_of(new))


def test_odd_sizes_go_through(tmp_path):
    src = make_video(tmp_path / "old.mkv", width=97, height=63, codec="ffv1", pix_fmt="gray", options={})
    for codec in (None, "ffv1"):
        report = colorize_video(src, tmp_path / f"{codec}.mkv", config=SMALL, encode=EncodeOptions(codec=codec))
        frame = decode(tmp_path / f"{codec}.mkv")[0]
        assert report.frames == 20 and (frame.width, frame.height) == (97, 63)


@pytest.mark.parametrize("rotation", [None, 90, 180, -90])
@pytest.mark.parametrize("size", [(96, 64), (95, 63)])
def test_compare_shows_gray_on_the_left_as_a_viewer_sees_it(tmp_path, size, rotation):
    width, height = size
    src = make_video(tmp_path / "old.mp4", width=96, height=64, rotation=rotation)
    if size != (96, 64):
        src = make_video(tmp_path / "old.mkv", width=width, height=height, codec="ffv1", pix_fmt="yuv420p", options={})
        rotation = None
    colorize_video(src, tmp_path / "both.mkv", config=SMALL, encode=EncodeOptions(codec="ffv1"), compare=True)
    frame = decode(tmp_path / "both.mkv")[0]
    turned = rotation in (90, -90)
    assert (frame.width, frame.height) == ((width, 2 * height) if turned else (2 * (width - width % 2), height))
    cb = np.frombuffer(frame.planes[1], np.uint8).reshape(frame.planes[1].height, -1)[:, : frame.planes[1].width]
    shown = np.rot90(cb, (rotation or 0) // 90)  # rotation counts counterclockwise, as np.rot90 does
    left, right = np.array_split(shown.astype(int), 2, axis=1)
    assert (left == 128).all() and (right != 128).any()


def test_a_damaged_file_is_colorized_as_far_as_it_decodes(tmp_path):
    pts = [40 * i for i in range(50)]
    src = make_video(tmp_path / "old.mkv", pts=pts, time_base=Fraction(1, 1000), keyframes=range(0, 50, 10))
    data = bytearray(src.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    src.write_bytes(data)
    report = colorize_video(src, tmp_path / "new.mkv", config=SMALL)
    assert 20 <= report.frames <= 50
    assert any("damaged" in warning for warning in report.warnings)


def test_an_error_in_the_middle_leaves_nothing(gray_clip, tmp_path, colorizer, monkeypatch):
    real = colorizer.colors

    def fail_after_the_fifth(items):
        yield from itertools.islice(real(items), 5)
        raise MediaError("the sky fell")

    monkeypatch.setattr(colorizer, "colors", fail_after_the_fifth)
    with pytest.raises(EdgeColorError, match="the sky fell"):
        colorize_video(gray_clip, tmp_path / "new.mkv", colorizer=colorizer)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    """Peak memory over 6,000 small frames stays within 10 % of that over 300."""
    code = """
import resource, sys
from edgecolor import ColorConfig, colorize_video
colorize_video(sys.argv[1], sys.argv[2], config=ColorConfig(working_size=32))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = {}
    for count in (300, 6000):
        pts = [40 * i for i in range(count)]
        src = tmp_path / f"{count}.mkv"
        make_video(src, Clip(64, 48, codec="ffv1", pts=pts, time_base=Fraction(1, 1000), options={}))
        command = [sys.executable, "-c", code, src, tmp_path / f"{count}-new.mkv"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks[count] = int(done.stdout)
    assert peaks[6000] <= 1.10 * peaks[300], peaks
