"""Smoothing over time, forth and back, on a network whose logits are known. pytest tests/test_smoothing.py"""

import cv2
import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from edgecolor.color.tokens import annealed_mean, palette, softmax
from edgecolor.config import ColorConfig
from edgecolor.look_ahead import LookAhead
from edgecolor.look_state import LookStates
from edgecolor.manifest import Manifest
from edgecolor.smoothing import Smoother, keep_of
from edgecolor.stages.logits_to_ab import color_token_decode

H, W, TOKENS = 16, 24, 313
CENTERS = palette("ab313").centers
RED, BLUE = (int(np.linalg.norm(CENTERS - ab, axis=1).argmin()) for ab in ([60, 10], [10, -70]))
TEMPERATURE = 0.5


class KnownNet:
    """The op as it is defined, after a network that says what the test gave it."""

    name = "known"
    manifest = Manifest("known")

    def __init__(self, logits):
        self.left = list(logits)
        self.state = np.zeros((1, H, W, TOKENS), np.float32)
        self.keeps = []

    def step(self, lightness, keep, motion=None, temperature=None):
        return self.decode(self.left.pop(0)[None], keep, motion, temperature)

    def decode(self, logits, keep, motion=None, temperature=None):
        self.keeps.append(keep)
        motion = np.zeros((1, H, W, 2), np.float32) if motion is None else motion
        keep = np.broadcast_to(np.float32(keep), (1, H, W))
        ab, self.state = color_token_decode(logits, self.state, motion, keep, CENTERS, temperature)
        return ab

    def probs(self):
        return self.state.copy()


def scene(seed: int = 0) -> np.ndarray:
    """(64, 96) L* with things in it."""
    return np.kron(np.random.default_rng(seed).uniform(10, 60, (8, 12)), np.ones((8, 8))).astype(np.float32)


def smoother(logits, rate: float = 0.0, half_life: float = 0.5, **config) -> Smoother:
    return Smoother(
        KnownNet(logits), ColorConfig(network_rate=rate, half_life=half_life, **config), TEMPERATURE, (H, W)
    )


def random_logits(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (count, H, W, TOKENS)).astype(np.float32)


def run(frames, logits, window: float, fps: float = 10, rate: float = 0.0, **config):
    """The items that look-ahead gives for frames at 10 a second, and the smoother."""
    smooth = smoother(logits, rate, **config)
    ahead = LookAhead(smooth, window)
    given = []
    for i, frame in enumerate(frames):
        given += ahead.add(("frame", i), smooth.see(frame, i / fps))
        given += ahead.add(("packet", i), None)
    return [*given, *ahead.rest()], smooth


def colors(given) -> list[np.ndarray]:
    return [ab for _, ab in given if ab is not None]


def forth(values: np.ndarray, keep: float) -> np.ndarray:
    """The recursion of the filter over values (n, ...), written out; nothing moves."""
    values = values.astype(np.float64)
    for i in range(1, len(values)):
        values[i] = (1 - keep) * values[i] + keep * values[i - 1]
    return values


def back(values: np.ndarray, keep: float) -> np.ndarray:
    """That of the smoother."""
    return forth(values[::-1], keep)[::-1]


def color_of(probs: np.ndarray) -> np.ndarray:
    return np.moveaxis(annealed_mean(probs.astype(np.float64), CENTERS, TEMPERATURE), -1, 1)


def chroma_power(ab: np.ndarray) -> np.ndarray:
    """Of ab (n, 2, h, w), around every fourth cell: mean square of chroma, of gray 2 squared."""
    squares = (ab[:, :, 1::4, 1::4].astype(np.float64) ** 2).sum(axis=1)
    return uniform_filter(squares, (0, 3, 3), mode="nearest") + 4


def restored(settled: np.ndarray, filtered: np.ndarray, said: np.ndarray, keep: float) -> np.ndarray:
    """Settled ab (n, 2, h, w), made stronger by as much as filtered and settled are weaker than what was said."""
    power_ratio = back(forth(np.minimum(chroma_power(said) / chroma_power(filtered), 9), keep), keep)
    factor = np.sqrt(np.clip(power_ratio * chroma_power(filtered) / chroma_power(settled), 1, 9))
    assert factor.max() > 1.2
    return settled * np.stack([cv2.resize(part, (W, H)) for part in factor])[:, None]


def both_ways(logits: np.ndarray, keep: float) -> np.ndarray:
    """ab (n, 2, h, w) of a scene in which nothing moves."""
    probs = softmax(logits.astype(np.float64))
    filtered = forth(probs, keep)
    return restored(color_of(back(filtered, keep)), color_of(filtered), color_of(probs), keep)


def test_keep_halves_after_one_half_life_whatever_the_frame_rate():
    assert keep_of(0.2, 0.2) == pytest.approx(0.5)
    assert keep_of(0.02, 0.2) ** 10 == pytest.approx(0.5)
    assert keep_of(1.0, 0.0) == 0.0


def test_a_still_scene_within_one_window_gets_the_filter_forth_and_the_smoother_back():
    logits = random_logits(9)
    given, _ = run([scene()] * 9, logits, window=5)
    assert np.allclose(colors(given), both_ways(logits, keep_of(0.1, 0.5)), atol=1e-3)


def test_a_long_scene_in_windows_is_near_what_one_window_gives():
    logits = random_logits(60)
    whole = both_ways(logits, keep_of(0.1, 0.2))
    near, _ = run([scene()] * 60, logits, window=0.5, half_life=0.2)
    far, _ = run([scene()] * 60, logits, window=1.0, half_life=0.2)
    causal = smoother(logits, half_life=0.2)
    causal = [causal.see(scene(), i / 10).ab() for i in range(60)]
    errors = [np.abs(np.array(ab) - whole).mean() for ab in (causal, colors(near), colors(far))]
    assert errors[2] < errors[1] < errors[0] / 4 and errors[2] < 0.05 * np.abs(whole).mean()


@pytest.mark.parametrize("window", [0.01, 0.3, 2, 10])
def test_every_item_comes_once_and_in_order_and_only_frames_have_colors(window):
    frames = [scene(i // 7) for i in range(31)]
    given, smooth = run(frames, random_logits(31), window)
    assert [item for item, _ in given] == [(kind, i) for i in range(31) for kind in ("frame", "packet")]
    assert all((ab is None) == (item[0] == "packet") for item, ab in given) and smooth.scene_cuts == 4


@pytest.mark.parametrize("window", [0.01, 0.1])
def test_however_short_the_window_the_next_look_has_a_say_in_every_look(window):
    logits = random_logits(40)
    ahead = np.array(colors(run([scene()] * 40, logits, window, rate=2)[0]))
    causal = smoother(logits, rate=2)
    causal = np.array([causal.see(scene(), i / 10).ab() for i in range(40)])
    away = np.abs(ahead - causal).mean(axis=(1, 2, 3))[::5]  # at each look
    assert (away[:-1] > 0.5).all() and away[-1] < 1e-3


def test_no_frame_waits_longer_than_two_windows():
    smooth = smoother(random_logits(200))
    ahead = LookAhead(smooth, 0.5)
    for i in range(200):
        last = [item for item, _ in ahead.add(i, smooth.see(scene(), i / 10))]
        if last:
            newest = last[-1]
        assert i <= 10 or i - newest <= 11


def test_however_many_frames_a_second_few_wait():
    smooth = smoother(random_logits(400), rate=20)
    ahead = LookAhead(smooth, 10)
    given = 0
    for i in range(400):
        given += len(list(ahead.add(i, smooth.see(scene(), i / 240))))
        assert i - given < 96 + 12


def test_packets_between_frames_take_nothing_from_the_look_ahead():
    logits = random_logits(12)
    smooth = smoother(logits)
    ahead, given = LookAhead(smooth, 5), []
    for i in range(12):
        given += ahead.add(i, smooth.see(scene(), i / 10))
        for _ in range(30):
            given += ahead.add("packet", None)
    given += ahead.rest()
    assert np.allclose(colors(given), both_ways(logits, keep_of(0.1, 0.5)), atol=1e-3)


def test_a_scene_is_the_same_whatever_was_before_and_comes_after():
    logits = random_logits(24)
    frames = [scene(1)] * 8 + [scene(2)] * 8 + [scene(3)] * 8
    given, _ = run(frames, logits, window=0.32)
    alone, _ = run([scene(2)] * 8, logits[8:16], window=0.32)
    assert np.abs(np.array(colors(given))[8:16] - colors(alone)).max() < 1e-3


class RegressionNet:
    """A network without tokens, which blends ab."""

    name = "regression"
    manifest = Manifest("regression", kind="regression", palette="")

    def __init__(self, ab):
        self.left, self.state = list(ab), np.zeros((2, H, W), np.float32)

    def step(self, lightness, keep, motion=None, temperature=None):
        self.state = (1 - np.float32(keep)) * self.left.pop(0) + keep * self.state
        return self.state.reshape(1, 2, H, W)


def test_a_model_without_tokens_is_smoothed_both_ways_in_ab():
    said = np.random.default_rng(0).uniform(-60, 60, (9, 2, H, W)).astype(np.float32)
    smooth = Smoother(RegressionNet(said), ColorConfig(network_rate=0, half_life=0.5), TEMPERATURE, (H, W))
    ahead, given = LookAhead(smooth, 5), []
    for i in range(9):
        given += ahead.add(i, smooth.see(scene(), i / 10))
    given += ahead.rest()
    keep = keep_of(0.1, 0.5)
    filtered = forth(said, keep)
    assert np.allclose(colors(given), restored(back(filtered, keep), filtered, said, keep), atol=1e-3)


def test_a_frame_between_two_looks_goes_from_the_one_to_the_other():
    logits = random_logits(3)
    given, smooth = run([scene()] * 9, logits, window=5, fps=8, rate=2, half_life=1e-3)
    ab = colors(given)
    assert len(smooth.net.left) == 0  # looks at frames 0, 4 and 8
    ends = chroma_power(np.array([ab[0], ab[4]]))
    for i in range(1, 4):
        between = ab[0] + (ab[4] - ab[0]) * i / 4
        wanted = ends[0] + (ends[1] - ends[0]) * i / 4
        factor = np.sqrt(np.clip(wanted / chroma_power(between[None])[0], 1, 9))
        assert np.allclose(ab[i], between * cv2.resize(factor, (W, H)), atol=1e-2)


def test_what_only_the_next_look_shows_takes_its_color_from_there():
    before, after = scene(), scene()
    after[16:48, 24:72] = 95  # something white, from frame 1 on
    logits = np.zeros((2, H, W, TOKENS), np.float32)
    logits[0, ..., RED], logits[1, ..., BLUE] = 20, 20
    smooth = smoother(logits, rate=2, half_life=1.0, scene_cut=1.0)
    smooth._pace.unexplained = 1.0  # a fast thing would get a look of its own
    ahead = LookAhead(smooth, 5)
    given = []
    for i, frame in enumerate([before, after, after, after, after]):
        given += ahead.add(i, smooth.see(frame, i / 8))
    _, second, *_ = colors([*given, *ahead.rest()])
    new, old = second[:, 6:10, 10:14].mean(axis=(1, 2)), second[:, :2].mean(axis=(1, 2))
    assert np.linalg.norm(new - CENTERS[BLUE]) < 8  # though the look before is nearer in time
    assert np.linalg.norm(old - CENTERS[RED]) < np.linalg.norm(old - CENTERS[BLUE])


def test_flicker_of_the_network_is_less_with_the_future_than_with_the_past_alone():
    logits = random_logits(60)
    ahead = np.array(colors(run([scene()] * 60, logits, window=1.0)[0]))
    causal = smoother(logits)
    causal = np.array([causal.see(scene(), i / 10).ab() for i in range(60)])
    flicker = [np.abs(np.diff(ab[5:-5], axis=0)).mean() for ab in (ahead, causal)]
    assert flicker[0] < 0.6 * flicker[1]


def test_what_the_user_gave_leads_over_with_its_own_chroma():
    logits = np.zeros((8, H, W, TOKENS), np.float32)
    logits[..., RED] = 20
    gray = np.eye(TOKENS, dtype=np.float32)[np.linalg.norm(CENTERS, axis=1).argmin()]
    smooth = smoother(logits)
    ahead, given = LookAhead(smooth, 5), []
    for i in range(9):
        corrected = np.broadcast_to(gray, (H, W, TOKENS)) if i == 4 else None
        given += ahead.add(i, smooth.see(scene(), i / 10, given=corrected))
    chroma = [np.linalg.norm(ab, axis=0).mean() for ab in colors([*given, *ahead.rest()])]
    keep = keep_of(0.1, 0.5)
    probs = np.stack([keep, 1 - keep]) ** (1 / TEMPERATURE)  # of gray and red, in the look before
    blended = probs[1] / probs.sum() * np.linalg.norm(CENTERS[RED])
    assert chroma[4] < 1 and chroma[3] < 2 * blended
    assert chroma[0] > chroma[1] > chroma[2] > chroma[3] and chroma[8] > chroma[7] > chroma[6] > chroma[5]


@pytest.mark.parametrize("states", [1, 3, 9])
def test_however_large_the_states_few_wait_and_each_way_back_is_short_on_average(states, monkeypatch):
    monkeypatch.setattr("edgecolor.look_ahead.MOST_STATES", (states - 0.5) * H * W * TOKENS * 4)
    steps, blends = [], LookStates.ab
    monkeypatch.setattr(LookStates, "ab", lambda *given: steps.append(1) or blends(*given))
    smooth = smoother(random_logits(40))
    ahead, given = LookAhead(smooth, 10), []
    for i in range(40):
        given += ahead.add(i, smooth.see(scene(), i / 10))
        assert i - len(given) <= states
    given += ahead.rest()
    assert [item for item, _ in given] == list(range(40)) and len(steps) <= 40
