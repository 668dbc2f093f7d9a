"""edgecolor doctor: what is installed here, and what each backend would need."""

import importlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass

import typer

# distribution, module, what it is for, how to get it
PACKAGES = (
    ("numpy", "numpy", "arrays", "pip install numpy"),
    ("av", "av", "reading and writing video", "pip install av"),
    ("opencv-python-headless", "cv2", "resizing and filtering planes", "pip install opencv-python-headless"),
    ("pillow", "PIL", "still images", "pip install pillow"),
    ("onnxruntime", "onnxruntime", "backend onnxruntime", "pip install onnxruntime"),
    ("openvino", "openvino", "backend openvino", "pip install edgecolor\\[openvino]"),
    ("torch", "torch", "backend torch, training, export", "pip install edgecolor\\[train]"),
    ("onnx", "onnx", "export, backend openvino", "pip install edgecolor\\[train]"),
    ("onnxscript", "onnxscript", "export", "pip install edgecolor\\[train]"),
    ("tensorrt", "tensorrt", "backend tensorrt", "pip install tensorrt; on a Jetson: JetPack"),
    ("cuda-bindings", "cuda.bindings", "backend tensorrt", "pip install cuda-bindings"),
    ("pycuda", "pycuda", "backend tensorrt, in its place", "pip install pycuda"),
)
NEEDS = {"openvino": {"openvino", "onnx"}}  # of PACKAGES, by backend; the others need what they are called


@dataclass
class Finding:
    name: str
    version: str  # empty where it is missing
    purpose: str
    remedy: str  # empty where all is well


def look_at(distribution: str, module: str, purpose: str, remedy: str) -> Finding:
    """Import the module for real: a package may be there and not load."""
    from edgecolor.backends.openvino_backend import without_telemetry

    try:
        with without_telemetry():
            importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.split(".")[0]
        return Finding(distribution, "", purpose, remedy if missing else f"does not load: {error}")
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # OpenCV and ONNX Runtime come under several names
        version = str(getattr(importlib.import_module(module), "__version__", "unknown version"))
    return Finding(distribution, version, purpose, "")


def tensorrt_state(there: set[str]) -> str:
    """What stands between this machine and engines, in the order in which it is to be mended."""
    from edgecolor.errors import MissingDependencyError
    from edgecolor.gpu import clocks, find_gpu, jetpack

    try:
        gpu = find_gpu()
    except MissingDependencyError as error:
        return str(error).split(":")[0]
    now = ", ".join(f"{name} {value}" for name, value in clocks().items())
    card = f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.driver}"
    card += f" ({'; '.join(filter(None, (jetpack(), now)))})" if jetpack() or now else ""
    missing = [] if "tensorrt" in there else ["tensorrt"]
    missing += [] if {"cuda-bindings", "pycuda"} & there else ["cuda-bindings"]
    return f"{card}: " + (f"without {' and '.join(missing)}" if missing else "ready")


def register(app: typer.Typer) -> None:
    app.command(help="Say what is installed, and what each backend would need.")(doctor)


def doctor() -> None:
    from rich.console import Console
    from rich.table import Table

    import edgecolor
    from edgecolor.backends import BACKENDS, shipped_models
    from edgecolor.plugins import KERNELS, PLUGIN, find_library

    console = Console()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    console.print(
        f"edgecolor {edgecolor.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {cores} cores",
        highlight=False,
    )
    table = Table("package", "version", "for", "to get it", box=None, pad_edge=False)
    findings = [look_at(*package) for package in PACKAGES]
    for finding in findings:
        table.add_row(finding.name, finding.version or "missing", finding.purpose, finding.remedy)
    console.print(table)
    there = {finding.name for finding in findings if finding.version}
    for name in BACKENDS:
        state = "ready" if NEEDS.get(name, {name}) <= there else "not installed"
        console.print(f"backend {name}: {tensorrt_state(there) if name == 'tensorrt' else state}", highlight=False)
    for name, library in (("CUDA kernels", KERNELS), ("TensorRT plugin", PLUGIN)):
        console.print(f"{name}: {find_library(library) or 'not built (edgecolor build-plugins)'}", highlight=False)
    console.print(f"models: {', '.join(path.stem for path in shipped_models()) or 'none'}", highlight=False)
    if {"numpy", "av", "opencv-python-headless", "onnxruntime"} <= there:
        console.print("ready to colorize", highlight=False)
    else:
        console.print("not ready to colorize: install what is missing in the first five rows", highlight=False)
        raise typer.Exit(1)
