"""Photographs from WebDataset shards, held decoded in memory, cut into augmented crops.

Small photographs fit: 22,000 of them at a short side of 160 px take 2.3 GB as RGB bytes, and a crop then costs a
fifth of a millisecond, so one thread keeps a small network fed.
"""

import logging
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from edgecolor.color.lab import rgb_to_xyz_matrix, srgb_to_lab, srgb_to_linear
from edgecolor.errors import ConfigError
from edgecolor.train.config import DataConfig

log = logging.getLogger(__name__)

STRIDE = 4  # lightness samples per cell of the token grid, each way
LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255).astype(np.float32)
LUMINANCE = rgb_to_xyz_matrix()[1].astype(np.float32)  # linear RGB to Y


@dataclass
class Batch:
    lightness: Tensor  # (N, 1, h0, w0) float32, L*
    ab: Tensor  # (N, h, w, 2) float32, ab units, at 1/4 of the size


def decode_rgb(data: bytes) -> np.ndarray | None:
    """An encoded picture to (H, W, 3) uint8 RGB, or None where it cannot be decoded."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def chroma_95(rgb: np.ndarray) -> float:
    """95th percentile of sqrt(a^2 + b^2) over a thumbnail, with its mean color taken out: a sepia print scores low."""
    lab = srgb_to_lab(cv2.resize(rgb, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
    ab = lab[..., 1:] - lab[..., 1:].mean(axis=(0, 1)) * 0.5
    return float(np.percentile(np.hypot(ab[..., 0], ab[..., 1]), 95))


class Photographs:
    """All pictures of the shards, in memory, with how often each is drawn."""

    def __init__(self, config: DataConfig):
        import webdataset as wds

        self.pictures: list[np.ndarray] = []
        weights: list[float] = []
        broken = gray = 0
        # Every shard is read once, in order; shuffling happens when crops are drawn.
        samples = wds.WebDataset(expand(config.shards), shardshuffle=False)
        encoded = ((s["__key__"], next(v for k, v in s.items() if not k.startswith("__"))) for s in samples)
        with ThreadPoolExecutor(2) as pool:
            for key, rgb in pool.map(lambda kv: (kv[0], decode_rgb(kv[1])), encoded):
                if rgb is None:
                    broken += 1
                    continue
                weight = config.weights.get(key.rsplit("/", 1)[-1].split("_")[0], 1.0)
                if weight > 0 and chroma_95(rgb) < config.min_chroma:
                    gray += 1
                elif weight > 0:
                    self.pictures.append(rgb)
                    weights.append(weight)
        if not self.pictures:
            raise ConfigError(f"data.shards={config.shards}: no picture left ({broken} unreadable, {gray} near gray)")
        log.info("%d pictures (%d near gray and %d unreadable left out)", len(self.pictures), gray, broken)
        self.config = config
        self.cumulative = np.cumsum(weights) / np.sum(weights)

    def crop(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One random crop: lightness (size, size) and ab (size / 4, size / 4, 2), float32."""
        rgb = self.pictures[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.pictures) - 1)]
        side = max(16, round(min(rgb.shape[:2]) * rng.uniform(*self.config.zoom)))
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in rgb.shape[:2])
        rgb = rgb[top : top + side, left : left + side]
        if rng.random() < 0.5:
            rgb = rgb[:, ::-1]
        shrinks = side > size
        rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        luminance = LINEAR_OF_CODE[rgb] @ LUMINANCE
        lightness = np.maximum(116 * np.cbrt(luminance) - 16, 0)
        if rng.random() < 0.3:
            lightness = 100 * (lightness / 100) ** (1 + rng.uniform(-1, 1) * self.config.gamma)
        small = cv2.resize(rgb, (size // STRIDE, size // STRIDE), interpolation=cv2.INTER_AREA)
        return lightness, srgb_to_lab(small.astype(np.float32) / 255)[..., 1:]

    def batch(self, rng: np.random.Generator, size: int, count: int) -> Batch:
        lightness, ab = zip(*(self.crop(rng, size) for _ in range(count)))
        return Batch(torch.from_numpy(np.stack(lightness)[:, None]), torch.from_numpy(np.stack(ab)))


def expand(pattern: str) -> list[str]:
    """Shard files of a glob or brace pattern, sorted; an error where there are none."""
    import glob

    import braceexpand

    files = [f for part in braceexpand.braceexpand(pattern) for f in sorted(glob.glob(part)) or ([part] * ("://" in part))]
    if not files:
        raise ConfigError(f"data.shards={pattern!r} matches no file")
    return files


def prefetch(make, first: int, last: int, depth: int = 4) -> Iterator[Batch]:
    """make(step) for first <= step < last, computed ahead in one thread; errors in it reach the caller."""
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(item) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def work():
        try:
            for step in range(first, last):
                if not put(make(step)):
                    return
        except BaseException as error:  # handed to the training thread, which raises it
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
