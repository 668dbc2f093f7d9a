"""Lightness and ab to RGB for still images. pytest tests/test_stages_ab_to_rgb.py"""

import cv2
import numpy as np
import pytest
from skimage.color import rgb2lab

from edgecolor.color.lab import lightness_of_code, srgb_to_lab
from edgecolor.errors import ShapeError
from edgecolor.stages.ab_to_rgb import CHUNK, ab_to_rgb, upsample_ab_to_image


def test_photograph_comes_back_from_its_own_lab(photograph):
    lab = rgb2lab(photograph).astype(np.float32)
    difference = np.abs(ab_to_rgb(lab[..., 0], lab[..., 1:]).astype(int) - photograph)
    assert difference.mean() < 0.05 and np.quantile(difference, 0.999) <= 1


def test_gray_comes_back_exactly():
    gray = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    rgb = ab_to_rgb(lightness_of_code(256)[gray], np.zeros((3, 256, 2), np.float32))
    assert rgb.dtype == np.uint8 and (rgb == gray[..., None]).all()


def test_lightness_without_ab_is_gray_at_any_value():
    lightness = np.linspace(-5, 105, 60000, dtype=np.float32).reshape(200, 300)
    rgb = ab_to_rgb(lightness, np.zeros((200, 300, 2), np.float32))
    assert (rgb == rgb[..., :1]).all() and rgb[0, 0, 0] == 0 and rgb[-1, -1, 0] == 255
    beyond = ab_to_rgb(np.array([[-3, 103]], np.float32), np.full((1, 2, 2), 40, np.float32))
    assert beyond.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_colors_that_do_not_exist_keep_lightness_and_hue():
    random = np.random.default_rng(0)
    lightness = random.uniform(5, 95, (150, 200)).astype(np.float32)
    ab = random.uniform(-110, 110, (150, 200, 2)).astype(np.float32)
    found = srgb_to_lab(ab_to_rgb(lightness, ab) / 255)
    assert np.abs(found[..., 0] - lightness).mean() < 0.2 and np.abs(found[..., 0] - lightness).max() < 1.2
    wanted_chroma, chroma = np.linalg.norm(ab, axis=-1), np.linalg.norm(found[..., 1:], axis=-1)
    across = np.abs(ab[..., 0] * found[..., 2] - ab[..., 1] * found[..., 1]) / wanted_chroma
    assert (chroma < wanted_chroma - 5).mean() > 0.4 and across.mean() < 0.4 and across.max() < 4


def test_nearly_white_yellow_keeps_its_color():
    lab = srgb_to_lab(np.array([[[1, 1, 0.03]]])).astype(np.float32)
    # 196 if the search stopped where red first passes white; 8 if the table were infinitely fine
    assert ab_to_rgb(lab[..., 0], lab[..., 1:])[0, 0, 2] < 110


def test_pixels_do_not_depend_on_their_neighbours():
    random = np.random.default_rng(1)
    lightness = random.uniform(0, 100, (70, CHUNK // 64 + 5)).astype(np.float32)
    ab = random.normal(0, 30, (*lightness.shape, 2)).astype(np.float32)
    whole = ab_to_rgb(lightness, ab)
    assert lightness.size > CHUNK
    assert (whole[40:50, 7:90] == ab_to_rgb(lightness[40:50, 7:90], ab[40:50, 7:90])).all()


def test_ab_of_another_size_than_the_image_is_refused():
    with pytest.raises(ShapeError, match="height and width"):
        ab_to_rgb(np.zeros((4, 6), np.float32), np.zeros((6, 4, 2), np.float32))


def test_upsampled_ab_is_nearer_to_the_truth_than_linear_interpolation(photograph):
    lab = rgb2lab(photograph).astype(np.float32)
    small = cv2.resize(lab[..., 1:], (96, 64), interpolation=cv2.INTER_AREA)
    guided = upsample_ab_to_image(np.moveaxis(small, -1, 0), np.ascontiguousarray(lab[..., 0]))
    linear = cv2.resize(small, (384, 256), interpolation=cv2.INTER_LINEAR)
    guided_error, linear_error = (np.linalg.norm(x - lab[..., 1:], axis=-1).mean() for x in (guided, linear))
    assert guided.shape == (256, 384, 2) and guided_error < 0.95 * linear_error


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 24)])
def test_upsampling_works_for_images_smaller_than_the_token_grid(size):
    ab = np.full((2, 64, 64), 12, np.float32)
    np.testing.assert_allclose(upsample_ab_to_image(ab, np.full(size, 50, np.float32)), 12, atol=1e-4)


def test_upsampling_refuses_a_batch():
    with pytest.raises(ShapeError, match=r"\(1, 2, 8, 8\)"):
        upsample_ab_to_image(np.zeros((1, 2, 8, 8), np.float32), np.zeros((64, 64), np.float32))
