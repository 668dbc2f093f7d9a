"""Models side by side on the same few pictures: one sheet to look at, one table, and which is best by which measure."""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.train.colorize import LeftGray, open_colors
from edgecolor.train.evaluate import to_gray
from edgecolor.train.evaluate_model import ComparedModels, evaluate_models, facts_of_opened
from edgecolor.train.pictures import decode_rgb, encoded_pictures

GRAY_UNTIL = 4  # codes between the channels of a pixel: JPEG leaves that much in a gray picture
# Measures and what is good: 1 more, -1 less.
BETTER = {
    "psnr": 1, "ssim": 1, "auc_ab": 1, "recognition_agreement": 1, "l1_ab": -1, "l2_ab": -1, "l1_rgb": -1, "l2_rgb": -1,
    "ciede2000": -1, "delta_colorfulness": -1, "delta_colorfulness_per_picture": -1, "delta_colorfulness_abs": -1,
    "kernel_distance_x1000": -1, "lpips": -1, "fid": -1, "parameters": -1, "gflop": -1, "seconds_per_picture": -1,
}  # fmt: skip


def is_gray(rgb: np.ndarray) -> bool:
    """Whether (H, W, 3) uint8 holds no color, so that there is no original to compare with."""
    return bool((rgb.max(axis=2).astype(int) - rgb.min(axis=2) <= GRAY_UNTIL).all())


def compare_models(models: list[str], images: Iterable[str | Path], rows: int = 16, **options) -> ComparedModels:
    """Color the same pictures by each model.

    models   as train.colorize.open_colors takes them
    images   pictures, folders, tar files or patterns; color ones are turned gray first and judged
    rows     pictures on the sheet, which has the columns gray, each model, original (black where there is none)
    options  of evaluate_models: lpips, fid, classifier, backend, workers, and fields of ColorConfig
    raises   ConfigError where there is no readable picture, and as evaluate_models
    """
    images = [str(image) for image in images]
    unreadable, gray = [], []
    with tempfile.TemporaryDirectory() as folder:
        known = 0
        for i, (name, data) in enumerate(item for image in images for item in encoded_pictures(image)):
            rgb = decode_rgb(data)
            if rgb is None:
                unreadable.append(name)
            elif is_gray(rgb):
                gray.append(to_gray(rgb))
            else:
                known += 1
                (Path(folder) / f"{i:06d}{Path(name).suffix.lower()}").write_bytes(data)
        if not known and not gray:
            raise ConfigError(f"{', '.join(images)}: no readable picture is there")
        if known:
            compared = evaluate_models(models, folder, examples=rows, **options)
        else:
            compared = ComparedModels("", "pictures", figures={model: {} for model in models})
            compared.left_out.append("all figures of color: the pictures are gray, so no original is known")
    compared.data, compared.unreadable = ", ".join(images), len(unreadable)
    if gray:
        _add_gray(compared, models, gray, rows, options)
    return compared


def _add_gray(compared: ComparedModels, models: list[str], gray: list[np.ndarray], rows: int, options: dict) -> None:
    """Rows of pictures without an original, under those that have one."""
    fields = {name: value for name, value in options.items() if name in ColorConfig.__dataclass_fields__}
    new = [[LeftGray().image(picture)] for picture in gray]
    for model in models:
        opened = open_colors(model, options.get("backend", "auto"), ColorConfig(**fields))
        since = time.perf_counter()
        for row, picture in zip(new, gray, strict=True):
            row.append(opened.colors.image(picture))
        compared.figures[model].setdefault("seconds_per_picture", (time.perf_counter() - since) / len(gray))
        compared.figures[model] |= facts_of_opened(opened)
    for row in new[: max(0, rows - len(compared.sheet))]:
        compared.sheet.append([*row, np.zeros_like(row[0])])
    compared.count += len(gray)


def best_of(figures: dict[str, dict[str, float]]) -> dict[str, str]:
    """For each measure that all models have, the model that is best by it; a tie goes to the one given first."""
    found = {}
    for measure, sign in BETTER.items():
        values = {model: columns.get(measure) for model, columns in figures.items()}
        if len(values) > 1 and all(value is not None and not np.isnan(value) for value in values.values()):
            found[measure] = max(values, key=lambda model: sign * values[model])
    return found
