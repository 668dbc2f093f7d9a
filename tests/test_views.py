"""Several views of each picture, in the mean. pytest tests/test_views.py"""

import numpy as np
import pytest

from edgecolor import ColorConfig, Colorizer, open_colorizer
from edgecolor.backends import open_backend
from edgecolor.backends.base import logits_of
from edgecolor.backends.views import VIEWS, Views, with_views
from edgecolor.config import MOST_VIEWS
from edgecolor.errors import ConfigError, ModelError, ShapeError
from edgecolor.manifest import Manifest
from edgecolor.stages.frame_to_lightness import image_to_lightness, resize_lightness
from edgecolor.stages.logits_to_ab import color_token_decode

H0, W0 = 96, 128
H, W = H0 // 4, W0 // 4


@pytest.fixture(scope="module")
def bare():
    return open_backend("edge", "onnxruntime", threads=1)


@pytest.fixture(scope="module")
def lightness():
    from skimage.data import coffee

    return resize_lightness(image_to_lightness(coffee()), H0, W0)[None, None]


def mean_by_hand(bare, lightness, views):
    """Each view cut out of one wide mirrored picture, where Views pads each by itself."""
    margin = 32 if len(views) > 2 else 0
    wide = np.pad(lightness, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    bare.start(1, H0 + margin, W0 + margin)
    total = 0
    for quarters, mirrored in views:
        begin = margin // 4 * quarters
        left = margin - begin if mirrored else begin  # px of margin; turned back, the right one lies on the left
        x, y = margin - left, margin - begin
        view = wide[:, :, y : y + H0 + margin, x : x + W0 + margin]
        said, _ = bare.logits(view[..., ::-1] if mirrored else view)
        said = said[:, :, ::-1] if mirrored else said
        total = total + said[:, begin // 4 : begin // 4 + H, left // 4 : left // 4 + W]
    return total / len(views)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_network_says_the_mean_of_its_views(bare, lightness, count):
    expected = mean_by_hand(bare, lightness, VIEWS[:count])
    net = Views(bare, count)
    net.start(1, H0, W0)
    logits, features = net.logits(lightness)
    np.testing.assert_allclose(logits, expected, atol=2e-4)
    assert logits.shape == (1, H, W, 313) and features.shape[:3] == (1, H, W)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_side_by_side_the_network_says_what_it_says_one_after_another(bare, lightness, threads):
    net = open_backend("edge", "onnxruntime", threads=threads)
    inputs = [lightness, np.ascontiguousarray(lightness[..., ::-1]), lightness * 0.5]
    for backend in (net, bare):
        backend.start(1, H0, W0)
    for logits, one in zip(logits_of(net, inputs), inputs, strict=True):
        np.testing.assert_allclose(logits, bare.logits(one)[0], atol=2e-4)


@pytest.mark.parametrize("count", [2, 4])
def test_a_mirror_image_gets_the_same_colors_mirrored(bare, lightness, count):
    net = Views(bare, count)
    net.start(1, H0, W0)
    ab, mirrored = net.step(lightness, 0.0), net.step(np.ascontiguousarray(lightness[..., ::-1]), 0.0)
    np.testing.assert_allclose(mirrored[..., ::-1], ab, atol=2e-3)
    bare.start(1, H0, W0)
    one, other = bare.step(lightness, 0.0), bare.step(np.ascontiguousarray(lightness[..., ::-1]), 0.0)
    assert np.abs(other[..., ::-1] - one).mean() > 0.5  # which one view alone does not do


@pytest.mark.parametrize("count", [2, 4])
def test_the_state_is_that_of_the_picture_without_its_margin(bare, lightness, count):
    rng = np.random.default_rng(3)
    net = Views(bare, count)
    net.start(1, H0, W0)
    centers = bare.centers
    probs = np.zeros((1, H, W, 313), np.float32)
    for keep in (0.0, 0.6, rng.uniform(0, 1, (1, H, W)).astype(np.float32)):
        motion = rng.uniform(-2, 2, (1, H, W, 2)).astype(np.float32)
        motion[:, :3], motion[:, -3:], motion[:, :, :3], motion[:, :, -3:] = 0, 0, 0, 0  # stays inside
        ab = net.step(lightness, keep, motion, 0.4)
        full = np.full((1, H, W), keep, np.float32)
        expected, probs = color_token_decode(net.logits(lightness)[0], probs, motion, full, centers, np.float32([0.4]))
        np.testing.assert_allclose(ab, expected, atol=0.02)
        np.testing.assert_allclose(net.probs(), probs, atol=1e-4)
    net.start(1, H0, W0)
    assert np.abs(net.probs()).max() == 0


@pytest.mark.parametrize("count", [2, 4])
def test_what_came_from_outside_of_the_picture_is_its_outermost_cells(bare, lightness, count):
    net = Views(bare, count)
    net.start(1, H0, W0)
    net.step(lightness, 0.0)
    before, logits = net.probs(), net.logits(lightness)[0]
    motion = np.full((1, H, W, 2), -3.0, np.float32)
    ab = net.step(lightness, 0.7, motion, 0.4)
    keep = np.full((1, H, W), 0.7, np.float32)
    expected, probs = color_token_decode(logits, before, motion, keep, bare.centers, np.float32([0.4]))
    np.testing.assert_allclose(net.probs(), probs, atol=1e-4)
    np.testing.assert_allclose(ab, expected, atol=0.02)


def test_wrong_shapes_are_refused_in_the_terms_of_the_picture(bare, lightness):
    net = Views(bare, 2)
    with pytest.raises(ShapeError, match=r"call start\(batch, h0, w0\) first"):
        net.logits(lightness)
    with pytest.raises(ShapeError, match="1 x 100 x 128"):
        net.start(1, 100, W0)
    net.start(1, H0, W0)
    with pytest.raises(ShapeError, match=rf"lightness must be \(1, 1, {H0}, {W0}\)"):
        net.step(lightness[..., :64], 0.0)
    with pytest.raises(ShapeError, match=rf"keep must be \(1, {H}, {W}\)"):
        net.step(lightness, np.zeros((1, H + 8, W + 8)))
    with pytest.raises(ShapeError, match="motion must be"):
        net.step(lightness, 0.5, np.zeros((1, H, W)))


def test_the_models_manifest_says_how_many_and_the_user_may_say_otherwise(bare, monkeypatch):
    assert len(open_colorizer("edge", config=ColorConfig(views=2)).net.views) == 2
    with monkeypatch.context() as patched:
        patched.setattr(bare, "manifest", bare.manifest.replace(views=3))
        assert len(with_views(bare).views) == 3
        assert with_views(bare, 1) is bare
    assert len(open_colorizer("edge").net.views) == bare.manifest.views == 2
    for name in ("basic-lab", "ct2-tiny"):
        assert not isinstance(open_colorizer(name).net, Views)
    with pytest.raises(ModelError, match="without color tokens"):
        open_colorizer("basic-lab", config=ColorConfig(views=2))
    assert len(VIEWS) == MOST_VIEWS
    for count in (0, MOST_VIEWS + 1):
        with pytest.raises(ConfigError, match=r"views must lie in \[1, 4\]"):
            ColorConfig(views=count)
        with pytest.raises(ModelError, match="views = "):
            Manifest("edge", views=count)
    with pytest.raises(ModelError, match="views = 2 for kind regression"):
        Manifest("basic-lab", "regression", "", views=2)


def test_cells_that_the_margin_does_not_fit_are_refused():
    class Coarse:
        manifest = Manifest("coarse", stride=16, multiple=16)

    with pytest.raises(ModelError, match="set views to 1 or 2"):
        with_views(Coarse(), 3)
    assert len(with_views(Coarse(), 2).views) == 2


def test_more_views_hold_the_colors_of_a_moving_picture_steadier(bare):
    """A photograph that moves by 3 px a frame behind a window: how far its colors change, moved back."""
    from skimage.data import chelsea

    whole = resize_lightness(image_to_lightness(chelsea()), H0 + 32, W0 + 32)

    def change(net) -> float:
        net.start(1, H0, W0)
        shown = []
        for step in range(0, 33, 4):  # whole cells, so that nothing else changes
            ab = net.step(np.ascontiguousarray(whole[step : step + H0, step : step + W0])[None, None], 0.0)
            shown.append(ab[:, :, 8 - step // 4 : H - step // 4, 8 - step // 4 : W - step // 4])
        return float(np.std(shown, axis=0).mean())

    assert change(with_views(bare, 4)) < 0.8 * change(with_views(bare, 1))


def test_hints_references_and_the_picture_path_work_through_views():
    from skimage.data import coffee

    from edgecolor.hints import Hint

    gray = coffee()[..., 1]
    colorizer = open_colorizer("edge", config=ColorConfig(views=4))
    plain = colorizer.image(gray)
    hinted = colorizer.image(gray, [Hint(300, 200, (208, 96, 32))])
    assert plain.shape == hinted.shape == (*gray.shape, 3)
    assert np.abs(hinted[180:220, 280:320].astype(int) - plain[180:220, 280:320]).mean() > 5
    assert np.abs(Colorizer(open_backend("edge")).image(gray).astype(int) - plain).max() > 3  # views do change colors
