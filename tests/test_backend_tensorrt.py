"""The TensorRT backend on a GPU that is not there (tests/fake_gpu.py): the state, the overlap, every way to fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import GPU, VERSION, FakeDevice, FakeGpu, make_tensorrt

onnx = pytest.importorskip("onnx")

from edgecolor import engines, open_colorizer  # noqa: E402
from edgecolor.backends import open_backend, tensorrt_backend, tensorrt_engine  # noqa: E402
from edgecolor.backends.files import WEIGHTS, read_manifest  # noqa: E402
from edgecolor.engines import EngineInfo, Profile, choose_profile, sidecar_of  # noqa: E402
from edgecolor.errors import ConfigError, EdgeColorError, MissingDependencyError, ModelError, ShapeError  # noqa: E402
from edgecolor.export.decode_path import keep_outputs, rewrite  # noqa: E402
from edgecolor.export.half import to_half  # noqa: E402

N, H0, W0 = 1, 64, 96
H, W, Q = 16, 24, 313
PROFILES = (Profile((1, 32, 32), (1, 64, 96), (1, 96, 128)), Profile((1, 32, 32), (2, 64, 64), (4, 128, 128)))
COMMAND = "edgecolor build-engine edge.onnx"


def write_engine(path, name, is_half=False, **changes):
    """An "engine" as build-engine would have left it."""
    model = onnx.load(WEIGHTS / f"{name}.onnx")
    keep_outputs(model, changes.pop("outputs", ("ab", "probs", "logits", "features")))
    plan = b"plan:" + rewrite(to_half(model) if is_half else model, "native").SerializeToString()
    gpu = {"name": GPU.name, "compute_capability": GPU.compute_capability}
    key = {"flavor": "tensorrt", "tensorrt": VERSION, "gpu": gpu, "decode": "native"} | changes.pop("key", {})
    manifest = read_manifest(WEIGHTS / f"{name}.onnx")
    key["model_weights"] = manifest.weights_sha256
    fields = {"decode": "edge.decode.engine" if name == "edge" else "", "engine_sha256": engines.sha256_of(plan)}
    path.write_bytes(plan)
    EngineInfo(key, manifest, changes.pop("profiles", PROFILES), COMMAND, **(fields | changes)).write(sidecar_of(path))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    for kind in ("full", "half"):
        (folder / kind).mkdir()
        write_engine(folder / kind / "edge.engine", "edge", kind == "half")
        write_engine(folder / kind / "edge.decode.engine", "decode", kind == "half")
    return folder


class Machine:
    """Patches a GPU and a TensorRT into the backend."""

    def __init__(self, monkeypatch):
        self.gpu, self.patch = FakeGpu(), monkeypatch.setattr
        self.here(GPU)
        self.device()
        self.version(VERSION)

    def here(self, gpu):
        self.patch(tensorrt_backend, "find_gpu", lambda: gpu)

    def device(self, **options):
        self.patch(tensorrt_backend, "open_device", lambda gpu: FakeDevice(self.gpu, **options))

    def version(self, version):
        self.trt = make_tensorrt(self.gpu, version)
        self.patch(tensorrt_backend, "import_tensorrt", lambda *_: self.trt)


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


@pytest.fixture(scope="module")
def reference():
    backend = open_backend(WEIGHTS / "edge.onnx", threads=1)
    yield backend
    backend.close()


def frame(seed, n=N):
    y, x = np.mgrid[0:H0, 0:W0].astype(np.float32)
    one = 50 + 40 * np.sin((x + 5 * seed) / 17) * np.cos((y - seed) / 11)
    return np.repeat(one[None, None], n, axis=0).astype(np.float32)


def steps(count=7):
    rng = np.random.default_rng(1)
    for i in range(count):
        keep = 0.0 if i == 0 else rng.random((N, H, W), dtype=np.float32)
        motion = None if i % 3 == 2 else rng.normal(0, 2, (N, H, W, 2)).astype(np.float32)
        yield frame(i), keep, motion, (None, 0.2)[i % 2]


WAYS = {"plain": {"has_graphs": False}, "graphs": {}, "shared memory": {"integrated": True}}


@pytest.mark.parametrize("way", WAYS)
def test_the_state_stays_on_the_device_and_is_carried_as_by_onnxruntime(machine, folder, reference, way):
    machine.device(**WAYS[way])
    backend = open_backend(folder / "full" / "edge.engine")
    assert backend.name == "tensorrt"
    for each in (backend, reference):
        each.start(N, H0, W0)
    assert not backend.probs().any()
    for arguments in steps():
        expected, found = reference.step(*arguments), backend.step(*arguments)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(backend.probs(), reference.probs(), rtol=0, atol=1e-5)
    assert ("graph" in machine.gpu.log) == (way != "plain")
    assert backend.graphs == ("off: fake has none" if way == "plain" else "on")
    backend.close()
    assert machine.gpu.used == 0


def test_a_float16_engine_keeps_a_float16_state_and_answers_in_float32(machine, folder, reference):
    backend = open_backend(folder / "half" / "edge.engine")
    for each in (backend, reference):
        each.start(N, H0, W0)
    for arguments in steps(4):
        found, expected = backend.step(*arguments), reference.step(*arguments)
        assert found.dtype == np.float32
        assert np.abs(found - expected).mean() < 0.1
    assert backend.state_type == np.float16 and backend.probs().dtype == np.float32
    np.testing.assert_allclose(backend.probs(), reference.probs(), rtol=0, atol=5e-3)


def test_decode_advances_the_same_state_as_onnxruntime(machine, folder, reference):
    backend = open_backend(folder / "full" / "edge.engine")
    for each in (backend, reference):
        each.start(N, H0, W0)
        each.step(frame(0), 0.0)
    logits = np.random.default_rng(1).normal(0, 3, (N, H, W, Q)).astype(np.float32)
    np.testing.assert_allclose(backend.decode(logits, 0.6), reference.decode(logits, 0.6), rtol=0, atol=1e-3)
    np.testing.assert_allclose(backend.step(frame(1), 0.5), reference.step(frame(1), 0.5), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["full", "half"])
def test_logits_and_features_are_those_of_onnxruntime_and_leave_the_state(machine, folder, reference, kind):
    backend = open_backend(folder / kind / "edge.engine")
    for each in (backend, reference):
        each.start(N, H0, W0)
        each.step(frame(0), 0.0)
    for i in range(4):  # the first ones run plainly, the others as a graph
        before = backend.probs()
        found, expected = backend.logits(frame(i)), reference.logits(frame(i))
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == np.float32 and one.shape == other.shape
            assert np.abs(one - other).max() < (1e-3 if kind == "full" else 0.1)
        np.testing.assert_array_equal(backend.probs(), before)
        found, expected = (each.step(frame(i), 0.5) for each in (backend, reference))
        assert np.abs(found - expected).mean() < (1e-3 if kind == "full" else 0.1)


def test_logits_of_an_engine_without_them_are_refused(machine, tmp_path):
    backend = open_backend(write_engine(tmp_path / "edge.engine", "edge", outputs=("ab", "probs")))
    backend.start(N, H0, W0)
    backend.step(frame(0), 0.0)
    with pytest.raises(ModelError, match=f"has no outputs logits and features: run `{COMMAND}`"):
        backend.logits(frame(0))


def test_two_frames_under_way_come_out_as_one_after_the_other(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    expected = [backend.step(*arguments) for arguments in steps()]
    backend.start(N, H0, W0)
    machine.gpu.log.clear()
    found, waiting = [], []
    for arguments in steps():
        waiting.append(backend.submit(*arguments))
        if len(waiting) == 2:
            found.append(backend.collect(waiting.pop(0)))
    found.append(backend.collect(waiting.pop()))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_third_frame_under_way_and_a_second_collection_are_refused(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    ticket = backend.submit(frame(0), 0.0)
    backend.submit(frame(1), 0.0)
    with pytest.raises(ConfigError, match="two frames are under way"):
        backend.submit(frame(2), 0.0)
    with pytest.raises(ConfigError, match="a frame is under way"):
        backend.probs()
    with pytest.raises(ConfigError, match="a frame is under way"):
        backend.logits(frame(0))
    backend.collect(ticket)
    with pytest.raises(ConfigError, match="collect each one once"):
        backend.collect(ticket)


def test_what_was_returned_stays_as_it_was(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    first = backend.step(frame(0), 0.0)
    copy = first.copy()
    for i in range(3):
        backend.step(frame(i + 1), 0.5)
    np.testing.assert_array_equal(first, copy)


def test_a_new_size_takes_the_profile_that_is_tuned_nearest_and_forgets_the_past(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    assert backend.profile == 0
    fresh = backend.step(frame(3), 0.0)
    used = machine.gpu.used
    backend.start(2, H0, W0)
    assert backend.profile == 1 and backend.step(frame(0, 2), 0.0).shape == (2, 2, H, W)
    backend.start(N, H0, W0)
    assert machine.gpu.used == used and not backend.probs().any()
    np.testing.assert_array_equal(backend.step(frame(3), 0.0), fresh)


def test_choose_profile_weighs_only_those_that_hold_the_size():
    assert choose_profile(PROFILES, (1, 64, 64)) == 0
    assert choose_profile(PROFILES, (2, 64, 64)) == 1
    assert choose_profile(PROFILES, (1, 128, 128)) == 1
    assert choose_profile(PROFILES, (1, 160, 64)) is None


def test_a_size_outside_all_profiles_names_the_command_that_adds_one(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    with pytest.raises(
        ShapeError, match=r"1x256x64 is outside .*run `edgecolor build-engine edge.onnx --profile 1x256x64`"
    ):
        backend.start(1, 256, 64)


def test_times_of_a_step_are_split_into_upload_compute_download(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    backend.is_timed = True
    backend.step(frame(0), 0.0)
    assert set(backend.milliseconds) == {"upload", "compute", "download"}
    assert all(value > 0 for value in backend.milliseconds.values())


def test_the_whole_pipeline_runs_on_it(machine, folder):
    gray = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    ours = open_colorizer(folder / "full" / "edge.engine", config=None)
    theirs = open_colorizer(WEIGHTS / "edge.onnx")
    ours.short_side = theirs.short_side = 64
    for seconds in (0.0, 0.1):
        found, expected = (colorizer.frame(gray, seconds) for colorizer in (ours, theirs))
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_video_is_colorized_with_an_engine_as_with_onnxruntime(machine, folder, tmp_path):
    from media import decode, make_video

    from edgecolor import ColorConfig, colorize_video

    source = make_video(tmp_path / "in.mp4")
    config = ColorConfig(working_size=64)
    reports = {}
    for name, model in (("tensorrt", folder / "full" / "edge.engine"), ("onnxruntime", WEIGHTS / "edge.onnx")):
        reports[name] = colorize_video(source, tmp_path / f"{name}.mkv", model, backend=name, config=config)
    assert reports["tensorrt"].backend == "tensorrt" and reports["tensorrt"].frames == reports["onnxruntime"].frames
    for one, other in zip(*(decode(tmp_path / f"{name}.mkv") for name in reports), strict=True):
        assert np.abs(one.to_ndarray().astype(int) - other.to_ndarray()).mean() < 0.5


def test_an_onnx_model_is_run_by_the_engine_beside_it_or_the_one_that_was_built_of_it(
    machine, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGECOLOR_ENGINES", str(tmp_path / "cache"))
    model = shutil.copy(WEIGHTS / "edge.onnx", tmp_path / "edge.onnx")
    with pytest.raises(ModelError, match="no engine of .*edge.onnx for the Fake GPU yet: run `edgecolor build-engine"):
        open_backend(model, "tensorrt")
    (tmp_path / "cache").mkdir()
    built = write_engine(tmp_path / "cache" / "edge-0123.engine", "edge")
    (tmp_path / "cache" / "other.engine.json").write_text("{}")
    assert open_backend(model, "tensorrt").path == built
    beside = write_engine(tmp_path / "edge.engine", "edge")
    assert open_backend(model, "tensorrt").path == beside


def write_regression(folder):
    """A network of one convolution that predicts ab from lightness and hints: its .onnx and its engine."""
    from onnx import TensorProto, helper, numpy_helper

    from edgecolor.export.precision import save
    from edgecolor.manifest import Manifest

    weight = np.random.default_rng(0).normal(0, 0.1, (2, 4, 4, 4)).astype(np.float32)
    nodes = [helper.make_node("Concat", ["lightness", "hints"], ["x"], axis=1)]
    nodes += [helper.make_node("Conv", ["x", "weight"], ["ab"], strides=[4, 4])]
    shapes = {"lightness": ["N", 1, "h0", "w0"], "hints": ["N", 3, "h0", "w0"], "ab": ["N", 2, "h", "w"]}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", infos[:2], infos[2:], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, Manifest("conv", "regression", "", hints=True), folder / "conv.onnx")
    return folder / "conv.onnx"


def test_a_model_without_tokens_blends_ab_and_takes_hints_as_in_onnxruntime(machine, tmp_path):
    path = write_regression(tmp_path)
    manifest, plan = read_manifest(path), b"plan:" + path.read_bytes()
    gpu = {"name": GPU.name, "compute_capability": GPU.compute_capability}
    key = {"flavor": "tensorrt", "tensorrt": VERSION, "gpu": gpu, "decode": "native"}
    (tmp_path / "conv.engine").write_bytes(plan)
    EngineInfo(key, manifest, PROFILES, COMMAND, engines.sha256_of(plan)).write(tmp_path / "conv.engine.json")
    backend, theirs = open_backend(tmp_path / "conv.engine"), open_backend(path, threads=1)
    hints = np.random.default_rng(0).normal(0, 30, (N, 3, H0, W0)).astype(np.float32)
    for each in (backend, theirs):
        each.start(N, H0, W0)
    for i, (given, arguments) in enumerate(zip([None, hints, hints, hints, None, hints, None], steps(), strict=True)):
        if i != 3:
            for each in (backend, theirs):
                each.hint(given)
        np.testing.assert_allclose(backend.step(*arguments), theirs.step(*arguments), rtol=0, atol=1e-3)
    with pytest.raises(ModelError, match="without color tokens"):
        backend.probs()


# What may be wrong, and what the one line then says.


def refused(path, kind, *words):
    with pytest.raises(kind) as caught:
        open_backend(path, "tensorrt")
    message = str(caught.value)
    assert isinstance(caught.value, EdgeColorError) and "\n" not in message
    for word in words:
        assert word in message, message


def test_an_engine_of_another_gpu_or_version_is_refused_with_the_command_that_builds_it(machine, tmp_path):
    other = {"gpu": {"name": "Orin", "compute_capability": "8.7"}}
    path = write_engine(tmp_path / "b.engine", "edge", key=other)
    refused(path, ModelError, "built for Orin (8.7), here is Fake GPU (9.0)", f"run `{COMMAND}`")
    path = write_engine(tmp_path / "c.engine", "edge", key={"tensorrt": "10.3.0.26"})
    refused(path, ModelError, "TensorRT 10.3.0.26, here is 10.16.1.11", f"run `{COMMAND}`")


def test_the_engine_of_the_op_alone_is_no_model(machine, folder):
    refused(folder / "full" / "edge.decode.engine", ModelError, "decoding of color tokens alone")


def test_a_version_compatible_engine_runs_in_a_later_tensorrt_and_not_in_an_earlier_one(machine, tmp_path):
    compatible = {"tensorrt": "10.3.0.26", "version_compatible": True}
    backend = open_backend(write_engine(tmp_path / "a.engine", "edge", key=compatible))
    assert backend.engine.runtime.engine_host_code_allowed
    path = write_engine(tmp_path / "b.engine", "edge", key=compatible | {"tensorrt": "11.4.0.106"})
    refused(path, ModelError, "TensorRT 11.4.0.106, here is 10.16.1.11")


def test_a_damaged_engine_is_refused(machine, tmp_path):
    path = write_engine(tmp_path / "a.engine", "edge")
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, ModelError, "is not the file that a.engine.json tells of", f"run `{COMMAND}`")
    path.write_bytes(b"junk")
    info = json.loads(sidecar_of(path).read_text())
    sidecar_of(path).write_text(json.dumps(info | {"engine_sha256": engines.sha256_of(b"junk")}))
    refused(path, ModelError, "TensorRT refuses", "Serialization assertion failed", f"run `{COMMAND}`")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), ("{", "not JSON"), ("[]", "format 1"), ('{"format": 1}', "lacks or adds")],
)
def test_a_sidecar_that_is_missing_or_broken_is_refused(machine, tmp_path, content, words):
    path = write_engine(tmp_path / "a.engine", "edge")
    sidecar_of(path).unlink()
    if content is not None:
        sidecar_of(path).write_text(content)
    refused(path, ModelError, words, "edgecolor build-engine")


def test_an_engine_that_needs_the_plugin_says_why_it_does_not_load(machine, tmp_path, monkeypatch):
    path = write_engine(tmp_path / "a.engine", "edge", key={"decode": "plugin"})
    library = tmp_path / "libedgecolor_plugin.so"
    monkeypatch.setenv("EDGECOLOR_PLUGINS", str(tmp_path))
    refused(path, MissingDependencyError, "not built: run `edgecolor build-plugins`", "--decode native")
    library.write_bytes(b"junk")
    refused(path, MissingDependencyError, "does not load (", "build it again with `edgecolor build-plugins`")
    monkeypatch.setattr(tensorrt_engine.ctypes, "CDLL", lambda path: None)
    refused(path, MissingDependencyError, f"is no plugin for TensorRT {VERSION}: build it again")
    library.write_bytes(b"ColorTokenDecode")
    assert open_backend(path).engine is not None
    library.unlink()
    assert open_backend(path).engine is not None  # it is registered already


def test_the_decode_engine_is_named_where_it_is_missing(machine, tmp_path):
    backend = open_backend(write_engine(tmp_path / "edge.engine", "edge"))
    backend.start(N, H0, W0)
    with pytest.raises(ModelError, match=f"edge.decode.engine lies not beside .*run `{COMMAND}`"):
        backend.decode(np.zeros((N, H, W, Q), np.float32), 0.0)
    write_engine(tmp_path / "edge.decode.engine", "decode", is_half=True)
    with pytest.raises(ModelError, match="another precision"):
        backend.decode(np.zeros((N, H, W, Q), np.float32), 0.0)


def test_out_of_device_memory_is_one_line(machine, folder):
    machine.gpu.room = 1_000_000
    backend = open_backend(folder / "full" / "edge.engine")
    with pytest.raises(ConfigError, match="no room for .* MB more"):
        backend.start(N, H0, W0)


def test_graphs_that_cannot_be_captured_are_left_out_and_said_so(machine, folder, monkeypatch):
    def refuse(self, stream, work):
        raise ConfigError("the GPU failed (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)")

    monkeypatch.setattr(FakeDevice, "capture", refuse)
    backend = open_backend(folder / "full" / "edge.engine")
    backend.start(N, H0, W0)
    expected = backend.step(frame(1), 0.0)
    for _ in range(6):
        np.testing.assert_array_equal(backend.step(frame(1), 0.0), expected)
    assert backend.graphs == "off: the GPU failed (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)"


def test_bad_arguments_are_refused_before_anything_goes_to_the_gpu(machine, folder):
    backend = open_backend(folder / "full" / "edge.engine")
    with pytest.raises(ShapeError, match="call start"):
        backend.step(frame(0), 0.0)
    backend.start(N, H0, W0)
    machine.gpu.log.clear()
    for wrong in ((frame(0)[..., 1:], 0.0), (frame(0), 0.0, np.zeros((1, 2, 3, 2), np.float32))):
        with pytest.raises(ShapeError):
            backend.step(*wrong)
    for wrong in ((frame(0), 1.5), (frame(0), 0.0, None, 2.0)):
        with pytest.raises(ConfigError):
            backend.step(*wrong)
    assert not machine.gpu.log and not machine.gpu.queues[backend.uploads]


def test_without_a_gpu_there_is_one_line_and_no_crash():
    """On this machine as it is; with a GPU the missing engine is what it says."""
    refused(Path(WEIGHTS / "edge.onnx"), EdgeColorError, "")
