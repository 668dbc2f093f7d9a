"""Set ways of smoothing against each other: a table of how steady the colors of clips are, and a strip of frames.

    python benchmarks/flicker.py [CLIPS] [--frames 120] [--strip strip.png] [--model NAME]

CLIPS is a video file or a folder of them, in color: they are colorized as if they were gray, and their own colors are
the reference. Without it, a short old film is made of a public-domain photograph. docs/flicker.md holds the figures and
says what they mean.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import demo
import numpy as np

from edgecolor import ColorConfig, Colorizer, open_colorizer
from edgecolor.motion.flow import Motion
from edgecolor.train.clips import clip_files, frames_of
from edgecolor.train.evaluate_clips import ClipFigures, color_clip, ghosting

COLUMNS = {
    "CDC x1000": ("cdc", 1000),
    "chroma CDC x1000": ("cdc_chroma", 1000),
    "warp error ab": ("warp_error_ab", 1),
    "colorfulness": ("colorfulness", 1),
    "bleeding ab": ("bleeding_ab", 1),
    "CPU-ms a frame": ("cpu_ms_per_frame", 1),
}
GHOSTING = {
    "of a steady network ab": "ghosting_steady_ab",
    "of this one ab": "ghosting_ab",
    "leak ab": "ghosting_leak_ab",
}


class Unmoved:
    """Stands in for motion.flow.Flow where the past is to stay in its place: smoothing as others do it."""

    def __init__(self, h: int, w: int):
        self._motion = Motion(np.zeros((h, w, 2), np.float32), np.ones((h, w), np.float32))

    def towards(self, this: np.ndarray, other: np.ndarray) -> Motion:
        return self._motion

    def both(self, this: np.ndarray, other: np.ndarray) -> tuple[Motion, Motion]:
        return self._motion, self._motion


class PlainColorizer(Colorizer):
    """Blends every frame with the one before, place by place."""

    def _forget(self, *start) -> None:
        super()._forget(*start)
        height, width = self._size
        stride = self.net.manifest.stride
        self._smoother.flow = Unmoved(height // stride, width // stride)


def ways(model: str | None) -> dict[str, Colorizer]:
    """One network, smoothed in each way."""
    default = open_colorizer(model)
    every_frame = replace(default.config, network_rate=0.0, look_ahead=0.0)
    return {
        "each frame alone": Colorizer(default.net, replace(every_frame, half_life=0.0)),
        "plain exponential": PlainColorizer(default.net, every_frame),
        "along the motion": Colorizer(default.net, replace(default.config, look_ahead=0.0)),
        "and looking ahead": Colorizer(default.net, ColorConfig()),
    }


def write_old_film(path: Path, frames: int = 48, size: tuple[int, int] = (640, 360)) -> Path:
    """A camera move over a photograph, with grain and an exposure that flickers: what makes colors flicker too."""
    rng = np.random.default_rng(1)
    gray = demo.photograph("astronaut.png")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            frame = cv2.resize(demo.camera_move(gray, i / frames, 0.05), size, interpolation=cv2.INTER_AREA)
            grain = cv2.GaussianBlur(rng.normal(0, 16, frame.shape).astype(np.float32), (0, 0), 0.8)
            frame = frame * (1 + 0.06 * rng.normal()) + 4 * rng.normal() + grain
            worn = av.VideoFrame.from_ndarray(np.clip(frame, 0, 255).astype(np.uint8), format="gray")
            container.mux(stream.encode(worn))
        container.mux(stream.encode(None))
    return path


def clip_rows(path: Path, colorizers: dict[str, Colorizer], frames: int, strip: list[list[np.ndarray]]) -> dict:
    """The figures of one clip by way of smoothing; its frames from the middle on are added to the strip."""
    rows: dict[str, dict[str, float]] = {}
    frames = sum(1 for _ in frames_of(path, frames))  # a clip may be shorter
    with tempfile.TemporaryDirectory() as folder:
        for way, colorizer in colorizers.items():
            figures, shown = ClipFigures(), []
            colored = color_clip(colorizer, path, Path(folder), frames)
            for i, (ours, (original, _)) in enumerate(zip(colored.frames, frames_of(path, frames), strict=False)):
                figures.add(ours, original)
                if 0 <= i - frames // 2 < 12 and i % 2 == 0:
                    shown.append(
                        cv2.resize(ours, (224, 224 * ours.shape[0] // ours.shape[1]), None, 0, 0, cv2.INTER_AREA)
                    )
            values = figures.values()
            if not rows:
                rows["original"] = {name: values.get(f"{name}_original", 0.0) for name, _ in COLUMNS.values()}
            values["cpu_ms_per_frame"] = 1000 * colored.cpu_seconds / figures.count
            rows[way] = {name: values[name] for name, _ in COLUMNS.values()}
            if way in ("each frame alone", "and looking ahead"):
                strip.append(shown)
            print(path.name, way, json.dumps(rows[way]), flush=True)
    return rows


def write_strip(path: Path, strip: list[list[np.ndarray]]) -> None:
    width = max(sum(frame.shape[1] for frame in row) for row in strip)
    rows = [np.concatenate(row, axis=1) for row in strip]
    rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", help="default: an old film that is made for it")
    parser.add_argument("--frames", type=int, default=120, help="of each clip")
    parser.add_argument("--strip", type=Path, help="PNG: two rows a clip, each frame alone above looking ahead")
    parser.add_argument("--model", help="default: edge")
    args = parser.parse_args()
    colorizers, strip = ways(args.model), []
    with tempfile.TemporaryDirectory() as folder:
        paths = clip_files(args.clips or write_old_film(Path(folder) / "old-film.mp4"))
        clips = {path.name: clip_rows(path, colorizers, args.frames, strip) for path in paths}
    print(f"\n| clip | smoothing | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
    for clip, rows in clips.items():
        for way, values in rows.items():
            cells = (f"{values[name] * scale:.2f}" for name, scale in COLUMNS.values())
            print(f"| {clip} | {way} | {' | '.join(cells)} |")
    print(f"\n| smoothing | {' | '.join(GHOSTING)} |\n|---|{'---|' * len(GHOSTING)}")
    for way, colorizer in islice(colorizers.items(), 1, None):
        figures = ghosting(colorizer)
        print(f"| {way} | {' | '.join(f'{figures[name]:.2f}' for name in GHOSTING.values())} |", flush=True)
    if args.strip:
        write_strip(args.strip, strip)


if __name__ == "__main__":
    main()
