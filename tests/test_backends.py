"""Backends: the state between frames, what is refused, and that none of them has to be installed."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exported import exported_edge

from edgecolor.backends import files as backend_files
from edgecolor.backends import find_model, open_backend, read_manifest, shipped_models
from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError, ShapeError
from edgecolor.stages.logits_to_ab import color_token_decode

N, H0, W0 = 2, 64, 96
H, W, Q = 16, 24, 313
# Looked for and not imported: its package reports every import that the backend does not keep from it.
openvino = pytest.param(
    "openvino",
    marks=pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="needs pip install edgecolor[openvino]"),
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return exported_edge()[0]


@pytest.fixture(params=["onnxruntime", openvino, "torch"])
def backend(request, folder):
    opened = open_backend(folder / "edge.onnx", request.param, threads=1)
    assert opened.name == request.param
    opened.start(N, H0, W0)
    yield opened
    opened.close()


def frame(seed):
    return np.random.default_rng(seed).uniform(0, 100, (N, 1, H0, W0)).astype(np.float32)


def expect(logits, probs, motion=None, keep=0.0, temperature=0.38):
    motion = np.zeros((N, H, W, 2), np.float32) if motion is None else motion
    keep = np.broadcast_to(np.float32(keep), (N, H, W))
    return color_token_decode(logits, probs, motion, keep, palette("ab313").centers, temperature)


def same(backend, ab, expected):
    np.testing.assert_allclose(ab, expected[0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(backend.probs(), expected[1], rtol=0, atol=1e-5)


def test_the_state_is_carried_from_frame_to_frame_as_the_definition_says(backend):
    rng = np.random.default_rng(0)
    state = np.zeros((N, H, W, Q), np.float32)
    steps = [  # keep, motion, temperature
        (0.0, None, None),
        (0.7, None, 0.2),
        (rng.random((N, H, W), dtype=np.float32), rng.normal(0, 2, (N, H, W, 2)).astype(np.float32), 1.0),
        (0.5, None, None),
    ]
    for i, (keep, motion, temperature) in enumerate(steps):
        logits, features = backend.logits(frame(i))
        assert logits.shape == (N, H, W, Q) and features.shape == (N, H, W, 128)
        assert logits.dtype == features.dtype == np.float32
        np.testing.assert_array_equal(backend.probs(), state)  # logits leaves the state alone
        ab = backend.step(frame(i), keep, motion, temperature)
        assert ab.shape == (N, 2, H, W) and ab.dtype == np.float32
        expected = expect(logits, state, motion, keep, temperature or 0.38)
        same(backend, ab, expected)
        state = backend.probs()


def test_decode_advances_the_same_state_as_step(backend):
    backend.step(frame(0), 0.0)
    state = backend.probs()
    logits = np.random.default_rng(1).normal(0, 3, (N, H, W, Q)).astype(np.float32)
    same(backend, backend.decode(logits, 0.6), expect(logits, state, keep=0.6))
    state = backend.probs()
    logits, _ = backend.logits(frame(2))
    same(backend, backend.step(frame(2), 0.6), expect(logits, state, keep=0.6))


def test_keep_of_zero_equals_a_fresh_start(backend):
    fresh = backend.step(frame(1), 0.0)
    probs = backend.probs()
    backend.step(frame(2), 0.9)
    assert np.array_equal(backend.step(frame(1), 0.0), fresh)
    assert np.array_equal(backend.probs(), probs)
    backend.step(frame(2), 0.9)
    backend.start(N, H0, W0)
    assert not backend.probs().any()
    assert np.array_equal(backend.step(frame(1), 0.0), fresh)


def test_keep_of_one_freezes_the_state_exactly(backend):
    backend.step(frame(1), 0.0)
    probs = backend.probs()
    for i in range(3):
        backend.step(frame(2 + i), 1.0)
    assert np.array_equal(backend.probs(), probs)


def test_what_a_backend_returned_stays_as_it_was(backend):
    first, probs = backend.step(frame(0), 0.0), backend.probs()
    logits, features = backend.logits(frame(0))
    copies = [array.copy() for array in (first, probs, logits, features)]
    for i in range(3):
        backend.step(frame(1 + i), 0.5)
        backend.logits(frame(5 + i))
    for array, copy in zip((first, probs, logits, features), copies, strict=True):
        assert np.array_equal(array, copy)


def test_the_pictures_of_a_batch_do_not_see_each_other(backend):
    both = [frame(i) for i in range(2)]
    together = [backend.step(lightness, 0.5) for lightness in both]
    backend.start(1, H0, W0)
    alone = [backend.step(lightness[1:], 0.5) for lightness in both]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1:], b, rtol=0, atol=2e-3)


def test_the_two_state_buffers_are_swapped_and_never_the_same(folder):
    backend = open_backend(folder / "edge.onnx", threads=1)
    backend.start(N, H0, W0)
    a, b = backend.state.data_ptr(), backend.next_state.data_ptr()
    assert a != b
    for i in range(4):
        backend.step(frame(i), 0.5)
        a, b = b, a
        assert (backend.state.data_ptr(), backend.next_state.data_ptr()) == (a, b)
        backend.logits(frame(i))
        assert (backend.state.data_ptr(), backend.next_state.data_ptr()) == (a, b)


def test_onnxruntime_and_torch_agree_on_the_files_of_one_export(folder):
    outs = []
    for name in ("onnxruntime", "torch"):
        backend = open_backend(folder / "edge.onnx", name, threads=1)
        backend.start(N, H0, W0)
        outs.append([backend.step(frame(i), 0.5) for i in range(2)])
    # Both hold the weights in float16; one with batch norm folded in before that, one after.
    assert max(np.abs(a - b).max() for a, b in zip(*outs, strict=True)) < 1.0
    assert np.abs(outs[0][1]).max() > 5


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda b: b.step(np.zeros((1, 1, H0, W0)), 0.0), ShapeError, "lightness must be"),
        (lambda b: b.step(np.zeros((N, H0, W0)), 0.0), ShapeError, "lightness must be"),
        (lambda b: b.step(frame(0), np.zeros((N, 1, H, W))), ShapeError, "keep must be"),
        (lambda b: b.step(frame(0), 1.5), ConfigError, "keep must lie"),
        (lambda b: b.step(frame(0), float("nan")), ConfigError, "keep must lie"),
        (lambda b: b.step(frame(0), 0.0, np.zeros((N, H, W))), ShapeError, "motion must be"),
        (lambda b: b.step(frame(0), 0.0, None, 0.0), ConfigError, "temperature must lie"),
        (lambda b: b.decode(np.zeros((N, H, W, 7)), 0.0), ShapeError, "logits must be"),
        (lambda b: b.logits(np.zeros((N, 1, H0, H0))), ShapeError, "lightness must be"),
        (lambda b: b.start(1, 100, 96), ShapeError, "multiples of 32"),
        (lambda b: b.start(0, 96, 96), ShapeError, "multiples of 32"),
        (lambda b: b.start(1, 0, 96), ShapeError, "multiples of 32"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_the_state_stays(backend, call, error, words):
    backend.step(frame(0), 0.0)
    probs = backend.probs()
    with pytest.raises(error, match=words):
        call(backend)
    assert np.array_equal(backend.probs(), probs)


@pytest.mark.parametrize("name", ["onnxruntime", openvino, "torch"])
def test_a_backend_without_a_size_says_to_start_it(folder, name):
    backend = open_backend(folder / "edge.onnx", name)
    for call in (lambda: backend.step(frame(0), 0.0), lambda: backend.logits(frame(0)), backend.probs):
        with pytest.raises(ShapeError, match="call start"):
            call()


def test_auto_takes_the_backend_that_reads_the_file(folder):
    assert open_backend(folder / "edge.onnx").name == "onnxruntime"
    assert open_backend(folder / "edge.safetensors").name == "torch"
    assert open_backend(folder / "edge.safetensors", "onnxruntime").name == "onnxruntime"


def test_a_shipped_model_is_found_by_its_name_and_a_near_name_is_suggested(folder, monkeypatch):
    monkeypatch.setattr(backend_files, "WEIGHTS", folder)
    assert [path.name for path in shipped_models()] == ["edge.onnx"]
    assert find_model("edge") == folder / "edge.onnx"
    assert open_backend(None).manifest.name == "edge"
    assert open_backend("edge", "torch").name == "torch"
    with pytest.raises(ModelError, match="did you mean edge"):
        open_backend("egde")
    with pytest.raises(ModelError, match="installed: edge"):
        open_backend("unheard of")


def spoiled(folder, tmp_path, name, change):
    path = tmp_path / name
    path.write_bytes(change((folder / name).read_bytes()))
    return path


def flip(data):
    """One bit of a weight: the largest run of bytes in either file is weights, and the middle lies in it."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


@pytest.mark.parametrize("name", ["edge.onnx", "edge.safetensors"])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"Dear diary, today I saw a model.\n" * 50, "is not a whole"),
        (lambda data: data[: len(data) // 2], "is not a whole"),
        (lambda data: data[:-1], "is not a whole"),
        (lambda data: data[:5], "is not a whole"),
        (lambda data: data[1000:], "is not a whole"),
        (flip, "is damaged"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_in_one_line(folder, tmp_path, name, change, words):
    path = spoiled(folder, tmp_path, name, change)
    with pytest.raises(ModelError, match=words) as caught:
        open_backend(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_any_truncation_of_a_model_is_noticed(folder):
    data = (folder / "decode.onnx").read_bytes()
    missed = []
    for length in range(1, len(data)):
        try:
            metadata, _ = backend_files.read_onnx(data[:length])
            backend_files.Manifest.from_metadata(metadata, "decode.onnx")
        except (ValueError, ModelError):
            continue
        missed.append(length)
    # Cut off between the metadata and the op's body, a file is whole as far as it goes; ONNX Runtime misses the op.
    assert len(missed) <= 1
    for length in missed:
        with pytest.raises(Exception, match="ColorTokenDecode"):
            pytest.importorskip("onnxruntime").InferenceSession(data[:length], providers=["CPUExecutionProvider"])


def test_another_projects_model_is_not_ours(tmp_path):
    onnx = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info("x", 1, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [info], [onnx.helper.make_tensor_value_info("y", 1, [1])])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="not an edgecolor model"):
        open_backend(tmp_path / "other.onnx")


def test_paths_that_hold_no_model_are_refused(folder, tmp_path):
    (tmp_path / "model.txt").write_text("x")
    (tmp_path / "model.pth").write_text("x")
    shutil.copy(folder / "edge.onnx", tmp_path / "alone.onnx")
    for path, words in (
        (tmp_path / "missing.onnx", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "model.txt", "is no model file, which ends in .onnx or .safetensors: check the path"),
        (tmp_path / "model.pth", "import-weights"),
        (folder / "decode.onnx", "no network"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            open_backend(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="alone.safetensors: export it"):
        open_backend(tmp_path / "alone.onnx", "torch")
    backend = open_backend(tmp_path / "alone.onnx")
    backend.start(N, H0, W0)
    if not (backend_files.WEIGHTS / "decode.onnx").is_file():
        with pytest.raises(ModelError, match="no decode.onnx beside"):
            backend.decode(np.zeros((N, H, W, Q)), 0.0)


def test_impossible_options_of_open_backend_are_refused(folder):
    with pytest.raises(ConfigError, match="did you mean onnxruntime"):
        open_backend(folder / "edge.onnx", "onnxrutime")
    with pytest.raises(ConfigError, match="known are auto"):
        open_backend(folder / "edge.onnx", "x")
    with pytest.raises(ConfigError, match="threads"):
        open_backend(folder / "edge.onnx", threads=0)


@pytest.mark.parametrize(
    "package, name",
    [
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("onnx", "openvino"),
        ("torch", "torch"),
        ("safetensors", "torch"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(folder, monkeypatch, package, name):
    for module in [key for key in sys.modules if key == package or key.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"pip install .*{package}"):
        open_backend(folder / "edge.onnx", name)


def test_backends_import_without_the_packages_behind_them():
    code = """
import sys
for name in ("torch", "onnx", "onnxruntime", "safetensors", "tensorrt", "openvino"):
    sys.modules[name] = None
from edgecolor.backends import BACKENDS, open_backend
from edgecolor.errors import EdgeColorError
print(sorted(BACKENDS))
try:
    open_backend("no such model")
except EdgeColorError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names, said = done.stdout.split("\n")[:2]
    assert names == "['onnxruntime', 'openvino', 'tensorrt', 'torch']"
    assert said.startswith("no model is called 'no such model'")


@pytest.mark.parametrize("change", [{"palette": "ab326"}, {"kind": "regression", "palette": ""}])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_a_network_that_is_not_over_the_tokens_of_its_manifest_is_refused(backend, change, tmp_path):
    pytest.importorskip(backend)
    suffix = ".safetensors" if backend == "torch" else ".onnx"
    onnx = pytest.importorskip("onnx")
    safetensors = pytest.importorskip("safetensors.torch")
    folder, _ = exported_edge()
    source, path = folder / f"edge{suffix}", tmp_path / f"wrong{suffix}"
    metadata = read_manifest(source).replace(**change).to_metadata()
    if suffix == ".onnx":
        model = onnx.load(source)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, path)
    else:
        path.write_bytes(safetensors.save(safetensors.load_file(source), metadata=metadata))
    with pytest.raises(ModelError, match=r"wrong.*predicts (326|no) color tokens, and its network has 313"):
        open_backend(path, backend)
