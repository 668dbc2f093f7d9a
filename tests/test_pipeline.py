"""Colorizer: order, state and time. A network that only remembers what it was asked stands in for the real one.

pytest tests/test_pipeline.py
"""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.tokens import palette
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting
from edgecolor.manifest import Manifest
from edgecolor.pipeline import Colorizer, image_to_lightness

LUMA = LumaFormat(96, 64, 8, Matrix.BT709, full_range=False)
CHROMA = ChromaFormat(48, 32, 1, 1, Siting.LEFT)


class Recorder:
    """A backend that paints everything (20, 10) and writes down how it was called."""

    name = "recorder"
    manifest = Manifest("recorder", working_size=64, temperature=0.4, saturation=1.5)

    def __init__(self):
        self.starts, self.keeps, self.temperatures = [], [], []

    def start(self, batch, h0, w0):
        self.starts.append((batch, h0, w0))
        self.grid = (h0 // 4, w0 // 4)

    def step(self, lightness, keep, motion=None, temperature=None):
        assert lightness.shape == (1, 1, *self.starts[-1][1:]) and lightness.dtype == np.float32
        self.keeps.append(float(np.max(keep)))
        self.keep = keep
        self.temperatures.append(temperature)
        return np.broadcast_to(np.float32([20, 10])[None, :, None, None], (1, 2, *self.grid)).copy()

    def probs(self):
        centers = palette("ab313").centers
        probs = np.zeros((1, *self.grid, len(centers)), np.float32)
        probs[..., (centers == (20, 10)).all(axis=1)] = 1
        return probs


def frame(value, pts: int, rate: int = 25) -> LumaFrame:
    luma = value if isinstance(value, np.ndarray) else np.full((64, 96), value, np.uint8)
    return LumaFrame(luma, pts, Fraction(1, rate))


def pattern(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(16, 236, (8, 12), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8), np.uint8))


def test_the_past_is_weighed_by_the_time_between_frames():
    net = Recorder()
    colorizer = Colorizer(net, ColorConfig(half_life=0.2, network_rate=0))
    colorizer.begin(LUMA, CHROMA)
    for pts in (0, 1, 3, 8):  # variable frame rate
        colorizer.ab(frame(pattern(0), pts))
    assert net.keeps == pytest.approx([0, 2 ** (-0.04 / 0.2), 2 ** (-0.08 / 0.2), 0.5])


def test_the_half_life_is_the_models_unless_the_user_gives_one():
    net = Recorder()
    net.manifest = net.manifest.replace(half_life=0.08)
    for half_life, keep in ((None, 2 ** (-0.04 / 0.08)), (0.2, 2 ** (-0.04 / 0.2)), (0.0, 0.0)):
        colorizer = Colorizer(net, ColorConfig(half_life=half_life, network_rate=0))
        colorizer.begin(LUMA, CHROMA)
        for i in range(2):
            colorizer.ab(frame(pattern(0), i))
        assert net.keeps.pop() == pytest.approx(keep)


def test_the_past_is_dropped_at_a_scene_cut_and_at_the_start_of_a_video():
    net = Recorder()
    colorizer = Colorizer(net, ColorConfig(network_rate=0))
    for _ in range(2):
        colorizer.begin(LUMA, CHROMA)
        for i, seed in enumerate((0, 0, 1, 1)):
            colorizer.ab(frame(pattern(seed), i))
    assert [keep > 0 for keep in net.keeps] == [False, True, False, True] * 2
    assert colorizer.scene_cuts == 1


def test_half_life_zero_turns_smoothing_off():
    net = Recorder()
    colorizer = Colorizer(net, ColorConfig(half_life=0, network_rate=0))
    colorizer.begin(LUMA, CHROMA)
    for i in range(3):
        colorizer.ab(frame(pattern(0), i))
    assert net.keeps == [0, 0, 0]


LARGE_LUMA = LumaFormat(384, 256, 8, Matrix.BT709, full_range=False)
LARGE_CHROMA = ChromaFormat(192, 128, 1, 1, Siting.LEFT)


def large_scene() -> np.ndarray:
    return cv2.GaussianBlur(np.kron(pattern(5), np.ones((4, 4), np.uint8)), (0, 0), 4)


class Striped(Recorder):
    """Paints vertical stripes of a."""

    def step(self, lightness, keep, motion=None, temperature=None):
        super().step(lightness, keep, motion, temperature)
        self.motion = motion
        ab = np.zeros((1, 2, *self.grid), np.float32)
        ab[:, 0] = np.arange(self.grid[1]) * 3
        return ab


def test_colors_move_with_the_picture_between_two_looks():
    colorizer = Colorizer(Striped(), ColorConfig(network_rate=1, working_size=256))
    colorizer.begin(LARGE_LUMA, LARGE_CHROMA)
    colorizer.ab(frame(large_scene(), 0))
    moved = colorizer.ab(frame(np.roll(large_scene(), 4, axis=1), 1))  # one cell to the right
    assert len(colorizer.net.keeps) == 1
    assert np.abs(moved[0, 8:-8, 8:-8] - 3 * (np.arange(96) - 1)[8:-8]).mean() < 0.5


def test_the_past_moves_with_the_picture_and_counts_less_where_it_shows_nothing_of_it():
    net = Striped()
    colorizer = Colorizer(net, ColorConfig(half_life=1, network_rate=0, working_size=256))
    colorizer.begin(LARGE_LUMA, LARGE_CHROMA)
    colorizer.ab(frame(large_scene(), 0))
    shifted = np.roll(large_scene(), 8, axis=1)
    shifted[64:128, 128:256] = 255 - shifted[192:256, 64:192]  # something new, which no motion explains
    colorizer.ab(frame(shifted, 1))
    dx, keep = net.motion[0, ..., 0], net.keep[0]
    assert np.abs(dx[40:-8, 8:-8] + 2).mean() < 0.3  # two cells to the left is where it was
    assert keep[40:-8, 8:-8].mean() > 0.9 * 2**-0.04 > 2 * keep[20:28, 36:60].mean()


def test_the_network_looks_at_its_rate_while_nothing_moves_and_keeps_its_colors_between():
    net = Recorder()
    colorizer = Colorizer(net, ColorConfig(half_life=0.2, network_rate=12))
    colorizer.begin(LUMA, CHROMA)
    ab = [colorizer.ab(frame(pattern(0), pts, rate=24)) for pts in range(24)]
    assert len(net.keeps) == 12 and np.allclose(ab[1], ab[0])
    assert net.keeps[1:] == pytest.approx([2 ** (-2 / 24 / 0.2)] * 11)  # of the time since the last look


def test_few_frames_wait_for_the_next_look_however_seldom_the_network_looks():
    colorizer, taken = Colorizer(Recorder(), ColorConfig(network_rate=0.01)), 0
    colorizer.begin(LUMA, CHROMA)

    def frames():
        nonlocal taken
        for taken in range(300):
            yield frame(pattern(0), taken)

    for given, _ in enumerate(colorizer.colors(frames())):
        assert taken - given <= 2 * 96
    assert given == 299 and len(colorizer.net.keeps) < 6


def test_the_network_looks_at_once_where_motion_does_not_explain_the_picture():
    net = Recorder()
    colorizer = Colorizer(net, ColorConfig(network_rate=1, working_size=256))
    colorizer.begin(LARGE_LUMA, LARGE_CHROMA)
    moved = np.roll(large_scene(), 4, axis=1)
    changed = moved.copy()
    changed[90:200, 100:300] = 255 - moved[:110, :200]
    for pts, luma in enumerate((large_scene(), large_scene(), moved, changed, changed, 255 - large_scene().T[:256])):
        luma = luma if luma.shape == (256, 384) else np.pad(luma, ((0, 0), (0, 128)), mode="reflect")
        colorizer.ab(frame(luma, pts))
    assert [keep > 0 for keep in net.keeps] == [False, True, False]  # the first, the changed one, the cut
    assert colorizer.scene_cuts == 1


def test_what_the_user_does_not_choose_comes_from_the_manifest():
    assert Colorizer(Recorder()).temperature == 0.4 and Colorizer(Recorder()).saturation == 1.5
    net = Recorder()
    chosen = Colorizer(net, ColorConfig(temperature=0.9, saturation=0.0, working_size=32))
    chosen.begin(LUMA, CHROMA)
    ab = chosen.ab(frame(100, 0))
    assert net.temperatures == [0.9] and net.starts == [(1, 32, 64)]
    colored = chosen.chroma(frame(100, 0), ab)
    assert (colored.cb == 128).all() and (colored.cr == 128).all()  # saturation 0 is gray


def test_luma_passes_untouched_and_chroma_has_the_asked_size():
    colorizer = Colorizer(Recorder())
    colorizer.begin(LUMA, CHROMA)
    source = frame(pattern(3), 7)
    untouched = source.luma.copy()
    colored = colorizer.chroma(source, colorizer.ab(source))
    assert colored.source is source and np.array_equal(source.luma, untouched)
    assert colored.cb.shape == colored.cr.shape == (32, 48) and colored.cb.dtype == np.uint8
    assert (colored.cr.astype(int) > 128).mean() > 0.95  # (20, 10) is a warm color


def test_a_turned_video_is_shown_upright_to_the_network():
    net = Recorder()
    Colorizer(net).begin(LumaFormat(96, 64, 8, Matrix.BT709, False, rotation=90), CHROMA)
    assert net.starts == [(1, 96, 64)]


def test_image_colors_a_picture_of_any_size_and_keeps_its_lightness():
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (7, 300), (301, 5), (65, 97), (64, 96, 3)):
        picture = rng.integers(60, 180, shape, dtype=np.uint8)
        rgb = Colorizer(Recorder()).image(picture)
        assert rgb.shape == (*shape[:2], 3) and rgb.dtype == np.uint8
        lightness = srgb_to_lab(rgb.astype(np.float32) / 255)[..., 0]
        assert np.abs(lightness - image_to_lightness(picture)).max() < 1.0


def test_image_has_no_past():
    net = Recorder()
    colorizer = Colorizer(net)
    for _ in range(3):
        colorizer.image(pattern(0))
    assert net.keeps == [0, 0, 0]


def test_frame_smooths_over_a_sequence_of_ones_own():
    net = Recorder()
    colorizer = Colorizer(net)
    for i in range(3):
        colorizer.frame(pattern(0), i / 25)
    assert net.keeps[0] == 0 and net.keeps[1] == pytest.approx(net.keeps[2]) and net.keeps[1] > 0


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ShapeError):
        Colorizer(Recorder()).image(bad)


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": 0.0},
        {"temperature": 1.5},
        {"temperature": float("nan")},
        {"saturation": -1},
        {"half_life": -0.1},
        {"half_life": float("inf")},
        {"half_life": float("nan")},
        {"scene_cut": 0},
        {"working_size": 8},
        {"network_rate": -1},
    ],
)
def test_impossible_options_are_refused(option):
    with pytest.raises(ConfigError):
        ColorConfig(**option)
