"""The part of gpu_check.py about engines: each precision and decode path built, compared with ONNX Runtime, timed."""

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("fp32", "fp16", "int8")
# Mean distance of ab from ONNX Runtime in float32, in ab units; int8 on the frames that it was calibrated on.
ALLOWED = {"fp32": 0.05, "fp16": 0.3, "int8": 0.8}
SECONDS = 2.0  # each figure is measured so long


def find_packages() -> None:
    """Let edgecolor.export be imported from the checkout, which has it in a folder beside edgecolor.

    raises  MissingDependencyError where a package is missing that engines are built or compared with
    """
    from edgecolor.errors import MissingDependencyError

    if "edgecolor.export" not in sys.modules:
        place = str(ROOT / "export")
        spec = importlib.util.spec_from_file_location(
            "edgecolor.export", f"{place}/__init__.py", submodule_search_locations=[place]
        )
        sys.modules["edgecolor.export"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    missing = [name for name in ("onnx", "onnxruntime", "cv2", "av") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"engines are not checked without {', '.join(missing)}: install them")


def make_clip(path: Path, size: tuple[int, int] = (1280, 720), frames: int = 48) -> Path:
    """A gray clip that moves, as H.264."""
    import av

    from edgecolor.bench import synthetic_frames

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for luma in synthetic_frames(*size, 1e9):
            if luma.pts == frames:
                break
            container.mux(stream.encode(av.VideoFrame.from_ndarray(luma.luma, format="gray")))
        container.mux(stream.encode(None))
    return path


def ways_here() -> list[tuple[str, str]]:
    """Flavor and decode path of the engines that can be built and run here."""
    from edgecolor.plugins import find_library

    found = []
    if importlib.util.find_spec("tensorrt"):
        found += [("tensorrt", "plugin")] if find_library() else []
        found += [("tensorrt", "native")]
    if importlib.util.find_spec("tensorrt_rtx") or importlib.util.find_spec("tensorrt_rtx_bindings"):
        found.append(("rtx", "native"))
    return found


def check_one(flavor: str, decode: str, precision: str, clip: Path, folder: Path, builder=None) -> dict:
    """Build, compare, measure. raises AssertionError where the engine is too far off"""
    from edgecolor import bench
    from edgecolor.backends import open_backend
    from edgecolor.backends.files import WEIGHTS
    from edgecolor.backends.views import with_views
    from edgecolor.colorize import colorize_video
    from edgecolor.export.compare_engine import differences
    from edgecolor.export.frames import lightness_of_files
    from edgecolor.export.onnx_to_engine import EngineOptions, build_engine

    model = WEIGHTS / "edge.onnx"
    began = time.monotonic()
    options = EngineOptions(precision, decode, flavor, batch=4, frames=(clip,) if precision == "int8" else ())
    report = build_engine(model, options, builder=builder, folder=folder)
    row = {"flavor": flavor, "decode": report.decode.way, "precision": precision}
    row |= {
        "build_seconds": round(time.monotonic() - began, 1),
        "megabytes": round(report.path.stat().st_size / 1e6, 1),
    }
    row["tensorrt"] = report.info.key["tensorrt"]
    with closing(open_backend(report.path, "tensorrt")) as engine, closing(open_backend(model)) as reference:
        frames = lightness_of_files([clip], reference.manifest, 4)
        found = differences(engine, with_views(reference, engine.views_inside), frames)
        row["views"], row["ab_mean"], row["ab_largest"] = engine.views_inside, *(round(value, 4) for value in found)
    for streams in (1, 4):
        with closing(open_backend(report.path, "tensorrt")) as engine:
            for part in bench.network_parts(engine, streams, SECONDS, ("net", "op", "step")):
                name = f"{part.part}_x{streams}" + ("_under_way" if "under way" in part.note else "")
                row[name] = {"fps": part.fps, "median_ms": part.median_ms, "p99_ms": part.p99_ms, "note": part.note}
    done = colorize_video(clip, folder / "out.mp4", report.path, backend="tensorrt", overwrite=True)
    row["video_fps"] = round(done.frames_per_second, 1)
    allowed = ALLOWED[precision]
    assert row["ab_mean"] <= allowed, f"{row['ab_mean']} ab units from ONNX Runtime, {allowed} are allowed: {row}"
    return row


def check_engines(folder: Path, say: Callable[[str], None] = print) -> dict:
    """All of them; one that fails does not hide the others.

    returns  {"rows": [...], "failed": {which: why}}
    raises   MissingDependencyError where there is no TensorRT, AssertionError at the end where one failed
    """
    from edgecolor.errors import EdgeColorError, MissingDependencyError

    find_packages()
    ways = ways_here()
    if not ways:
        raise MissingDependencyError("there is no TensorRT here: pip install tensorrt, or tensorrt-rtx")
    clip = make_clip(folder / "clip.mp4")
    os.environ["EDGECOLOR_ENGINES"] = str(folder / "engines")
    found: dict = {"rows": [], "failed": {}}
    for flavor, decode in ways:
        for precision in PRECISIONS:
            try:
                row = check_one(flavor, decode, precision, clip, folder / "engines")
            except (AssertionError, EdgeColorError) as error:
                found["failed"][f"{flavor} {decode} {precision}"] = str(error)[:500]
            else:
                found["rows"].append(row)
                say(f"  {row}")
    if not found["rows"]:
        raise AssertionError(f"no engine came through: {found['failed']}")
    return found
