"""gpu-check's part about engines, with a GPU and a builder that are not there, so that it runs when there is one."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import gpu_check_engines  # noqa: E402
from fake_builder import FakeBuilder  # noqa: E402
from test_backend_tensorrt import Machine  # noqa: E402

from edgecolor import bench  # noqa: E402
from edgecolor.errors import MissingDependencyError  # noqa: E402


@pytest.fixture
def checked(monkeypatch, tmp_path):
    Machine(monkeypatch)
    monkeypatch.setattr(gpu_check_engines, "SECONDS", 0.01)
    monkeypatch.setattr(gpu_check_engines, "ways_here", lambda: [("tensorrt", "native")])
    monkeypatch.setattr(gpu_check_engines, "PRECISIONS", ("fp32", "fp16"))
    monkeypatch.setattr(bench, "working_size", lambda *_: (64, 96))
    monkeypatch.setenv("EDGECOLOR_PLUGINS", str(tmp_path))
    monkeypatch.setenv("EDGECOLOR_ENGINES", str(tmp_path))
    small = gpu_check_engines.make_clip
    monkeypatch.setattr(gpu_check_engines, "make_clip", lambda path: small(path, (128, 96), 12))
    one = gpu_check_engines.check_one
    monkeypatch.setattr(gpu_check_engines, "check_one", lambda *args: one(*args, builder=FakeBuilder()))
    return lambda: gpu_check_engines.check_engines(tmp_path, say=lambda line: None)


def test_every_engine_gets_a_row_with_its_difference_and_its_times(checked):
    found = checked()
    assert [(row["precision"], row["decode"]) for row in found["rows"]] == [("fp32", "native"), ("fp16", "native")]
    assert not found["failed"]
    full, half = found["rows"]
    assert full["ab_mean"] < 1e-3 < half["ab_mean"] < 0.3
    for row in found["rows"]:
        assert row["video_fps"] > 0 and row["tensorrt"] == "10.16.1.11"
        for part in ("net", "op", "step", "step"):
            assert row[f"{part}_x1"]["fps"] > 0 and row[f"{part}_x4"]["median_ms"] > 0
        assert "upload" in row["step_x1_under_way"]["note"] and "download" in row["step_x4_under_way"]["note"]


def test_an_engine_that_is_too_far_off_is_listed_and_does_not_hide_the_others(checked, monkeypatch):
    monkeypatch.setitem(gpu_check_engines.ALLOWED, "fp16", 1e-9)
    found = checked()
    assert [row["precision"] for row in found["rows"]] == ["fp32"]
    assert "ab units from ONNX Runtime" in found["failed"]["tensorrt native fp16"]


def test_a_machine_without_tensorrt_is_not_run_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check_engines, "ways_here", list)
    with pytest.raises(MissingDependencyError, match="there is no TensorRT here"):
        gpu_check_engines.check_engines(tmp_path)
