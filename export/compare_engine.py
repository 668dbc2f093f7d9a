"""How far an engine is from ONNX Runtime with the float32 model, on real frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecolor.backends import open_backend
from edgecolor.backends.base import Backend
from edgecolor.backends.views import with_views
from edgecolor.errors import MissingDependencyError
from edgecolor.export.frames import lightness_of_files
from edgecolor.gpu import find_gpu


def differences(engine: Backend, reference: Backend, frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean distance of ab and largest difference of one value, in ab units, each frame for itself."""
    away, largest = [], 0.0
    for lightness in frames:
        found = []
        for backend in (engine, reference):
            backend.start(1, *lightness.shape[2:])
            found.append(backend.step(lightness, 0.0))
        away.append(np.linalg.norm(found[0] - found[1], axis=1).mean())
        largest = max(largest, float(np.abs(found[0] - found[1]).max()))
    return float(np.mean(away)), largest


def compare_with_onnxruntime(engine: Path, model: Path, paths: Sequence[Path]) -> str:
    """A line for the report; where no GPU is here, a line that says so."""
    try:
        find_gpu()
    except MissingDependencyError as error:
        return f"not: {error}"
    built = open_backend(engine, "tensorrt")
    backends = [built, with_views(open_backend(model, "onnxruntime"), built.views_inside)]
    frames = lightness_of_files(paths, backends[1].manifest, 8)
    mean, largest = differences(*backends, frames)
    for backend in backends:
        backend.close()
    return f"with ONNX Runtime on {len(frames)} frames: {mean:.3f} ab units on average, {largest:.2f} at most"
