"""The openvino backend against onnxruntime's, on the same files. pytest tests/test_backend_openvino.py"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if not importlib.util.find_spec("openvino"):  # not imported here: its package would report that
    pytest.skip("OpenVINO is not installed: pip install edgecolor[openvino]", allow_module_level=True)
onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from exported import exported_edge  # noqa: E402
from media import decode, make_video  # noqa: E402
from zoo import TWINS, busy  # noqa: E402

from edgecolor import ColorConfig, colorize_video  # noqa: E402
from edgecolor.backends import DEFAULT_MODEL, find_model, open_backend, read_manifest  # noqa: E402
from edgecolor.backends.openvino_backend import OpenVinoBackend  # noqa: E402
from edgecolor.errors import ModelError, ShapeError  # noqa: E402
from edgecolor.export.checkpoint import export_checkpoint  # noqa: E402
from edgecolor.export.precision import save, set_precision  # noqa: E402
from edgecolor.models import MODELS, build_model  # noqa: E402
from edgecolor.video.encoders import EncodeOptions  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ((1, 64, 96), (2, 96, 64), (1, 64, 96))  # the last one again: what was compiled for it is gone by then


@pytest.fixture(scope="module")
def folder() -> Path:
    return exported_edge()[0]


def twin(name: str, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setitem(MODELS, name, TWINS[name])
    state = {"ema": busy(build_model(name)).state_dict(), "config": {"model": name}, "step": 1}
    torch.save(state, tmp_path / "checkpoint.pt")
    export_checkpoint(tmp_path / "checkpoint.pt", tmp_path)
    return tmp_path / f"{name}.onnx"


def both(path: Path):
    return [open_backend(path, name, threads=1) for name in ("openvino", "onnxruntime")]


def lightness(seed: int, n: int, h0: int, w0: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (n, 1, h0, w0)).astype(np.float32)


def film(manifest, n: int, h0: int, w0: int):
    """Arguments of step: a first frame, one that moves, one that moves elsewhere, one that stands."""
    rng, cells = np.random.default_rng(n), (n, h0 // manifest.stride, w0 // manifest.stride)
    motions = [rng.normal(0, 2, (*cells, 2)).astype(np.float32) for _ in range(2)]
    keeps = [0.0, 0.7, rng.random(cells, dtype=np.float32), 0.5]
    for seed, (keep, motion) in enumerate(zip(keeps, [None, *motions, None], strict=True)):
        yield lightness(seed, n, h0, w0), keep, motion


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_the_shipped_model_gives_what_it_gives_in_onnxruntime(shape):
    ours, theirs = both(find_model(DEFAULT_MODEL))
    for backend in (ours, theirs):
        backend.start(*shape)
    for frame, keep, motion in film(ours.manifest, *shape):
        for one, other in zip(ours.logits(frame), theirs.logits(frame), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-4)
        found, expected = (backend.step(frame, keep, motion) for backend in (ours, theirs))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours.probs(), theirs.probs(), rtol=0, atol=1e-5)
        logits = theirs.logits(frame)[0][..., ::-1]  # of the caller's, and not in C order
        found, expected = (backend.decode(logits, keep, motion, 1.0) for backend in (ours, theirs))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours.probs(), theirs.probs(), rtol=0, atol=1e-5)
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("name", ["basic-lab", "siggraph17"])
def test_a_model_without_tokens_gives_what_it_gives_in_onnxruntime(name, tmp_path, monkeypatch):
    ours, theirs = both(twin(name, tmp_path, monkeypatch))
    for n, h0, w0 in SHAPES:
        results = []
        for backend in (ours, theirs):
            backend.start(n, h0, w0)
            results.append([backend.step(*arguments) for arguments in film(backend.manifest, n, h0, w0)])
            if backend.manifest.hints:
                hints = np.zeros((n, 3, h0, w0), np.float32)
                hints[:, :, 8:24, 8:24] = np.array([60, -20, 1])[:, None, None]
                for given in (hints, None):
                    backend.hint(given)
                    results[-1].append(backend.step(lightness(0, n, h0, w0), 0.0))
        for found, expected in zip(*results, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        assert np.abs(results[0][1] - results[0][0]).max() > 1e-2
        assert name != "siggraph17" or np.abs(results[0][-1] - results[0][-2]).max() > 1e-2


def test_a_float16_model_keeps_its_state_in_float16_and_goes_on_with_it_in_the_float32_op(folder, tmp_path):
    shutil.copy(folder / "decode.onnx", tmp_path)
    manifest = read_manifest(folder / "edge.onnx")
    half, _ = set_precision(onnx.load(folder / "edge.onnx"), manifest, "fp16", [], tmp_path, print)
    save(half, manifest, tmp_path / "edge.onnx")
    ours, theirs = both(tmp_path / "edge.onnx")
    for backend in (ours, theirs):
        backend.start(1, 64, 96)
    assert ours.state.data.dtype == np.float16
    for frame, keep, motion in film(ours.manifest, 1, 64, 96):
        found, expected = (backend.step(frame, keep, motion) for backend in (ours, theirs))
        assert found.dtype == np.float32 and np.abs(found - expected).max() < 0.2  # of float16's rounding
        assert ours.probs().dtype == np.float32 and np.abs(ours.probs() - theirs.probs()).max() < 2e-3
        logits = theirs.logits(frame)[0]
        found, expected = (backend.decode(logits, keep, motion) for backend in (ours, theirs))
        assert np.abs(found - expected).max() < 0.2


def test_the_network_writes_the_state_where_the_next_frame_reads_it(folder):
    backend = open_backend(folder / "edge.onnx", "openvino", threads=1)
    backend.start(1, 64, 96)
    places = [tensor.data.ctypes.data for tensor in (backend.state, backend.next_state)]
    assert places[0] != places[1]
    for i in range(4):
        backend.step(lightness(i, 1, 64, 96), 0.5 if i else 0.0)
        places.reverse()
        assert [tensor.data.ctypes.data for tensor in (backend.state, backend.next_state)] == places
        request = backend.networks["step"].request
        assert [request.get_tensor(name).data.ctypes.data for name in ("probs", "prev_probs")] == places
        assert backend.state.data.sum(axis=-1) == pytest.approx(1, abs=1e-4)
        backend.logits(lightness(9, 1, 64, 96))
        assert [tensor.data.ctypes.data for tensor in (backend.state, backend.next_state)] == places


def test_read_only_arrays_are_taken(folder):
    backend = open_backend(folder / "edge.onnx", "openvino", threads=1)
    backend.start(1, 64, 96)
    frame = lightness(0, 1, 64, 96)
    expected = backend.step(frame, 0.0)
    frame.flags.writeable = False
    np.testing.assert_array_equal(backend.step(frame, np.broadcast_to(np.float32(0), (1, 16, 24))), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_network_gets_the_threads_it_was_given_and_computes_in_float32(folder, threads):
    backend = open_backend(folder / "edge.onnx", "openvino", threads=threads)
    backend.start(1, 64, 96)
    backend.step(lightness(0, 1, 64, 96), 0.0)
    network = backend.networks["step"].request.get_compiled_model()
    assert network.get_property("INFERENCE_NUM_THREADS") == threads
    assert network.get_property("NUM_STREAMS") == 1
    assert network.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_what_was_compiled_for_a_size_is_kept_until_another_is_started(folder):
    backend = open_backend(folder / "edge.onnx", "openvino", threads=1)
    backend.start(1, 64, 96)
    first = backend.step(lightness(0, 1, 64, 96), 0.0)
    network = backend.networks["step"]
    backend.start(1, 64, 96)
    assert not backend.probs().any()
    np.testing.assert_array_equal(backend.step(lightness(0, 1, 64, 96), 0.0), first)
    assert backend.networks["step"] is network
    backend.start(1, 96, 96)
    with pytest.raises(ShapeError, match="call start"):
        backend.step(lightness(0, 1, 64, 96), 0.0)
    assert backend.step(lightness(0, 1, 96, 96), 0.0).shape == (1, 2, 24, 24)
    backend.close()


def test_a_model_that_openvino_cannot_read_is_refused_in_one_line(folder, tmp_path):
    model = onnx.load(folder / "edge.onnx")
    del model.functions[:]
    onnx.save(model, tmp_path / "edge.onnx")
    with pytest.raises(ModelError, match="OpenVINO .* cannot read .*ColorTokenDecode.*export it again") as caught:
        open_backend(tmp_path / "edge.onnx", "openvino")
    assert str(tmp_path / "edge.onnx") in str(caught.value) and "\n" not in str(caught.value)
    shutil.copy(folder / "edge.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(ModelError, match="the openvino backend reads .onnx files, and there is no .*alone.onnx"):
        open_backend(tmp_path / "alone.safetensors", "openvino")
    assert isinstance(open_backend(folder / "edge.safetensors", "openvino"), OpenVinoBackend)


def test_a_video_is_colored_as_with_onnxruntime(tmp_path):
    source = make_video(tmp_path / "in.mp4")
    frames = {}
    for name in ("openvino", "onnxruntime"):
        target = tmp_path / f"{name}.mkv"
        config = ColorConfig(working_size=64)
        report = colorize_video(
            source, target, backend=name, config=config, threads=1, encode=EncodeOptions(codec="ffv1")
        )
        assert report.backend == name
        frames[name] = decode(target)
    assert len(frames["openvino"]) == len(frames["onnxruntime"]) > 5
    colored = 0
    for one, other in zip(frames["openvino"], frames["onnxruntime"], strict=True):
        one, other = (frame.to_ndarray(format="yuv420p").astype(int) for frame in (one, other))
        assert np.abs(one - other).max() <= 1
        colored = max(colored, np.abs(one[len(one) * 2 // 3 :] - 128).max())
    assert colored > 5


def test_neither_opening_a_model_nor_doctor_lets_openvino_report_its_use(folder, tmp_path):
    (tmp_path / "openvino_telemetry.py").write_text("print('asked to report')\n")  # found before the real one
    opening = f"from edgecolor.backends import open_backend; open_backend({str(folder / 'edge.onnx')!r}, 'openvino')"
    looking = "from edgecolor.cli.doctor import doctor; doctor()"
    for code in (opening, looking):
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "asked to report" not in done.stdout
    assert "backend openvino: ready" in done.stdout
