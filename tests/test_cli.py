"""The command line, as a user meets it: one line on stderr, status 2, nothing left behind. pytest tests/test_cli.py"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def run(*arguments, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from edgecolor.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("edgecolor: error: "), done.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """20 frames of 96 x 64, gray, H.264 in MP4."""
    import av

    path = tmp_path_factory.mktemp("clip") / "old.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(20):
            gray = np.roll(np.tile(np.linspace(30, 220, 96), (64, 1)), i, axis=1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray")))
        container.mux(stream.encode(None))
    return path


def test_a_video_is_colorized_and_said_so(clip, tmp_path):
    done = run("colorize", clip, tmp_path / "new.mp4")
    assert done.returncode == 0, done.stderr
    assert "20 frames" in done.stdout and "new.mp4" in done.stdout
    assert all("fps" in line for line in done.stderr.splitlines())  # progress, where the machine is slow
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.mp4"]


def test_quiet_says_nothing(clip, tmp_path):
    done = run("colorize", clip, tmp_path / "new.mkv", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_start_and_duration_cut_out_a_span(clip, tmp_path):
    done = run("colorize", clip, tmp_path / "part.mp4", "--start", "0:00.5", "--duration", "1")
    assert done.returncode == 0 and "10 frames" in done.stdout, done.stderr


def test_a_picture_is_colorized(tmp_path, photograph):
    Image.fromarray(photograph).convert("L").save(tmp_path / "old.jpg")
    done = run("colorize", tmp_path / "old.jpg", tmp_path / "new.png")
    assert done.returncode == 0, done.stderr
    rgb = np.asarray(Image.open(tmp_path / "new.png")).astype(int)
    assert rgb.shape == photograph.shape and (rgb.max(axis=2) - rgb.min(axis=2)).mean() > 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, ["in.mp4"]),
        (lambda p: p.mkdir(), ["in.mp4", "folder"]),
        (lambda p: p.touch(), ["in.mp4", "empty"]),
        (lambda p: p.write_text("once upon a time\n" * 50), ["in.mp4"]),
    ],
    ids=["missing", "folder", "empty", "text"],
)
def test_inputs_that_are_no_video_are_refused(tmp_path, make, words):
    make(tmp_path / "in.mp4")
    assert_refused(run("colorize", tmp_path / "in.mp4", tmp_path / "out.mp4"), *words)
    assert not (tmp_path / "out.mp4").exists()


def test_a_file_with_sound_only_is_refused(tmp_path):
    import wave

    with wave.open(str(tmp_path / "in.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(16000))
    assert_refused(run("colorize", tmp_path / "in.wav", tmp_path / "out.mp4"), "no video stream", "audio")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--temperature", "7"], ["temperature", "7"]),
        (["--half-life", "-1"], ["half-life", "-1"]),
        (["--saturation", "-2"], ["saturation"]),
        (["--crf", "lots"], ["--crf"]),
        (["--codec", "libx265000"], ["libx265000", "libx265"]),
        (["--start", "-3"], ["start", "-3"]),
        (["--duration", "0"], ["duration"]),
        (["--start", "1000"], ["start"]),
        (["--start", "1:75"], ["--start", "1:75", "1:02:03"]),
        (["--model", "egde"], ["egde", "edge"]),
        (["--model", "missing.onnx"], ["missing.onnx"]),
        (["--backend", "abacus"], ["abacus", "onnxruntime"]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_impossible_options_are_refused(clip, tmp_path, options, words):
    assert_refused(run("colorize", clip, tmp_path / "out.mp4", *options), *words)
    assert not list(tmp_path.iterdir())


def test_a_model_file_that_is_not_ours_is_refused(clip, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    assert_refused(run("colorize", clip, tmp_path / "out.mp4", "--model", tmp_path / "model.onnx"), "model.onnx")
    assert not (tmp_path / "out.mp4").exists()


def test_outputs_that_cannot_be_are_refused(clip, tmp_path):
    there = tmp_path / "there.mp4"
    there.write_bytes(b"precious")
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    for dst, words in (
        (tmp_path / "no" / "out.mp4", ["folder"]),
        (there, ["exists"]),
        (clip, ["input"]),
        (link, ["input"]),
        (tmp_path / "out.xyz", [".xyz"]),
    ):
        assert_refused(run("colorize", clip, dst), *words)
        assert_refused(run("colorize", clip, dst, *(["--overwrite"] if dst in (clip, link) else [])), *words)
    assert there.read_bytes() == b"precious" and sorted(p.name for p in tmp_path.iterdir()) == ["link.mp4", "there.mp4"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_folder_is_refused(clip, tmp_path):
    tmp_path.chmod(0o500)
    assert_refused(run("colorize", clip, tmp_path / "out.mp4"), "read-only")


def test_video_options_are_refused_for_a_picture(tmp_path, photograph):
    Image.fromarray(photograph).save(tmp_path / "in.png")
    assert_refused(run("colorize", tmp_path / "in.png", tmp_path / "out.png", "--crf", "18"), "--crf", "picture")


def test_overwrite_replaces_the_output(clip, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"old")
    assert run("colorize", clip, tmp_path / "out.mp4", "--overwrite").returncode == 0
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupting_leaves_nothing(number, status, tmp_path):
    """Ctrl-C, or the system shutting down, in the middle of a long clip."""
    long = tmp_path / "long.mp4"
    import av

    with av.open(long, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        rng = np.random.default_rng(0)
        grain = rng.integers(0, 256, (8, 240, 320)).astype(np.uint8)  # so that the output soon reaches the disk
        for i in range(600):
            gray = grain[i % 8]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray")))
        container.mux(stream.encode(None))
    command = [sys.executable, "-c", "from edgecolor.cli import main; main()", "colorize", str(long)]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out.mp4")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )
    deadline = time.monotonic() + 180
    while not any(path.stat().st_size > 5000 for path in tmp_path.iterdir() if "partial" in path.name):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in stderr
    assert ("interrupted" in stderr) == (status == 130)
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]


def test_models_and_doctor_and_version_answer():
    assert "edge" in run("models").stdout
    doctor = run("doctor")
    assert doctor.returncode == 0 and "onnxruntime" in doctor.stdout and "ready to colorize" in doctor.stdout
    assert run("--version").stdout.startswith("edgecolor ")


@pytest.mark.parametrize("command", ["colorize", "preview"])
def test_options_have_the_defaults_of_the_config(command):
    import importlib
    import inspect

    from edgecolor.config import ColorConfig

    options = inspect.signature(getattr(importlib.import_module(f"edgecolor.cli.{command}"), command)).parameters
    config = ColorConfig()
    shared = [name for name in vars(config) if name in options]
    assert len(shared) >= 5
    assert {name: options[name].default.default for name in shared} == {name: getattr(config, name) for name in shared}


@pytest.mark.parametrize("arguments", [("{}.mp4", "out.mp4"), ("{}.png", "out.png"), ("in.png", "{}.png")])
def test_what_the_system_says_of_a_name_is_one_line(arguments, tmp_path):
    Image.new("L", (32, 32)).save(tmp_path / "in.png")
    assert_refused(run("colorize", *(name.format("a" * 300) for name in arguments), cwd=tmp_path), "File name too long")
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]
