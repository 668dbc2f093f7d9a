"""The CUDA kernel's own source, run on the CPU thread by thread, against the NumPy stage and against float64."""

import numpy as np
import pytest
from cuda_on_cpu import build_for_cpu, decode_on_cpu

from edgecolor.color.tokens import annealed_mean, palette, softmax
from edgecolor.stages.logits_to_ab import color_token_decode, warp

PROBS_TOLERANCE = {np.float32: 1e-5, np.float16: 1e-3}
AB_TOLERANCE = {np.float32: 1e-3, np.float16: 1e-2}
both_types = pytest.mark.parametrize("dtype", (np.float32, np.float16))


@pytest.fixture(scope="module")
def kernels():
    return build_for_cpu()


@pytest.fixture
def rng(request):
    seed = np.random.SeedSequence().entropy % 2**32  # fresh every time; shown where a test fails
    request.node.user_properties.append(("seed", seed))
    print("seed", seed)
    return np.random.default_rng(seed)


def random_inputs(rng, tokens=313, dtype=np.float32, shape=(2, 3, 5), scale=4.0):
    """Every kind of cell: still, moved by whole cells, by fractions, far out of the picture; keep 0, 1, between."""
    logits = (rng.standard_normal((*shape, tokens)) * scale).astype(dtype)
    prev_probs = rng.dirichlet(np.full(tokens, 0.1), shape).astype(dtype)
    motion = (rng.standard_normal((*shape, 2)) * 2).astype(np.float32)
    kind = rng.integers(0, 5, shape)
    motion[kind == 0] = 0
    motion[kind == 1] = np.rint(motion[kind == 1])
    motion[kind == 2] *= 1000
    motion[kind == 3, 1] = 0
    keep = rng.random(shape).astype(np.float32)
    keep[rng.random(shape) < 0.2] = 0
    keep[rng.random(shape) < 0.2] = 1
    centers = palette("ab313").centers if tokens == 313 else rng.uniform(-110, 110, (tokens, 2)).astype(np.float32)
    return logits, prev_probs, motion, keep, centers


def decode_in_float64(logits, prev_probs, motion, keep, centers, temperature):
    probs = warp(prev_probs.astype(np.float64), motion) * keep[..., None].astype(np.float64)
    probs += (1 - keep[..., None].astype(np.float64)) * softmax(logits.astype(np.float64))
    return annealed_mean(probs, centers.astype(np.float64), float(np.float32(temperature))).transpose(0, 3, 1, 2), probs


def largest(difference) -> float:
    return float(np.abs(difference).max())


@both_types
@pytest.mark.parametrize("tokens", (1, 2, 31, 33, 289, 313, 320, 321, 326, 352, 353, 1023, 1024))
def test_kernel_equals_float64_and_the_numpy_stage_for_any_number_of_tokens(kernels, rng, tokens, dtype):
    inputs = random_inputs(rng, tokens, dtype)
    temperature = rng.choice([0.05, 0.38, 1.0])
    ab, probs = decode_on_cpu(kernels, *inputs, temperature)
    for reference in (decode_in_float64, color_token_decode):
        expected_ab, expected_probs = reference(*inputs, temperature)
        assert largest(probs - expected_probs.astype(np.float64)) < PROBS_TOLERANCE[dtype]
        assert largest(ab - expected_ab) < AB_TOLERANCE[dtype]


@both_types
def test_kernel_rounds_probs_to_half_precision_and_ab_not(kernels, rng, dtype):
    inputs = random_inputs(rng, dtype=dtype)
    ab, probs = decode_on_cpu(kernels, *inputs, 0.38)
    exact_ab, exact_probs = decode_in_float64(*inputs, 0.38)
    assert probs.dtype == dtype and ab.dtype == np.float32
    assert largest(probs - exact_probs) < (3e-7 if dtype == np.float32 else 2**-12 + 3e-7)
    assert largest(ab - exact_ab) < 2e-4


@both_types
@pytest.mark.parametrize("temperature", (0.05, 0.38, 1.0))
def test_kernel_survives_extreme_logits(kernels, rng, dtype, temperature):
    inputs = random_inputs(rng, dtype=dtype)
    inputs[0][...] = rng.choice([-1e4, 1e4, 0], inputs[0].shape)
    inputs[0][0, 0] = -1e4
    ab, probs = decode_on_cpu(kernels, *inputs, temperature)
    expected_ab, expected_probs = decode_in_float64(*inputs, temperature)
    assert largest(probs - expected_probs) < PROBS_TOLERANCE[dtype]
    assert largest(ab - expected_ab) < AB_TOLERANCE[dtype]


@both_types
def test_kernel_takes_the_lowest_of_equally_probable_tokens_in_mode_1(kernels, rng, dtype):
    logits, prev_probs, motion, keep, centers = random_inputs(rng, dtype=dtype)
    keep[...] = 0
    logits[...] = np.minimum(logits, 2)
    best = rng.integers(0, 313, (*keep.shape, 3))
    np.put_along_axis(logits, best, 3, axis=-1)
    ab, _ = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.38, mode=1)
    np.testing.assert_array_equal(ab, centers[best.min(axis=-1)].transpose(0, 3, 1, 2))


@both_types
@pytest.mark.parametrize("tokens", (7, 313, 1024))
def test_kernel_in_mode_1_gives_the_most_probable_token_after_blending(kernels, rng, tokens, dtype):
    inputs = random_inputs(rng, tokens, dtype)
    ab, _ = decode_on_cpu(kernels, *inputs, 0.38, mode=1)
    _, probs = decode_in_float64(*inputs, 0.38)
    second, first = np.sort(probs, axis=-1)[..., -2:].transpose(3, 0, 1, 2)
    clear = first - second > PROBS_TOLERANCE[dtype]
    assert clear.mean() > 0.5
    expected = inputs[-1][probs.argmax(axis=-1)]
    np.testing.assert_array_equal(ab.transpose(0, 2, 3, 1)[clear], expected[clear])


def test_kernel_does_not_read_the_past_where_keep_is_zero(kernels, rng):
    logits, prev_probs, motion, keep, centers = random_inputs(rng)
    keep[...] = 0
    prev_probs[...] = np.nan
    ab, probs = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.38)
    assert largest(probs - softmax(logits)) < 1e-5 and np.isfinite(ab).all()


def test_kernel_reads_only_the_taps_that_have_weight(kernels, rng):
    logits, prev_probs, motion, keep, centers = random_inputs(rng, shape=(1, 4, 6))
    keep[...] = 0.5
    motion[...] = (1, -1)  # whole cells: one tap each, so nothing reads the first column or the last row
    expected = decode_in_float64(logits, prev_probs, motion, keep, centers, 0.38)[1]
    prev_probs[:, -1] = np.nan
    prev_probs[:, :, 0] = np.nan
    _, probs = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.38)
    assert largest(probs - expected) < 1e-5


def test_kernel_with_keep_one_gives_the_warped_past_whatever_the_logits_are(kernels, rng):
    logits, prev_probs, motion, keep, centers = random_inputs(rng)
    keep[...] = 1
    _, probs = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.38)
    assert largest(probs - warp(prev_probs, motion)) < 1e-6


@pytest.mark.parametrize("tokens", (5, 313, 326))
def test_kernel_gives_the_mean_of_the_palette_where_nothing_is_known(kernels, rng, tokens):
    logits, prev_probs, motion, keep, centers = random_inputs(rng, tokens)
    keep[...], prev_probs[...] = 1, 0
    ab, probs = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.05)
    assert not probs.any()
    assert largest(ab - centers.astype(np.float64).mean(axis=0).reshape(1, 2, 1, 1)) < 1e-3


def test_kernel_clamps_motion_out_of_the_picture_to_its_border(kernels, rng):
    logits, prev_probs, motion, keep, centers = random_inputs(rng, shape=(1, 3, 4))
    keep[...] = 1
    for move, corner in (((-1e30, 1e30), (2, 0)), ((np.inf, -np.inf), (0, 3))):
        motion[...] = move
        _, probs = decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, 0.38)
        assert largest(probs - prev_probs[:, corner[0], corner[1]]) < 1e-6


@pytest.mark.parametrize("temperature", (1e-6, 1e-30))
def test_kernel_near_temperature_zero_gives_the_most_probable_color(kernels, rng, temperature):
    inputs = random_inputs(rng)
    ab, _ = decode_on_cpu(kernels, *inputs, temperature)
    expected, _ = decode_on_cpu(kernels, *inputs, 0.38, mode=1)
    _, probs = decode_in_float64(*inputs, 0.38)
    second, first = np.sort(probs, axis=-1)[..., -2:].transpose(3, 0, 1, 2)
    clear = (first - second > 1e-3 * first)[:, None]
    assert largest(np.where(clear, ab - expected, 0)) < 1e-3


@both_types
@pytest.mark.parametrize("shape", ((1, 1, 1), (1, 2, 4), (3, 5, 7), (1, 9, 17)))
@pytest.mark.parametrize("multiprocessors", (1, 7))
def test_kernel_covers_every_cell_whatever_the_grid_is(kernels, rng, monkeypatch, shape, multiprocessors, dtype):
    monkeypatch.setenv("CUDA_ON_CPU_MULTIPROCESSORS", str(multiprocessors))
    inputs = random_inputs(rng, dtype=dtype, shape=shape)
    ab, probs = decode_on_cpu(kernels, *inputs, 0.38)
    expected_ab, expected_probs = color_token_decode(*inputs, 0.38)
    assert largest(probs - expected_probs.astype(np.float64)) < PROBS_TOLERANCE[dtype]
    assert largest(ab - expected_ab) < AB_TOLERANCE[dtype]


def test_kernel_keeps_several_groups_in_flight_with_one_block(kernels, rng):
    # Four blocks share 60 groups: the ring of stages goes round five times, still and moving groups in turn.
    inputs = random_inputs(rng, shape=(1, 8, 60))
    inputs[2][:, ::2] = 0
    ab, probs = decode_on_cpu(kernels, *inputs, 0.38)
    expected_ab, expected_probs = decode_in_float64(*inputs, 0.38)
    assert largest(probs - expected_probs) < 1e-5 and largest(ab - expected_ab) < 1e-3


@pytest.mark.parametrize(
    "changes",
    (
        {"tokens": 0}, {"tokens": 1025}, {"type": 2}, {"mode": 2}, {"batch": -1}, {"logits": None}, {"keep": None},
        {"temperature": None}, {"logits": 2**20 + 2}, {"prev_probs": 2**20 + 8}, {"motion": 2**20 + 4},
        {"batch": 2**20, "height": 2**20},
    ),
)  # fmt: skip
def test_kernel_refuses_a_job_that_breaks_its_contract(kernels, rng, changes):
    with pytest.raises(ValueError, match="status 1"):
        decode_on_cpu(kernels, *random_inputs(rng, tokens=9), 0.38, changes=changes)


def test_kernel_refuses_to_write_over_its_own_state(kernels, rng):
    import ctypes

    from edgecolor.kernels import DecodeJob

    logits, prev_probs, motion, keep, centers = random_inputs(rng, tokens=16)
    temperature, ab = np.float32([1]), np.empty((2, 2, 3, 5), dtype=np.float32)
    arrays = (logits, prev_probs, motion, keep, centers, temperature, ab, prev_probs)
    job = DecodeJob(*(array.ctypes.data for array in arrays), 2, 3, 5, 16, 0, 0)
    assert kernels.edgecolorColorTokenDecode(ctypes.byref(job), None) == 1


def test_kernel_has_nothing_to_do_for_an_empty_batch(kernels, rng):
    inputs = random_inputs(rng, shape=(0, 3, 5))
    ab, probs = decode_on_cpu(kernels, *inputs, 0.38)
    assert ab.size == probs.size == 0
