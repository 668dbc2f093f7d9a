"""What an evaluation shows: a table, one JSON line, and a contact sheet gray | ours | original."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgecolor.errors import ConfigError, MediaError

CELL_WIDTH, CELL_HEIGHT, CAPTION = 256, 192, 22  # pixels

# Metric, how it is called in the table, digits after the point. What is not listed is in the JSON only.
ROWS = (
    ("psnr", "PSNR, dB", 2),
    ("ssim", "SSIM", 4),
    ("l1_ab", "L1, ab units", 3),
    ("l2_ab", "L2 (mean square), ab", 2),
    ("l1_rgb", "L1, RGB in [0, 1]", 4),
    ("l2_rgb", "L2 (mean square), RGB", 5),
    ("ciede2000", "CIEDE2000", 2),
    ("colorfulness", "colorfulness (Hasler-Suesstrunk, signed)", 2),
    ("colorfulness_percent", "  of the originals', %", 1),
    ("delta_colorfulness", "  delta CF (of the means)", 2),
    ("delta_colorfulness_per_picture", "  delta CF (mean of pictures)", 2),
    ("colorfulness_abs", "colorfulness (DDColor's, absolute)", 2),
    ("colorfulness_abs_percent", "  of the originals', %", 1),
    ("chroma_ratio", "chroma ratio", 3),
    ("auc_ab", "AuC of ab error, 0 to 150", 4),
    ("recognition_agreement", "recognition agreement", 3),
    ("kernel_distance_x1000", "kernel distance x 1000", 2),
    ("kernel_distance_x1000_low", "  2.5 %", 2),
    ("kernel_distance_x1000_high", "  97.5 %", 2),
    ("lpips", "LPIPS", 4),
    ("fid", "FID", 2),
    ("cdc", "CDC (frames 1, 2, 4 apart)", 6),
    ("cdc_original", "  of the originals", 6),
    ("cdc_chroma", "CDC of Cb and Cr alone", 6),
    ("cdc_chroma_original", "  of the originals", 6),
    ("warp_error_x1000", "warp error x 1000", 4),
    ("warp_error_x1000_original", "  of the originals", 4),
    ("warp_error_ab", "warp error in ab (mean square)", 3),
    ("warp_error_ab_original", "  of the originals", 3),
    ("bleeding_ab", "bleeding over strong edges, ab units", 3),
    ("bleeding_ab_original", "  of the originals", 3),
    ("bleeding_percent", "  of the step of color, %", 2),
    ("bleeding_percent_original", "  of the originals, %", 2),
    ("ghosting_ab", "ghosting on moving patterns, ab units", 3),
    ("ghosting_steady_ab", "  of a network that does not flicker", 3),
    ("ghosting_leak_ab", "  left behind in trails", 3),
    ("ghosting_contrast_ab", "  of a contrast of", 2),
    ("parameters", "parameters", 0),
    ("gflop", "GFLOP at 256 x 448", 2),
    ("seconds_per_picture", "seconds per picture", 4),
    ("seconds_per_frame", "seconds per frame", 4),
    ("cpu_ms_per_frame", "CPU ms per frame", 1),
)


def print_table(columns: dict[str, dict[str, float]], title: str) -> None:
    """Print one column of figures for each model, leaving out rows that no model has."""
    from rich.console import Console
    from rich.table import Table

    names = (Path(name).name for name in columns)
    table = Table("", *names, box=None, pad_edge=False, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for metric, label, digits in ROWS:
        values = [figures.get(metric) for figures in columns.values()]
        if any(value is not None for value in values):
            table.add_row(label, *("" if value is None else f"{value:,.{digits}f}" for value in values))
    Console().print(table)


def json_line(plain: dict) -> str:
    """One line of strict JSON: what is not a number becomes null."""

    def clean(value):
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        if isinstance(value, float):
            return float(f"{value:.6g}") if math.isfinite(value) else None
        return value

    return json.dumps(clean(plain), allow_nan=False)


def fit_cell(rgb: np.ndarray) -> np.ndarray:
    """A picture of any size, whole, in the middle of a dark cell."""
    scale = min(CELL_WIDTH / rgb.shape[1], CELL_HEIGHT / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    cell = np.full((CELL_HEIGHT, CELL_WIDTH, 3), 24, np.uint8)
    top, left = (CELL_HEIGHT - small.shape[0]) // 2, (CELL_WIDTH - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    return cell


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str]) -> np.ndarray:
    """Rows of pictures under captions: (H, W, 3) uint8 RGB."""
    if not rows:
        raise ConfigError("a contact sheet needs at least one picture")
    head = np.full((CAPTION, CELL_WIDTH * len(captions), 3), 24, np.uint8)
    for i, caption in enumerate(captions):
        place = (i * CELL_WIDTH + 6, CAPTION - 7)
        cv2.putText(head, caption[:32], place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    body = [np.concatenate([fit_cell(picture) for picture in row], axis=1) for row in rows]
    return np.concatenate([head, *body])


def write_sheet(path: str | Path, rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str]) -> None:
    """Write a contact sheet; errors as save_picture."""
    save_picture(Path(path), contact_sheet(rows, captions))


def check_picture(path: Path) -> None:
    """raises MediaError (the folder is missing), ConfigError (no such picture format): for before the work begins"""
    if not path.parent.is_dir():
        raise MediaError(f"{path}: the folder {path.parent} does not exist: make it first")
    if not cv2.haveImageWriter(f"name{path.suffix or '.png'}"):
        raise ConfigError(f"{path}: no picture format is known by {path.suffix!r}: use .png or .jpg")


def save_picture(path: Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8. raises MediaError (cannot be written), and as check_picture"""
    check_picture(path)
    done, data = cv2.imencode(path.suffix or ".png", rgb[..., ::-1])
    if not done:
        raise MediaError(f"{path}: the picture could not be encoded")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror})") from error
