"""ColorTokenDecode: the NumPy definition against loops in float64, and its twins against the definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, EdgeColorError, ShapeError
from edgecolor.stages.logits_to_ab import color_token_decode

CENTERS = palette("ab313").centers
Q = len(CENTERS)
SHAPES = [(1, 8, 8), (2, 5, 11), (1, 24, 17)]
TEMPERATURES = [0.05, 0.38, 1.0]


def loops(logits, prev_probs, motion, keep, centers, temperature, mode=0):
    """The op as design and paper say it, one number at a time, in float64."""
    batch, h, w, tokens = logits.shape
    ab, probs = np.zeros((batch, 2, h, w)), np.zeros(logits.shape)
    for n, y, x in np.ndindex(batch, h, w):
        row = [float(value) for value in logits[n, y, x]]
        top = max(row)
        exps = [math.exp(value - top) for value in row]
        total = math.fsum(exps)
        dx, dy = (float(value) for value in motion[n, y, x])
        px, py = min(max(x + dx, 0.0), w - 1.0), min(max(y + dy, 0.0), h - 1.0)
        past = [0.0] * tokens
        for yy in range(h):
            for xx in range(w):
                weight = max(0.0, 1 - abs(px - xx)) * max(0.0, 1 - abs(py - yy))
                if weight:
                    past = [p + weight * float(q) for p, q in zip(past, prev_probs[n, yy, xx], strict=True)]
        k = float(keep[n, y, x])
        blend = [(1 - k) * e / total + k * p for e, p in zip(exps, past, strict=True)]
        probs[n, y, x] = blend
        if mode == 1:
            ab[n, :, y, x] = centers[blend.index(max(blend))]
        else:
            largest = max(blend)
            weights = [(p / largest) ** (1 / temperature) for p in blend]
            for axis in (0, 1):
                mean = sum(v * float(c[axis]) for v, c in zip(weights, centers, strict=True)) / sum(weights)
                ab[n, axis, y, x] = mean
    return ab, probs


def inputs(rng, shape, dtype=np.float32, tokens=Q, scale=4.0, moving=2.0):
    """Random logits with peaks, a past, motion that leaves the picture, and keep of 0, 1 and between."""
    past = rng.random((*shape, tokens)).astype(np.float32) ** 6
    keep = rng.random(shape).astype(np.float32)
    keep[rng.random(shape) < 0.2] = 0
    keep[rng.random(shape) < 0.2] = 1
    motion = rng.normal(0, moving, (*shape, 2)).astype(np.float32)
    motion[0, 0, 0], motion[0, -1, -1] = (-1e6, 3.25), (0.5, 1e6)
    return {
        "logits": rng.normal(0, scale, (*shape, tokens)).astype(dtype),
        "prev_probs": (past / past.sum(axis=-1, keepdims=True)).astype(dtype),
        "motion": motion if moving else np.zeros((*shape, 2), np.float32),
        "keep": keep,
        "centers": CENTERS[:tokens],
    }


def like_a_picture(rng, shape):
    """Logits as a trained net gives them: one or two bumps over the ab plane that drift slowly over the picture."""
    y, x = np.mgrid[0 : shape[1], 0 : shape[2]] / 8
    bumps = []
    for _ in range(2):
        phase = rng.uniform(0, 6, (4, shape[0], 1, 1))
        ab = np.stack([40 * np.sin(y + phase[0]) * np.cos(x + phase[1]), 50 * np.cos(y - x + phase[2])], axis=-1)
        distance = ((ab[..., None, :] - CENTERS) ** 2).sum(axis=-1)
        bumps.append(np.exp(-distance / (2 * 15**2)) * (1.2 + np.sin(phase[3]))[..., None])
    return np.log(sum(bumps) + 1e-9).astype(np.float32)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("mode", [0, 1])
def test_color_token_decode_equals_the_loops_in_float64(temperature, mode):
    for seed, (shape, moving) in enumerate([((1, 3, 4), 1.5), ((2, 2, 3), 0.0)]):
        arrays = inputs(np.random.default_rng(seed), shape, tokens=40, moving=moving)
        ab, probs = color_token_decode(**arrays, temperature=temperature, mode=mode)
        ab_expected, probs_expected = loops(**arrays, temperature=temperature, mode=mode)
        assert ab.dtype == probs.dtype == np.float32
        np.testing.assert_allclose(probs, probs_expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ab, ab_expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_color_token_decode_survives_flat_and_huge_logits(scale):
    arrays = inputs(np.random.default_rng(2), (1, 3, 3), tokens=40)
    arrays["logits"] = (np.sign(arrays["logits"]) * scale).astype(np.float32)
    for temperature in TEMPERATURES:
        ab, probs = color_token_decode(**arrays, temperature=temperature)
        ab_expected, probs_expected = loops(**arrays, temperature=temperature)
        np.testing.assert_allclose(probs, probs_expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ab, ab_expected, rtol=0, atol=1e-3)


def test_color_token_decode_of_float16_makes_ab_before_it_rounds_probs():
    arrays = inputs(np.random.default_rng(3), (1, 3, 4), np.float16, tokens=40)
    ab, probs = color_token_decode(**arrays, temperature=0.38)
    ab_expected, probs_expected = loops(**arrays, temperature=0.38)
    assert probs.dtype == np.float16 and ab.dtype == np.float32
    np.testing.assert_allclose(probs.astype(np.float64), probs_expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(ab, ab_expected, rtol=0, atol=1e-3)  # through rounded probs it would be 0.01 off


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1), st.sampled_from([np.float16, np.float32]))
def test_keep_of_one_without_motion_freezes_probs_exactly(seed, temperature, dtype):
    arrays = inputs(np.random.default_rng(seed), (1, 2, 3), dtype, tokens=20, moving=0.0)
    arrays["keep"] = np.ones((1, 2, 3), np.float32)
    ab, probs = color_token_decode(**arrays, temperature=temperature)
    assert np.array_equal(probs, arrays["prev_probs"])
    assert (np.abs(ab).max(axis=(0, 2, 3)) <= np.abs(arrays["centers"]).max(axis=0) + 1e-3).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_keep_of_zero_forgets_the_past_whatever_it_was(seed):
    arrays = inputs(np.random.default_rng(seed), (1, 3, 3), tokens=20)
    arrays["keep"] = np.zeros((1, 3, 3), np.float32)
    first = color_token_decode(**arrays, temperature=0.38)
    arrays["prev_probs"] = np.zeros_like(arrays["prev_probs"])
    for a, b in zip(first, color_token_decode(**arrays, temperature=0.38), strict=True):
        assert np.array_equal(a, b)


def test_motion_by_whole_cells_fetches_the_neighbours_past():
    arrays = inputs(np.random.default_rng(4), (1, 4, 5), tokens=20)
    arrays["keep"] = np.ones((1, 4, 5), np.float32)
    arrays["motion"] = np.broadcast_to(np.array([2, -1], np.float32), (1, 4, 5, 2))
    _, probs = color_token_decode(**arrays, temperature=0.38)
    assert np.array_equal(probs[0, 1:, :3], arrays["prev_probs"][0, :3, 2:])
    assert np.array_equal(probs[0, 0, 4], arrays["prev_probs"][0, 0, 4])  # beyond the border: the border


@pytest.fixture(scope="module")
def twins():
    """The op's other forms by name, each with the definition's signature; a form is made once per mode and type."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from edgecolor.export.color_token_decode import attach_function
    from edgecolor.models.color_token_decode import color_token_decode as in_torch
    from edgecolor.stages.logits_to_ab import PLUGIN

    def run_torch(temperature, mode=0, **arrays):
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return tuple(out.numpy() for out in in_torch(**tensors, temperature=temperature, mode=mode))

    sessions = {}

    def session(mode, dtype):
        info, elem = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        grid = ["N", "h", "w"]
        ins = [("logits", elem, [*grid, "Q"]), ("prev_probs", elem, [*grid, "Q"]), ("motion", 1, [*grid, 2])]
        ins += [("keep", 1, grid), ("centers", 1, ["Q", 2]), ("temperature", 1, [1])]
        outs = [("ab", 1, ["N", 2, "h", "w"]), ("probs", elem, [*grid, "Q"])]
        names = [name for name, _, _ in ins], [name for name, _, _ in outs]
        node = onnx.helper.make_node("ColorTokenDecode", *names, domain="edgecolor", mode=mode, **PLUGIN)
        graph = onnx.helper.make_graph([node], "op", [info(*i) for i in ins], [info(*o) for o in outs])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        attach_function(model)
        onnx.checker.check_model(model, full_check=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run_onnx(temperature, mode=0, **arrays):
        key = mode, arrays["logits"].dtype
        if key not in sessions:
            sessions[key] = session(*key)
        return sessions[key].run(["ab", "probs"], {**arrays, "temperature": np.array([temperature], np.float32)})

    return {"torch": run_torch, "onnx": run_onnx}


TOLERANCES = {np.float32: (1e-5, 1e-3), np.float16: (1e-3, 1e-2)}  # of probs, of ab


def agree(got, expected, dtype):
    probs_atol, ab_atol = TOLERANCES[dtype]
    assert got[1].dtype == dtype and got[0].dtype == np.float32
    np.testing.assert_allclose(got[1].astype(np.float64), expected[1].astype(np.float64), rtol=0, atol=probs_atol)
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=ab_atol)


@pytest.mark.parametrize("form", ["torch", "onnx"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("moving", [0.0, 2.0])
def test_every_form_of_the_op_equals_the_definition(twins, form, dtype, moving):
    for seed, shape in enumerate(SHAPES):
        arrays = inputs(np.random.default_rng(seed), shape, dtype, moving=moving)
        pictures = {**arrays, "logits": like_a_picture(np.random.default_rng(seed), shape).astype(dtype)}
        for case in (arrays, pictures, {**arrays, "logits": (np.sign(arrays["logits"]) * 1e4).astype(dtype)}):
            for temperature in TEMPERATURES:
                got = twins[form](**case, temperature=temperature)
                agree(got, color_token_decode(**case, temperature=temperature), dtype)


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_every_form_takes_the_lowest_of_tied_tokens(twins, form):
    arrays = inputs(np.random.default_rng(5), (1, 4, 4), moving=0.0)
    arrays["keep"] = np.zeros((1, 4, 4), np.float32)
    arrays["logits"] = np.zeros_like(arrays["logits"])
    arrays["logits"][..., [40, 200, 300]] = 5
    got, _ = twins[form](**arrays, temperature=0.38, mode=1)
    expected, _ = color_token_decode(**arrays, temperature=0.38, mode=1)
    assert np.array_equal(got, expected)
    assert (got == CENTERS[40][None, :, None, None]).all()


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_every_form_agrees_on_the_most_probable_token(twins, form):
    arrays = inputs(np.random.default_rng(6), (2, 5, 7))
    expected, probs = color_token_decode(**arrays, temperature=0.38, mode=1)
    got, _ = twins[form](**arrays, temperature=0.38, mode=1)
    best = np.sort(probs, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-5
    assert clear.mean() > 0.9
    assert np.array_equal(got.transpose(0, 2, 3, 1)[clear], expected.transpose(0, 2, 3, 1)[clear])


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_every_form_freezes_probs_exactly_at_keep_of_one(twins, form):
    arrays = inputs(np.random.default_rng(7), (1, 4, 5), moving=0.0)
    arrays["keep"] = np.ones((1, 4, 5), np.float32)
    _, probs = twins[form](**arrays, temperature=0.38)
    assert np.array_equal(probs, arrays["prev_probs"])


def test_the_torch_twin_has_the_gradients_of_the_definition():
    torch = pytest.importorskip("torch")
    from edgecolor.models.color_token_decode import color_token_decode as in_torch

    rng = np.random.default_rng(8)
    arrays = inputs(rng, (1, 3, 3), tokens=12)
    arrays["motion"] = rng.uniform(0.2, 0.8, (1, 3, 3, 2)).astype(np.float32)  # between cells, where it has a slope
    arrays["keep"] = np.full((1, 3, 3), 0.4, np.float32)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    wanted = ("logits", "prev_probs", "motion", "keep")
    for name in wanted:
        tensors[name].requires_grad_(True)
    ab, probs = in_torch(**tensors, temperature=0.5)
    (ab.sum() / 100 + (probs**2).sum()).backward()

    def value(name, step):
        moved = {**arrays, name: (arrays[name] + step).astype(np.float32)}
        ab, probs = color_token_decode(**moved, temperature=0.5)
        return ab.sum(dtype=np.float64) / 100 + (probs.astype(np.float64) ** 2).sum()

    for name in wanted:
        direction = rng.normal(0, 1, arrays[name].shape) * (arrays[name] if name == "prev_probs" else 1)
        slope = (value(name, 2e-3 * direction) - value(name, -2e-3 * direction)) / 4e-3
        expected = float((tensors[name].grad.double().numpy() * direction).sum())
        assert slope == pytest.approx(expected, rel=0.02, abs=2e-3), name


@pytest.mark.parametrize(
    "name, change, error",
    [
        ("logits", lambda a: a[0], ShapeError),
        ("prev_probs", lambda a: a[..., :-1], ShapeError),
        ("prev_probs", lambda a: a.astype(np.float16), ShapeError),
        ("motion", lambda a: a[..., :1], ShapeError),
        ("keep", lambda a: a[..., None], ShapeError),
        ("centers", lambda a: a[:-1], ShapeError),
        ("temperature", lambda _: 0.0, ConfigError),
        ("temperature", lambda _: 1.5, ConfigError),
        ("temperature", lambda _: float("nan"), ConfigError),
        ("mode", lambda _: 2, ConfigError),
    ],
)
def test_color_token_decode_refuses_what_does_not_fit(name, change, error):
    arguments = {**inputs(np.random.default_rng(9), (1, 2, 3), tokens=20), "temperature": 0.38, "mode": 0}
    arguments[name] = change(arguments[name])
    with pytest.raises(error) as caught:
        color_token_decode(**arguments)
    assert "\n" not in str(caught.value)


def test_color_token_decode_refuses_logits_of_another_type():
    arguments = inputs(np.random.default_rng(9), (1, 2, 3), np.float64, tokens=20)
    with pytest.raises(ShapeError, match="float16 or float32"):
        color_token_decode(**arguments, temperature=0.38)


def test_nodes_of_two_modes_in_one_graph_are_refused():
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from edgecolor.export.color_token_decode import attach_function

    make = onnx.helper.make_node
    node = [make("ColorTokenDecode", ["l", "p"], [f"ab{mode}"], domain="edgecolor", mode=mode) for mode in (0, 1)]
    past = onnx.helper.make_tensor_value_info("p", 1, ["N", "h", "w", "Q"])
    model = onnx.helper.make_model(onnx.helper.make_graph(node, "g", [past], []))
    with pytest.raises(EdgeColorError, match="one kind"):
        attach_function(model)
