"""Builds the CUDA kernels for the CPU, from the same source, and calls them through the same C interface."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgecolor.kernels import FLOAT16, FLOAT32, DecodeJob, load_kernels

SOURCES = Path(__file__).resolve().parent.parent / "cpp_plugins"
_temporary = tempfile.TemporaryDirectory(prefix="edgecolor-kernels-")
GUARD = 4096  # bytes of not-a-number around every array that a kernel gets


def find_compiler() -> str:
    """A C++ compiler, or skip."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler: install g++, or set CXX")
    return compiler


@cache
def _kernel_objects() -> list[Path]:
    """The kernels and the CUDA emulator, compiled once for all test files."""
    folder = Path(_temporary.name)
    emulator = SOURCES / "testing" / "cuda_on_cpu"
    objects = []
    for source in (*sorted(SOURCES.glob("*/kernel.cu")), emulator / "cuda_on_cpu.cpp"):
        objects.append(folder / f"{source.parent.name}.o")
        subprocess.run(
            [find_compiler(), "-std=c++17", "-O1", "-ffp-contract=off", "-w", "-fPIC", "-I", emulator]
            + ["-x", "c++", "-c", source, "-o", objects[-1]],
            check=True,
        )
    return objects


@cache
def build_for_cpu() -> ctypes.CDLL:
    """The library of the kernels."""
    library = Path(_temporary.name) / "kernels_on_cpu.so"
    subprocess.run([find_compiler(), "-shared", *_kernel_objects(), "-ldl", "-o", library], check=True)
    return load_kernels(library)


def find_tensorrt_headers() -> Path:
    """The folder with NvInferRuntime.h, or skip."""
    root = os.environ.get("TensorRT_ROOT")  # noqa: SIM112, the name that CMake gives it
    folders = [os.environ.get("EDGECOLOR_TRT_INCLUDE"), root and f"{root}/include", "/usr/include/x86_64-linux-gnu"]
    folders += ["/usr/include/aarch64-linux-gnu", "/usr/local/tensorrt/include"]
    for folder in folders:
        if folder and (Path(folder) / "NvInferRuntime.h").is_file():
            return Path(folder)
    pytest.skip(
        "needs TensorRT's headers: set TensorRT_ROOT, or EDGECOLOR_TRT_INCLUDE to the folder with NvInferRuntime.h"
    )


@cache
def build_plugin_for_cpu() -> Path:
    """The plugin with the kernel of the CPU inside; TensorRT loads it like the real one, as it needs no library."""
    library = Path(_temporary.name) / "plugin_on_cpu.so"
    subprocess.run(
        [find_compiler(), "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-fvisibility=hidden"]
        + ["-I", SOURCES / "testing" / "cuda_on_cpu", "-isystem", find_tensorrt_headers()]
        + [SOURCES / "color_token_decode" / "plugin_v3.cpp", *_kernel_objects(), "-ldl", "-o", library],
        check=True,
    )
    return library


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy at a 16-byte border, with not-a-number before and behind it: what is read there spoils the result."""
    memory = np.full(array.nbytes + 2 * GUARD + 16, 0xFF, dtype=np.uint8)
    start = GUARD + -(memory.ctypes.data + GUARD) % 16
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def is_guard_intact(array: np.ndarray) -> bool:
    """Whether nothing was written around an array that came from `guarded`."""
    memory = array
    while memory.base is not None:
        memory = memory.base
    start = array.ctypes.data - memory.ctypes.data
    return bool((memory[:start] == 0xFF).all() and (memory[start + array.nbytes :] == 0xFF).all())


def decode_on_cpu(kernels, logits, prev_probs, motion, keep, centers, temperature, mode=0, changes=None):
    """Run the kernel. Returns ab and probs, poisoned beforehand; raises ValueError where it refuses the job.

    changes  fields of the job that are to be wrong
    """
    batch, h, w, tokens = logits.shape
    inputs = [guarded(array) for array in (logits, prev_probs, motion, keep, centers, np.float32([temperature]))]
    ab = guarded(np.full((batch, 2, h, w), np.nan, dtype=np.float32))
    probs = guarded(np.full(logits.shape, np.nan, dtype=logits.dtype))
    kind = FLOAT16 if logits.dtype == np.float16 else FLOAT32
    job = DecodeJob(*(array.ctypes.data for array in (*inputs, ab, probs)), batch, h, w, tokens, kind, mode)
    for field, value in (changes or {}).items():
        setattr(job, field, value)
    status = kernels.edgecolorColorTokenDecode(ctypes.byref(job), None)
    assert is_guard_intact(ab) and is_guard_intact(probs), "written outside the outputs"
    if status:
        assert np.isnan(ab).all() and np.isnan(probs).all(), "a refused job still wrote"
        raise ValueError(f"status {status}")
    return ab, probs
