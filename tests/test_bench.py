"""edgecolor bench: every part is measured, figures agree with each other, and what is not there is said."""

import json
import subprocess
import sys

import pytest

from edgecolor import bench
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError


def test_bench_measures_every_part_on_this_machine(tmp_path):
    from media import make_video

    clip = make_video(tmp_path / "clip.mp4")
    seen = []
    report = bench.run(
        backends=("onnxruntime",), sizes=("480p",), streams=(1,), seconds=0.05, clip=clip, threads=1, tell=seen.append
    )
    rows = report["rows"]
    parts = [(row["part"], row["streams"]) for row in rows]
    assert parts == [(p, 1) for p in ("net", "op", "step", "pipeline")] + [("video", 1)]
    assert len(seen) == len(rows) and json.loads(json.dumps(report)) == report
    for row in rows:
        assert row["backend"] == "onnxruntime" and row["frames"] >= 3 and row["fps"] > 0
        assert 0 < row["median_ms"] <= row["p90_ms"] <= row["p99_ms"] and row["cpu_ms"] > 0
        if row["part"] in ("net", "op", "step"):
            assert row["frames"] % row["streams"] == 0
    assert report["machine"]["cores"] >= 1 and "load" in report["machine"]


def test_measure_counts_what_it_timed():
    import time

    figures = bench.measure(lambda: time.sleep(0.01), 0.1, 3)
    assert figures["frames"] % 3 == 0 and figures["median_ms"] >= 10
    assert figures["fps"] == pytest.approx(3e3 / figures["median_ms"], rel=0.5)


def test_processor_time_counts_work_and_not_waiting():
    import time

    def work():
        until = time.thread_time() + 0.004
        while time.thread_time() < until:
            pass

    waiting, working = (bench.measure(call, 0.1, 1) for call in (lambda: time.sleep(0.02), work))
    assert waiting["cpu_ms"] < 2 and waiting["median_ms"] >= 20
    assert 4 <= working["cpu_ms"] < 8


def test_videos_side_by_side_are_all_counted():
    (row,) = bench.run(sizes=("480p",), streams=(2,), parts=("pipeline",), seconds=0.05, threads=1)["rows"]
    assert row["streams"] == 2 and row["frames"] >= 8 and row["cpu_ms"] > row["median_ms"] / 2


def test_a_video_that_cannot_begin_ends_the_others_with_its_error(monkeypatch):
    opened, real = [], bench.open_colorizer

    def open_once(*arguments, **options):
        opened.append(1)
        if len(opened) > 1:
            raise MissingDependencyError("there is no second one")
        return real(*arguments, **options)

    monkeypatch.setattr(bench, "open_colorizer", open_once)
    with pytest.raises(MissingDependencyError, match="no second"):
        bench.run(sizes=("480p",), streams=(2,), parts=("pipeline",), seconds=0.05, threads=1)


def test_a_backend_that_is_not_there_is_listed_with_the_reason(monkeypatch):
    def missing(path, threads=None):
        raise MissingDependencyError("no NVIDIA driver is installed: use another")

    monkeypatch.setitem(bench.open_backend.__globals__["BACKENDS"], "tensorrt", missing)
    report = bench.run(backends=("tensorrt", "onnxruntime"), streams=(1,), parts=("op",), seconds=0.01, threads=1)
    assert report["not run"] == {"tensorrt": "no NVIDIA driver is installed: use another"}
    assert [row["part"] for row in report["rows"]] == ["op"]
    with pytest.raises(MissingDependencyError):
        bench.run(backends=("tensorrt",), streams=(1,), parts=("op",), seconds=0.01)


@pytest.mark.parametrize("wrong", [{"sizes": ("4k",)}, {"parts": ("all",)}, {"streams": (0,)}, {"seconds": 0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        bench.run(**wrong)


def test_a_model_that_no_backend_opens_is_refused():
    with pytest.raises(ModelError, match="did you mean edge"):
        bench.run("edgee", ("onnxruntime", "torch"), parts=("step",))


def test_the_command_ends_in_one_line_of_json(tmp_path):
    command = [sys.executable, "-m", "edgecolor", "bench", "--backend", "onnxruntime", "--part", "op"]
    command[1:3] = ["-c", "from edgecolor.cli import main; main()"]
    command += ["--streams", "1", "--seconds", "0.05", "--threads", "1", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == json.loads((tmp_path / "out.json").read_text()) and last["rows"][0]["part"] == "op"
    assert done.stdout.splitlines()[1].startswith("op ")


def test_engines_are_measured_with_two_frames_under_way_too(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    from test_backend_tensorrt import Machine, Profile, write_engine

    Machine(monkeypatch)
    profiles = (Profile((1, 32, 32), (1, 64, 96), (4, 512, 512)),)
    path = write_engine(tmp_path / "edge.engine", "edge", profiles=profiles)
    monkeypatch.setattr(bench, "working_size", lambda *_: (64, 96))
    report = bench.run(path, ("tensorrt",), streams=(1,), parts=("step",), seconds=0.05, config=ColorConfig())
    alone, under_way = report["rows"]
    assert alone["note"] == "" and under_way["note"].startswith("two under way; one alone: upload ")
