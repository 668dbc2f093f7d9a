"""Y' plane to lightness at the working size. pytest tests/test_stages_frame_to_lightness.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import LumaFormat, Matrix
from edgecolor.stages.frame_to_lightness import FrameToLightness, resize_lightness, working_size


def luma_format(width, height, bit_depth=8, full_range=False, rotation=0):
    return LumaFormat(width, height, bit_depth, Matrix.BT709, full_range, rotation)


@pytest.mark.parametrize(
    "size, expected",
    [((1280, 720), (256, 448)), ((1920, 1080), (256, 448)), ((720, 1280), (448, 256)), ((640, 480), (256, 352)),
     ((432, 320), (256, 352)), ((100, 100), (256, 256)), ((4000, 200), (64, 1024)), ((16, 5000), (1024, 32)),
     ((1920, 800), (256, 608))],
)  # fmt: skip
def test_working_size_of_common_pictures(size, expected):
    assert working_size(*size) == expected


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(32, 512), st.sampled_from([8, 32, 64]))
def test_working_size_keeps_to_multiples_and_to_the_longest_side(width, height, short, multiple):
    h0, w0 = working_size(width, height, short, multiple, longest=1000)
    assert h0 % multiple == w0 % multiple == 0 and multiple <= min(h0, w0) and max(h0, w0) <= 1000
    assert (h0 - w0) * (height - width) >= 0  # the long side stays the long side
    if max(width, height) * short <= 900 * min(width, height):
        assert abs(min(h0, w0) - short) <= multiple
        assert abs(max(h0, w0) - short * max(width, height) / min(width, height)) <= multiple


@pytest.mark.parametrize("arguments", [(0, 10), (10, -1), (10, 10, 0), (10, 10, 256, 32, 16)])
def test_working_size_refuses_impossible_sizes(arguments):
    with pytest.raises(ConfigError, match="cannot fit"):
        working_size(*arguments)


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("full_range", [False, True])
def test_lightness_of_a_gray_frame_is_that_of_its_color(bit_depth, full_range):
    black, white = (0, 2**bit_depth - 1) if full_range else (16 << bit_depth - 8, 235 << bit_depth - 8)
    stage = FrameToLightness(luma_format(96, 64, bit_depth, full_range), 32, 64)
    for code in (black, (black * 2 + white) // 3, white):
        luma = np.full((64, 96), code, np.uint8 if bit_depth == 8 else np.uint16)
        lightness = stage(luma)
        gray = (code - black) / (white - black)
        assert lightness.shape == (1, 1, 32, 64) and lightness.dtype == np.float32 and lightness.flags.c_contiguous
        np.testing.assert_allclose(lightness, rgb2lab(np.full((1, 1, 3), gray))[0, 0, 0], atol=0.01)


def test_lightness_of_codes_outside_limited_range_is_black_and_white():
    luma = np.zeros((64, 64), np.uint8)
    luma[:, 32:] = 255
    lightness = FrameToLightness(luma_format(64, 64), 32, 32)(luma)[0, 0]
    assert lightness[0, 0] == 0 and lightness[0, -1] == 100


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_lightness_stands_upright(photograph, rotation):
    # rotation is clockwise, so the coded picture is the upright one turned counterclockwise by it
    upright = photograph[..., 1]
    coded = np.ascontiguousarray(np.rot90(upright, rotation // 90))
    turned = FrameToLightness(luma_format(*coded.shape[::-1], 8, True, rotation), 64, 96)(coded)
    straight = FrameToLightness(luma_format(*upright.shape[::-1], 8, True), 64, 96)(upright)
    assert turned.flags.c_contiguous
    np.testing.assert_allclose(turned, straight, atol=0.6)  # one code, from rounding the other way round


def test_ten_bit_luma_has_the_lightness_of_the_same_picture_in_eight(photograph):
    luma = photograph[..., 1]
    eight = FrameToLightness(luma_format(384, 256), 64, 96)(luma)
    ten = FrameToLightness(luma_format(384, 256, 10), 64, 96)(luma.astype(np.uint16) * 4)
    np.testing.assert_allclose(ten, eight, atol=0.7)


@pytest.mark.parametrize("luma", [np.zeros((64, 90), np.uint8), np.zeros((64, 96), np.uint16)])
def test_luma_of_another_format_is_refused(luma):
    with pytest.raises(ShapeError, match=r"\(64, 96\)"):
        FrameToLightness(luma_format(96, 64), 32, 64)(luma)


def test_odd_rotations_are_refused():
    with pytest.raises(ConfigError, match="45"):
        FrameToLightness(luma_format(96, 64, rotation=45), 32, 64)


def test_resize_lightness_of_a_still_picture_keeps_its_mean(photograph):
    lightness = rgb2lab(photograph)[..., 0].astype(np.float32)
    assert resize_lightness(lightness, 64, 96).mean() == pytest.approx(lightness.mean(), abs=0.1)
