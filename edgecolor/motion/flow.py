"""Optical flow between frames at the working size, and how far it can be trusted.

DIS flow (Kroeger et al., ECCV 2016) as OpenCV has it, on lightness whose mean and contrast are made equal first: a
flash, a fade or flickering film changes both frames' brightness and moves nothing.
"""

from typing import NamedTuple

import cv2
import numpy as np

CONTRAST = 48.0  # gray codes that one standard deviation becomes
LEAST_DEVIATION = 4.0  # L* units: what is flatter is mostly grain, which is not to be blown up
SAME_LIGHTNESS = 12.0  # gray codes, after a blur: below it two places look alike
BLUR = (5, 5)  # against grain


def search_picture(lightness: np.ndarray) -> np.ndarray:
    """lightness (h0, w0), L* -> (h0 / 2, w0 / 2) uint8 of standard mean and contrast, to search motion in.

    Half the working size is enough for cells of four pixels, and takes a quarter of the time.
    """
    half = cv2.resize(lightness, (lightness.shape[1] // 2, lightness.shape[0] // 2), interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(half)
    gain = CONTRAST / max(float(deviation[0, 0]), LEAST_DEVIATION)
    return cv2.convertScaleAbs(cv2.max(half * gain + (128.0 - gain * float(mean[0, 0])), 0.0))


def warp_by(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """picture (H, W[, C]) sampled at (x, y) + flow (H, W, 2), bilinearly, clamped to the border."""
    return cv2.remap(picture, *ends(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def ends(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y, (H, W) each, of where flow (H, W, 2) leads from every place."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def exposure(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Gain and offset that turn most of one picture, (H, W) uint8, into the other, whatever became of the rest.

    Least squares over the half that fits best, found in three steps. Equal mean and contrast of whole pictures would
    not do: something bright that enters changes both.
    """
    x, y = (picture[::4, ::4].ravel().astype(np.float32) for picture in (before, after))
    half = x.size // 2
    gain, offset = 1.0, float(np.partition(y - x, half)[half])
    for _ in range(3):
        misfit = np.abs(y - gain * x - offset)
        fits = misfit <= np.partition(misfit, half)[half]
        a, b = x[fits], y[fits]
        mean = a.mean()
        deviation = a - mean
        gain = float((deviation @ (b - b.mean()) + a.size) / (deviation @ deviation + a.size))  # 1 where all is flat
        offset = float(b.mean() - gain * mean)
    return gain, offset


def flows_cancel(flow: np.ndarray, reverse: np.ndarray) -> np.ndarray:
    """Where going along flow and back along reverse, both (H, W, 2) in pixels, ends where it began: (H, W) bool.

    source  Ruder, Dosovitskiy, Brox, GCPR 2016
    """
    back = warp_by(reverse, flow)
    return _squared(flow + back) <= 0.01 * (_squared(flow) + _squared(back)) + 0.5


def _squared(flow: np.ndarray) -> np.ndarray:
    """Squared lengths; channel by channel, a tenth of the time of a sum over the last axis."""
    x, y = cv2.split(flow)
    return x * x + y * y


class Motion(NamedTuple):
    """From one frame to another, by cell of the token grid.

    cells  (h, w, 2) float32: (dx, dy) in cells to where each cell is in the other frame
    shown  (h, w) float32 in [0, 1]: how much of the cell the other frame shows too
    """

    cells: np.ndarray
    shown: np.ndarray


class Flow:
    """Searches motion between two frames, each as search_picture gives it.

    h, w  of the token grid
    """

    def __init__(self, h: int, w: int):
        self._grid = (w, h)
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._search.setFinestScale(1)  # half of the pictures' size: as fine as the cells
        self._search.setVariationalRefinementIterations(0)  # half the time, and finds as much

    def towards(self, this: np.ndarray, other: np.ndarray) -> Motion:
        """Motion from this frame to the other; what looks alike there counts as shown."""
        return self._motion(self._search.calc(this, other, None), cv2.blur(this, BLUR), cv2.blur(other, BLUR))

    def checked(self, this: np.ndarray, other: np.ndarray, cells: np.ndarray) -> Motion:
        """Motion that was found elsewhere, (h, w, 2) in cells from this frame to the other; shown: what it explains."""
        height, width = this.shape
        flow = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(width / self._grid[0])
        return self._motion(flow, cv2.blur(this, BLUR), cv2.blur(other, BLUR))

    def both(self, this: np.ndarray, other: np.ndarray) -> tuple[Motion, Motion]:
        """Motion from this frame to the other, and back: shown is only where the two also cancel."""
        there, back = self._search.calc(this, other, None), self._search.calc(other, this, None)
        cancelled = flows_cancel(there, back), flows_cancel(back, there)
        this, other = cv2.blur(this, BLUR), cv2.blur(other, BLUR)
        return self._motion(there, this, other, cancelled[0]), self._motion(back, other, this, cancelled[1])

    def _motion(self, flow: np.ndarray, this: np.ndarray, other: np.ndarray, among: np.ndarray | None = None) -> Motion:
        """flow (H, W, 2) in pixels between two blurred frames -> motion of cells.

        On a flat sky under grain the flow is noise: what looks as it does in the same place is shown too, as unmoved.
        """
        height, width = this.shape
        x, y = ends(flow)
        found = (x > -1) & (x < width) & (y > -1) & (y < height)
        moved = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        gain, offset = exposure(moved, this)
        found &= cv2.absdiff(this, cv2.addWeighted(moved, gain, moved, 0, offset)) < SAME_LIGHTNESS
        if among is not None:
            found &= among
        unchanged = cv2.absdiff(this, cv2.addWeighted(other, gain, other, 0, offset)) < SAME_LIGHTNESS / 2
        flow[unchanged & ~found] = 0
        shown = cv2.resize((found | unchanged).astype(np.float32), self._grid, interpolation=cv2.INTER_AREA)
        cells = cv2.resize(flow, self._grid, interpolation=cv2.INTER_AREA)
        return Motion(cells * np.float32(self._grid[0] / width), shown)
