"""How steady the colors of a clip are: CDC and warp error, fed one frame at a time.

Frames are (H, W, 3) uint8 RGB of one size.
"""

from collections import deque

import cv2
import numpy as np

from edgecolor.motion.flow import flows_cancel, warp_by
from edgecolor.train.metrics import rgb8_to_lab

DILATIONS = (1, 2, 4)  # frames between the two whose histograms are compared
LONGEST_SIDE = 640  # px of the frames whose warp error is measured: color has no finer detail, and flow costs by area


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Divergence of two distributions (n,) that sum to 1, in nats: 0 for equal ones, ln 2 for disjoint ones."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
    return float(terms.sum() / 2)


def histograms(channels: np.ndarray) -> list[np.ndarray]:
    """Share of each of 256 codes in each channel of (H, W, C) uint8: C of (256,)."""
    pixels = channels.shape[0] * channels.shape[1]
    parts = [np.ascontiguousarray(channels[..., channel]) for channel in range(channels.shape[2])]
    return [cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.float64) / pixels for part in parts]


class ColorDistributionConsistency:
    """CDC: mean divergence of the 256-bin histograms of R, G and B between frames 1, 2 and 4 apart, a third each.

    chroma_only  of Cb and Cr (BT.601, full range) instead: CDC of R, G and B also counts what the luma does by itself
    source       Liu et al., "Temporally Consistent Video Colorization" (TCVC)
    """

    def __init__(self, chroma_only: bool = False):
        self.chroma_only = chroma_only
        self.past: deque[list[np.ndarray]] = deque(maxlen=max(DILATIONS))
        self.sums = dict.fromkeys(DILATIONS, 0.0)
        self.counts = dict.fromkeys(DILATIONS, 0)

    def add(self, frame: np.ndarray) -> None:
        now = histograms(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[..., 1:] if self.chroma_only else frame)
        for dilation in DILATIONS:
            if len(self.past) >= dilation:
                then = self.past[-dilation]
                self.sums[dilation] += np.mean([jensen_shannon(p, q) for p, q in zip(then, now, strict=True)])
                self.counts[dilation] += 1
        self.past.append(now)

    def value(self) -> float:
        """NaN for clips of fewer than five frames, which have no pair four apart."""
        if not all(self.counts.values()):
            return float("nan")
        return float(np.mean([self.sums[dilation] / self.counts[dilation] for dilation in DILATIONS]))


def visible_before(flow: np.ndarray, reverse: np.ndarray) -> np.ndarray:
    """Which pixels of this frame were seen in the one before: (H, W) bool.

    flow     (H, W, 2), from this frame to the one before; reverse: from that one to this
    source   Ruder, Dosovitskiy, Brox, GCPR 2016: the two flows must cancel, and borders of motion do not count
    """
    slope = np.zeros(flow.shape[:2], np.float32)
    for channel in range(2):
        gy, gx = np.gradient(flow[..., channel])
        slope += gx**2 + gy**2
    height, width = flow.shape[:2]
    x = np.arange(width) + flow[..., 0]
    y = np.arange(height)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return flows_cancel(flow, reverse) & inside & (slope <= 0.01 * (flow**2).sum(axis=2) + 0.002)


class WarpError:
    """Mean squared difference between a frame and the one before brought to its place, where both show the same thing.

    Of R'G'B' counts in [0, 1], and of ab in ab units; the flow is measured on the original's gray frames, so it is the
    same for every model. Frames with a side above 640 are made smaller by a whole factor first.
    source  Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, with DIS optical flow for FlowNet2
    """

    def __init__(self):
        self.search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.gray: np.ndarray | None = None
        self.pictures: list[np.ndarray] = []  # of each version: R'G'B' in [0, 1] and ab, (H, W, 5) float32
        self.errors: list[list[list[float]]] = []  # of each pair of frames and version: in R'G'B', in ab

    def add(self, gray: np.ndarray, *frames: np.ndarray) -> None:
        """gray (H, W) uint8, and the frames of each version of the clip to judge."""
        gray, frames = _smaller(gray), [_smaller(frame) for frame in frames]
        pictures = [np.dstack([frame.astype(np.float32) / 255, rgb8_to_lab(frame)[..., 1:]]) for frame in frames]
        if self.gray is not None:
            flow = self.search.calc(gray, self.gray, None)
            visible = visible_before(flow, self.search.calc(self.gray, gray, None))
            if visible.any():
                pairs = zip(pictures, self.pictures, strict=True)
                self.errors.append([_errors(now, warp_by(before, flow), visible) for now, before in pairs])
        self.gray, self.pictures = gray, pictures

    def values(self) -> list[float]:
        """The mean over frame pairs in R'G'B', for each version."""
        return [rgb for rgb, _ in self._means()]

    def ab_values(self) -> list[float]:
        """The same in ab."""
        return [ab for _, ab in self._means()]

    def _means(self) -> list[list[float]]:
        if not self.errors:
            return [[float("nan")] * 2 for _ in self.pictures]
        return np.mean(self.errors, axis=0).tolist()


def _smaller(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = -(-max(height, width) // LONGEST_SIDE)
    if factor == 1:
        return picture
    return cv2.resize(picture, (width // factor, height // factor), interpolation=cv2.INTER_AREA)


def _errors(picture: np.ndarray, before: np.ndarray, visible: np.ndarray) -> list[float]:
    squares = ((picture[visible] - before[visible]) ** 2).mean(axis=0, dtype=np.float64)
    return [float(squares[:3].mean()), float(squares[3:].mean())]
