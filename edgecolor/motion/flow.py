"""Optical flow between frames at the working size, and how far it can be trusted.

DIS flow (Kroeger et al., ECCV 2016) as OpenCV has it, on lightness whose mean and contrast are made equal first: a
flash, a fade or flickering film changes both frames' brightness and moves nothing.
"""

import cv2
import numpy as np

CONTRAST = 48.0  # gray codes that one standard deviation becomes
LEAST_DEVIATION = 4.0  # L* units: what is flatter is mostly grain, which is not to be blown up
SAME_LIGHTNESS = 12.0  # gray codes, after a blur: below it two places look alike


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
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def flows_cancel(flow: np.ndarray, reverse: np.ndarray) -> np.ndarray:
    """Where going along flow and back along reverse, both (H, W, 2) in pixels, ends where it began: (H, W) bool.

    source  Ruder, Dosovitskiy, Brox, GCPR 2016
    """
    back = warp_by(reverse, flow)
    squares = (flow * flow).sum(axis=2) + (back * back).sum(axis=2)
    return ((flow + back) ** 2).sum(axis=2) <= 0.01 * squares + 0.5


class Flow:
    """Motion from one frame to another, by cell of the token grid.

    h, w  of the grid
    """

    def __init__(self, h: int, w: int):
        self._grid = (w, h)
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._search.setFinestScale(1)  # half of the pictures' size: as fine as the cells

    def motion(self, now: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Where each cell was: (h, w, 2) float32, (dx, dy) in cells. Both frames as search_picture gives them."""
        return self._cells(self._search.calc(now, before, None))

    def trusted(self, now: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Motion, and for each cell the share of it, (h, w) float32 in [0, 1], that the frame before shows too.

        A pixel counts where the flow forth and back cancel and it looks as it did there. On a flat sky under grain the
        flow is noise: what looks as it did in the same place counts too, as unmoved.
        """
        flow = self._search.calc(now, before, None)
        shown = flows_cancel(flow, self._search.calc(before, now, None))
        now, before = cv2.blur(now, (5, 5)), cv2.blur(before, (5, 5))
        alike = cv2.absdiff(now, warp_by(before, flow)) < SAME_LIGHTNESS
        unchanged = cv2.absdiff(now, before) < SAME_LIGHTNESS / 2
        height, width = now.shape
        x = np.arange(width) + flow[..., 0]
        y = np.arange(height)[:, None] + flow[..., 1]
        inside = (x > -1) & (x < width) & (y > -1) & (y < height)
        found = inside & alike & shown
        flow[unchanged & ~found] = 0
        known = (found | unchanged).astype(np.float32)
        return self._cells(flow), cv2.resize(known, self._grid, interpolation=cv2.INTER_AREA)

    def _cells(self, flow: np.ndarray) -> np.ndarray:
        cells = cv2.resize(flow, self._grid, interpolation=cv2.INTER_AREA)
        return cells * np.float32(self._grid[0] / flow.shape[1])
