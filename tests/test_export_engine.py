"""Engines from models: what the cache holds and when it builds anew, profiles, what the builder is asked for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_builder import GPU, FakeBuilder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgecolor.backends.files import WEIGHTS, read_manifest  # noqa: E402
from edgecolor.engines import Profile, find_built, read_engine, sidecar_of  # noqa: E402
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError  # noqa: E402
from edgecolor.export import onnx_to_engine, precision  # noqa: E402
from edgecolor.export.onnx_to_engine import EngineOptions, build_engine, default_profiles, parse_profile  # noqa: E402
from edgecolor.export.tensorrt_builder import TensorRTBuilder  # noqa: E402
from edgecolor.stages.frame_to_lightness import working_size  # noqa: E402

EDGE = WEIGHTS / "edge.onnx"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def build(tmp_path, monkeypatch):
    """build_engine with a fake builder and an empty cache; the builder is remembered as build.builder."""
    monkeypatch.setenv("EDGECOLOR_PLUGINS", str(tmp_path / "plugins"))

    def call(model=EDGE, out=None, target=None, **options):
        call.builder = FakeBuilder(**target or {})
        options = EngineOptions(**{"precision": "fp32"} | options)
        return build_engine(model, options, out, "edgecolor build-engine x", call.builder, tmp_path / "cache")

    return call


def test_an_engine_is_built_once_and_then_found(build):
    first, again = build(), None
    assert first.cache == "miss" and len(build.builder.jobs) == 2  # the network's, and that of the op alone
    again = build()
    assert again.cache == "hit" and not build.builder.jobs and again.path == first.path
    assert read_engine(again.path)[1] == first.info
    assert (again.path.parent / again.info.decode).is_file()


CHANGES = {
    "precision": {"precision": "fp16"},
    "profiles": {"profiles": (Profile((1, 32, 32), (1, 64, 64), (1, 64, 64)),)},
    "batch": {"batch": 2},
    "version-compatible": {"version_compatible": True},
    "level": {"level": 5},
    "workspace": {"workspace": 64},
    "TensorRT": {"target": {"version": "10.16.1.12"}},
    "GPU": {"target": {"gpu": GPU | {"name": "Other GPU"}}},
    "compute capability": {"target": {"gpu": GPU | {"compute_capability": "8.7"}}},
    "power mode": {"target": {"gpu": GPU | {"clock_mhz": 612}}},
    "flavor": {"flavor": "rtx", "target": {"flavor": "rtx"}},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_an_engine_is_built_anew_where_what_it_depends_on_has_changed(build, changed):
    first = build()
    other = build(**CHANGES[changed])
    assert other.cache == "miss" and len(build.builder.jobs) == 2 and other.path != first.path
    assert build().cache == "hit" and build(**CHANGES[changed]).cache == "hit"


def test_an_engine_is_built_anew_for_other_weights_and_another_plugin(build, tmp_path):
    build()
    model = onnx.load(EDGE)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "model.token_bias")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0] += 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    precision.save(model, read_manifest(EDGE), tmp_path / "edge.onnx")
    assert build(tmp_path / "edge.onnx").cache == "miss" and len(build.builder.jobs) == 1  # the op is the same
    (tmp_path / "plugins").mkdir()
    keys = []
    for content in (b"one", b"two"):
        (tmp_path / "plugins" / "libedgecolor_plugin.so").write_bytes(content)
        report = build()
        assert report.cache == "miss" and report.decode.way == "plugin"
        keys.append(report.info.key["plugin"])
    assert keys[0] != keys[1]


@pytest.mark.parametrize("damage", ["engine", "sidecar", "no sidecar", "no engine", "other key"])
def test_what_is_damaged_in_the_cache_is_built_again(build, damage):
    path = build().path
    if damage == "engine":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "sidecar":
        sidecar_of(path).write_text("{")
    elif damage == "no sidecar":
        sidecar_of(path).unlink()
    elif damage == "no engine":
        path.unlink()
    else:
        plain = json.loads(sidecar_of(path).read_text())
        plain["key"]["tensorrt"] = "9"
        sidecar_of(path).write_text(json.dumps(plain))
    report = build()
    assert report.cache == "rebuild" and len(build.builder.jobs) == 1
    assert build().cache == "hit"


def test_two_processes_do_not_build_the_same_engine_twice(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, ROOT / "tests" / "fake_builder.py", EDGE, tmp_path / "cache", log]
    environment = {**os.environ, "EDGECOLOR_PLUGINS": str(tmp_path)}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in started)
    assert all(process.returncode == 0 for process in started)
    assert said == ["hit", "miss"] and log.read_text().count("built") == 2  # the network, and the op


def test_measurements_of_earlier_builds_are_handed_to_the_next(build):
    build()
    assert [job.timing_cache for job in build.builder.jobs] == [b"", b"t"]
    build(level=1)
    assert build.builder.jobs[0].timing_cache == b"tt"
    build(target={"gpu": GPU | {"name": "Other GPU"}})
    assert build.builder.jobs[0].timing_cache == b""


def test_the_builder_gets_the_shapes_of_every_input_for_every_profile(build):
    build(profiles=(parse_profile("1x32x32:2x64x96:4x128x128"), parse_profile("1x64x64")))
    op, net = (job.profiles for job in build.builder.jobs)
    assert net[0]["lightness"] == ((1, 1, 32, 32), (2, 1, 64, 96), (4, 1, 128, 128))
    assert net[0]["prev_probs"] == ((1, 8, 8, 313), (2, 16, 24, 313), (4, 32, 32, 313))
    assert net[0]["motion"][1] == (2, 16, 24, 2) and net[0]["keep"][2] == (4, 32, 32)
    assert net[1]["lightness"] == ((1, 1, 64, 64),) * 3
    assert op[0]["logits"] == net[0]["prev_probs"] and op[0]["centers"] == ((313, 2),) * 3


def test_the_graph_that_is_built_has_the_precision_and_the_decode_path_that_were_asked_for(build, tmp_path):
    build(precision="fp16")
    for job in build.builder.jobs:
        model = onnx.load_from_string(job.onnx)
        kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.output}
        assert kinds.pop("ab") == onnx.TensorProto.FLOAT and set(kinds.values()) == {onnx.TensorProto.FLOAT16}
        assert set(kinds) in ({"probs"}, {"probs", "logits", "features"})
        assert not model.functions and all(not node.domain for node in model.graph.node) and job.plugin is None
    (tmp_path / "plugins").mkdir()
    library = tmp_path / "plugins" / "libedgecolor_plugin.so"
    library.write_bytes(b"so")
    report = build(precision="fp16")
    assert report.decode.why == "its library is built" and report.info.key["decode"] == "plugin"
    for job in build.builder.jobs:
        domains = [node.domain for node in onnx.load_from_string(job.onnx).graph.node]
        assert domains.count("edgecolor") == 1 and job.plugin == library


def test_default_profiles_hold_video_and_photographs_lying_and_upright():
    manifest = read_manifest(EDGE)
    for views, margin in ((1, 0), (2, 0), (4, 32)):
        profiles, sides = default_profiles(manifest.replace(views=views), 4), (192 + margin, 352 + margin)
        assert [profile.opt for profile in profiles] == [(4, *sides), (4, *sides[::-1])]
        for width, height in ((640, 480), (1920, 1080), (1080, 1920), (2048, 858), (500, 500), (96, 64)):
            size = [side + margin for side in working_size(width, height, manifest.working_size, manifest.multiple)]
            assert any(profile.holds((n, *size)) for profile in profiles for n in (1, 4)), size


def test_a_copy_of_the_engine_finds_its_own_op_beside_it(build, tmp_path):
    report = build(out=tmp_path / "out" / "my.engine")
    assert report.path == tmp_path / "out" / "my.engine"
    plan, info = read_engine(report.path)
    assert plan.startswith(b"plan:") and info.decode == "my.decode.engine"
    assert read_engine(report.path.with_name(info.decode))[1].manifest.name == "decode"


def test_engines_in_the_cache_are_found_by_the_weights_of_the_model(build, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGECOLOR_ENGINES", str(tmp_path / "cache"))
    weights = read_manifest(EDGE).weights_sha256
    assert find_built(weights, ("tensorrt",), "Fake GPU") is None
    path = build().path
    assert find_built(weights, ("tensorrt",), "Fake GPU") == path
    assert (
        find_built(weights, ("tensorrt",), "Other GPU") is None
        and find_built("0" * 64, ("tensorrt",), "Fake GPU") is None
    )


def test_what_was_built_colors_a_frame_as_onnxruntime_does(build, monkeypatch, tmp_path):
    from fake_gpu import GPU as HERE
    from fake_gpu import FakeDevice, FakeGpu, make_tensorrt

    from edgecolor.backends import open_backend, tensorrt_backend
    from edgecolor.backends.views import with_views
    from edgecolor.export.compare_engine import differences

    report, gpu = build(precision="fp16"), FakeGpu()
    monkeypatch.setattr(tensorrt_backend, "find_gpu", lambda: HERE)
    monkeypatch.setattr(tensorrt_backend, "open_device", lambda _: FakeDevice(gpu))
    monkeypatch.setattr(tensorrt_backend, "import_tensorrt", lambda *_: make_tensorrt(gpu))
    frames = [np.random.default_rng(0).uniform(20, 80, (1, 1, 64, 96)).astype(np.float32)]
    engine, reference = open_backend(report.path), with_views(open_backend(EDGE, threads=1))
    mean, largest = differences(engine, reference, frames)
    assert 0 < mean < 0.1 and mean < largest < 1
    engine.decode(np.zeros_like(engine.probs()), 0.5)
    assert np.isfinite(engine.probs()).all()


def test_int8_is_calibrated_once_for_all_profiles_and_kept(build, monkeypatch, tmp_path):
    from PIL import Image

    calls = []

    def quantize(model, feeds):
        calls.append(len(feeds()))
        return model, {"nodes": 3, "kept_float": ["a"], "ab_distance": 0.25, "frames": len(feeds())}

    monkeypatch.setattr(precision, "to_int8", quantize)
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).save(tmp_path / "gray.png")
    frames = (tmp_path / "gray.png",)
    first = build(precision="int8", frames=frames)
    assert "int8       2 of 3 layers; 0.25 ab units from float32 on 1 frames" in first.lines
    second = build(precision="int8", frames=frames, batch=2)
    assert second.cache == "miss" and calls == [1] and second.info.report["int8"]["kept_float"] == ["a"]
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[::-1], (48, 1))).save(tmp_path / "gray.png")
    build(precision="int8", frames=frames)
    assert calls == [1, 1]


def test_a_saved_model_at_another_precision_has_its_own_checksum(tmp_path):
    onnx_to_engine.save_at_precision(EDGE, EngineOptions("fp16"), tmp_path / "half.onnx")
    manifest = read_manifest(tmp_path / "half.onnx")  # which compares the checksum
    assert manifest.name == "edge" and manifest.weights_sha256 != read_manifest(EDGE).weights_sha256


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("1x192x352", Profile((1, 192, 352), (1, 192, 352), (1, 192, 352))),
        ("1x32x32:1x64x96:8x128x128", Profile((1, 32, 32), (1, 64, 96), (8, 128, 128))),
    ],
)
def test_profiles_are_read_as_they_are_written(text, profile):
    assert parse_profile(text) == profile and str(profile).endswith(text)


@pytest.mark.parametrize("text", ["", "192x352", "1x64x64:1x96x96", "1x64x64:1x32x32:1x96x96", "axbxc", "0x32x32"])
def test_profiles_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match="profile"):
        parse_profile(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp8"}, "fp32, fp16, int8"),
        ({"precision": "int8"}, "--frames"),
        ({"flavor": "x"}, "tensorrt, rtx"),
        ({"batch": 0}, "batch"),
        ({"level": 6}, "level"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        EngineOptions(**options)


def test_files_that_are_no_model_of_ours_are_refused(build, tmp_path):
    shutil.copy(WEIGHTS / "edge.safetensors", tmp_path / "edge.safetensors")
    with pytest.raises(ModelError, match="is no .onnx file"):
        build(tmp_path / "edge.safetensors")
    net = onnx.load(EDGE)
    del net.metadata_props[:]
    onnx.save(net, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not an edgecolor model"):
        build(tmp_path / "foreign.onnx")
    (tmp_path / "cut.onnx").write_bytes(EDGE.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="not a whole onnx file"):
        build(tmp_path / "cut.onnx")
    with pytest.raises(ConfigError, match="multiples of 32"):
        build(profiles=(parse_profile("1x33x64"),))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to .*EDGECOLOR_ENGINES"):
        build_engine(EDGE, EngineOptions("fp32"), builder=FakeBuilder(), folder=tmp_path / "file" / "cache")


def test_building_without_what_it_needs_is_one_line_and_no_crash(monkeypatch):
    from edgecolor.export import tensorrt_builder

    monkeypatch.setattr(tensorrt_builder.find_gpu.__globals__["ctypes"], "CDLL", _no_library)
    with pytest.raises(MissingDependencyError, match="no NVIDIA driver .*--flavor rtx"):
        TensorRTBuilder("tensorrt")


def _no_library(path):
    raise OSError(f"{path}: cannot open shared object file")
