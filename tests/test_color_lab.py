"""Lab <-> sRGB against scikit-image, and its round trips. pytest tests/test_color_lab.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import lab2rgb, rgb2lab
from skimage.color.colorconv import xyz_from_rgb

from edgecolor.color import lab

SKIMAGE_WHITE = np.array([0.95047, 1.0, 1.08883])  # its D65, 2 degree observer
colors = arrays(np.float64, (7, 3), elements=st.floats(0, 1))


@pytest.fixture
def skimage_constants(monkeypatch):
    """scikit-image rounds the two constants of the CIE curve."""
    monkeypatch.setattr(lab, "EPSILON", 0.008856)
    monkeypatch.setattr(lab, "KAPPA", 7.787 * 116)


def test_srgb_to_lab_with_the_constants_of_scikit_image_gives_its_values(skimage_constants):
    rgb = np.random.default_rng(0).random((200, 200, 3))
    rgb[:20] *= 0.02  # both sides of the linear toe
    ours = lab.srgb_to_lab(rgb, xyz_from_rgb, SKIMAGE_WHITE)
    np.testing.assert_allclose(ours, rgb2lab(rgb), atol=1e-4)


def test_lab_to_srgb_with_the_constants_of_scikit_image_gives_its_values(skimage_constants):
    rgb = np.random.default_rng(1).random((200, 200, 3))
    ours = lab.lab_to_srgb(rgb2lab(rgb), xyz_from_rgb, SKIMAGE_WHITE)
    np.testing.assert_allclose(ours, lab2rgb(rgb2lab(rgb)), atol=1e-4)


def test_our_own_constants_stay_within_0_015_of_scikit_image():
    rgb = np.random.default_rng(2).random((200, 200, 3))
    assert np.abs(lab.srgb_to_lab(rgb) - rgb2lab(rgb)).max() < 0.015


def test_rgb_to_xyz_matrix_is_that_of_iec_61966_2_1():
    published = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    np.testing.assert_allclose(lab.rgb_to_xyz_matrix(), published, atol=6e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gray_has_no_ab(dtype):
    gray = np.repeat(np.linspace(0, 1, 1001, dtype=dtype)[:, None], 3, axis=1)
    converted = lab.srgb_to_lab(gray)
    assert converted.dtype == dtype
    assert np.abs(converted[:, 1:]).max() < (5e-3 if dtype == np.float32 else 1e-9)
    np.testing.assert_allclose(converted[:, 0], lab.gray_to_lightness(gray[:, 0]), atol=1e-3)


def test_lightness_without_ab_is_gray_to_the_last_bit():
    lightness = np.linspace(0, 100, 10001, dtype=np.float32)
    red, green, blue = lab.lab_to_linear_planes(lightness, *np.zeros((2, 10001), np.float32))
    assert (red == green).all() and (green == blue).all()


def test_lightness_has_the_values_of_the_definition():
    # 18 % gray is 49.496; the knee of the curve lies at L* 8; L* 50 is 18.42 %
    assert lab.srgb_to_lab(lab.linear_to_srgb(np.full(3, 0.18)))[0] == pytest.approx(49.496, abs=1e-3)
    assert lab.srgb_to_lab(lab.linear_to_srgb(np.full(3, 216 / 24389)))[0] == pytest.approx(8, abs=1e-9)
    assert lab.lab_to_linear(np.array([50.0, 0, 0]))[0] == pytest.approx(0.184187, abs=1e-6)


@given(colors)
def test_srgb_comes_back_from_lab(rgb):
    np.testing.assert_allclose(lab.lab_to_srgb(lab.srgb_to_lab(rgb)), rgb, atol=1e-6)


@given(arrays(np.float64, 9, elements=st.floats(0, 100)))
def test_lightness_comes_back_from_gray(lightness):
    np.testing.assert_allclose(lab.gray_to_lightness(lab.lightness_to_gray(lightness)), lightness, atol=1e-5)


@given(arrays(np.float64, 9, elements=st.floats(0, 1)))
def test_the_srgb_curve_undoes_itself(gray):
    np.testing.assert_allclose(lab.linear_to_srgb(lab.srgb_to_linear(gray)), gray, atol=1e-6)


def test_lab_to_srgb_does_not_clip_colors_that_do_not_exist():
    rgb = lab.lab_to_srgb(np.array([50.0, 110, 110]))
    assert rgb.max() > 1 and rgb.min() < 0


def test_integer_input_is_taken_as_float32():
    np.testing.assert_allclose(lab.srgb_to_lab(np.array([1, 1, 1])), [100, 0, 0], atol=1e-3)


def test_lightness_of_code_is_that_of_gray_pixels():
    codes = np.arange(256)
    expected = rgb2lab(np.repeat(codes[:, None], 3, axis=1)[None] / 255)[0, :, 0]
    np.testing.assert_allclose(lab.lightness_of_code(256), expected, atol=5e-3)
