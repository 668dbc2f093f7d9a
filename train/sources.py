"""Every kind of source, as one stream of pictures to train on; the bad ones are counted, not fatal."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edgecolor.errors import ConfigError, MediaError
from edgecolor.train.clips import clip_files, frames_of
from edgecolor.train.config import DataConfig, Source
from edgecolor.train.metrics import rgb8_to_lab
from edgecolor.train.pictures import PICTURE_SUFFIXES, decode_rgb, expand, read_bytes, tar_pictures

log = logging.getLogger(__name__)

LEAST_SIDE = 32  # pixels; smaller pictures are left out
STL10_SIDE, CIFAR_SIDE = 96, 32


@dataclass
class Sample:
    rgb: np.ndarray  # (H, W, 3) uint8
    name: str = ""
    previous: np.ndarray | None = None  # the frame before, same shape, where the source is a video


@dataclass
class Counts:
    """What was left out, and why."""

    unreadable: int = 0
    gray: int = 0  # near gray, or of a single tone
    small: int = 0
    shards: list[str] = field(default_factory=list)  # that end too soon

    def __str__(self) -> str:
        parts = [f"{self.gray} near gray or toned", f"{self.unreadable} unreadable", f"{self.small} too small"]
        if self.shards:
            parts.append(f"the rest of {len(self.shards)} damaged shard(s), first {self.shards[0]}")
        return ", ".join(parts)


def thumbnail_ab(rgb: np.ndarray) -> np.ndarray:
    """(32, 32, 2) float32."""
    return rgb8_to_lab(cv2.resize(rgb, (32, 32), interpolation=cv2.INTER_AREA))[..., 1:]


def tone_spread(rgb: np.ndarray) -> float:
    """Standard deviation of ab across its main direction: near zero for a toned print, however strong its tone is."""
    covariance = np.cov(thumbnail_ab(rgb).reshape(-1, 2), rowvar=False)
    return float(np.sqrt(max(np.linalg.eigvalsh(covariance)[0], 0)))


def chroma_95(rgb: np.ndarray) -> float:
    """95th percentile of chroma over a thumbnail, with half its mean color taken out: a weak tone scores low."""
    ab = thumbnail_ab(rgb)
    ab = ab - ab.mean(axis=(0, 1)) * 0.5
    return float(np.percentile(np.hypot(ab[..., 0], ab[..., 1]), 95))


def shrink_to(rgb: np.ndarray, short_side: int) -> np.ndarray:
    scale = short_side / min(rgb.shape[:2])
    if not short_side or scale >= 1:
        return rgb
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def samples_of(source: Source, counts: Counts, pairs: bool) -> Iterator[Sample]:
    """Every picture of one source, as it lies there. raises ConfigError where the source is empty or missing"""
    if source.kind == "video":
        yield from _video(source, counts, pairs)
    elif source.kind in ("stl10", "cifar10"):
        yield from (_stl10 if source.kind == "stl10" else _cifar10)(source.path)
    else:
        encoded = _shards(source.path, counts) if source.kind == "shards" else _folder(source.path)
        # Decoding releases the interpreter lock; map keeps the order.
        with ThreadPoolExecutor(2) as pool:
            for name, rgb in pool.map(lambda item: (item[0], decode_rgb(item[1]())), encoded):
                if rgb is None:
                    counts.unreadable += 1
                else:
                    yield Sample(rgb, name)


def _shards(pattern: str, counts: Counts) -> Iterator[tuple[str, Callable[[], bytes]]]:
    shards = expand(pattern)
    if not shards:
        raise ConfigError(f"data.sources: {pattern} matches no file")
    for shard in shards:
        found = 0
        try:
            for name, data in tar_pictures(shard):
                found += 1
                yield name, lambda data=data: data
        except MediaError as error:
            if not found:
                raise
            log.warning("%s; its first %d pictures are used", error, found)
            counts.shards.append(shard)
        if not found:
            raise ConfigError(f"data.sources: {shard} holds no picture ({', '.join(PICTURE_SUFFIXES)})")


def _folder(path: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"data.sources: {path} is no folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise ConfigError(f"data.sources: {path} holds no picture ({', '.join(PICTURE_SUFFIXES)})")
    return ((str(file), partial(read_bytes, file)) for file in files)


def _binary_files(path: str, pattern: str) -> list[Path]:
    where = Path(path)
    files = sorted(where.rglob(pattern)) if where.is_dir() else [where] if where.is_file() else []
    if not files:
        raise ConfigError(f"data.sources: {path} is no file, nor a folder with {pattern}: get the binary version")
    return files


def _rows(file: Path, size: int) -> np.ndarray:
    data = np.fromfile(file, np.uint8)
    if not len(data) or len(data) % size:
        raise ConfigError(f"data.sources: {file} holds {len(data)} bytes, no multiple of {size}: get it again")
    return data.reshape(-1, size)


def _stl10(path: str) -> Iterator[Sample]:
    """unlabeled_X.bin and train_X.bin: 3 x 96 x 96 bytes for each picture, every channel column by column."""
    for file in _binary_files(path, "*_X.bin"):
        for i, row in enumerate(_rows(file, 3 * STL10_SIDE**2)):
            planes = row.reshape(3, STL10_SIDE, STL10_SIDE)
            yield Sample(np.ascontiguousarray(planes.transpose(2, 1, 0)), f"stl10_{file.stem}_{i}")


def _cifar10(path: str) -> Iterator[Sample]:
    """data_batch_1.bin and so on: a label, then 3 x 32 x 32 bytes, row by row."""
    for file in _binary_files(path, "*_batch*.bin"):
        for i, row in enumerate(_rows(file, 1 + 3 * CIFAR_SIDE**2)):
            planes = row[1:].reshape(3, CIFAR_SIDE, CIFAR_SIDE)
            yield Sample(np.ascontiguousarray(planes.transpose(1, 2, 0)), f"cifar10_{file.stem}_{i}")


def _video(source: Source, counts: Counts, pairs: bool) -> Iterator[Sample]:
    files = clip_files(source.path)
    if not files or not all(file.exists() for file in files):
        raise ConfigError(f"data.sources: {source.path} is no clip and no folder with clips")
    for file in files:
        before = None
        try:
            for i, (rgb, _) in enumerate(frames_of(file)):
                if i % source.every == (1 if pairs else 0) % source.every:
                    yield Sample(rgb, f"{file.stem}_{i}", before if pairs else None)
                before = rgb
        except MediaError as error:
            log.warning("%s", error)
            counts.unreadable += 1


def usable_samples(config: DataConfig, counts: Counts, pairs: bool = False) -> Iterator[tuple[Sample, float]]:
    """Each picture that is worth training on, at its size in memory, with how often it is drawn."""
    for source in config.sources:
        if source.weight == 0:
            continue
        for sample in samples_of(source, counts, pairs):
            prefix = sample.name.rsplit("/", 1)[-1].split("_")[0]
            weight = source.weight * config.weights.get(prefix, 1.0)
            if weight == 0:
                continue
            if min(sample.rgb.shape[:2]) < LEAST_SIDE:
                counts.small += 1
                continue
            sample.rgb = shrink_to(sample.rgb, config.short_side)
            gray = config.min_chroma and chroma_95(sample.rgb) < config.min_chroma
            if gray or (config.min_spread and tone_spread(sample.rgb) < config.min_spread):
                counts.gray += 1
                continue
            if sample.previous is not None:
                sample.previous = shrink_to(sample.previous, config.short_side)
            yield sample, weight
