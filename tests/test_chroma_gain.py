"""What blending takes away from colors, and what is made up for. pytest tests/test_chroma_gain.py"""

import numpy as np
import pytest

from edgecolor.chroma_gain import SAMPLED, chroma_power, chroma_power_of, moved_map, restored
from edgecolor.color.tokens import annealed_mean, palette, softmax
from edgecolor.look_state import LookState, LookStates
from edgecolor.manifest import Manifest
from edgecolor.stages.logits_to_ab import color_token_decode

H, W = 16, 24
CENTERS = palette("ab313").centers
RNG = np.random.default_rng(2)


def random_ab() -> np.ndarray:
    return RNG.uniform(-40, 40, (2, H, W)).astype(np.float32)


def test_chroma_power_grows_with_the_square_of_chroma_and_is_local():
    ab = random_ab()
    assert np.allclose(chroma_power_of(3 * ab) - 4, 9 * (chroma_power_of(ab) - 4), rtol=1e-4)
    changed = ab.copy()
    changed[:, :4, :4] *= 2
    assert chroma_power_of(ab).shape == (4, 6)
    assert np.array_equal(chroma_power_of(ab)[2:], chroma_power_of(changed)[2:])
    assert (chroma_power_of(changed)[:2, :2] > chroma_power_of(ab)[:2, :2]).all()


def test_gray_stays_gray_and_nothing_becomes_weaker_or_three_times_as_strong():
    gray = np.full((2, H, W), 0.01, np.float32)
    assert np.abs(restored(gray, np.full((4, 6), 4.0 + 0.01))).max() < 0.02
    ab = random_ab()
    assert np.allclose(restored(ab, chroma_power_of(ab) / 2), ab)
    assert np.allclose(restored(ab, chroma_power_of(ab) * 4), 2 * ab, rtol=1e-5)
    assert np.allclose(restored(ab, chroma_power_of(ab) * 100), 3 * ab, rtol=1e-5)


def test_colors_of_the_user_stay():
    ab, users = random_ab(), np.zeros((H, W), np.float32)
    users[4:9, 5:11] = 1
    ours = restored(ab, chroma_power_of(ab) * 4, users)
    assert np.array_equal(ours[:, 4:9, 5:11], ab[:, 4:9, 5:11])
    assert np.allclose(ours[:, 10:], 2 * ab[:, 10:], rtol=1e-5)


def test_a_map_moves_with_the_picture():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    cells = np.zeros((H, W, 2), np.float32)
    cells[..., 0] = 4  # everything was four cells to the right: one sampled cell
    assert np.array_equal(moved_map(values, cells)[:, :-1], values[:, 1:])


@pytest.mark.parametrize("kind", ["tokens", "regression"])
def test_what_the_network_said_is_read_from_two_states(kind):
    states = LookStates(type("Net", (), {"manifest": Manifest("net", kind=kind, palette="ab313" * (kind == "tokens"))}),
                        temperature=0.3)  # fmt: skip
    cells = RNG.normal(0, 2, (H, W, 2)).astype(np.float32)
    keep = RNG.uniform(0, 0.95, (H, W)).astype(np.float32)
    if kind == "tokens":
        logits = RNG.normal(0, 3, (2, 1, H, W, 313)).astype(np.float32)
        before = softmax(logits[0])
        _, now = color_token_decode(logits[1], before, cells[None], keep[None], CENTERS, 0.3)
        said = np.moveaxis(annealed_mean(softmax(logits[1][0]), CENTERS, 0.3), 2, 0)
        before, now = before[0], now[0]
    else:
        said, before = random_ab(), np.moveaxis(random_ab(), 0, 2).copy()
        x = np.clip(np.arange(W) + cells[..., 0], 0, W - 1)
        y = np.clip(np.arange(H)[:, None] + cells[..., 1], 0, H - 1)
        from scipy.ndimage import map_coordinates

        past = np.stack([map_coordinates(before[..., i], [y, x], order=1, mode="nearest") for i in range(2)], axis=2)
        now = (1 - keep[..., None]) * np.moveaxis(said, 0, 2) + keep[..., None] * past
    found = states.said(LookState(now.astype(np.float32), None), LookState(before, None), keep, cells)
    assert np.abs(found - said[:, SAMPLED, SAMPLED]).max() < 0.05
    # Of a frame that has hardly a say, as little is seen: neither gray nor noise.
    faint = states.said(LookState(now.astype(np.float32), None), LookState(now, None), 0 * keep + 0.995, 0 * cells)
    whole = states.said(LookState(now, None), LookState(now, None), 0 * keep, 0 * cells)
    assert chroma_power(faint).min() > 0.8 * chroma_power(whole).min()
    nothing = states.said(LookState(before, None), LookState(before, None), np.ones((H, W), np.float32), 0 * cells)
    assert np.isfinite(chroma_power(nothing)).all()  # of a frame that has no say


def test_the_channels_that_matter_are_all_that_color_the_picture():
    states = LookStates(type("Net", (), {"manifest": Manifest("net")}), temperature=0.2)
    probs = softmax(RNG.normal(0, 1.5, (H, W, 313)).astype(np.float32) + RNG.normal(0, 2, 313).astype(np.float32))
    state = LookState(probs, 1e-5**0.2)
    channels = np.flatnonzero(state.telling)
    assert 10 < len(channels) < 250
    whole = np.moveaxis(annealed_mean(probs, CENTERS, 0.2), 2, 0)
    assert np.abs(states.ab(probs.take(channels, axis=2), channels) - whole).max() < 0.05
