"""Y'CbCr against tabled color bars, FFmpeg and OpenCV, and its round trips. pytest tests/test_color_yuv.py"""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecolor.color import yuv
from edgecolor.color.lab import gray_to_lightness
from edgecolor.errors import ConfigError
from edgecolor.frames import Matrix

BARS = {"white": (1, 1, 1), "yellow": (1, 1, 0), "cyan": (0, 1, 1), "green": (0, 1, 0), "magenta": (1, 0, 1),
        "red": (1, 0, 0), "blue": (0, 0, 1), "black": (0, 0, 0)}  # fmt: skip
# 100 % bars in 8 bits, limited range, as printed in broadcast tables
BAR_CODES = {
    Matrix.BT601: {"white": (235, 128, 128), "yellow": (210, 16, 146), "cyan": (170, 166, 16), "green": (145, 54, 34),
                   "magenta": (106, 202, 222), "red": (81, 90, 240), "blue": (41, 240, 110), "black": (16, 128, 128)},
    Matrix.BT709: {"white": (235, 128, 128), "yellow": (219, 16, 138), "cyan": (188, 154, 16), "green": (173, 42, 26),
                   "magenta": (78, 214, 230), "red": (63, 102, 240), "blue": (32, 240, 118), "black": (16, 128, 128)},
}  # fmt: skip
formats = st.tuples(st.sampled_from(list(Matrix)), st.sampled_from([8, 10, 12]), st.booleans())


@pytest.mark.parametrize("matrix", BAR_CODES)
def test_color_bars_get_their_tabled_codes(matrix):
    for name, codes in BAR_CODES[matrix].items():
        converted = yuv.rgb_to_ycbcr(np.array(BARS[name]), matrix, 8, False)
        assert yuv.round_codes(converted, 8).tolist() == list(codes), name


def test_bt2020_red_in_ten_bits_has_the_codes_of_the_formula():
    # 64 + 876 x 0.2627, 512 - 896 x 0.2627 / 1.8814, 512 + 448
    converted = yuv.rgb_to_ycbcr(np.array([1, 0, 0]), Matrix.BT2020, 10, False)
    np.testing.assert_allclose(converted, [294.125, 386.891, 960], atol=1e-3)


def test_full_range_in_twelve_bits_spans_all_codes():
    white_blue = yuv.rgb_to_ycbcr(np.array([[1, 1, 1], [0, 0, 1]]), Matrix.BT709, 12, True)
    np.testing.assert_allclose(white_blue[0], [4095, 2048, 2048])
    assert white_blue[1, 1] == pytest.approx(2048 + 4095 / 2)
    assert yuv.round_codes(white_blue[1], 12)[1] == 4095  # 4095.5 does not fit


@given(arrays(np.float64, (5, 3), elements=st.floats(0, 1)), formats)
def test_rgb_comes_back_from_ycbcr(rgb, picked):
    np.testing.assert_allclose(yuv.ycbcr_to_rgb(yuv.rgb_to_ycbcr(rgb, *picked), *picked), rgb, atol=1e-9)


@given(arrays(np.float64, (5, 3), elements=st.floats(0, 1)), formats)
def test_rgb_comes_back_from_rounded_codes_within_the_steps_of_the_codes(rgb, picked):
    codes = yuv.round_codes(yuv.rgb_to_ycbcr(rgb, *picked), picked[1])
    assert codes.dtype == (np.uint8 if picked[1] == 8 else np.uint16)
    # Half a code of Y' and of one chroma plane; the largest factor on chroma is 1.8814; full range clips half a code.
    steps = 0.5 / (219 * 2 ** (picked[1] - 8)) + 1.8814 * 0.5 / (224 * 2 ** (picked[1] - 8))
    np.testing.assert_allclose(yuv.ycbcr_to_rgb(codes, *picked), rgb, atol=1.1 * steps)


@given(st.floats(0, 1), formats)
def test_gray_has_neutral_chroma(gray, picked):
    _, cb, cr = yuv.rgb_to_ycbcr(np.full(3, gray), *picked)
    assert cb == pytest.approx(2 ** (picked[1] - 1)) and cr == pytest.approx(2 ** (picked[1] - 1))


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix, name", [(Matrix.BT601, "ITU601"), (Matrix.BT709, "ITU709")])
def test_codes_are_those_of_ffmpeg(matrix, name, full_range):
    rgb = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format="yuv444p", dst_colorspace=name, dst_color_range="JPEG" if full_range else "MPEG"
    )
    theirs = frame.to_ndarray()[:, 4::8, 4::8]
    ours = yuv.round_codes(yuv.rgb_to_ycbcr(rgb[4::8, 4::8] / 255, matrix, 8, full_range), 8)
    assert np.abs(np.moveaxis(ours, -1, 0).astype(int) - theirs).max() <= 1


def test_full_range_bt601_codes_are_those_of_opencv():
    rgb = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    theirs = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    ours = yuv.round_codes(yuv.rgb_to_ycbcr(rgb / 255, Matrix.BT601, 8, True), 8)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
@pytest.mark.parametrize("full_range", [False, True])
def test_lightness_of_luma_is_that_of_the_gray_and_clamps_outside(bit_depth, full_range):
    table = yuv.lightness_of_luma(bit_depth, full_range)
    black, white = yuv.luma_range(bit_depth, full_range)
    assert table.shape == (2**bit_depth,) and table.dtype == np.float32
    assert (table[: black + 1] == 0).all() and (table[white:] == 100).all()
    assert (np.diff(table[black : white + 1]) > 0).all()
    middle = (black + white) // 2
    assert table[middle] == pytest.approx(gray_to_lightness(np.float64((middle - black) / (white - black))), abs=1e-4)


@given(st.floats(0, 100), st.sampled_from([8, 10, 12]), st.booleans())
def test_lightness_comes_back_from_luma(lightness, bit_depth, full_range):
    luma = yuv.lightness_to_luma(lightness, bit_depth, full_range)
    assert gray_to_lightness(yuv.luma_to_gray(luma, bit_depth, full_range)) == pytest.approx(lightness, abs=1e-6)


@given(st.sampled_from([8, 10, 12]), st.booleans(), st.data())
def test_luma_comes_back_from_lightness(bit_depth, full_range, data):
    code = data.draw(st.integers(*yuv.luma_range(bit_depth, full_range)))
    lightness = yuv.lightness_of_luma(bit_depth, full_range)[code]
    assert yuv.round_codes(yuv.lightness_to_luma(lightness, bit_depth, full_range), bit_depth) == code


def test_luma_weights_sum_to_one_and_their_primaries_show_the_same_white():
    for matrix in Matrix:
        assert yuv.luma_weights(matrix).sum() == pytest.approx(1)
        np.testing.assert_allclose(yuv.xyz_matrix(matrix).sum(axis=1), [0.9505, 1, 1.0891], atol=1e-4)
    # The weights of BT.2020 are the luminances of its primaries; those of BT.709 too, rounded.
    np.testing.assert_allclose(yuv.xyz_matrix(Matrix.BT2020)[1], yuv.luma_weights(Matrix.BT2020), atol=1e-4)
    np.testing.assert_allclose(yuv.xyz_matrix(Matrix.BT709)[1], yuv.luma_weights(Matrix.BT709), atol=1e-4)


def test_round_codes_rounds_to_nearest_and_clips():
    assert yuv.round_codes(np.array([-3.0, 1.6, 255.4, 300]), 8).tolist() == [0, 2, 255, 255]
    assert yuv.round_codes(np.array([1022.6, 2000]), 10).tolist() == [1023, 1023]


@pytest.mark.parametrize("bit_depth", [1, 9, 16])
def test_unsupported_bit_depths_are_refused(bit_depth):
    with pytest.raises(ConfigError, match=f"{bit_depth}.*8, 10 or 12"):
        yuv.luma_range(bit_depth, True)
