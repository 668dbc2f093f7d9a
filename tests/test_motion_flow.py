"""Optical flow on the token grid: photographs moved by known amounts. pytest tests/test_motion_flow.py"""

import cv2
import numpy as np
import pytest

from edgecolor.color.lab import gray_to_lightness
from edgecolor.motion.flow import Flow, exposure, search_picture, warp_by

H, W = 192, 256
INSIDE = np.s_[6:-6, 6:-6]


@pytest.fixture(scope="module")
def scene():
    """(320, 384) float32 L*, larger than the frames."""
    from skimage import data

    gray = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    return gray_to_lightness(cv2.resize(gray, (384, 320), interpolation=cv2.INTER_AREA) / np.float32(255))


def view(scene: np.ndarray, x: int = 64, y: int = 64) -> np.ndarray:
    return np.ascontiguousarray(scene[y : y + H, x : x + W])


def trusted(now: np.ndarray, before: np.ndarray):
    return Flow(H // 4, W // 4).both(search_picture(now), search_picture(before))[0]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (4, 0), (-8, 4), (3, -10), (16, 12)])
def test_a_camera_move_is_measured_in_cells_and_trusted(scene, dx, dy):
    # What the camera shows at x now was at x + dx in the frame before, when it looked dx pixels further left.
    motion, share = trusted(view(scene, 64, 64), view(scene, 64 - dx, 64 - dy))
    assert motion.shape == (48, 64, 2) and share.shape == (48, 64)
    assert np.median(np.abs(motion[INSIDE] - [dx / 4, dy / 4])) < 0.05
    assert share[INSIDE].mean() > 0.9


@pytest.mark.parametrize(
    "exposed",
    [lambda x: x * 0.6, lambda x: x * 0.5 + 45, lambda x: np.clip(x * 1.3, 0, 100)],
    ids=["fade", "flash", "overexposed"],
)
def test_a_change_of_exposure_moves_nothing(scene, exposed):
    frame = view(scene)
    motion, share = trusted(exposed(frame).astype(np.float32), frame)
    assert np.abs(motion[INSIDE]).mean() < 0.1 and share[INSIDE].mean() > 0.85


def test_grain_on_a_flat_sky_leaves_the_past_trusted(scene):
    rng = np.random.default_rng(0)
    frame = view(scene)
    frame[:96] = 70  # a sky
    grainy = [(frame + rng.normal(0, 2, frame.shape)).astype(np.float32) for _ in range(2)]
    motion, share = trusted(*grainy)
    assert share[INSIDE].mean() > 0.9 and np.abs(motion[INSIDE]).mean() < 0.2


def test_what_was_covered_before_and_unrelated_pictures_are_not_trusted(scene):
    rng = np.random.default_rng(0)
    before = view(scene)
    now = before.copy()
    texture = cv2.resize(rng.uniform(0, 100, (12, 16)).astype(np.float32), (64, 48), interpolation=cv2.INTER_CUBIC)
    now[72:120, 96:160] = texture
    _, share = trusted(now, before)
    assert share[20:28, 26:38].mean() < 0.4 < 0.95 < share[34:, 6:-6].mean()
    noise = cv2.resize(rng.uniform(0, 100, (48, 64)).astype(np.float32), (W, H), interpolation=cv2.INTER_CUBIC)
    _, share = trusted(noise, before)
    assert share.mean() < 0.35


def test_what_stays_is_trusted_though_something_bright_enters(scene):
    before = view(scene) * 0.6
    now = before.copy()
    now[48:144, 64:192] = 95
    motion, share = trusted(now, before)
    assert share[:9].mean() > 0.95 and share[40:].mean() > 0.95 and np.abs(motion[:9]).mean() < 0.25
    assert share[16:32, 20:44].mean() < 0.1


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (0.7, 20), (1.2, -30)])
def test_exposure_is_that_of_what_stays(gain, offset):
    rng = np.random.default_rng(0)
    before = rng.integers(60, 180, (90, 120), dtype=np.uint8)
    after = np.rint(gain * before + offset).astype(np.uint8)
    after[:40] = 250
    assert exposure(before, after) == pytest.approx((gain, offset), abs=0.5, rel=0.02)


def test_the_smallest_pictures_and_flat_ones_have_motion_too():
    for height, width in ((32, 32), (32, 1024), (192, 32)):
        flat = search_picture(np.full((height, width), 50, np.float32))
        motion, share = Flow(height // 4, width // 4).both(flat, flat)[0]
        assert motion.shape == (height // 4, width // 4, 2) and not motion.any() and (share == 1).all()


def test_warping_brings_a_picture_back(scene):
    before, now = view(scene, 60), view(scene, 64)
    flow = np.zeros((H, W, 2), np.float32)
    flow[..., 0] = 4
    assert np.allclose(warp_by(before, flow)[:, :-4], now[:, :-4], atol=1e-3)
