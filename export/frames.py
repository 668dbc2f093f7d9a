"""Frames to calibrate on and to compare with: lightness as the network sees it, from videos and pictures."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError
from edgecolor.frames import LumaFrame
from edgecolor.images import is_image, read_image
from edgecolor.manifest import Manifest
from edgecolor.stages.frame_to_lightness import FrameToLightness, working_size

APART = 12  # frames between two that are taken where a video does not say how long it is


def of_video(path: Path, manifest: Manifest, count: int) -> list[np.ndarray]:
    from edgecolor.video import VideoReader

    with VideoReader(path) as reader:
        luma_format = reader.luma_format
        size = (luma_format.width, luma_format.height)
        size = size if luma_format.rotation % 180 == 0 else size[::-1]
        to_lightness = FrameToLightness(luma_format, *working_size(*size, manifest.working_size, manifest.multiple))
        apart = max(1, (reader.frames_estimate or APART * count) // count)
        taken: list[np.ndarray] = []
        for i, frame in enumerate(item for item in reader if isinstance(item, LumaFrame)):
            if i % apart == apart // 2:
                taken.append(to_lightness(frame.luma))
                if len(taken) == count:
                    break
    return taken


def of_picture(path: Path, manifest: Manifest) -> np.ndarray:
    from edgecolor.pipeline import image_to_lightness
    from edgecolor.stages.frame_to_lightness import resize_lightness

    lightness = image_to_lightness(read_image(path).rgb)
    height, width = lightness.shape
    return resize_lightness(lightness, *working_size(width, height, manifest.working_size, manifest.multiple))[
        None, None
    ]


def lightness_of_files(paths: Iterable[Path], manifest: Manifest, count: int = 24) -> list[np.ndarray]:
    """Up to `count` frames, spread evenly over the files: each (1, 1, h0, w0) float32, L*.

    raises  ConfigError where a file gives none; MediaError
    """
    paths = list(paths)
    frames: list[np.ndarray] = []
    for path in paths:
        found = [of_picture(path, manifest)] if is_image(path) else of_video(path, manifest, -(-count // len(paths)))
        if not found:
            raise ConfigError(f"{path} holds no frame to calibrate on: give another video or picture")
        frames += found
    return frames


def inputs_of(lightness: np.ndarray, manifest: Manifest, half_state: bool = False) -> dict[str, np.ndarray]:
    """All inputs of a model for a first frame: no past, nothing moves.

    half_state  the model's state is float16
    """
    n, _, h0, w0 = lightness.shape
    if manifest.kind != "tokens":
        hints = {"hints": np.zeros((n, 3, h0, w0), np.float32)} if manifest.hints else {}
        return {"lightness": lightness, **hints}
    cells = (n, h0 // manifest.stride, w0 // manifest.stride)
    tokens = len(palette(manifest.palette).centers)
    return {
        "lightness": lightness,
        "prev_probs": np.zeros((*cells, tokens), np.float16 if half_state else np.float32),
        "motion": np.zeros((*cells, 2), np.float32),
        "keep": np.zeros(cells, np.float32),
        "temperature": np.array([manifest.temperature], np.float32),
    }
