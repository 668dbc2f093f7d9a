"""How steady the colors of a clip are: CDC and warp error, fed one frame at a time.

Frames are (H, W, 3) uint8 RGB of one size.
"""

from collections import deque

import cv2
import numpy as np

from edgecolor.motion.flow import flows_cancel, warp_by

DILATIONS = (1, 2, 4)  # frames between the two whose histograms are compared


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Divergence of two distributions (n,) that sum to 1, in nats: 0 for equal ones, ln 2 for disjoint ones."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
    return float(terms.sum() / 2)


class ColorDistributionConsistency:
    """CDC: mean divergence of the 256-bin histograms of R, G and B between frames 1, 2 and 4 apart, a third each.

    source  Liu et al., "Temporally Consistent Video Colorization" (TCVC)
    """

    def __init__(self):
        self.past: deque[list[np.ndarray]] = deque(maxlen=max(DILATIONS))
        self.sums = dict.fromkeys(DILATIONS, 0.0)
        self.counts = dict.fromkeys(DILATIONS, 0)

    def add(self, frame: np.ndarray) -> None:
        pixels = frame.shape[0] * frame.shape[1]
        now = [np.bincount(frame[..., channel].ravel(), minlength=256) / pixels for channel in range(3)]
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

    R'G'B' counts in [0, 1]; the flow is measured on the original's gray frames, so it is the same for every model.
    source  Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, with DIS optical flow for FlowNet2
    """

    def __init__(self):
        self.search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.gray: np.ndarray | None = None
        self.frames: list[np.ndarray] = []
        self.errors: list[list[float]] = []

    def add(self, gray: np.ndarray, *frames: np.ndarray) -> None:
        """gray (H, W) uint8, and the frames of each version of the clip to judge."""
        if self.gray is not None:
            flow = self.search.calc(gray, self.gray, None)
            visible = visible_before(flow, self.search.calc(self.gray, gray, None))
            if visible.any():
                pairs = zip(frames, self.frames, strict=True)
                self.errors.append([_error(now, warp_by(before, flow), visible) for now, before in pairs])
        self.gray, self.frames = gray, list(frames)

    def values(self) -> list[float]:
        """The mean over frame pairs, for each version."""
        if not self.errors:
            return [float("nan")] * len(self.frames)
        return [float(value) for value in np.mean(self.errors, axis=0)]


def _error(frame: np.ndarray, before: np.ndarray, visible: np.ndarray) -> float:
    difference = (frame[visible].astype(np.float32) - before[visible]) / 255
    return float((difference**2).mean(dtype=np.float64))
