"""Palettes, soft encoding, rebalancing, decoding, against published constants. pytest tests/test_color_tokens.py"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecolor.color.tokens import (
    EXTRA_326,
    RUNS_313,
    annealed_mean,
    mode,
    palette,
    rebalancing_weights,
    softmax,
)
from edgecolor.errors import ConfigError, ShapeError

BINS = palette("ab313")
logits = arrays(np.float32, (4, 313), elements=st.floats(-20, 20, width=32))


def test_palette_of_313_bins_is_twenty_runs_in_order():
    centers = BINS.centers
    assert len(BINS) == len(centers) == 313 and len(RUNS_313) == 20
    assert centers.tolist() == sorted(centers.tolist())
    lengths = [int((centers[:, 0] == a).sum()) for a in range(-90, 101, 10)]
    assert lengths == [5, 8, 10, 12, 14, 15, 16, 16, 17, 18, 18, 18, 19, 20, 19, 20, 20, 19, 19, 10]
    for a in range(-90, 101, 10):
        assert (np.diff(centers[centers[:, 0] == a, 1]) == 10).all()


def test_gray_is_token_120():
    assert BINS.centers[120].tolist() == [0, 0]
    assert BINS.centers[0].tolist() == [-90, 50] and BINS.centers[-1].tolist() == [100, 0]


def test_palette_of_326_bins_is_the_313_and_thirteen_more():
    small, large = ({tuple(row) for row in palette(name).centers.tolist()} for name in ("ab313", "ab326"))
    assert len(large) == len(palette("ab326")) == 326
    assert small < large and large - small == {(float(a), float(b)) for a, b in EXTRA_326}
    assert palette("ab326").centers.tolist() == sorted(palette("ab326").centers.tolist())


def test_palette_centers_cannot_be_overwritten():
    with pytest.raises(ValueError):
        BINS.centers[0] = 0


def test_palette_of_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="ab313, ab326"):
        palette("ab17")


@pytest.mark.parametrize("neighbours", [1, 5, 10])
def test_soft_encoding_equals_a_brute_force_over_all_bins(neighbours):
    ab = np.random.default_rng(0).uniform(-100, 100, (40, 2))
    expected = np.zeros((40, 313))
    for row, (a, b) in enumerate(ab):
        squared = [(a - p) ** 2 + (b - q) ** 2 for p, q in BINS.centers.tolist()]
        for token in sorted(range(313), key=squared.__getitem__)[:neighbours]:
            expected[row, token] = np.exp(-squared[token] / (2 * 5.0**2))
    expected /= np.maximum(expected.sum(axis=1, keepdims=True), 1e-300)
    reached = np.abs(expected.sum(axis=1) - 1) < 1e-6  # far outside all bins the brute force is 0 / 0
    encoded = BINS.soft_encode(ab, neighbours)
    assert reached.sum() > 20
    np.testing.assert_allclose(encoded[reached], expected[reached], atol=1e-5)


@given(arrays(np.float64, (3, 2), elements=st.floats(-300, 300)))
def test_soft_encoding_is_a_distribution_over_five_tokens_for_any_color(ab):
    encoded = BINS.soft_encode(ab)
    np.testing.assert_allclose(encoded.sum(axis=-1), 1, atol=1e-5)
    assert (encoded >= 0).all() and ((encoded > 0).sum(axis=-1) <= 5).all()


@given(arrays(np.float64, (3, 2), elements=st.floats(-20, 20)))
def test_soft_encoded_color_comes_back_as_the_plain_mean(ab):
    # Five bins of a grid of 10 hold the color within half a step.
    np.testing.assert_allclose(annealed_mean(BINS.soft_encode(ab), BINS.centers, 1.0), ab, atol=5)


def test_soft_encoding_of_a_bin_center_is_mostly_that_bin():
    encoded = BINS.soft_encode(BINS.centers)
    assert (encoded.argmax(axis=-1) == np.arange(313)).all()
    assert encoded[120, 120] == pytest.approx(1 / (1 + 4 * np.exp(-2)), abs=1e-6)


def test_soft_encoding_of_three_numbers_is_refused():
    with pytest.raises(ShapeError, match="found 3"):
        BINS.soft_encode(np.zeros((4, 3)))


def test_rebalancing_weights_have_the_published_ratio():
    prior = np.full(313, (1 - 0.2012 - 6.07e-9) / 311)
    prior[120], prior[0] = 0.2012, 6.07e-9
    weights = rebalancing_weights(prior, uniform=0.5)
    assert weights[0] / weights[120] == pytest.approx(63.98, abs=0.005)
    assert (prior * weights).sum() == pytest.approx(1)
    assert weights.min() == weights[120] and weights.max() == weights[0]


def test_rebalancing_weights_span_the_published_extremes():
    # 0.0965 and 6.175 hang on the whole published prior, through one common factor; their proportion only on its ends.
    prior = np.full(313, (1 - 0.2012 - 6.07e-9) / 311)
    prior[120], prior[0] = 0.2012, 6.07e-9
    weights = rebalancing_weights(prior)
    assert weights.min() * 6.175 / weights.max() == pytest.approx(0.0965, abs=5e-5)


def test_rebalancing_with_lambda_one_weighs_all_tokens_alike():
    prior = softmax(np.random.default_rng(0).normal(size=313) * 3)
    np.testing.assert_allclose(rebalancing_weights(prior, uniform=1.0), 1)


@pytest.mark.parametrize("prior", [np.full(313, 0.5), np.array([-0.5, 1.5])])
def test_rebalancing_refuses_what_is_no_distribution(prior):
    with pytest.raises(ShapeError, match="sums to"):
        rebalancing_weights(prior)


def test_rebalancing_refuses_a_lambda_outside_zero_to_one():
    with pytest.raises(ConfigError, match=r"1\.5"):
        rebalancing_weights(np.full(4, 0.25), uniform=1.5)


@settings(max_examples=30)
@given(logits)
def test_annealed_mean_at_temperature_one_is_the_plain_mean(logits):
    probs = softmax(logits)
    expected = (probs[..., None].astype(np.float64) * BINS.centers).sum(axis=1)
    np.testing.assert_allclose(annealed_mean(probs, BINS.centers, 1.0), expected, atol=1e-3)


@given(st.integers(0, 312), st.integers(0, 312), st.floats(0.02, 5))
def test_annealed_mean_toward_temperature_zero_is_the_mode(first, second, lead):
    values = np.zeros(313, np.float32)
    values[second] = 3
    values[first] = 3 + lead
    probs = softmax(values)
    np.testing.assert_allclose(annealed_mean(probs, BINS.centers, 1e-3), mode(probs, BINS.centers), atol=1e-2)


@settings(max_examples=30)
@given(logits, st.floats(0.01, 1))
def test_annealed_mean_equals_the_formula_of_the_paper(logits, temperature):
    probs = softmax(logits.astype(np.float64))
    powered = (np.maximum(probs, 1e-30) / probs.max(axis=-1, keepdims=True)) ** (1 / temperature)
    expected = (powered / powered.sum(axis=-1, keepdims=True)) @ BINS.centers
    np.testing.assert_allclose(annealed_mean(probs, BINS.centers, temperature), expected, atol=1e-3)


def test_annealed_mean_of_a_flat_cell_stays_finite_at_a_small_temperature():
    flat = np.full((1, 313), 1 / 313, np.float32)
    np.testing.assert_allclose(annealed_mean(flat, BINS.centers, 0.05), BINS.centers.mean(axis=0)[None], atol=1e-3)


def test_annealed_mean_lies_between_mean_and_mode_at_the_papers_temperature():
    probs = BINS.soft_encode(np.array([40.0, 40])) * 0.6 + BINS.soft_encode(np.array([-20.0, 0])) * 0.4
    plain, annealed = (annealed_mean(probs, BINS.centers, t)[0] for t in (1.0, 0.38))
    assert plain < annealed < 40


@pytest.mark.parametrize("temperature", [0, -0.1, 1.01])
def test_annealed_mean_refuses_temperatures_outside_zero_to_one(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        annealed_mean(np.full(313, 1 / 313), BINS.centers, temperature)


def test_annealed_mean_refuses_probabilities_of_another_palette():
    with pytest.raises(ShapeError, match="326.*313"):
        annealed_mean(np.full(326, 1 / 326), BINS.centers)


def test_mode_takes_the_lowest_token_of_a_tie():
    probs = np.zeros((1, 313))
    probs[0, [200, 7]] = 0.5
    assert mode(probs, BINS.centers)[0].tolist() == BINS.centers[7].tolist()


def test_softmax_survives_huge_logits():
    np.testing.assert_allclose(softmax(np.array([1e4, 0, -1e4], np.float32)), [1, 0, 0])
