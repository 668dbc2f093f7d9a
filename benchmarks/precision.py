"""What float16 and int8 cost in color and gain in time, in ONNX Runtime, against float32.

    python benchmarks/precision.py --calibrate PHOTOGRAPHS --on OTHERS CLIP.mp4 ... [--keep FOLDER]

Pictures are colored by themselves; of videos the first frames, one after the other with the state carried along and the
network at every frame. Colored pictures are compared as they come out, in 8 bits, by CIEDE2000. Times are processor
time of one step at 16:9, measured in turn, so that whatever else runs weighs on all alike; only their ratio tells.
The last line is one JSON object.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from edgecolor import ColorConfig, open_colorizer
from edgecolor.backends import find_model, open_backend
from edgecolor.bench import network_inputs
from edgecolor.export.onnx_to_engine import EngineOptions, save_at_precision
from edgecolor.images import is_image, read_image
from edgecolor.stages.frame_to_lightness import working_size
from edgecolor.train.metrics import mean_ciede2000, rgb8_to_lab

SKIP = 2  # every so many rows and columns are compared
ROUNDS = 25
TARGETS = {"fp16": 0.3, "int8": 0.6}


def files_of(paths: list[Path], limit: int) -> list[Path]:
    """The files, and so many of each folder, spread over it."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += inside[:: max(1, len(inside) // limit)][:limit] if path.is_dir() else inside
    return found


def frames_of(path: Path, count: int) -> Iterator[tuple[np.ndarray, float]]:
    if is_image(path):
        yield read_image(path).rgb, 0.0
        return
    import av

    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i == count:
                return
            yield frame.to_ndarray(format="gray"), frame.time or 0.0


def differences(models: dict[str, Path], path: Path, count: int, threads: int) -> dict[str, list[float]]:
    """Mean CIEDE2000 of each frame to the first of the models."""
    config = ColorConfig(network_rate=0)
    colorizers = {name: open_colorizer(model, config=config, threads=threads) for name, model in models.items()}
    found: dict[str, list[float]] = {name: [] for name in models}
    for rgb, seconds in frames_of(path, count):
        labs = {name: rgb8_to_lab(one.frame(rgb, seconds)[::SKIP, ::SKIP]) for name, one in colorizers.items()}
        expected = next(iter(labs.values()))
        for name, lab in labs.items():
            found[name].append(mean_ciede2000(lab, expected))
    for one in colorizers.values():
        one.net.close()
    return found


def times(models: dict[str, Path], threads: int) -> dict[str, float]:
    """Median processor time of a step, ms, and whatever else runs on the machine weighs on all alike."""
    opened = {name: open_backend(path, threads=threads) for name, path in models.items()}
    spent: dict[str, list[float]] = {name: [] for name in models}
    for backend in opened.values():
        size = working_size(1920, 1080, backend.manifest.working_size, backend.manifest.multiple)
        backend.start(1, *size)
    inputs = network_inputs(backend, 1, *size)
    for _ in range(ROUNDS):
        for name, backend in opened.items():
            began = time.process_time()
            backend.step(inputs["lightness"], inputs["keep"], inputs["motion"])
            spent[name].append(time.process_time() - began)
    for backend in opened.values():
        backend.close()
    return {name: round(1e3 * float(np.median(values[3:])), 2) for name, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="edge")
    parser.add_argument("--calibrate", type=Path, nargs="+", required=True)
    parser.add_argument("--on", type=Path, nargs="+", required=True)
    parser.add_argument("--frames", type=int, default=24, help="of each video and folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files at each precision, taken from there if so")
    options = parser.parse_args()
    model = find_model(options.model)
    calibration = tuple(files_of(options.calibrate, options.frames))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        models = {"fp32": model} | {name: folder / f"{model.stem}-{name}.onnx" for name in TARGETS}
        found = {}
        for name in TARGETS:
            if not models[name].is_file():
                engine_options = EngineOptions(name, frames=calibration if name == "int8" else ())
                found |= save_at_precision(model, engine_options, models[name], print)
        rows: dict[str, dict[str, list[float]]] = {}
        for path in files_of(options.on, options.frames):
            title = "photographs" if is_image(path) else path.name
            for name, values in differences(models, path, options.frames, options.threads).items():
                rows.setdefault(title, {}).setdefault(name, []).extend(values)
        spent = times(models, options.threads)
        with closing(open_backend(model)) as backend:
            version = backend.ort.__version__
    report: dict = {"onnxruntime": version, "model": model.stem, "found": found, "calibrated_on": len(calibration)}
    report |= {"step_ms": spent, "ciede2000": {}}
    for title, values in rows.items():
        for name in TARGETS:
            mean, worst = float(np.mean(values[name])), float(np.max(values[name]))
            report["ciede2000"].setdefault(title, {})[name] = {"mean": round(mean, 3), "worst_frame": round(worst, 3)}
            print(f"{title:40} {name} {len(values[name]):4} frames: CIEDE2000 {mean:.3f}, worst frame {worst:.3f}")
    for name, target in TARGETS.items():
        mean = float(np.mean([value for values in rows.values() for value in values[name]]))
        report["ciede2000"].setdefault("all", {})[name] = round(mean, 3)
        print(f"{name}: {mean:.3f} on average, {target} is wanted; time x {spent[name] / spent['fp32']:.2f}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
