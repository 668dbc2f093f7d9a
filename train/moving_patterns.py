"""A synthetic clip whose motion is known, and how much color a filter leaves behind on it.

A textured disc and a bar cross a textured ground, each at its own speed. Where they were a moment ago the ground
appears anew: color that was kept from before belongs to something else there, and shows as a ghost.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from edgecolor.train.metrics import rgb8_to_lab

WIDTH, HEIGHT = 448, 256  # the size at which the default model looks
RATE = 25  # frames per second
TRAIL = 8  # frames: how long ago a pattern was where its trail is
BESIDE = 31  # px: how far around a trail the ground beside it reaches, twice
PATTERNS = 2
GRAYS_BETWEEN = (66, 150, 208)  # codes between those of the bar, the ground, the sky, and the disc
SEED = 7


def _texture(rng: np.random.Generator, height: int, width: int, mean: float, depth: float, grain: int) -> np.ndarray:
    """Soft blotches about `grain` pixels wide, in gray codes."""
    small = rng.normal(0, 1, (height // grain + 2, width // grain + 2)).astype(np.float32)
    return mean + depth * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


class MovingPatterns:
    """The clip: `frame(i)` for each of `frames`, `covered(i)` where the patterns are, `trail(i)` where they just were.

    speed  px per frame of the disc; the bar goes the other way at half of it
    """

    def __init__(self, frames: int = 20, speed: float = 5.0, width: int = WIDTH, height: int = HEIGHT):
        self.frames, self.speed, self.width, self.height = frames, speed, width, height
        rng = np.random.default_rng(SEED)
        # Below a bright sky a darker ground; a pale disc, a dark bar: what a network gives different colors.
        ground = _texture(rng, height, width, 95, 14, 12) + rng.normal(0, 3, (height, width)).astype(np.float32)
        ground[: height // 2] = _texture(rng, height // 2, width, 190, 6, 40)
        self._ground = ground
        self._disc = _texture(rng, height, width, 225, 10, 8)
        self._bar = _texture(rng, height, width, 40, 12, 6)
        self._places: dict[int, tuple] = {}

    def seconds(self, index: int) -> float:
        return index / RATE

    def _disc_mask(self, moved: float) -> np.ndarray:
        """The disc's share of each pixel after it has come so far."""
        x = np.arange(self.width, dtype=np.float32) - (0.15 * self.width + moved)
        y = np.arange(self.height, dtype=np.float32)[:, None] - 0.62 * self.height
        return np.clip(0.14 * self.height - np.sqrt(x * x + y * y) + 0.5, 0, 1)

    def _bar_mask(self, moved: float) -> np.ndarray:
        x = np.arange(self.width, dtype=np.float32) - (0.9 * self.width + moved)
        mask = np.zeros((self.height, self.width), np.float32)
        mask[int(0.2 * self.height) : int(0.9 * self.height)] = np.clip(0.04 * self.width - np.abs(x) + 0.5, 0, 1)
        return mask

    def _placed(self, index: int) -> tuple[tuple[np.ndarray, float], ...]:
        """Of the disc and the bar at frame `index`: the share of each pixel, and how far it has come."""
        if index not in self._places:
            moves = self.speed * index, -self.speed / 2 * index
            masks = self._disc_mask(moves[0]), self._bar_mask(moves[1])
            self._places[index] = tuple(zip(masks, moves, strict=True))
        return self._places[index]

    def frame(self, index: int) -> np.ndarray:
        """(height, width) uint8 gray."""
        picture = self._ground
        for texture, (mask, moved) in zip((self._bar, self._disc), reversed(self._placed(index)), strict=True):
            shift = np.array([[1, 0, moved], [0, 1, 0]], np.float32)
            carried = cv2.warpAffine(texture, shift, (self.width, self.height), borderMode=cv2.BORDER_WRAP)
            picture = picture * (1 - mask) + carried * mask
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    def covered(self, index: int, pattern: int | None = None) -> np.ndarray:
        """(height, width) bool: any part of the disc (pattern 0), the bar (1), or of either."""
        masks = [mask > 0 for mask, _ in self._placed(index)]
        return masks[0] | masks[1] if pattern is None else masks[pattern]

    def trail(self, index: int, pattern: int | None = None) -> np.ndarray:
        """(height, width) bool: ground where the pattern was at most TRAIL frames ago."""
        was = np.zeros((self.height, self.width), bool)
        for before in range(max(0, index - TRAIL), index):
            was |= self.covered(before, pattern)
        return was & ~self.covered(index)

    def things(self, index: int) -> tuple[np.ndarray, ...]:
        """Where the bar, the ground, the sky and the disc are to be seen, (height, width) bool each."""
        sky = np.arange(self.height)[:, None] < self.height // 2
        free = ~self.covered(index)
        disc = self.covered(index, 0)
        return self.covered(index, 1) & ~disc, free & ~sky, free & sky, disc

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        for index in range(self.frames):
            yield self.frame(index), self.seconds(index)

    def write(self, path: Path) -> Path:
        """Write the clip as a lossless file, its chroma neutral and at full size."""
        import av

        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv444p"
            stream.codec_context.color_range = av.video.reformatter.ColorRange.JPEG
            for index, (gray, _) in enumerate(self):
                neutral = np.full_like(gray, 128)
                frame = av.VideoFrame.from_ndarray(np.stack([gray, neutral, neutral]), format="yuv444p")
                frame.color_range = av.video.reformatter.ColorRange.JPEG
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


class Ghosting:
    """Sets a smoothed coloring of the moving patterns against the one that is made frame by frame."""

    def __init__(self, clip: MovingPatterns):
        self.clip = clip
        self.sizes: list[float] = []
        self.leaks: list[tuple[float, float]] = []  # of each frame and pattern: what leaked, and the contrast

    def add(self, index: int, smoothed: np.ndarray, unsmoothed: np.ndarray) -> None:
        """Both (height, width, 3) uint8 RGB, of frame `index`; the first has no trail yet and does not count."""
        covered, trail = self.clip.covered(index), self.clip.trail(index)
        if not trail.any():
            return
        alone = rgb8_to_lab(unsmoothed)[..., 1:]
        error = rgb8_to_lab(smoothed)[..., 1:] - alone
        self.sizes.append(float(np.linalg.norm(error[covered | trail], axis=-1).mean(dtype=np.float64)))
        for pattern in range(PATTERNS):
            behind = self.clip.trail(index, pattern)
            near = cv2.dilate(behind.astype(np.uint8), np.ones((BESIDE, BESIDE), np.uint8)) > 0
            beside = near & ~covered & ~trail
            if not behind.any() or not beside.any():
                continue
            own = self.clip.covered(index, pattern)
            apart = _mean(alone, own) - _mean(alone, behind)
            contrast = float(np.linalg.norm(apart))
            # What the ground beside the trail has too is flicker taken away, or a slow change of color: no ghost.
            left = _mean(error, behind) - _mean(error, beside)
            self.leaks.append((float(left @ apart) / contrast if contrast else 0.0, contrast))

    def figures(self) -> dict[str, float]:
        """Means over frames, in ab units; NaN where nothing moved.

        ghosting_ab           size of the error on the patterns and their trails; also holds the flicker of the network
                              that smoothing takes away
        ghosting_leak_ab      how far the trails are drawn toward the color of what was there, against the ground
                              beside them: the ghost proper
        ghosting_contrast_ab  how far apart the colors of patterns and trails are: the most that could leak
        """
        size = float(np.mean(self.sizes)) if self.sizes else float("nan")
        leak, contrast = np.mean(self.leaks, axis=0).tolist() if self.leaks else [float("nan")] * 2
        return {"ghosting_ab": size, "ghosting_leak_ab": leak, "ghosting_contrast_ab": contrast}


def _mean(ab: np.ndarray, where: np.ndarray) -> np.ndarray:
    return ab[where].mean(axis=0, dtype=np.float64)
