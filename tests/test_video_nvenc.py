"""NVIDIA's encoders in FFmpeg: taken only where they are asked for, and one line where there is no such GPU."""

import av
import pytest
from media import decode, make_video, recolor

from edgecolor.errors import ConfigError, MediaError, MissingDependencyError, UnsupportedMediaError
from edgecolor.gpu import find_gpu
from edgecolor.video import EncodeOptions
from edgecolor.video.containers import CONTAINERS
from edgecolor.video.encoders import ENCODERS, choose_encoder, choose_pix_fmt, encoder_options, find_encoder

NAMES = ("h264_nvenc", "hevc_nvenc")
pytestmark = pytest.mark.skipif("h264_nvenc" not in av.codecs_available, reason="this FFmpeg is built without NVENC")


def has_gpu():
    try:
        find_gpu()
    except MissingDependencyError:
        return False
    return True


def test_nvenc_is_never_chosen_for_the_user():
    for container in CONTAINERS:
        assert choose_encoder(container, EncodeOptions(), 8).name not in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_nvenc_is_told_a_quality_and_no_bit_rate(name):
    options = encoder_options(find_encoder(name), EncodeOptions(codec=name, crf=24.5, preset="p6"))
    assert options == {"rc": "vbr", "b": "0", "cq": "24.5", "preset": "p6"}
    assert encoder_options(find_encoder(name), EncodeOptions(codec=name))["preset"] == "p4"
    assert "cq" not in encoder_options(ENCODERS["libx264"], EncodeOptions())


@pytest.mark.parametrize(("codec", "wrong", "words"), [("h264_nvenc", {"crf": 0}, "1 .best. and 51"),
                                                       ("hevc_nvenc", {"preset": "veryfast"}, "p1, p2")])  # fmt: skip
def test_settings_that_nvenc_does_not_know_are_refused(codec, wrong, words):
    with pytest.raises(ConfigError, match=words):
        EncodeOptions(codec=codec, **wrong)


def test_ten_bits_which_nvenc_takes_in_another_layout_only_are_refused_with_a_codec_that_holds_them():
    mkv = next(container for container in CONTAINERS if container.extension == ".mkv")
    with pytest.raises(UnsupportedMediaError, match="use codec libx264"):
        choose_pix_fmt(ENCODERS["hevc_nvenc"], mkv, EncodeOptions(codec="hevc_nvenc"), 10, (1, 1), (96, 64))
    assert choose_pix_fmt(ENCODERS["h264_nvenc"], mkv, EncodeOptions(), 8, (1, 1), (1280, 720)) == "yuv420p"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".ts"])
def test_nvenc_without_a_gpu_is_one_line_and_leaves_nothing_behind(tmp_path, name, extension):
    if has_gpu():
        pytest.skip("there is a GPU here")
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match=f"{name}.*it needs an NVIDIA GPU with NVENC"):
        recolor(source, tmp_path / f"b{extension}", EncodeOptions(codec=name))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_nvenc_with_a_gpu_keeps_every_frame_and_its_time(tmp_path, name):
    if not has_gpu():
        pytest.skip("needs an NVIDIA GPU with NVENC")
    source = make_video(tmp_path / "a.mp4", width=256, height=192)
    try:
        recolor(source, tmp_path / "b.mp4", EncodeOptions(codec=name))
    except MediaError as error:
        pytest.skip(f"this GPU has no NVENC: {error}")  # data-center cards have none
    before, after = decode(source), decode(tmp_path / "b.mp4")
    assert [frame.time for frame in after] == [frame.time for frame in before]
