"""How fast each part is on this machine: the network, the op, both in one, the pipeline around them, a whole file.

Frames are synthetic and in memory, so nothing but the part itself is timed; `video` is a real file with its codecs.
"""

import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgecolor.backends import DEFAULT_MODEL, open_backend
from edgecolor.backends.base import Backend
from edgecolor.color.tokens import palette
from edgecolor.colorize import colorize_video, open_colorizer
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting
from edgecolor.gpu import clocks, find_gpu, jetpack
from edgecolor.overlap import overlapped
from edgecolor.stages.frame_to_lightness import working_size

SIZES = {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "2160p": (3840, 2160)}
PARTS = ("net", "op", "step", "pipeline", "video")
WARM_UP = 3
RATE = 24  # frames per second of the synthetic video


@dataclass(frozen=True)
class Row:
    part: str  # net: logits and features; op: smoothing and decoding; step: both; pipeline: from Y' to Cb, Cr
    backend: str
    model: str
    size: str  # of the video; of what the network sees for the parts without a video
    streams: int  # pictures at a time for net, op, step; videos at a time for pipeline
    frames: int  # that were timed
    fps: float  # of all streams together
    median_ms: float  # for one call: one frame of each stream
    p90_ms: float
    p99_ms: float
    cpu_ms: float  # processor time for a call, all threads together: what else runs on the machine changes it least
    note: str = ""


def machine() -> dict:
    """What the figures depend on, and what else is running."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    cpu = Path("/proc/cpuinfo")
    names = (
        [line for line in cpu.read_text(errors="replace").splitlines() if "model name" in line] if cpu.exists() else []
    )
    found["cpu"] = names[0].split(":", 1)[1].strip() if names else platform.processor()
    found["load"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # 0 on a machine at rest
    try:
        found["gpu"] = asdict(find_gpu()) | clocks()
    except MissingDependencyError:
        found["gpu"] = None
    return found | ({"jetpack": jetpack()} if jetpack() else {})


def measure(call: Callable[[], object], seconds: float, streams: int) -> dict:
    """Call it again and again for that long. returns the fields of a Row"""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    began, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds or len(times) < WARM_UP:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    spent = time.process_time() - processor
    return _figures(times, len(times) * streams, time.perf_counter() - began, spent / len(times))


def _figures(times: list[float], frames: int, elapsed: float, cpu_seconds: float) -> dict:
    median, p90, p99 = (round(float(value) * 1e3, 3) for value in np.quantile(times, (0.5, 0.9, 0.99)))
    figures = {"frames": frames, "fps": round(frames / elapsed, 2)}
    return figures | {"median_ms": median, "p90_ms": p90, "p99_ms": p99, "cpu_ms": round(cpu_seconds * 1e3, 3)}


def network_inputs(backend: Backend, streams: int, height: int, width: int) -> dict[str, np.ndarray]:
    """A picture with edges and motion for each stream, at the size that the network sees."""
    rng, stride = np.random.default_rng(0), backend.manifest.stride
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    lightness = 50 + 30 * np.sin(x / 17) * np.cos(y / 23) + 20 * ((x // 31 + y // 19) % 2)
    cells = (streams, height // stride, width // stride)
    found = {"lightness": np.repeat(lightness[None, None], streams, axis=0).clip(0, 100).astype(np.float32)}
    found |= {"keep": np.full(cells, 0.5, np.float32), "motion": rng.normal(0, 1, (*cells, 2)).astype(np.float32)}
    if backend.manifest.kind == "tokens":
        tokens = len(palette(backend.manifest.palette).centers)
        found["logits"] = rng.normal(0, 3, (*cells, tokens)).astype(np.float32)
    return found


def network_parts(backend: Backend, streams: int, seconds: float, parts: tuple[str, ...]) -> Iterator[Row]:
    """net, op and step of an open backend, at its model's working size and 16:9."""
    manifest = backend.manifest
    height, width = working_size(1920, 1080, manifest.working_size, manifest.multiple)
    backend.start(streams, height, width)
    inputs = network_inputs(backend, streams, height, width)
    lightness, keep, motion = inputs["lightness"], inputs["keep"], inputs["motion"]
    calls: dict[str, Callable[[], object]] = {"step": lambda: backend.step(lightness, keep, motion)}
    if manifest.kind == "tokens":
        calls["net"] = lambda: backend.logits(lightness)
        calls["op"] = lambda: backend.decode(inputs["logits"], keep, motion)
    views = getattr(backend, "views_inside", 1)
    for part in parts:
        if part in calls:
            figures = measure(calls[part], seconds, streams)
            note = f"{views} views in one run" if views > 1 and part != "op" else ""
            yield Row(part, backend.name, manifest.name, f"{width}x{height}", streams, **figures, note=note)
    if "step" in parts and hasattr(backend, "is_timed"):
        backend.is_timed = True
        backend.step(lightness, keep, motion)
        backend.is_timed = False
        split = ", ".join(f"{name} {value:.3f} ms" for name, value in backend.milliseconds.items())
        figures = measure(_two_under_way(backend, lightness, keep, motion), seconds, streams)
        note = f"two under way; one alone: {split}; CUDA graph {backend.graphs}"
        yield Row("step", backend.name, manifest.name, f"{width}x{height}", streams, **figures, note=note)


def _two_under_way(backend, *arguments) -> Callable[[], object]:
    """One frame in, the one before it out."""
    waiting = [backend.submit(*arguments)]

    def call() -> None:
        waiting.append(backend.submit(*arguments))
        backend.collect(waiting.pop(0))

    return call


def synthetic_frames(width: int, height: int, seconds: float) -> Iterator[LumaFrame]:
    """Luma that moves, until the time is over, which begins with the first frame that is asked for."""
    y, x = np.mgrid[0:height, 0 : width + 256]
    wide = (128 + 60 * np.sin(x / 97) * np.cos(y / 71) + 30 * ((x // 83 + y // 59) % 2)).astype(np.uint8)
    return _windows(wide, width, seconds)


def _windows(wide: np.ndarray, width: int, seconds: float) -> Iterator[LumaFrame]:
    until = time.perf_counter() + seconds
    index = 0
    while index <= WARM_UP or time.perf_counter() < until:
        left = index * 2 % 256
        yield LumaFrame(np.ascontiguousarray(wide[:, left : left + width]), index, Fraction(1, RATE), 1)
        index += 1


def run_pipeline(
    model,
    backend: str,
    size: tuple[int, int],
    seconds: float,
    config,
    threads,
    times: list[float],
    ready: threading.Barrier,
) -> None:
    """One stream, as colorize_video runs it but for reader and writer. Leaves the time of each frame in `times`.

    ready  is waited for when model and frames are there
    """
    width, height = size
    colorizer = open_colorizer(model, backend=backend, config=config, threads=threads)
    luma_format = LumaFormat(width, height, 8, Matrix.BT709, False)
    chroma_format = ChromaFormat(width // 2, height // 2, 1, 1, Siting.LEFT)
    colorizer.begin(luma_format, chroma_format)
    frames = synthetic_frames(width, height, seconds)
    ready.wait()
    with closing(overlapped(colorizer.colors(frames))) as items:
        before = time.perf_counter()
        for item, ab in items:
            colorizer.chroma(item, ab)
            now = time.perf_counter()
            times.append(now - before)
            before = now
    colorizer.net.close()


def pipeline_part(model, backend: str, name: str, streams: int, seconds: float, config, threads) -> Row:
    """So many videos of that size side by side. What is looked ahead at belongs to the work, so all frames count."""
    times: list[list[float]] = [[] for _ in range(streams)]
    begun: list[tuple[float, float]] = []
    failed: list[Exception] = []
    ready = threading.Barrier(streams, lambda: begun.append((time.perf_counter(), time.process_time())))

    def work(own: list[float]) -> None:
        try:
            run_pipeline(model, backend, SIZES[name], seconds, config, threads, own, ready)
        except Exception as error:  # it is raised again below, in the thread that asked
            failed.append(error)
            ready.abort()  # or the others would wait for ever

    workers = [threading.Thread(target=work, args=(own,), daemon=True) for own in times]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]
    elapsed, spent = (
        now - then for now, then in zip((time.perf_counter(), time.process_time()), begun[0], strict=True)
    )
    frames = sum(len(own) for own in times)
    every = [value for own in times for value in own[WARM_UP:]]
    figures = _figures(every, frames, elapsed, spent * streams / frames)
    model_name = Path(str(model or DEFAULT_MODEL)).stem
    note = f"{config.network_rate:g} looks a second"
    return Row("pipeline", backend, model_name, name, streams, **figures, note=note)


def video_part(model, backend: str, clip: Path, config, threads) -> Row:
    """A whole file, with decoding and encoding."""
    processor = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"out{clip.suffix}"
        report = colorize_video(clip, target, model, backend=backend, config=config, threads=threads)
    each = round(1e3 * report.seconds / max(1, report.frames), 3)
    spent = round(1e3 * (time.process_time() - processor) / max(1, report.frames), 3)
    fps = round(report.frames_per_second, 2)
    figures = {"frames": report.frames, "fps": fps, "median_ms": each, "p90_ms": each, "p99_ms": each, "cpu_ms": spent}
    return Row("video", backend, report.model, clip.name, 1, **figures, note="with its codecs")


def run(
    model: str | Path | None = None,
    backends: tuple[str, ...] = ("onnxruntime",),
    sizes: tuple[str, ...] = ("480p", "720p", "1080p", "2160p"),
    streams: tuple[int, ...] = (1, 4),
    parts: tuple[str, ...] = PARTS,
    seconds: float = 3.0,
    clip: Path | None = None,
    config: ColorConfig | None = None,
    threads: int | None = None,
    tell: Callable[[Row], None] = lambda row: None,
) -> dict:
    """Measure what was asked for, on each backend; one that is not there is listed under "not run", with the reason.

    clip     a video file for the part of that name, which is left out without one
    tell     called with each row as it is there
    returns  {"machine": ..., "rows": [...], "not run": {backend: reason}}, which JSON can hold
    raises   ConfigError for unknown names; where nothing ran, what kept the first backend from it
    """
    for given, known, what in ((sizes, SIZES, "size"), (parts, PARTS, "part")):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ConfigError(f"unknown {what} {unknown[0]!r}: known are {', '.join(known)}")
    if not streams or min(streams) < 1 or seconds <= 0:
        raise ConfigError(f"streams and seconds must be positive, got {streams} and {seconds}")
    config = config or ColorConfig()
    report: dict = {"machine": machine(), "seconds": seconds, "rows": [], "not run": {}}

    def rows(name: str) -> Iterator[Row]:
        for count in streams:
            if {"net", "op", "step"} & set(parts):
                backend = open_backend(model, name, threads)
                with closing(backend):
                    yield from network_parts(backend, count, seconds, parts)
            for size in sizes if "pipeline" in parts else ():
                yield pipeline_part(model, name, size, count, seconds, config, threads)
        if "video" in parts and clip:
            yield video_part(model, name, clip, config, threads)

    failed: list[Exception] = []
    for name in backends:
        try:
            for row in rows(name):
                report["rows"].append(asdict(row))
                tell(row)
        except (MissingDependencyError, ModelError) as error:
            failed.append(error)
            report["not run"][name] = str(error)
    if failed and (len(backends) == 1 or not report["rows"]):
        raise failed[0]
    return report
