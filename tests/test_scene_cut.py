"""Scene cuts, on photographs cut together. pytest tests/test_scene_cut.py"""

import cv2
import numpy as np
import pytest

from edgecolor.color.lab import gray_to_lightness
from edgecolor.motion.scene_cut import SceneCuts

NAMES = ("chelsea", "astronaut", "coffee", "rocket", "camera", "coins", "page", "moon")


@pytest.fixture(scope="module")
def scenes():
    """name -> (256, 448) float32 L*, larger than the frames that are cut out of it."""
    from skimage import data

    def lightness(name):
        picture = getattr(data, name)()
        gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return gray_to_lightness(cv2.resize(gray, (512, 320), interpolation=cv2.INTER_AREA) / np.float32(255))

    return {name: lightness(name) for name in NAMES}


def view(scene: np.ndarray, x: int = 0, y: int = 0) -> np.ndarray:
    return scene[y : y + 256, x : x + 448]


def test_the_first_frame_starts_a_scene(scenes):
    assert SceneCuts(0.5).is_cut(view(scenes["coffee"]))


def test_every_hard_cut_between_photographs_is_seen(scenes):
    cuts = SceneCuts(0.5)
    assert all(cuts.is_cut(view(scenes[name])) for name in NAMES * 2)


def test_camera_motion_is_no_cut(scenes):
    for name in NAMES:
        cuts = SceneCuts(0.5)
        flags = [cuts.is_cut(view(scenes[name], x=4 * i, y=3 * i)) for i in range(16)]
        assert not any(flags[1:]), name


def test_flash_fade_and_grain_are_no_cuts(scenes):
    rng = np.random.default_rng(0)
    for name in ("chelsea", "astronaut", "coffee", "camera"):
        frame, cuts = view(scenes[name]), SceneCuts(0.5)
        frames = [frame]
        frames += [np.clip(frame * 1.3 + 15, 0, 100), frame]  # a flash
        frames += [frame * (1 - 0.08 * i) for i in range(10)]  # a fade to dark
        frames += [np.clip(0.2 * frame + rng.normal(0, 6, frame.shape), 0, 100).astype(np.float32) for _ in range(4)]
        assert not any([cuts.is_cut(f.astype(np.float32)) for f in frames][1:]), name
