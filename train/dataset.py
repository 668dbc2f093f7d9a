"""Pictures held decoded in memory, cut into augmented crops.

Small photographs fit: 22,000 of them at a short side of 160 px take 2.3 GB as RGB bytes, and a crop then costs a
fifth of a millisecond, so one thread keeps a small network fed.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from edgecolor.color.lab import EPSILON, KAPPA, rgb_to_xyz_matrix, srgb_to_lab
from edgecolor.errors import ConfigError
from edgecolor.train.clip_metrics import visible_before
from edgecolor.train.config import DataConfig
from edgecolor.train.degrade import Degrade
from edgecolor.train.metrics import LINEAR_OF_CODE
from edgecolor.train.moved_pairs import MovedPair, camera_moved, passed_over
from edgecolor.train.sources import Counts, usable_samples

log = logging.getLogger(__name__)

STRIDE = 4  # lightness samples per cell of the token grid, each way, unless the model says otherwise
LUMINANCE = rgb_to_xyz_matrix()[1].astype(np.float32)  # linear RGB to Y
DEGRADE_STREAM = 1_000_003  # sets the random numbers of moves and old-film effects apart from those of the crops


@dataclass
class Batch:
    lightness: Tensor  # (N, 1, h0, w0) float32, L*
    ab: Tensor  # (N, h, w, 2) float32, ab units, at 1/stride of the size
    previous: Tensor | None = None  # (N, 1, h0, w0), the frame before
    motion: Tensor | None = None  # (N, h, w, 2) float32, (dx, dy) in cells to where each cell was in it
    seen: Tensor | None = None  # (N, h, w) float32, 1 where the frame before shows the same thing
    undamaged: Tensor | None = None  # (N, 1, h0, w0), lightness before it was made to look like old film

    def __len__(self) -> int:
        return len(self.lightness)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(**{name: None if value is None else change(value) for name, value in vars(self).items()})


class Draw(NamedTuple):
    """Where one crop comes from; drawing is cheap, cutting is not."""

    picture: int
    side: int  # pixels of the picture
    top: int
    left: int
    flip: bool
    bend: float  # gamma on lightness


class Photographs:
    """All pictures of the sources, in memory, with how often each is drawn."""

    def __init__(self, config: DataConfig, pairs: bool = False, degrade: Degrade | None = None):
        if not config.sources:
            raise ConfigError("data.sources is empty: name at least one source of pictures")
        self.config, self.pairs, self.degrade = config, pairs, degrade
        self.pictures: list[np.ndarray] = []
        self.previous: dict[int, np.ndarray] = {}
        weights: list[float] = []
        self.counts = Counts()
        for sample, weight in usable_samples(config, self.counts, pairs):
            if sample.previous is not None:
                self.previous[len(self.pictures)] = sample.previous
            self.pictures.append(sample.rgb)
            weights.append(weight)
        if not self.pictures:
            where = ", ".join(source.path for source in config.sources)
            raise ConfigError(f"data.sources leave no picture ({where}; left out: {self.counts})")
        if pairs and not self.previous and not config.shake:
            raise ConfigError("a temporal loss needs pairs of frames: name a video in data.sources, or set data.shake")
        log.info("%d pictures (left out: %s)", len(self.pictures), self.counts)
        self.cumulative = np.cumsum(weights) / np.sum(weights)

    def draw(self, rng: np.random.Generator) -> Draw:
        picture = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.pictures) - 1)
        shape = self.pictures[picture].shape
        side = max(16, round(min(shape[:2]) * rng.uniform(*self.config.zoom)))
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in shape[:2])
        flip = rng.random() < 0.5
        bend = 1 + rng.uniform(-1, 1) * self.config.gamma if rng.random() < 0.3 else 1.0
        return Draw(picture, side, top, left, flip, bend)

    def cut(self, rgb: np.ndarray, draw: Draw, size: int) -> np.ndarray:
        """The crop of a picture: (size, size, 3) uint8."""
        rgb = rgb[draw.top : draw.top + draw.side, draw.left : draw.left + draw.side]
        if draw.flip:
            rgb = rgb[:, ::-1]
        return cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if draw.side > size else cv2.INTER_LINEAR)

    def crop(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One random crop: lightness (size, size) and ab (size / 4, size / 4, 2), float32."""
        draw = self.draw(rng)
        rgb = self.cut(self.pictures[draw.picture], draw, size)
        return bent_lightness(rgb, draw.bend), ab_of(rgb, STRIDE)

    def batch(
        self, seed: tuple[int, ...], size: int, count: int, part: slice = slice(None), stride: int = STRIDE
    ) -> Batch:
        """Random crops.

        seed   with it, the same crops come again
        size   of the crops in pixels; count of them
        part   which of them to cut: processes that share a batch each draw all of it and cut their own part
        """
        rng = np.random.default_rng(seed)
        draws = [self.draw(rng) for _ in range(count)]
        items = [self._item(draws[i], (*seed, DEGRADE_STREAM, i), size, stride) for i in range(count)[part]]
        return Batch(**{name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]})

    def _moved(self, rng: np.random.Generator, draw: Draw, size: int, stride: int) -> MovedPair:
        config, picture = self.config, self.pictures[draw.picture]
        pair = camera_moved(rng, self.cut(picture, draw, size + config.shake), config.shake, stride)
        if rng.random() >= config.passing:
            return pair
        other = self.draw(rng)
        return passed_over(rng, pair, self.cut(self.pictures[other.picture], other, size), stride)

    def _item(self, draw: Draw, seed: tuple[int, ...], size: int, stride: int) -> dict[str, np.ndarray]:
        """A Batch's fields of one crop."""
        rng = np.random.default_rng(seed)
        picture, before = self.pictures[draw.picture], self.previous.get(draw.picture)
        item = {}
        if not self.pairs:
            pair = [self.cut(picture, draw, size)]
        elif before is not None:
            pair = [self.cut(frame, draw, size) for frame in (picture, before)]
        else:
            *pair, item["motion"], item["seen"] = self._moved(rng, draw, size, stride)
        frames = [bent_lightness(rgb, draw.bend) for rgb in pair]
        item["ab"] = ab_of(pair[0], stride)
        if before is not None:
            item["motion"], item["seen"] = motion_in_cells(*frames, stride)
        if self.degrade:
            item["undamaged"] = frames[0][None]
            frames = self.degrade(frames, rng)
        return item | {name: frame[None] for name, frame in zip(("lightness", "previous"), frames, strict=False)}


def bent_lightness(rgb: np.ndarray, bend: float) -> np.ndarray:
    """(H, W, 3) uint8 to L* (H, W) float32, under a gamma curve of that exponent."""
    luminance = LINEAR_OF_CODE[rgb] @ LUMINANCE
    lightness = np.where(luminance > EPSILON, 116 * np.cbrt(luminance) - 16, np.float32(KAPPA) * luminance)
    return lightness if bend == 1 else (100 * (lightness / 100) ** bend).astype(np.float32)


def ab_of(rgb: np.ndarray, stride: int) -> np.ndarray:
    """(H, W, 3) uint8 to the ab of its cells (H / stride, W / stride, 2) float32."""
    cells = rgb.shape[1] // stride, rgb.shape[0] // stride
    small = rgb if stride == 1 else cv2.resize(rgb, cells, interpolation=cv2.INTER_AREA)
    return srgb_to_lab(small.astype(np.float32) / 255)[..., 1:]


def motion_in_cells(lightness: np.ndarray, previous: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Optical flow between two frames of L* (H, W), by cell.

    returns  motion (H / stride, W / stride, 2): (dx, dy) in cells to where each cell was in the previous frame;
             seen (H / stride, W / stride): share of the cell's samples that the previous frame shows
    """
    now, before = (np.clip(frame * 2.55, 0, 255).astype(np.uint8) for frame in (lightness, previous))
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = search.calc(now, before, None)
    visible = visible_before(flow, search.calc(before, now, None)).astype(np.float32)
    cells = lightness.shape[1] // stride, lightness.shape[0] // stride
    motion = cv2.resize(flow, cells, interpolation=cv2.INTER_AREA) / stride
    return motion.astype(np.float32), cv2.resize(visible, cells, interpolation=cv2.INTER_AREA)


def prefetch(make: Callable[[int], Batch], first: int, last: int, depth: int = 4, workers: int = 1) -> Iterator[Batch]:
    """make(step) for first <= step < last, computed ahead in threads, in order; errors in it reach the caller."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    ahead: deque = deque()
    try:
        for step in range(first, last + depth):
            if step < last:
                ahead.append(pool.submit(make, step))
            if step >= first + depth and ahead:
                yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
