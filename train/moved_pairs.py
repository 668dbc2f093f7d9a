"""Two frames made of one still picture, between which everything's motion is known.

The camera moves, and now and then a piece of another picture passes over: what is beside it shows the same ground
with and without it, which a network should give the same colors.
"""

from typing import NamedTuple

import cv2
import numpy as np

from edgecolor.motion.flow import ends, warp_by

HALF_AXES = (0.06, 0.35)  # of a passing thing, as a share of the picture's side
BUMPS = 0.25  # how far its outline leaves the ellipse, as a share of its radius
CORNERS = 48
FULL, NONE = 0.999, 0.001  # share of a cell from which on, and up to which, it counts as all or nothing


class MovedPair(NamedTuple):
    now: np.ndarray  # (size, size, 3) uint8
    before: np.ndarray  # the same
    motion: np.ndarray  # (cells, cells, 2) float32, (dx, dy) in cells to where each cell was in the frame before
    seen: np.ndarray  # (cells, cells) float32, 1 where the frame before shows the same thing


def camera_moved(rng: np.random.Generator, picture: np.ndarray, shake: int, stride: int) -> MovedPair:
    """A still picture as a frame and the one before it, between which the camera moved.

    picture  (size + shake, size + shake, 3) uint8; shake 0 gives two equal frames of which nothing counts as seen
    """
    size = len(picture) - shake
    places = rng.integers(0, shake + 1, (2, 2))  # of both frames in the picture, (y, x)
    now, before = (picture[y : y + size, x : x + size] for y, x in places)
    moved = ((places[0] - places[1]) / stride).astype(np.float32)
    motion = np.broadcast_to(moved[::-1], (size // stride, size // stride, 2)).copy()
    return MovedPair(now, before, motion, (_inside(motion) & (shake > 0)).astype(np.float32))


def passed_over(rng: np.random.Generator, pair: MovedPair, other: np.ndarray, stride: int) -> MovedPair:
    """The pair with a piece of another picture in front, anywhere in each frame, also half outside.

    other  (size, size, 3) uint8
    """
    size = len(other)
    outline = _outline(rng, size)
    centers = rng.integers(0, size + 1, (2, 2))  # (x, y), now and before
    (now, share), (before, share_before) = (
        _laid_over(frame, other, outline, center) for frame, center in zip(pair[:2], centers, strict=True)
    )
    cells = size // stride
    share, share_before = (cv2.resize(s, (cells, cells), interpolation=cv2.INTER_AREA) for s in (share, share_before))
    is_thing = share > 0.5
    moved = ((centers[1] - centers[0]) / stride).astype(np.float32)
    motion = np.where(is_thing[..., None], moved, pair.motion).astype(np.float32)
    was = warp_by(share_before, motion)
    same = np.where(is_thing, (share > FULL) & (was > FULL), (share < NONE) & (was < NONE) & (pair.seen > 0))
    return MovedPair(now, before, motion, (same & _inside(motion)).astype(np.float32))


def _outline(rng: np.random.Generator, size: int) -> np.ndarray:
    """A bent ellipse about the origin: (CORNERS, 2) float32, pixels."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    heights = rng.uniform(-1, 1, (4, 1)) * BUMPS / (waves - 1)
    radius = 1 + (heights * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (4, 1)))).sum(axis=0)
    a, b = size * np.exp(rng.uniform(*np.log(HALF_AXES), 2))
    x, y = a * radius * np.cos(angle), b * radius * np.sin(angle)
    turn = rng.uniform(0, np.pi)
    turned = (x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn))
    return np.stack(turned, axis=-1).astype(np.float32)


def _laid_over(
    frame: np.ndarray, other: np.ndarray, outline: np.ndarray, center: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`frame` with what of `other` the outline holds in front, its middle at `center`; and its share of each pixel."""
    size = len(other)
    share = np.zeros((size, size), np.uint8)
    cv2.fillPoly(share, [np.rint((outline + center) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    share = share.astype(np.float32) / 255
    shift = np.float32([[1, 0, center[0] - size // 2], [0, 1, center[1] - size // 2]])
    carried = cv2.warpAffine(other, shift, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    laid = frame + (carried.astype(np.float32) - frame) * share[..., None]
    return np.rint(laid).astype(np.uint8), share


def _inside(motion: np.ndarray) -> np.ndarray:
    """(cells, cells) bool: whether what is there was inside the frame before."""
    x, y = ends(motion)
    return (np.minimum(x, y) >= 0) & (np.maximum(x, y) <= len(motion) - 1)
