"""Export: one file that does what PyTorch does, at every size, and says what it is."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from exported import PRIOR_SHIFT, PRIOR_UNIFORM, exported_edge

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from edgecolor.color.tokens import palette, rebalancing_weights  # noqa: E402
from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.export import graph as passes  # noqa: E402
from edgecolor.export import torch_to_onnx  # noqa: E402
from edgecolor.export.checkpoint import export_checkpoint, shift_prior  # noqa: E402
from edgecolor.manifest import Manifest  # noqa: E402
from edgecolor.models import build_model  # noqa: E402
from edgecolor.stages.logits_to_ab import color_token_decode  # noqa: E402


@pytest.fixture(scope="module")
def folder() -> Path:
    return exported_edge()[0]


@pytest.fixture(scope="module")
def proto(folder):
    return onnx.load(folder / "edge.onnx")


def open_session(path, **entries):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    for name, value in entries.items():
        setattr(options, name, value)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def session(folder):
    return open_session(folder / "edge.onnx")


@pytest.fixture(scope="module")
def shifted_edge():
    """The checkpoint's model in PyTorch, in float32, its bias shifted as the export was asked to."""
    state = exported_edge()[1]
    model = build_model("edge")
    model.load_state_dict(state["ema"])
    weights = rebalancing_weights(state["prior"].numpy(), PRIOR_UNIFORM)
    with torch.no_grad():
        model.token_bias += PRIOR_SHIFT * torch.from_numpy(np.log(weights)).float()
    return model.eval()


def photograph_lightness(shape):
    """L* of a picture that has edges and flat parts, as (N, 1, h0, w0)."""
    batch, h0, w0 = shape
    y, x = np.mgrid[0:h0, 0:w0].astype(np.float32)
    one = 50 + 30 * np.sin(x / 17) * np.cos(y / 23) + 20 * ((x // 31 + y // 19) % 2)
    return np.stack([np.roll(one, 5 * n, axis=1) for n in range(batch)])[:, None].clip(0, 100).astype(np.float32)


def decode_inputs(rng, batch, h, w):
    past = rng.random((batch, h, w, 313), dtype=np.float32) ** 8
    return {
        "prev_probs": past / past.sum(axis=-1, keepdims=True),
        "motion": rng.normal(0, 2, (batch, h, w, 2)).astype(np.float32),
        "keep": rng.random((batch, h, w), dtype=np.float32),
        "temperature": np.array([0.38], np.float32),
    }


@pytest.mark.parametrize("shape", [(1, 160, 160), (2, 64, 96), (1, 96, 224)])
def test_the_exported_file_does_what_pytorch_does_at_any_size(session, shifted_edge, shape):
    lightness = photograph_lightness(shape)
    rest = decode_inputs(np.random.default_rng(0), shape[0], shape[1] // 4, shape[2] // 4)
    ab, probs, logits, features = session.run(["ab", "probs", "logits", "features"], {"lightness": lightness, **rest})
    with torch.no_grad():
        expected, expected_features = (tensor.numpy() for tensor in shifted_edge(torch.from_numpy(lightness)))
    assert logits.shape == (shape[0], shape[1] // 4, shape[2] // 4, 313)
    # The file's weights are those of the model rounded to float16 once batch norm is folded in: 2^-11 each.
    spread = expected.std()
    assert np.abs(logits - expected).max() < 0.02 * spread
    assert np.abs(features - expected_features).max() < 0.02 * expected_features.std()
    centers = palette("ab313").centers
    ab_expected, probs_expected = color_token_decode(logits, centers=centers, **rest)
    np.testing.assert_allclose(probs, probs_expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ab, ab_expected, rtol=0, atol=1e-3)


def test_the_export_without_half_equals_pytorch_to_the_last_digits(tmp_path, monkeypatch, traced_once):
    monkeypatch.setattr(torch_to_onnx, "trace", traced_once)
    model = Tiny()
    torch_to_onnx.export_onnx(model, TINY, tmp_path / "tiny.onnx", half=False)
    lightness = photograph_lightness((2, 24, 40))
    rest = decode_inputs(np.random.default_rng(1), 2, 6, 10)
    logits = open_session(tmp_path / "tiny.onnx").run(["logits"], {"lightness": lightness, **rest})[0]
    with torch.no_grad():
        np.testing.assert_allclose(logits, model.eval()(torch.from_numpy(lightness))[0].numpy(), rtol=0, atol=1e-4)


def test_the_file_has_the_inputs_and_outputs_of_the_design(session):
    def shapes(infos):
        return {info.name: info.shape for info in infos}

    cells = ["N", "h", "w"]
    assert shapes(session.get_inputs()) == {
        "lightness": ["N", 1, "h0", "w0"],
        "prev_probs": [*cells, 313],
        "motion": [*cells, 2],
        "keep": cells,
        "temperature": [1],
    }
    assert shapes(session.get_outputs()) == {
        "ab": ["N", 2, "h", "w"],
        "probs": [*cells, 313],
        "logits": [*cells, 313],
        "features": [*cells, 128],
    }


def test_the_file_is_opset_17_with_one_node_and_its_body_and_no_batch_norm(proto):
    onnx.checker.check_model(proto, full_check=True)
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 17, "edgecolor": 1}
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("ColorTokenDecode") == 1 and "BatchNormalization" not in kinds
    (function,) = proto.functions
    assert (function.domain, function.name) == ("edgecolor", "ColorTokenDecode")
    assert all(name.startswith("ctd_") for node in function.node for name in (*node.input, *node.output))
    node = next(node for node in proto.graph.node if node.op_type == "ColorTokenDecode")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert attributes == {"mode": 0, "plugin_version": b"1", "plugin_namespace": b"edgecolor"}
    assert {a.name for a in function.attribute_proto} == set(attributes)


def test_only_the_last_reshape_computes_its_shape_at_run_time(proto):
    assert sum(node.op_type == "Shape" for node in proto.graph.node) <= 3


def test_the_file_tells_nothing_about_the_machine_that_made_it(folder):
    for path in (folder / "edge.onnx", folder / "edge.safetensors", folder / "decode.onnx"):
        data = path.read_bytes()
        for trace in (str(Path(__file__).resolve().parents[1]), "site-packages", "stack_trace", "forward"):
            assert trace.encode() not in data, f"{trace} in {path.name}"


def test_weights_are_stored_in_half_and_folded_to_float32_when_onnx_runtime_loads_them(folder, proto, tmp_path):
    assert (folder / "edge.onnx").stat().st_size < 12e6
    stored = {t.name: t for t in proto.graph.initializer}
    assert sum(np.prod(t.dims) for t in stored.values() if t.data_type == onnx.TensorProto.FLOAT16) > 2.4e6
    open_session(folder / "edge.onnx", optimized_model_filepath=str(tmp_path / "optimized.onnx"))
    optimized = onnx.load(tmp_path / "optimized.onnx")
    assert len(optimized.graph.node) > 50
    assert not [node.name for node in optimized.graph.node if node.op_type == "Cast"]


def test_manifest_and_checksum_are_those_of_the_file(proto):
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    manifest = Manifest.from_metadata(metadata, "edge.onnx")
    assert (manifest.name, manifest.prior_shift, manifest.prior_uniform) == ("edge", PRIOR_SHIFT, PRIOR_UNIFORM)
    digest = hashlib.sha256()
    for tensor in sorted(proto.graph.initializer, key=lambda t: t.name):
        data = onnx.numpy_helper.to_array(tensor).tobytes()
        digest.update(f"{tensor.name}\0{len(data)}\0".encode() + data)
    assert manifest.weights_sha256 == digest.hexdigest()


def test_safetensors_hold_the_checkpoint_with_batch_norm_and_matrices_in_half(folder, shifted_edge):
    safe = pytest.importorskip("safetensors")
    with safe.safe_open(folder / "edge.safetensors", "pt") as opened:
        manifest = Manifest.from_metadata(opened.metadata(), "edge.safetensors")
        loaded = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert manifest.name == "edge"
    expected = shifted_edge.state_dict()
    assert set(loaded) == set(expected)
    for name, value in expected.items():
        if value.ndim >= 2:
            assert loaded[name].dtype == torch.float16 and torch.equal(loaded[name], value.half())
        else:
            assert torch.equal(loaded[name], value), name


def test_prior_shift_adds_the_log_of_the_rebalancing_weights():
    model = build_model("edge")
    prior = torch.rand(313, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior /= prior.sum()
    shift_prior(model, prior, 0.7, 0.25)
    mixed = 0.75 * prior + 0.25 / 313
    expected = 0.7 * -(mixed.log() + (prior / mixed).sum().log())
    torch.testing.assert_close(model.token_bias.double(), expected, rtol=0, atol=1e-6)


def test_decode_onnx_runs_the_op_with_any_palette(folder):
    opened = open_session(folder / "decode.onnx")
    assert [info.name for info in opened.get_inputs()] == [
        "logits", "prev_probs", "motion", "keep", "centers", "temperature",
    ]  # fmt: skip
    rng = np.random.default_rng(2)
    for name in ("ab313", "ab326"):
        centers = palette(name).centers
        rest = decode_inputs(rng, 1, 4, 6)
        rest["prev_probs"] = rng.dirichlet(np.ones(len(centers)), (1, 4, 6)).astype(np.float32)
        arrays = {"logits": rng.normal(0, 3, (1, 4, 6, len(centers))).astype(np.float32), "centers": centers, **rest}
        ab, probs = opened.run(["ab", "probs"], arrays)
        ab_expected, probs_expected = color_token_decode(**arrays)
        np.testing.assert_allclose(probs, probs_expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ab, ab_expected, rtol=0, atol=1e-3)


class Tiny(torch.nn.Module):
    """A net with the border of edge, small enough to export in a moment."""

    stride, multiple = 4, 8

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        stem, norm, head = torch.nn.Conv2d(1, 8, 4, 4, bias=False), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 313, 1)
        self.body = torch.nn.Sequential(stem, norm, torch.nn.ReLU(), head)
        self.body[1].running_mean.normal_()
        self.body[1].running_var.uniform_(0.5, 2)

    def forward(self, lightness):
        logits = self.body(lightness / 25).permute(0, 2, 3, 1)
        return logits, logits[..., :5]


TINY = Manifest("tiny", multiple=8, working_size=64)


@pytest.fixture(scope="module")
def traced_once():
    """Stands in for trace(): tracing is slow, and Tiny in float32 is the same every time."""
    proto = torch_to_onnx.trace(torch_to_onnx.fold_batch_norm(Tiny()), TINY)

    def copy(*_):
        twin = onnx.ModelProto()
        twin.CopyFrom(proto)
        return twin

    return copy


def test_a_model_that_does_not_fit_its_manifest_is_refused(tmp_path):
    with pytest.raises(ModelError, match="stride 4 and multiple 8"):
        torch_to_onnx.export_onnx(Tiny(), Manifest("tiny"), tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["op", "net"])
def test_an_export_that_differs_from_pytorch_is_refused_and_leaves_the_old_file(
    tmp_path, monkeypatch, traced_once, fault
):
    monkeypatch.setattr(torch_to_onnx, "trace", traced_once)
    (tmp_path / "tiny.onnx").write_bytes(b"old")
    if fault == "op":
        monkeypatch.setattr(torch_to_onnx, "reference", lambda *a, **k: [x + 0.01 for x in color_token_decode(*a, **k)])
    else:
        finish = torch_to_onnx.finish

        def spoil(model, manifest):
            weight = next(t for t in model.graph.initializer if list(t.dims) == [8, 1, 4, 4])
            weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.01, weight.name))
            return finish(model, manifest)

        monkeypatch.setattr(torch_to_onnx, "finish", spoil)
    with pytest.raises(ModelError, match="off in"):
        torch_to_onnx.export_onnx(Tiny(), TINY, tmp_path / "tiny.onnx", half=False)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
    assert (tmp_path / "tiny.onnx").read_bytes() == b"old"


def test_weights_beyond_float16_are_refused(tmp_path):
    model = Tiny()
    with torch.no_grad():
        model.body[3].weight[0, 0] = 1e6
    with pytest.raises(ModelError, match="beyond float16"):
        torch_to_onnx.export_onnx(model, TINY, tmp_path / "tiny.onnx")


def make_model(nodes, inputs=(), outputs=(), opset=18):
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


def test_an_operator_that_opset_17_says_otherwise_is_refused():
    node = onnx.helper.make_node("ReduceSum", ["x"], ["y"])  # unchanged since 13
    model = make_model([node])
    passes.lower_to_opset_17(model)
    assert model.opset_import[0].version == 17
    with pytest.raises(ModelError, match="ReduceMax"):
        passes.lower_to_opset_17(make_model([onnx.helper.make_node("ReduceMax", ["x", "axes"], ["y"])]))


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no checkpoint"),
        (b"not a checkpoint", "not a whole checkpoint"),
        ({"ema": {}, "step": 3}, "holds no config"),
        ({"ema": {}, "step": 3, "prior": None, "config": {"model": "edge"}}, "does not fit"),
        ({"ema": {}, "step": 3, "prior": None, "config": {"model": "edgy"}}, "unknown model"),
        ({"ema": {}, "step": 3, "config": {}}, "names no model"),
        ({"ema": {}, "step": 3, "config": "edge"}, "names no model"),
        ({"ema": None, "step": 3, "config": {"model": "edge"}}, "names no model, or holds no weights"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "checkpoint.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises((ModelError, ConfigError), match=words) as caught:
        export_checkpoint(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
