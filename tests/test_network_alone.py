"""A model file without its op. pytest tests/test_network_alone.py"""

import numpy as np
import pytest

from edgecolor.backends import find_model, onnxruntime_backend, open_backend
from edgecolor.backends.network_alone import network_alone

FILE = find_model("edge", ".onnx")


def test_only_the_op_and_its_outputs_are_gone():
    onnx = pytest.importorskip("onnx", reason="the independent reader is the onnx package")
    whole, alone = onnx.load(FILE), onnx.load_from_string(network_alone(FILE.read_bytes()))
    kept = [node for node in whole.graph.node if node.op_type != "ColorTokenDecode"]
    assert len(kept) == len(whole.graph.node) - 1
    assert list(alone.graph.node) == kept
    assert [output.name for output in alone.graph.output] == ["logits", "features"]
    for part in ("initializer", "input", "value_info"):
        assert list(getattr(alone.graph, part)) == list(getattr(whole.graph, part))
    assert list(alone.functions) == list(whole.functions) and alone.metadata_props == whole.metadata_props


def test_the_network_alone_says_the_same_as_the_whole_model(monkeypatch):
    lightness = np.random.default_rng(5).uniform(0, 100, (2, 1, 64, 96)).astype(np.float32)
    said = []
    for large in (1 << 40, 0):  # without the op; then the whole file, as of a large model
        monkeypatch.setattr(onnxruntime_backend, "LARGE", large)
        backend = open_backend(FILE, threads=1)
        backend.start(2, 64, 96)
        said.append(backend.logits(lightness))
        assert (not backend.networks) == (large == 0)
    for ours, theirs in zip(*said, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("content", [b"\x3a\xff", b"\x3a\x05abc", b"\xff\xff", b"\x3b"])
def test_what_is_no_protocol_buffer_is_refused(content):
    with pytest.raises(ValueError, match="protocol buffer"):
        network_alone(content)
