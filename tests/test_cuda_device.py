"""The driver is asked for a GPU, and cuda-bindings is called as it wants to be, with a driver that gcc makes."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgecolor import gpu

SOURCE = Path(__file__).with_name("fake_libcuda.c")
PYTHON = os.environ.get("EDGECOLOR_RTX_PYTHON", "")
has_bindings = bool(PYTHON) or importlib.util.find_spec("cuda") is not None


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A folder with a libcuda.so.1."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler: install gcc, or set CC")
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-Wl,-soname,libcuda.so.1", str(SOURCE)]
    subprocess.run([*command, "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


def run(driver, code, **environment):
    """Run code in a process that has the driver; returns what it printed as JSON."""
    extra = ""
    if PYTHON:
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        extra = subprocess.run([PYTHON, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver), **environment}
    code = f"import json, sys; sys.path.append({extra!r})\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FIND = """
from edgecolor.errors import MissingDependencyError
from edgecolor.gpu import find_gpu
try:
    print(json.dumps(vars(find_gpu())))
except MissingDependencyError as error:
    print(json.dumps(str(error)))
"""


def test_find_gpu_tells_what_the_driver_says(driver):
    assert run(driver, FIND) == {
        "name": "Fake Orin",
        "major": 8,
        "minor": 7,
        "multiprocessors": 16,
        "clock_mhz": 1300,
        "integrated": True,
        "driver": "12.6",
    }


def test_find_gpu_without_a_gpu_says_what_the_driver_answered(driver):
    assert "the NVIDIA driver answers 100: use --backend onnxruntime" in run(driver, FIND, FAKE_CUDA_GPUS="0")


def test_find_gpu_without_a_driver_says_so(tmp_path):
    (tmp_path / "libcuda.so.1").write_bytes(b"junk")  # found first, wherever the machine has another
    assert "no NVIDIA driver is installed" in run(tmp_path, FIND)


DEVICE = """
import os
import numpy as np
from edgecolor.backends.cuda_device import open_device
from edgecolor.errors import ConfigError
from edgecolor.gpu import Gpu

device = open_device(Gpu("x", 8, 7, 16, 1300, os.environ.get("INTEGRATED") == "1", "12.6"))
with device.active():
    up, down = device.stream(), device.stream()
    source, address = device.pinned((2, 3), np.dtype(np.float16))
    target, _ = device.pinned((2, 3), np.dtype(np.float16))
    source[:] = [[1, 2, 3], [4, 5, 6]]
    pointer = address or device.allocate(source.nbytes)
    before = device.record(up)
    device.upload(pointer, source, up)
    uploaded = device.record(up)
    device.wait(down, uploaded)
    device.download(target, pointer, down)
    device.synchronize(device.record(down))
    milliseconds = device.milliseconds(before, uploaded)
    copied = target.tolist()
    if not address:
        device.clear(pointer, source.nbytes, up)
        device.download(target, pointer, up)
    graph = device.capture(down, lambda: device.download(target, pointer, down))
    device.launch(graph, down)
    try:
        device.allocate(2**40)
        refused = ""
    except ConfigError as error:
        refused = str(error)
    del before, uploaded
    kinds = [device.name, type(up).__name__, address != 0]
    device.free()
try:
    device.stream()
    outside = ""
except ConfigError as error:
    outside = str(error)
print(json.dumps([kinds, copied, milliseconds, target.size, refused, outside]))
"""
needs_bindings = pytest.mark.skipif(not has_bindings, reason="needs cuda-bindings: make rtx-check installs it")


@pytest.mark.rtx
@needs_bindings
@pytest.mark.parametrize("integrated", [False, True], ids=["own memory", "shared memory"])
def test_cuda_bindings_do_what_the_device_promises(driver, tmp_path, integrated):
    log = tmp_path / "log"
    environment = {"FAKE_CUDA_LOG": str(log), "INTEGRATED": str(int(integrated)), "FAKE_CUDA_ROOM": "1000000"}
    kinds, copied, milliseconds, _, refused, outside = run(driver, DEVICE, **environment)
    assert kinds == ["cuda-bindings", "int", integrated]
    assert copied == [[1, 2, 3], [4, 5, 6]] and milliseconds == 1.5
    assert "no room for 1099512 MB more" in refused and "CUDA_ERROR_INVALID_CONTEXT" in outside
    calls = log.read_text().splitlines()
    assert calls.count("host 2" if integrated else "host 0") == 2  # 2: the GPU sees it
    for made, gone in (("stream", "stream destroyed"), ("event", "event destroyed"), ("instantiate", "exec destroyed")):
        assert calls.count(made) - calls.count(gone) == (made == "stream"), (made, calls)  # one was tried outside
    assert calls.count("free host") == 2 and calls.count("free") == (not integrated)
    captured = [call for call in calls[calls.index("begin capture") :] if "destroyed" not in call]
    assert captured[:5] == ["begin capture", "download", "end capture", "instantiate", "launch"]


def fake_tool(folder, name, says):
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_clocks_are_the_power_mode_of_a_jetson_or_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.clocks() == {}
    fake_tool(tmp_path, "nvidia-smi", "1980 MHz, 2619 MHz, 1980 MHz, 700.00 W, 31")
    assert gpu.clocks()["clocks.sm"] == "1980 MHz" and gpu.clocks()["temperature.gpu"] == "31"
    fake_tool(tmp_path, "nvpmodel", "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W\n2")
    assert gpu.clocks() == {"power mode": "MODE_30W"}
    fake_tool(tmp_path, "nvpmodel", "")
    assert gpu.clocks() == {}


def test_jetpack_is_the_release_of_the_boards_linux(tmp_path, monkeypatch):
    release = tmp_path / "nv_tegra_release"
    monkeypatch.setattr(gpu, "RELEASE", release)
    assert gpu.jetpack() == ""
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    assert gpu.jetpack() == "R36 (release), REVISION: 4.3"
