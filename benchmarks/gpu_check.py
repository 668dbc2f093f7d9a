"""Check and measure everything that needs an NVIDIA GPU, in one go: `make gpu-check`.

Needs the CUDA toolkit (nvcc) and PyTorch; TensorRT and its headers, OpenCV, PyAV, ONNX Runtime and compute-sanitizer
are used where they are, and what could not run is listed as not run. Takes less than 8 minutes without TensorRT, most
of them torch.compile and the sanitizer; engines take their own time, int8 most of it for its calibration. The last
line is one JSON object, which also goes to benchmarks/results/. Exit status: 0 all well, 1 something is wrong, 2 there
is no GPU.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"
SOURCES = ROOT / "cpp_plugins"
KERNELS = [SOURCES / "color_token_decode" / "kernel.cu", SOURCES / "frame_planes" / "kernel.cu"]


# What a part may end in; anything else is a mistake in this script.
FAILURES = (AssertionError, ImportError, OSError, RuntimeError, TypeError, ValueError, subprocess.SubprocessError)


class NotRunError(Exception):
    """A part cannot run here; the text says what is missing."""


def fail_without_gpu() -> None:
    try:
        import torch
    except ImportError:
        fail("gpu-check needs PyTorch with CUDA: install torch, or run it on the machine with the GPU")
    if not torch.cuda.is_available():
        fail("gpu-check found no NVIDIA GPU: run it on a machine that has one; nothing was checked")
    if not shutil.which("nvcc"):
        fail("gpu-check needs the CUDA toolkit: put nvcc on PATH")


def fail(reason: str) -> None:
    print(f"gpu-check: {reason}", file=sys.stderr)
    sys.exit(2)


def run_command(command: list, **options) -> str:
    process = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if process.returncode:
        raise RuntimeError(
            f"{command[0]} exited with {process.returncode}: {(process.stdout + process.stderr)[-1500:]}"
        )
    return process.stdout + process.stderr


def build_kernels(folder: Path) -> tuple[Path, list[str]]:
    """Compile for this card: the library, and what the compiler says about registers and spills."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    library = folder / "libedgecolor_kernels.so"
    said = run_command(
        ["nvcc", "-std=c++17", "-O3", f"-arch=sm_{major}{minor}", "-Xptxas", "-v", "-Xcompiler", "-fPIC", "-shared"]
        + [*KERNELS, "-o", library]
    )
    return library, [line.strip() for line in said.splitlines() if "spill" in line or "registers" in line]


def find_headers() -> Path:
    from edgecolor.plugins import find_headers

    found = find_headers()
    if not found:
        raise NotRunError("no TensorRT headers: set EDGECOLOR_TRT_INCLUDE to the folder with NvInferRuntime.h")
    return found


def build_plugin(folder: Path, library: Path) -> tuple[Path, Path]:
    """The plugin around the kernels' library, and the mock host that calls it."""
    include = ["-I", find_headers(), "-Xcompiler", "-fPIC,-w", "-std=c++17", "-shared"]
    plugin, host = folder / "libedgecolor_plugin.so", folder / "mock_host.so"
    op = SOURCES / "color_token_decode"
    link = ["-L", library.parent, "-l:" + library.name, "-Xlinker", f"-rpath={library.parent}"]
    run_command(["nvcc", *include, op / "plugin_v3.cpp", *link, "-ldl", "-o", plugin])
    run_command(["nvcc", *include, SOURCES / "testing" / "mock_host.cpp", "-ldl", "-o", host])
    return plugin, host


def check_engines(folder: Path, library: Path) -> dict:
    """Engines with the plugin, where it can be built, and without it."""
    import gpu_check_engines

    if not (folder / "libedgecolor_plugin.so").is_file():  # another part may have built it
        try:
            build_plugin(folder, library)
        except NotRunError as reason:
            print(f"  engines with the plugin are left out: {reason}")
    os.environ["EDGECOLOR_PLUGINS"] = str(folder)
    return gpu_check_engines.check_engines(folder)


def sanitize(library: Path) -> dict:
    """Run small jobs under compute-sanitizer's tools, in processes of their own."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if not tool:
        raise NotRunError("compute-sanitizer is not on PATH")
    found = {}
    for name in ("memcheck", "racecheck", "synccheck"):
        # Only our kernels: PyTorch's own would take minutes.
        command = [tool, "--tool", name, "--error-exitcode", "9", "--kernel-regex", "kns=edgecolor"]
        command += [sys.executable, Path(__file__).with_name("gpu_check_parts.py"), library]
        said = run_command(command, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)})
        summary = [line for line in said.splitlines() if "SUMMARY" in line]
        found[name] = summary[-1].strip("= ") if summary else said[-200:]
        if "sanitized jobs done" not in said or not summary:
            raise RuntimeError(f"{name} said: {said[-500:]}")
    return found


def main() -> int:
    fail_without_gpu()
    import gpu_check_parts as parts
    import torch

    from edgecolor.errors import MissingDependencyError
    from edgecolor.kernels import load_kernels

    start = time.monotonic()
    torch.manual_seed(seed := int.from_bytes(os.urandom(4), "little"))
    card = torch.cuda.get_device_name()
    report = {"machine": card, "date": date.today().isoformat(), "seed": seed, "torch": torch.__version__}
    report |= {"cuda": torch.version.cuda, "python": platform.python_version(), "failed": {}, "not_run": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library, report["compiler"] = build_kernels(folder)
        kernels = load_kernels(library)
        decode = kernels.edgecolorColorTokenDecode
        todo = {
            "errors": lambda: parts.compare_with_float64(decode, "cuda"),
            "bandwidth": lambda: parts.measure_bandwidth(decode),
            "op_chain": lambda: parts.measure_op_chain(decode),
            "graph": lambda: parts.replay_graph(decode),
            "frame_planes": lambda: parts.check_frame_planes(kernels, "cuda"),
            "plugin": lambda: parts.check_plugin(*build_plugin(folder, library), "cuda"),
            "engines": lambda: check_engines(folder, library),
            "sanitizer": lambda: sanitize(library),
            "model": parts.measure_model,
        }
        for part, check in todo.items():
            began = time.monotonic()
            try:
                report[part] = check()
                if isinstance(report[part], dict) and report[part].get("failed"):
                    report["failed"][part] = str(report[part]["failed"])[:1500]
            except (NotRunError, MissingDependencyError) as reason:
                report["not_run"][part] = str(reason)
            except FAILURES as error:
                # The machine is lent by the hour: one part that fails must not hide what the others find.
                report["failed"][part] = f"{type(error).__name__}: {error}"[:1500]
            state = "failed" if part in report["failed"] else "not run" if part in report["not_run"] else "done"
            print(f"{part}: {state}, {time.monotonic() - began:.1f} s", flush=True)
    report["seconds"] = round(time.monotonic() - start, 1)
    for title in ("failed", "not_run"):
        for part, reason in report[title].items():
            print(f"{title.replace('_', ' ')}: {part}: {reason}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{card.lower().replace(' ', '-')}-{report['date']}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(ROOT)}")
    print(json.dumps(report))
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
