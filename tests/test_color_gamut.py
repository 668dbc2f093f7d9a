"""The limits of sRGB, and the table from (Y', a, b) to chroma codes. pytest tests/test_color_gamut.py"""

import numpy as np
import pytest

from edgecolor.color.chroma_table import LEVELS, NODES, REACH, STEP, chroma_table, codes_per_level
from edgecolor.color.gamut import largest_chroma, over_white
from edgecolor.color.lab import lab_to_linear, srgb_to_lab
from edgecolor.color.yuv import luma_range, xyz_matrix, ycbcr_to_rgb
from edgecolor.frames import Matrix


def polar(lightness, chroma, hue_degrees):
    hue = np.radians(hue_degrees)
    return np.stack(np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=-1)


def test_largest_chroma_lies_on_the_boundary_of_srgb():
    table = largest_chroma()
    assert table.shape == (201, 361)
    lightness, hue = np.arange(2, 199) / 2, np.arange(361)
    inner = lab_to_linear(polar(lightness[:, None], table[2:199] - 0.1, hue).astype(np.float64))
    outer = lab_to_linear(polar(lightness[:, None], table[2:199] + 0.1, hue).astype(np.float64))
    most = 1 + over_white(lightness)[:, None]
    assert inner.min() > -1e-4 and (inner.max(axis=-1) < most).all()
    assert ((outer.min(axis=-1) < 0) | (outer.max(axis=-1) > most)).all()


@pytest.mark.parametrize("rgb", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_largest_chroma_reaches_the_corners_of_srgb(rgb):
    lightness, a, b = srgb_to_lab(np.array(rgb, np.float64))
    hue = np.degrees(np.arctan2(b, a)) % 360
    around = largest_chroma()[int(lightness * 2) - 1 : int(lightness * 2) + 3, int(hue) : int(hue) + 2]
    assert around.max() > 0.93 * np.hypot(a, b)


def test_colors_along_a_hue_are_one_stretch_but_for_nearly_white_yellow():
    hue, chroma = np.arange(0, 360, 3)[:, None], np.linspace(0, 135, 136)
    for lightness in (1, 5, 20, 40, 60, 80, 92, 99):
        linear = lab_to_linear(polar(lightness, chroma, hue).astype(np.float64))
        fits = (linear.min(axis=-1) >= 0) & (linear.max(axis=-1) <= 1 + over_white(lightness))
        assert (np.diff(fits.astype(int), axis=1) <= 0)[:, 1:].all(), lightness


def test_black_and_white_have_no_chroma():
    assert largest_chroma()[[0, -1]].max() < 0.05


@pytest.mark.parametrize(
    "matrix, bit_depth, full_range",
    [(Matrix.BT709, 8, False), (Matrix.BT601, 8, True), (Matrix.BT2020, 10, False), (Matrix.BT709, 12, True)],
)
def test_chroma_table_entries_decode_to_the_ab_of_their_place_or_its_hue(matrix, bit_depth, full_range):
    cb, cr = chroma_table(matrix, bit_depth, full_range).reshape(2, LEVELS, NODES, NODES)
    levels = np.arange(24, 230, 15)
    axis = np.arange(NODES) * float(STEP) - REACH
    luma = levels * codes_per_level(bit_depth, full_range)
    codes = np.broadcast_arrays(luma[:, None, None], cb[levels], cr[levels])
    rgb = ycbcr_to_rgb(np.stack(codes, axis=-1), matrix, bit_depth, full_range)
    assert rgb.min() > -1e-5 and rgb.max() < 1 + 1e-5
    _, a, b = np.moveaxis(srgb_to_lab(rgb.clip(0, 1), xyz_matrix(matrix)), -1, 0)
    wanted_a, wanted_b = axis[None, None, :], axis[None, :, None]
    wanted, found = np.hypot(wanted_a, wanted_b), np.hypot(a, b)
    kept = found > wanted - 0.5
    assert 0.03 < kept.mean() < 0.97
    assert np.hypot(a - wanted_a, b - wanted_b)[kept].max() < 0.7
    assert (found < wanted + 0.6).all()
    # Across the wanted hue, in ab units: what is left of hue where the chroma had to shrink.
    across = np.abs(a * wanted_b - b * wanted_a) / np.maximum(wanted, 1)
    assert across.mean() < 0.2 and np.quantile(across, 0.99) < 1.5


def test_chroma_table_gives_the_most_vivid_color_where_the_wanted_one_does_not_exist():
    level, bit_depth = 110, 8
    cb, cr = chroma_table(Matrix.BT709, 8, False).reshape(2, LEVELS, NODES, NODES)[:, level]
    for column, row in ((0, 0), (NODES - 1, 0), (NODES - 1, NODES - 1), (NODES - 1, NODES // 2)):
        neutral = np.array([level, 128, 128])
        entry = np.array([level, cb[row, column], cr[row, column]])
        rgb = ycbcr_to_rgb(neutral + (entry - neutral) * 1.03, Matrix.BT709, bit_depth, False)
        assert rgb.min() < 0 or rgb.max() > 1


@pytest.mark.parametrize(
    "matrix, bit_depth, full_range",
    [(Matrix.BT709, 8, False), (Matrix.BT601, 8, True), (Matrix.BT709, 10, False), (Matrix.BT709, 12, True)],
)
def test_chroma_table_is_neutral_for_gray_and_outside_black_and_white(matrix, bit_depth, full_range):
    table = chroma_table(matrix, bit_depth, full_range).reshape(2, LEVELS, NODES, NODES)
    neutral = 2 ** (bit_depth - 1)
    assert (table[:, :, NODES // 2, NODES // 2] == neutral).all()
    black, white = (code >> bit_depth - 8 for code in luma_range(bit_depth, full_range))
    np.testing.assert_allclose(table[:, : black + 1], neutral, atol=neutral * 1e-4)
    if not full_range:
        np.testing.assert_allclose(table[:, white:], neutral, atol=neutral * 1e-4)
