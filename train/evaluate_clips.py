"""Judge a model on clips: turn the frames gray, colorize them in order, and look at closeness and steadiness."""

import time
from pathlib import Path

import numpy as np

from edgecolor.errors import ConfigError, MediaError
from edgecolor.train.clip_metrics import ColorDistributionConsistency, WarpError
from edgecolor.train.clips import clip_files, frames_of
from edgecolor.train.colorize import Colors
from edgecolor.train.evaluate import Evaluation, summarize, to_gray
from edgecolor.train.metrics import picture_metrics

PICTURE_EVERY = 8  # frames between those whose distance from the original is measured


def evaluate_clip(colors: Colors, path: Path, limit: int | None = None) -> tuple[dict[str, float], int, list]:
    """Figures of one clip, how many frames it has, and its first frame as a row of a contact sheet."""
    steady, steady_original, warp = ColorDistributionConsistency(), ColorDistributionConsistency(), WarpError()
    rows: list[dict[str, float]] = []
    example: list = []
    took: list[float] = []
    count = 0
    for original, seconds in frames_of(path, limit):
        gray = to_gray(original)
        since = time.perf_counter()
        ours = colors.frame(gray, seconds)
        took.append(time.perf_counter() - since)
        steady.add(ours)
        steady_original.add(original)
        warp.add(gray, ours, original)
        if count % PICTURE_EVERY == 0:
            rows.append(picture_metrics(ours, original))
        if not count:
            example = [(path.name, gray, ours, original)]
        count += 1
    if not rows:
        raise MediaError(f"{path} holds no frame that decodes: give a whole clip")
    ours_error, original_error = warp.values()
    figures = summarize(rows) | {
        "seconds_per_frame": float(np.median(took)),
        "cdc": steady.value(),
        "cdc_original": steady_original.value(),
        "warp_error_x1000": 1000 * ours_error,
        "warp_error_x1000_original": 1000 * original_error,
    }
    return figures, count, example


def evaluate_clips(open_colors, data: str | Path, limit: int | None = None) -> Evaluation:
    """Means over the clips of a folder, or of one file.

    open_colors  called for each clip: the state between frames starts anew
    limit        frames of each clip
    """
    files = clip_files(data)
    if not files:
        raise ConfigError(f"{data} holds no clip")
    judged = [evaluate_clip(open_colors(), path, limit) for path in files]
    names = judged[0][0]
    metrics = {name: float(np.mean([figures[name] for figures, _, _ in judged])) for name in names}
    examples = [row for _, _, rows in judged for row in rows]
    return Evaluation(metrics, sum(count for _, count, _ in judged), 0, examples=examples)
