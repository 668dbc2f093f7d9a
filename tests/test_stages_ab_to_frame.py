"""ab to Cb and Cr: what a player decodes has the wanted color. pytest tests/test_stages_ab_to_frame.py"""

import numpy as np
import pytest

from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.yuv import luma_range, rgb_to_ycbcr, xyz_matrix, ycbcr_to_rgb
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import LumaFormat, Matrix
from edgecolor.stages.ab_to_frame import AbToChroma

FORMATS = [
    (Matrix.BT709, 8, False), (Matrix.BT601, 8, False), (Matrix.BT601, 8, True), (Matrix.BT709, 10, False),
    (Matrix.BT2020, 10, False), (Matrix.BT2020, 12, False), (Matrix.BT709, 12, True),
]  # fmt: skip


def stage(picked, saturation=1.0):
    matrix, bit_depth, full_range = picked
    return AbToChroma(LumaFormat(96, 64, bit_depth, matrix, full_range), saturation)


def decode(luma, cb, cr, picked):
    """(R'G'B', ab) of planes, as a player shows them."""
    rgb = ycbcr_to_rgb(np.stack([luma, cb, cr], axis=-1), *picked)
    return rgb, srgb_to_lab(rgb.clip(0, 1), xyz_matrix(picked[0]))[..., 1:]


def colors_that_exist(picked, muted=0.0):
    """Luma codes and ab of random colors, the lesser part of them drawn to gray."""
    rgb = np.random.default_rng(0).random((60, 100, 3))
    rgb = rgb * (1 - muted) + rgb.mean(axis=-1, keepdims=True) * muted
    luma = rgb_to_ycbcr(rgb, *picked)[..., 0].astype(np.float32)
    return luma, srgb_to_lab(rgb, xyz_matrix(picked[0]))[..., 1:].astype(np.float32)


@pytest.mark.parametrize("picked", FORMATS)
def test_decoded_color_has_the_wanted_ab_before_rounding(picked):
    luma, ab = colors_that_exist(picked, muted=0.5)
    _, found = decode(luma, *stage(picked).to_float_codes(luma, ab), picked)
    error = np.linalg.norm(found - ab, axis=-1)
    # The largest ones are nearly black, where a gamut of few ab units lies between entries 5 apart.
    assert error.mean() < 0.12 and np.quantile(error, 0.99) < 1.5


@pytest.mark.parametrize("picked", FORMATS)
def test_decoded_color_has_the_wanted_ab_within_the_steps_of_the_codes(picked):
    luma, ab = colors_that_exist(picked, muted=0.5)
    cb, cr = stage(picked)(luma, ab)
    assert cb.dtype == cr.dtype == (np.uint8 if picked[1] == 8 else np.uint16) and cb.shape == cr.shape == luma.shape
    _, found = decode(luma, cb, cr, picked)
    error = np.linalg.norm(found - ab, axis=-1)
    assert error.mean() < (0.6 if picked[1] == 8 else 0.25)


@pytest.mark.parametrize("picked", FORMATS)
def test_gray_has_neutral_codes_exactly_at_every_luma(picked):
    luma = np.linspace(0, 2 ** picked[1] - 1, 5000, dtype=np.float32).reshape(50, 100)
    for plane in stage(picked)(luma, np.zeros((50, 100, 2), np.float32)):
        assert (plane == 2 ** (picked[1] - 1)).all()


@pytest.mark.parametrize("picked", FORMATS)
def test_colors_that_do_not_exist_shrink_along_their_hue_into_the_gamut(picked):
    random = np.random.default_rng(1)
    ab = random.uniform(-110, 110, (80, 100, 2)).astype(np.float32)
    luma = random.uniform(*luma_range(*picked[1:]), (80, 100)).astype(np.float32)
    rgb, found = decode(luma, *stage(picked).to_float_codes(luma, ab), picked)
    assert rgb.min() > -0.6 / 219 and rgb.max() < 1 + 0.6 / 219  # half a level of the table
    wanted_chroma, chroma = np.linalg.norm(ab, axis=-1), np.linalg.norm(found, axis=-1)
    shrunk = chroma < wanted_chroma - 3
    assert shrunk.mean() > 0.4 and (chroma < wanted_chroma + 1.5).all()
    across = np.abs(ab[..., 0] * found[..., 1] - ab[..., 1] * found[..., 0]) / wanted_chroma
    assert across[shrunk].mean() < 0.2 and across.max() < 3
    assert (np.sum(ab * found, axis=-1)[chroma > 3] > 0).all()


def test_colors_that_do_not_exist_are_as_vivid_as_can_be():
    picked = FORMATS[0]
    luma = np.full((1, 360), 100, np.float32)
    hue = np.radians(np.arange(360))
    ab = np.stack([100 * np.cos(hue), 100 * np.sin(hue)], axis=-1)[None].astype(np.float32)
    cb, cr = stage(picked).to_float_codes(luma, ab)
    rgb, found = decode(luma, 128 + (cb - 128) * 1.1, 128 + (cr - 128) * 1.1, picked)
    outside = (rgb.min(axis=-1) < 0) | (rgb.max(axis=-1) > 1)
    assert outside[np.linalg.norm(found, axis=-1) < 90].all()


def test_saturation_scales_ab():
    picked = FORMATS[3]
    luma, ab = colors_that_exist(picked, muted=0.7)
    for saturation in (0.5, 1.3):
        _, found = decode(luma, *stage(picked, saturation).to_float_codes(luma, ab), picked)
        error = np.linalg.norm(found - saturation * ab, axis=-1)
        assert np.quantile(error, 0.9) < 0.5


def test_saturation_zero_is_gray():
    luma, ab = colors_that_exist(FORMATS[0])
    assert all((plane == 128).all() for plane in stage(FORMATS[0], 0.0)(luma, ab))


def test_ab_far_outside_the_table_keeps_its_hue():
    picked = FORMATS[0]
    luma = np.full((1, 4), 120, np.float32)
    ab = np.array([[[300, 100], [-90, 270], [-400, -400], [30, -200]]], np.float32)
    _, found = decode(luma, *stage(picked).to_float_codes(luma, ab), picked)
    cosine = np.sum(ab * found, axis=-1) / np.linalg.norm(ab, axis=-1) / np.linalg.norm(found, axis=-1)
    assert (cosine > np.cos(np.radians(2))).all()


def test_luma_outside_the_range_gets_neutral_chroma():
    luma = np.array([[0, 10, 16, 235, 250, 255]], np.float32)
    for plane in stage(FORMATS[0])(luma, np.full((1, 6, 2), 60, np.float32)):
        assert (plane == 128).all()


def test_ab_as_a_view_of_planes_and_as_pixels_is_the_same():
    luma, ab = colors_that_exist(FORMATS[0])
    planes = np.moveaxis(np.ascontiguousarray(np.moveaxis(ab, -1, 0)), 0, -1)
    for one, other in zip(stage(FORMATS[0])(luma, ab), stage(FORMATS[0])(luma, planes), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("saturation", [-0.1, float("nan"), float("inf")])
def test_impossible_saturation_is_refused(saturation):
    with pytest.raises(ConfigError, match="saturation"):
        stage(FORMATS[0], saturation)


def test_ab_of_another_size_than_the_luma_is_refused():
    with pytest.raises(ShapeError, match="UpsampleAb"):
        stage(FORMATS[0])(np.zeros((4, 6), np.float32), np.zeros((6, 4, 2), np.float32))
