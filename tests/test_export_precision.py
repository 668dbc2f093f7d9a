"""Precision in the graph: float16 and int8 files stay close to float32, and say in their types what they are."""

from contextlib import closing

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
skimage_color = pytest.importorskip("skimage.color")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.backends.files import WEIGHTS, read_manifest  # noqa: E402
from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.export.frames import inputs_of, lightness_of_files  # noqa: E402
from edgecolor.export.half import fold_casts, to_half, too_large  # noqa: E402
from edgecolor.export.int8 import quantizable, quantized_weight, ranges_of, to_int8  # noqa: E402
from edgecolor.export.onnx_to_engine import EngineOptions, save_at_precision  # noqa: E402

EDGE = WEIGHTS / "edge.onnx"
MANIFEST = read_manifest(EDGE)


def run(model, feed, outputs=("ab",)):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(outputs), feed)


def ciede2000(lightness, ab, other):
    """Mean over the cells, by scikit-image."""
    n, _, h0, w0 = lightness.shape
    cells = lightness.reshape(n, h0 // 4, 4, w0 // 4, 4).mean(axis=(2, 4))[..., None]
    one, two = (np.concatenate([cells, np.moveaxis(colors, 1, 3)], axis=-1) for colors in (ab, other))
    return float(skimage_color.deltaE_ciede2000(one, two).mean())


def lightness_of(rgb, height, width):
    import cv2

    lab = skimage_color.rgb2lab(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(lab[None, None, :, :, 0], np.float32)


@pytest.fixture(scope="module")
def edge():
    return onnx.load(EDGE)


@pytest.fixture(scope="module")
def photographs():
    from skimage import data

    return [lightness_of(rgb, 96, 128) for rgb in (data.coffee(), data.astronaut(), data.chelsea())]


class Net:
    """A small network in ONNX: two convolutions, one of which int8 can hardly hold, and ab."""

    def __init__(self, wild=1.0):
        rng = np.random.default_rng(0)
        first = rng.normal(0, 1, (8, 1, 3, 3)).astype(np.float32)
        first[0] *= wild  # one channel far above the others: it takes the whole int8 range of the activation
        self.weights = {"first": first, "second": rng.normal(0, 1, (2, 8, 1, 1)).astype(np.float32)}
        self.weights["second"][:, 0] /= wild
        nodes = [
            helper.make_node("Conv", ["lightness", "first"], ["x"], name="conv1", pads=[1] * 4, strides=[4, 4]),
            helper.make_node("Relu", ["x"], ["y"], name="relu"),
            helper.make_node("Conv", ["y", "second"], ["z"], name="conv2"),
            helper.make_node("Mul", ["z", "tenth"], ["ab"], name="scale"),
        ]
        tensors = {**self.weights, "tenth": np.array(0.05, np.float32)}
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("lightness", TensorProto.FLOAT, ["N", 1, "h0", "w0"])],
            [helper.make_tensor_value_info("ab", TensorProto.FLOAT, ["N", 2, "h", "w"])],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def types_of(model):
    return {info.name: info.type.tensor_type.elem_type for info in (*model.graph.input, *model.graph.output)}


def test_float16_edge_colors_photographs_as_float32_does(edge, photographs):
    half = to_half(edge)
    onnx.checker.check_model(half, full_check=True)
    for lightness in photographs:
        (full,) = run(edge, inputs_of(lightness, MANIFEST))
        (found,) = run(half, inputs_of(lightness, MANIFEST, half_state=True))
        assert found.dtype == np.float32 and not np.array_equal(found, full)
        assert ciede2000(lightness, full, found) < 0.1


def test_float16_file_has_a_float16_state_and_all_other_ends_in_float32(edge):
    half = to_half(edge)
    expected = dict.fromkeys(("prev_probs", "probs", "logits", "features"), TensorProto.FLOAT16)
    expected |= dict.fromkeys(("lightness", "motion", "keep", "temperature", "ab"), TensorProto.FLOAT)
    assert types_of(half) == expected
    inferred = onnx.shape_inference.infer_shapes(half)
    kinds = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    for node in inferred.graph.node:
        wanted = TensorProto.FLOAT if node.op_type in ("LayerNormalization", "Softmax") else TensorProto.FLOAT16
        if node.op_type in ("Conv", "LayerNormalization", "Softmax"):
            assert kinds.get(node.output[0], wanted) == wanted, node.name
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert all(stored[node.input[1]] == TensorProto.FLOAT16 for node in half.graph.node if node.op_type == "Conv")


def test_float16_state_is_carried_as_the_float32_one_is(edge, photographs):
    half = to_half(edge)
    feeds = [inputs_of(photographs[0], MANIFEST, is_half) for is_half in (False, True)]
    states = [run(model, feed, ["probs"])[0] for model, feed in zip((edge, half), feeds, strict=True)]
    assert states[1].dtype == np.float16
    for feed, state in zip(feeds, states, strict=True):
        feed.update(lightness=photographs[1], prev_probs=state, keep=np.full_like(feed["keep"], 0.7))
        feed["motion"] = feed["motion"] + np.float32(0.5)
    full, found = (run(model, feed)[0] for model, feed in zip((edge, half), feeds, strict=True))
    assert ciede2000(photographs[1], full, found) < 0.1


def test_float16_file_runs_as_any_model_with_a_float32_op_beside_it(edge, photographs, tmp_path):
    """Steps, edited logits and what is fetched, in turn: the state is float16 for the one and float32 for the other."""
    save_at_precision(EDGE, EngineOptions("fp16"), tmp_path / "half.onnx")
    found = []
    for path in (EDGE, tmp_path / "half.onnx"):
        with closing(open_backend(path, threads=1)) as backend:
            backend.start(1, 96, 128)
            first = backend.step(photographs[0], 0.0)
            logits, features = backend.logits(photographs[1])
            edited = backend.decode(logits, 0.6, np.full((1, 24, 32, 2), 0.5, np.float32))
            logits, features = backend.logits(photographs[2])  # does not touch the state
            found.append((first, edited, backend.step(photographs[1], 0.6), backend.probs()))
            assert {array.dtype for array in (*found[-1], logits, features)} == {np.dtype(np.float32)}
    for i, (full, half) in enumerate(zip(*(arrays[:3] for arrays in found), strict=True)):
        assert 0 < ciede2000(photographs[i > 0], full, half) < 0.1
    assert 0 < np.abs(found[0][3] - found[1][3]).max() < 0.02


def test_a_value_that_is_too_large_for_float16_stays_in_float32():
    net = Net()
    large_weight = numpy_helper.from_array(net.weights["first"] * 1e3, "first")
    next(tensor for tensor in net.model.graph.initializer if tensor.name == "first").CopyFrom(large_weight)
    feed = {"lightness": np.full((1, 1, 16, 16), 100, np.float32)}
    large = too_large(ranges_of(net.model, ["lightness", "x", "y", "z", "ab"], [feed]))
    assert {"x", "y", "z"} <= large and "lightness" not in large
    expected, half = run(net.model, feed)[0], to_half(net.model, islands=large)
    kinds = {
        info.name: info.type.tensor_type.elem_type for info in onnx.shape_inference.infer_shapes(half).graph.value_info
    }
    assert all(kinds[name] == TensorProto.FLOAT for name in large - {"ab"})
    np.testing.assert_allclose(run(half, feed)[0], expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())


def test_to_half_refuses_a_weight_beyond_float16():
    net = Net(wild=1e6)
    with pytest.raises(ModelError, match="beyond float16: build with --precision fp32"):
        to_half(net.model)


def feeds_of(count=3):
    rng = np.random.default_rng(5)
    return [{"lightness": rng.uniform(0, 100, (1, 1, 32, 48)).astype(np.float32)} for _ in range(count)]


def test_int8_file_holds_int8_weights_between_quantize_and_dequantize():
    quantized, found = to_int8(Net().model, feeds_of)
    onnx.checker.check_model(quantized, full_check=True)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    assert found["kept_float"] == [] and found["nodes"] == 2
    for node in quantized.graph.node:
        assert node.op_type != "Conv" or all(name.endswith("_dequantized") for name in node.input)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = stored[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()  # symmetric: TensorRT takes nothing else
    assert stored["first_int8"].dtype == np.int8 and stored["first_scale"].shape == (8,)
    assert "first" not in stored and np.abs(stored["first_int8"]).max() == 127


def test_int8_model_is_near_the_float32_one_on_frames_it_has_not_seen():
    net = Net()
    quantized, found = to_int8(net.model, feeds_of)
    for feed in feeds_of(5)[3:]:
        full, near = run(net.model, feed)[0], run(quantized, feed)[0]
        assert 0 < np.abs(near - full).mean() < 0.02 * np.abs(full).mean()
    assert 0 < found["ab_distance"] < 0.4


def test_layers_that_lose_most_in_int8_stay_float():
    net = Net(wild=2000.0)
    quantized, found = to_int8(net.model, feeds_of, limit=0.4)
    assert found["kept_float"] == ["conv2"]
    feed = feeds_of()[0]
    assert np.linalg.norm(run(net.model, feed)[0] - run(quantized, feed)[0], axis=1).mean() < 0.4


def test_to_int8_refuses_a_model_that_stays_too_far_off():
    with pytest.raises(ModelError, match="ab units off: use --precision fp16"):
        to_int8(Net(wild=2000.0).model, feeds_of, limit=1e-9)


def test_to_int8_without_frames_says_how_to_give_them():
    with pytest.raises(ConfigError, match="--frames"):
        to_int8(Net().model, lambda: [])


@pytest.mark.parametrize("axis", [0, -1])
def test_quantized_weights_come_back_within_half_a_step_of_their_channel(axis):
    values = np.random.default_rng(0).uniform(-1, 1, (6, 5, 7)).astype(np.float32)
    values *= np.moveaxis(10.0 ** np.arange(values.shape[axis])[:, None, None].repeat(1, 1), 0, axis)
    found, scales = quantized_weight(values, axis % 3)
    shape = np.ones(3, int)
    shape[axis] = -1
    back = found * scales.reshape(shape)
    clipped = np.abs(values) > 127 * scales.reshape(shape)
    assert (np.abs(back - values) <= 0.501 * scales.reshape(shape))[~clipped].all() and clipped.mean() < 0.2


def test_frames_come_from_pictures_and_videos_at_the_working_size(tmp_path):
    from media import make_video
    from PIL import Image

    Image.fromarray(np.full((90, 160), 128, np.uint8)).save(tmp_path / "gray.png")
    frames = lightness_of_files([tmp_path / "gray.png"], MANIFEST)
    assert [frame.shape for frame in frames] == [(1, 1, 192, 352)]
    assert np.allclose(frames[0], 53.585, atol=0.01)
    video = make_video(tmp_path / "clip.mp4", pts=[512 * i for i in range(20)])
    frames = lightness_of_files([tmp_path / "gray.png", video], MANIFEST, count=8)
    assert len(frames) == 5 and len({frame.shape for frame in frames}) == 2


def test_int8_edge_colors_a_photograph_as_float32_does(edge, photographs):
    """Its first layers in float32, as the measured order has it, so that no minute goes into measuring."""
    folded = onnx.ModelProto()
    folded.CopyFrom(edge)
    fold_casts(folded)
    order = [node.name for node in quantizable(folded)]
    mirrored = [np.ascontiguousarray(lightness[..., ::-1]) for lightness in photographs]
    quantized, found = to_int8(
        edge, lambda: [inputs_of(lightness, MANIFEST) for lightness in mirrored], limit=0.35, order=order
    )
    assert 0 < len(found["kept_float"]) < found["nodes"] / 2
    for lightness in photographs:
        (full,), (near,) = (run(model, inputs_of(lightness, MANIFEST)) for model in (edge, quantized))
        assert ciede2000(lightness, full, near) < 0.6
