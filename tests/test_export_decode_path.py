"""The two ways of ColorTokenDecode in TensorRT: which is taken, and that both files mean the same."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from edgecolor.backends.files import WEIGHTS  # noqa: E402
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError  # noqa: E402
from edgecolor.export.decode_path import choose_decode, keep_outputs, rewrite  # noqa: E402
from edgecolor.export.half import to_half  # noqa: E402
from edgecolor.stages.logits_to_ab import color_token_decode  # noqa: E402

LIBRARY = Path("libedgecolor_plugin.so")


def run(model, feed):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["ab", "probs"], feed)


def inputs(is_half, moving):
    rng = np.random.default_rng(3)
    past = rng.random((2, 7, 9, 313)) ** 40  # most tokens at exactly 0 or near it
    past /= past.sum(axis=-1, keepdims=True)
    kind = np.float16 if is_half else np.float32
    return {
        "logits": rng.normal(0, 40, past.shape).astype(kind),
        "prev_probs": past.astype(kind),
        "motion": (rng.normal(0, 3, (2, 7, 9, 2)) * moving).astype(np.float32),
        "keep": rng.choice([0, 0.3, 1], (2, 7, 9)).astype(np.float32),
        "centers": rng.uniform(-100, 100, (313, 2)).astype(np.float32),
        "temperature": np.array([0.05], np.float32),
    }


@pytest.mark.parametrize("is_half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("moving", [0, 1], ids=["still", "moving"])
def test_native_decode_does_what_the_numpy_stage_does(is_half, moving):
    model = onnx.load(WEIGHTS / "decode.onnx")
    native = rewrite(to_half(model) if is_half else model, "native")
    onnx.checker.check_model(native, full_check=True)
    assert not native.functions and {entry.domain for entry in native.opset_import} == {""}
    assert not {"If", "ColorTokenDecode"} & {node.op_type for node in native.graph.node}
    feed = inputs(is_half, moving)
    ab, probs = run(native, feed)
    assert probs.dtype == feed["logits"].dtype
    expected, expected_probs = color_token_decode(**{name: value.astype(np.float32) for name, value in feed.items()})
    np.testing.assert_allclose(probs, expected_probs, rtol=0, atol=1e-3 if is_half else 1e-5)
    np.testing.assert_allclose(ab, expected, rtol=0, atol=1e-2)


def test_plugin_decode_leaves_the_node_without_a_body_so_that_nothing_can_stand_in_for_the_plugin():
    model = onnx.load(WEIGHTS / "edge.onnx")
    rewritten = rewrite(model, "plugin")
    assert not rewritten.functions and model.functions
    (node,) = (node for node in rewritten.graph.node if node.op_type == "ColorTokenDecode")
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert attributes == {"mode": 0, "plugin_version": b"1", "plugin_namespace": b"edgecolor"}


def test_native_decode_of_a_file_without_the_body_is_refused():
    with pytest.raises(ModelError, match="without its body: export it again"):
        rewrite(rewrite(onnx.load(WEIGHTS / "decode.onnx"), "plugin"), "native")


def test_engines_drop_the_outputs_that_are_not_asked_for():
    model = onnx.load(WEIGHTS / "edge.onnx")
    keep_outputs(model, ("ab", "probs"))
    assert [info.name for info in model.graph.output] == ["ab", "probs"]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(
    ("wanted", "flavor", "library", "way", "why"),
    [
        ("auto", "tensorrt", LIBRARY, "plugin", "its library is built"),
        ("auto", "tensorrt", None, "native", "not built"),
        ("plugin", "tensorrt", LIBRARY, "plugin", "asked for"),
        ("native", "tensorrt", LIBRARY, "native", "asked for"),
        ("auto", "rtx", LIBRARY, "native", "no plugins"),
    ],
)
def test_decode_path_is_the_plugin_where_it_can_be_had(wanted, flavor, library, way, why):
    found = choose_decode(wanted, flavor, library)
    assert found.way == way and why in found.why and found.library == (LIBRARY if way == "plugin" else None)


def test_decode_path_that_cannot_be_had_is_an_error_and_never_another_one():
    with pytest.raises(MissingDependencyError, match="edgecolor build-plugins.*--decode native"):
        choose_decode("plugin", "tensorrt", None)
    with pytest.raises(ConfigError, match="TensorRT-RTX has no plugins: give --decode native"):
        choose_decode("plugin", "rtx", LIBRARY)
    with pytest.raises(ConfigError, match="auto, plugin, native"):
        choose_decode("cuda", "tensorrt", LIBRARY)
