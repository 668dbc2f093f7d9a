"""A film of three minutes and forty cuts: no color crosses a cut. pytest tests/test_many_cuts.py"""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from skimage import data

from edgecolor import ColorConfig, Colorizer, open_colorizer
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting

SHOTS, RATE, FRAMES_A_SHOT = 41, 5, 22  # three minutes
WIDTH, HEIGHT = 192, 128
LUMA = LumaFormat(WIDTH, HEIGHT, 8, Matrix.BT709, full_range=True)
CHROMA = ChromaFormat(WIDTH // 2, HEIGHT // 2, 1, 1, Siting.LEFT)
NAMES = ("chelsea", "astronaut", "coffee", "rocket", "camera", "coins", "brick")


@pytest.fixture(scope="module")
def shots() -> list[list[np.ndarray]]:
    """The camera moves over a part of a photograph, (HEIGHT, WIDTH) uint8 each; no two neighbours of one photograph."""
    photographs = [getattr(data, name)() for name in NAMES]
    grays = [picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in photographs]
    made = []
    for shot in range(SHOTS):
        gray = grays[shot % len(grays)]
        turn = shot // len(grays)  # another part of it each time, every other time mirrored
        gray = gray[:, ::-1] if turn % 2 else gray
        scale = 1.3 * max(WIDTH / gray.shape[1], HEIGHT / gray.shape[0])
        size = (round(gray.shape[1] * scale), round(gray.shape[0] * scale))
        large = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        top = (large.shape[0] - HEIGHT) * turn // 6
        made.append([np.ascontiguousarray(large[top : top + HEIGHT, x : x + WIDTH]) for x in range(FRAMES_A_SHOT)])
    return made


@pytest.fixture(scope="module")
def net():
    return open_colorizer().net


def colors(net, frames: list[np.ndarray], first: int, config: ColorConfig) -> tuple[list[np.ndarray], Colorizer]:
    """ab of every frame; the first one's number says when it is shown."""
    colorizer = Colorizer(net, config)
    colorizer.begin(LUMA, CHROMA)
    items = [LumaFrame(frame, first + i, Fraction(1, RATE)) for i, frame in enumerate(frames)]
    return [ab for _, ab in colorizer.colors(items)], colorizer


@pytest.mark.parametrize("look_ahead", [0.0, 0.5])
def test_every_shot_begins_as_if_there_had_been_nothing_before(net, shots, look_ahead):
    config = ColorConfig(look_ahead=look_ahead, working_size=64)
    film, colorizer = colors(net, [frame for shot in shots for frame in shot], 0, config)
    assert len(film) == SHOTS * FRAMES_A_SHOT and len(film) / RATE >= 180
    assert colorizer.scene_cuts == SHOTS - 1
    for shot in range(1, SHOTS):
        first = shot * FRAMES_A_SHOT
        alone, _ = colors(net, shots[shot], first, config)
        assert np.abs(film[first] - alone[0]).max() <= 1e-3, f"shot {shot}"
        assert np.abs(film[first - 1] - alone[0]).max() > 5, "the shots before and after a cut would look alike"


def test_within_a_shot_the_past_has_a_say(net, shots):
    config = ColorConfig(look_ahead=0, working_size=64)
    together, _ = colors(net, shots[0], 0, config)
    alone, _ = colors(net, shots[0][9:], 9, config)
    assert np.abs(together[9] - alone[0]).max() > 0.1
