"""Builds the CUDA kernels for the CPU, from the same source, and calls them through the same C interface."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgecolor.kernels import FLOAT16, FLOAT32, DecodeJob, load_kernels

SOURCES = Path(__file__).resolve().parent.parent / "cpp_plugins"
GUARD = 4096  # bytes of not-a-number around every array that a kernel gets


def find_compiler() -> str:
    """A C++ compiler, or skip."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler: install g++, or set CXX")
    return compiler


def build_for_cpu(folder: Path) -> ctypes.CDLL:
    library = folder / "kernels_on_cpu.so"
    kernels = [SOURCES / "color_token_decode" / "kernel.cu"]
    emulator = SOURCES / "testing" / "cuda_on_cpu"
    subprocess.run(
        [find_compiler(), "-std=c++17", "-O1", "-ffp-contract=off", "-Wno-unknown-pragmas", "-fPIC", "-shared"]
        + ["-I", emulator, "-x", "c++", *kernels, emulator / "cuda_on_cpu.cpp", "-o", library],
        check=True,
    )
    return load_kernels(library)


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
