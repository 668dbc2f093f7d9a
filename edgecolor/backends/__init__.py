"""Backends run a model. Each imports its package when it is opened, so that none of them has to be installed."""

import difflib
from collections.abc import Callable
from pathlib import Path

from edgecolor.backends.base import Backend
from edgecolor.backends.coltran_backend import ColTranBackend, coltran_facts
from edgecolor.backends.files import find_model, read_manifest, shipped_models
from edgecolor.backends.onnxruntime_backend import OnnxRuntimeBackend
from edgecolor.backends.openvino_backend import OpenVinoBackend
from edgecolor.backends.tensorrt_backend import TensorRTBackend
from edgecolor.backends.torch_backend import TorchBackend
from edgecolor.errors import ConfigError, ModelError

__all__ = ["BACKENDS", "DEFAULT_MODEL", "Backend", "find_model", "open_backend", "read_manifest", "shipped_models"]

DEFAULT_MODEL = "edge"
BACKENDS: dict[str, Callable[[Path, int | None], Backend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
    "torch": TorchBackend,
    "tensorrt": TensorRTBackend,
}
# The kind of file that each one opens; auto takes the first that fits.
READS = {"onnxruntime": ".onnx", "openvino": ".onnx", "torch": ".safetensors", "tensorrt": ".engine"}


def open_backend(model: str | Path | None = None, name: str = "auto", threads: int | None = None) -> Backend:
    """Open a model.

    model    a shipped model's name, or the path of a .onnx, .safetensors or .engine file; None: the default model
    name     a key of BACKENDS, or auto: onnxruntime for .onnx, torch for .safetensors, tensorrt for .engine. Where the
             file is of another kind, the one of the same name beside it is taken, or the engine that was built of it
    threads  of the network; None: as many as this process has cores
    raises   ModelError, ConfigError (unknown name), MissingDependencyError
    """
    if name != "auto" and name not in BACKENDS:
        near = difflib.get_close_matches(name, BACKENDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are auto, {', '.join(BACKENDS)}"
        raise ConfigError(f"unknown backend {name!r}: {hint}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    path = find_model(model or DEFAULT_MODEL, ".safetensors" if name == "torch" else ".onnx")
    if name == "auto":
        name = next((key for key, suffix in READS.items() if suffix == path.suffix.lower()), "onnxruntime")
    elif name != "tensorrt" and path.suffix.lower() in READS.values() and path.suffix.lower() != READS[name]:
        sibling = path.with_suffix(READS[name])
        if not sibling.is_file():
            raise ModelError(f"the {name} backend reads {READS[name]} files, and there is no {sibling}: export it")
        path = sibling
    if name == "torch" and coltran_facts(path) is not None:
        return ColTranBackend(path, threads)
    return BACKENDS[name](path, threads)
