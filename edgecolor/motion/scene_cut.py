"""Tell a scene cut from motion and from a change of exposure, on thumbnails of the lightness."""

import cv2
import numpy as np

THUMBNAIL = (48, 27)  # width, height: small enough that a moving hand is a few pixels
NOISE = 2.0  # L* units: differences of two nearly flat pictures below it are grain, not content


def thumbnail(lightness: np.ndarray) -> np.ndarray:
    """lightness (h0, w0), L* -> (27, 48) float32, area-averaged."""
    return cv2.resize(lightness, THUMBNAIL, interpolation=cv2.INTER_AREA)


def unlikeness(before: np.ndarray, after: np.ndarray) -> float:
    """How little two thumbnails share, about 0 (the same picture) to about 1 (unrelated ones).

    The pictures are compared after the best gain and offset: a flash, a fade or flickering film changes the
    brightness of everything, a cut changes what is there.
    """
    x = before - before.mean()
    y = after - after.mean()
    variance = float((x * x).mean()) + NOISE**2
    gain = min(max(float((x * y).mean()) / variance, 0.25), 4.0)
    residual = np.abs(y - gain * x).mean()
    content = gain * np.abs(x).mean() + np.abs(y).mean() + NOISE
    return float(residual / content)


class SceneCuts:
    """Fed with one frame after the other, says which of them starts a new scene."""

    def __init__(self, threshold: float):
        self.threshold = threshold
        self.previous: np.ndarray | None = None  # thumbnail of the last frame that was asked about

    def is_cut(self, lightness: np.ndarray) -> bool:
        """True for the first frame, and where a frame is unlike the one before; lightness is (h0, w0), L*."""
        current = thumbnail(lightness)
        previous, self.previous = self.previous, current
        return previous is None or unlikeness(previous, current) > self.threshold
