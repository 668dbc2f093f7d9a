"""Tell a scene cut from motion, and from a change of exposure, on thumbnails of the lightness.

A frame starts a scene where nothing that came shortly before explains it: neither the frame before it, moved a little
and with another exposure, nor that on its way from the one before (a dissolve goes on evenly), nor a frame from before
a flash. Frames without contrast (black, white, fog) show nothing that could be compared, so they are looked through.
"""

from collections import deque

import cv2
import numpy as np

from edgecolor.color.resize import shrink

THUMBNAIL = (48, 27)  # width, height: small enough that a moving hand is a few pixels
MARGIN = 4  # px of it by which a whole picture may move from one frame to the next
NOISE = 1.0  # L* units: differences of two nearly flat pictures below it are grain, not content
FLAT = 1.5  # L* units of mean deviation: below it a picture shows nothing
PAST = 4  # frames that may explain one: a flash of three frames ends with the picture from before it
UNRELATED = 0.8  # share of their content that unrelated pictures differ by, mostly
AROUND = np.ones((3, 3), np.uint8)


def thumbnail(lightness: np.ndarray) -> np.ndarray:
    """lightness (h0, w0), L* -> (27, 48) float32, area-averaged."""
    return shrink(lightness, THUMBNAIL[1], THUMBNAIL[0])


def _aligned(before: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The part of a thumbnail that looks most like the inside of the next one, its mean taken off."""
    alike = cv2.matchTemplate(before, inner, cv2.TM_CCOEFF_NORMED)
    _, _, _, (x, y) = cv2.minMaxLoc(alike)
    part = before[y : y + inner.shape[0], x : x + inner.shape[1]]
    return part - part.mean()


def _residual(picture: np.ndarray, explanation: np.ndarray) -> float:
    """Mean difference that remains where each pixel may also be taken from the eight around it."""
    over = picture - cv2.dilate(explanation, AROUND)
    under = cv2.erode(explanation, AROUND) - picture
    return float(np.maximum(np.maximum(over, under), 0).mean())


def _factors(picture: np.ndarray, parts: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """By how much to multiply two parts so that their sum comes closest to a picture; all without their means."""
    aa, ab, bb = (float((p * q).mean()) for p, q in (parts[:1] * 2, parts, parts[1:] * 2))
    ay, by = (float((p * picture).mean()) for p in parts)
    aa, bb = aa + NOISE**2, bb + NOISE**2
    scale = 1 / (aa * bb - ab * ab)
    return (bb * ay - ab * by) * scale, (aa * by - ab * ay) * scale


def _mixed(picture: np.ndarray, parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    first, second = _factors(picture, parts)
    return np.float32(first) * parts[0] + np.float32(second) * parts[1]


def _toned(picture: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A part through the curve, a parabola, that comes closest to a picture: overexposure clips, faded film bends.

    Only as far as the curve rises all the way; one that turns back would make one picture of another.
    """
    unit = max(float(np.abs(part).mean()), 1.0)
    curve = part * part / unit
    steep, bend = _factors(picture, (part, curve - curve.mean()))
    lowest, highest = float(part.min()) / unit, float(part.max()) / unit
    if steep <= 0:
        return _brightened(picture, part)
    # The slope at x is steep + 2 bend x.
    bend = min(max(bend, -steep / (2 * max(highest, 1e-6))), steep / (2 * max(-lowest, 1e-6)))
    curve *= np.float32(bend)
    return np.float32(steep) * part + (curve - curve.mean())


def _brightened(picture: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A part times the factor, within reason, that comes closest to a picture."""
    gain = float((picture * part).mean()) / (float((part * part).mean()) + NOISE**2)
    return part * np.float32(min(max(gain, 0.25), 4.0))


def _explanations(past: list[np.ndarray], inner: np.ndarray, picture: np.ndarray):
    """What the next picture may be, given those before it, the last one first: likely and cheap ones first."""
    last = _aligned(past[0], inner)
    yield _brightened(picture, last)
    yield _toned(picture, last)
    for earlier in past[1:]:
        part = _aligned(earlier, inner)
        yield _mixed(picture, (last, part))  # a dissolve goes on, or a flash ends
        yield _brightened(picture, part)


def unlikeness(before: np.ndarray | list[np.ndarray], after: np.ndarray, enough: float = 0.0) -> float:
    """How little of a thumbnail is explained by the one before it (or several, the last one first).

    enough   stop the search at the first explanation that leaves no more than this
    returns  about 0 (the same picture) to about 1 (an unrelated one)
    """
    inner = after[MARGIN:-MARGIN, MARGIN:-MARGIN]
    picture = inner - inner.mean()
    content = UNRELATED * (float(np.abs(picture).mean()) + NOISE)
    least = 1.0
    for explanation in _explanations(before if isinstance(before, list) else [before], inner, picture):
        least = min(least, _residual(picture, explanation) / content)
        if least <= enough:
            break
    return least


class SceneCuts:
    """Fed with one frame after the other, says which of them starts a new scene.

    threshold  unlikeness above which it does, in (0, 1]
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self._past: deque[np.ndarray] = deque(maxlen=PAST)  # thumbnails of this scene that show something, last first
        self._began = False

    def is_cut(self, lightness: np.ndarray) -> bool:
        """True for the first frame, and where no frame shortly before explains one; lightness is (h0, w0), L*."""
        current = thumbnail(lightness)
        is_first, self._began = not self._began, True
        if float(np.abs(current - current.mean()).mean()) < FLAT:
            return is_first
        is_cut = bool(self._past) and unlikeness(list(self._past), current, self.threshold) > self.threshold
        if is_cut:
            self._past.clear()
        self._past.appendleft(current)
        return is_cut or is_first
