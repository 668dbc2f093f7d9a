"""A labelled grid of pictures, for a person to compare them."""

from collections.abc import Sequence

import cv2
import numpy as np

from edgecolor.errors import ShapeError

CELL = (420, 300)  # px: the most that a picture in the grid is wide and high
GAP, BAND = 6, 26  # px between pictures; height of a line of text
PAPER, INK, FAINT = 24, 235, 150  # gray codes
SCALE = 0.5  # of the letters; about 10 px wide each


def picture_grid(rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str], names: Sequence[str], title: str):
    """Draw a grid.

    rows     pictures of one size, (H, W, 3) uint8 RGB, as many in each row
    columns  what stands over each column; names: what stands over each row, may be empty texts
    title    the first line
    returns  (H', W', 3) uint8 RGB
    raises   ShapeError if there are not as many texts as columns and rows
    """
    if not rows or any(len(row) != len(columns) for row in rows) or len(names) != len(rows):
        raise ShapeError(f"{len(names)} x {len(columns)} texts for {[len(row) for row in rows]} pictures in rows")
    height, width = rows[0][0].shape[:2]
    factor = min(CELL[0] / width, CELL[1] / height, 1.0)
    width, height = max(1, round(width * factor)), max(1, round(height * factor))
    lines = [_line(title, len(columns) * (width + GAP) + GAP, INK)]
    lines.append(_beside([_line(text, width, INK) for text in columns]))
    for name, row in zip(names, rows, strict=True):
        if name:
            lines.append(_line(name, lines[0].shape[1], FAINT))
        shown = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in row]
        lines += [_beside(shown), np.full((GAP, lines[0].shape[1], 3), PAPER, np.uint8)]
    return np.concatenate(lines)


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((pictures[0].shape[0], GAP, 3), PAPER, np.uint8)
    return np.concatenate([gap, *(part for picture in pictures for part in (picture, gap))], axis=1)


def _line(text: str, width: int, ink: int) -> np.ndarray:
    """One line of text, cut off where the width ends; letters beyond ASCII are not drawn."""
    line = np.full((BAND, width, 3), PAPER, np.uint8)
    plain = text.encode("ascii", "replace").decode()
    place = (GAP, BAND - 8)
    return cv2.putText(line, plain, place, cv2.FONT_HERSHEY_SIMPLEX, SCALE, (ink,) * 3, 1, cv2.LINE_AA)
