"""Bleeding: color that changes beside an edge of luma instead of on it.

Bilinear enlargement spreads the change of color between two things over the cells of the token grid, so it washes over
the edge that a person sees in the luma. Along a line across each strong luma edge, the change of ab is set against the
change of luma: both on the same spot is 0, however soft the edge is. The changes carry signs, so a texture of its own
beside the edge cancels out; a plain sum of gradients would call the original the worst bleeder.
"""

import cv2
import numpy as np

from edgecolor.errors import ShapeError

STEEP = 12.0  # luma codes per pixel: the least slope of a strong edge
STEP = 30.0  # luma codes: the least difference between its sides
COLOR_STEP = 10.0  # ab units: the least difference of color between the sides; less has nothing to spill
REACH = 1 / 64  # of the short side: how far to each side is looked, one cell of the token grid
MOST_EDGES = 20_000  # of one picture; of more every second, third, ... is taken


def _slopes(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change per pixel to the right and down: central differences, smoothed along the edge."""
    return cv2.Sobel(plane, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(plane, cv2.CV_32F, 0, 1, scale=1 / 8)


def edge_lines(luma: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Lines across the strong edges of luma (H, W), float32 codes of 8 bits.

    returns  x, y: (edges, 3 reach + 1) float32, one pixel apart, rising in luma; 1.5 reach to each side. Edges nearer
             to the border than that are left out.
    """
    gx, gy = _slopes(luma)
    slope = np.hypot(gx, gy)
    across = np.abs(gx) >= np.abs(gy)
    before = np.where(across, np.roll(slope, 1, 1), np.roll(slope, 1, 0))
    after = np.where(across, np.roll(slope, -1, 1), np.roll(slope, -1, 0))
    ridge = (slope >= STEEP) & (slope > before) & (slope >= after)
    margin = -(-3 * reach // 2) + 1
    inside = np.zeros_like(ridge)
    inside[margin:-margin, margin:-margin] = True
    rows, columns = np.nonzero(ridge & inside)
    thin = max(1, -(-len(rows) // MOST_EDGES))
    rows, columns = rows[::thin], columns[::thin]
    steep = slope[rows, columns][:, None]
    along = np.arange(3 * reach + 1, dtype=np.float32) - 1.5 * reach
    x = columns[:, None] + along * gx[rows, columns][:, None] / steep
    y = rows[:, None] + along * gy[rows, columns][:, None] / steep
    return x.astype(np.float32), y.astype(np.float32)


class Bleeding:
    """Collects what spills over strong edges, picture by picture."""

    def __init__(self):
        self.spill = 0.0
        self.step = 0.0
        self.edges = 0

    def add(self, luma: np.ndarray, ab: np.ndarray) -> None:
        """luma (H, W) uint8 or float32 in codes of 8 bits; ab (H, W, 2) float32, ab units."""
        if ab.shape != (*luma.shape, 2):
            raise ShapeError(f"ab is {ab.shape} beside luma of {luma.shape}: both are of one picture")
        luma = np.ascontiguousarray(luma, dtype=np.float32)
        reach = 2 * max(2, round(REACH * min(luma.shape) / 2))  # even, so that the lines have a sample on each side
        if min(luma.shape) <= 3 * reach + 4:
            return
        x, y = edge_lines(luma, reach)
        if not len(x):
            return
        light = _sampled(luma, x, y)
        # The sides are what lies beyond the reach; the means of a few samples there.
        side = reach // 2 + 1
        color = np.stack([_sampled(ab[..., channel], x, y) for channel in range(2)], axis=-1)
        rise = light[:, -side:].mean(axis=1) - light[:, :side].mean(axis=1)
        apart = color[:, -side:].mean(axis=1) - color[:, :side].mean(axis=1)
        step = np.linalg.norm(apart, axis=1)
        # A thin line has no two sides: there the ups and downs of luma are far more than what comes of them.
        swing = np.abs(np.diff(light, axis=1)).sum(axis=1)
        chosen = (rise >= STEP) & (rise >= 0.5 * swing) & (step >= COLOR_STEP)
        if not chosen.any():
            return
        light, color, rise, apart, step = (array[chosen] for array in (light, color, rise, apart, step))
        within = slice(side - 1, light.shape[1] - side + 1)  # from the inmost sample of one side to that of the other
        of_color = ((color[:, within] - color[:, :side].mean(axis=1)[:, None]) * apart[:, None]).sum(-1) / step[:, None]
        of_light = (light[:, within] - light[:, :side].mean(axis=1)[:, None]) * (step / rise)[:, None]
        # Before the middle of the edge, color ahead of luma is spilled; behind it, color that lags.
        ahead = of_color - of_light
        middle = np.arange(ahead.shape[1]) - (ahead.shape[1] - 1) / 2
        self.spill += float((ahead * -np.sign(middle)).mean(axis=1).sum(dtype=np.float64))
        self.step += float(step.sum(dtype=np.float64))
        self.edges += len(step)

    def value(self) -> float:
        """Mean color, in ab units, that lies on the wrong side within a cell of an edge; NaN where there is no edge."""
        return self.spill / self.edges if self.edges else float("nan")

    def percent(self) -> float:
        """The same as a share of the step of color across the edge."""
        return 100 * self.spill / self.step if self.edges else float("nan")


def _sampled(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # cv2.remap addresses no more than 32,767 rows.
    return cv2.remap(np.ascontiguousarray(plane), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
