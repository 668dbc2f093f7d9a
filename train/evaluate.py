"""Judge a model on photographs: turn each gray, colorize it at full size, compare with the original."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from edgecolor.errors import ConfigError
from edgecolor.train.classifier import Classifier, classifier_crop, classify, load_classifier
from edgecolor.train.distances import frechet_distance, kernel_distance, kernel_distance_interval
from edgecolor.train.metrics import picture_metrics
from edgecolor.train.pictures import read_pictures

EQUAL_PSNR = 100.0  # dB that a picture equal to its original counts in the mean, which infinity would swallow
CLASSIFIER_BATCH = 32
FID_BATCH, FID_SIDE = 16, 299  # pictures are squashed to this square, as every FID tool does
Colorize = Callable[[np.ndarray], np.ndarray]  # (H, W) uint8 gray to (H, W, 3) uint8 RGB
Distance = Callable[[np.ndarray, np.ndarray], float]  # of two (H, W, 3) uint8 pictures
Features = Callable[[np.ndarray], np.ndarray]  # (N, H, W, 3) uint8 to (N, C) float32
Example = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # name, gray (H, W), ours and original (H, W, 3), uint8


@dataclass
class Evaluation:
    """What a model scored on a set of pictures."""

    metrics: dict[str, float]  # means over pictures
    pictures: int
    unreadable: int
    left_out: list[str] = field(default_factory=list)  # metrics that could not be computed, each with the reason
    examples: list[Example] = field(default_factory=list)


def to_gray(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 R'G'B' to the (H, W) uint8 luma of BT.601, as every common tool turns pictures gray."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


class Recognition:
    """Collects what a classifier says about each colored picture and about its original."""

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.waiting: list[np.ndarray] = []  # crops: ours, original, ours, original, ...
        self.labels: list[np.ndarray] = []
        self.features: list[np.ndarray] = []

    def add(self, ours: np.ndarray, original: np.ndarray) -> None:
        self.waiting += [classifier_crop(ours), classifier_crop(original)]
        if len(self.waiting) >= CLASSIFIER_BATCH:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            labels, features = classify(self.classifier, np.stack(self.waiting))
            self.labels.append(labels)
            self.features.append(features)
            self.waiting = []

    def metrics(self) -> dict[str, float]:
        self.flush()
        labels, features = np.concatenate(self.labels), np.concatenate(self.features)
        figures = {"recognition_agreement": float(np.mean(labels[0::2] == labels[1::2]))}
        if len(features) >= 4:  # two pictures: the least that has a pair i != j
            low, high = kernel_distance_interval(features[0::2], features[1::2])
            figures["kernel_distance_x1000"] = 1000 * kernel_distance(features[0::2], features[1::2])
            figures["kernel_distance_x1000_low"], figures["kernel_distance_x1000_high"] = 1000 * low, 1000 * high
        return figures


class Frechet:
    """Collects features of colored pictures and of originals, for FID."""

    def __init__(self, features: Features):
        self.features = features
        self.waiting: list[np.ndarray] = []  # ours, original, ours, original, ...
        self.rows: list[np.ndarray] = []

    def add(self, ours: np.ndarray, original: np.ndarray) -> None:
        for picture in (ours, original):
            self.waiting.append(cv2.resize(picture, (FID_SIDE, FID_SIDE), interpolation=cv2.INTER_AREA))
        if len(self.waiting) >= FID_BATCH:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.rows.append(self.features(np.stack(self.waiting)))
            self.waiting = []

    def value(self) -> float:
        """NaN for fewer than two pictures, which have no covariance."""
        self.flush()
        rows = np.concatenate(self.rows)
        return frechet_distance(rows[0::2], rows[1::2]) if len(rows) >= 4 else float("nan")


def summarize(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over pictures, and the figures that compare the means of ours with those of the originals."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns["psnr"] = np.minimum(columns["psnr"], EQUAL_PSNR)
    known = {name: values[~np.isnan(values)] for name, values in columns.items()}
    means = {name: float(values.mean()) if len(values) else float("nan") for name, values in known.items()}
    for variant in ("colorfulness", "colorfulness_abs"):
        ours, original = columns[variant], columns[f"{variant}_original"]
        means[f"{variant}_percent"] = 100 * float(ours.mean() / original.mean()) if original.any() else float("nan")
        means[f"delta_{variant}"] = float(abs(ours.mean() - original.mean()))  # of the means, as in published tables
        means[f"delta_{variant}_per_picture"] = float(np.abs(ours - original).mean())
    original = means["chroma_original"]
    means["chroma_ratio"] = means["chroma"] / original if original > 0.01 else float("nan")
    return means


def _judged(colorize: Colorize, data, limit: int | None, unreadable: list[str]) -> Iterator[tuple]:
    """name, gray, ours, original, seconds of each readable picture; names of the others go to `unreadable`."""
    for name, original in read_pictures(data, limit):
        if original is None:
            unreadable.append(name)
            continue
        gray = to_gray(original)
        since = time.perf_counter()
        ours = colorize(gray)
        yield name, gray, ours, original, time.perf_counter() - since


def evaluate(
    colorize: Colorize,
    data: str | Path,
    limit: int | None = None,
    classifier: str | Path | None = None,
    examples: int = 0,
    workers: int = 2,
    distance: Distance | None = None,
    features: Features | None = None,
) -> Evaluation:
    """Run `colorize` over the pictures at `data` and compare each with its original, as RGB bytes at full size.

    classifier  ImageNet weights for recognition agreement and kernel distance; without them these are left out
    examples    how many pictures to keep for a contact sheet
    distance    a perceptual distance, reported as lpips
    features    Inception's, for fid
    raises      ConfigError where there is not one readable picture
    """
    result = Evaluation({}, 0, 0)
    recognition = Recognition(load_classifier(classifier)) if classifier else None
    frechet = Frechet(features) if features else None
    distances: list[float] = []
    unreadable: list[str] = []
    rows: list[dict[str, float]] = []
    seconds: list[float] = []
    pending: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for name, gray, ours, original, took in _judged(colorize, data, limit, unreadable):
            pending.append(pool.submit(picture_metrics, ours, original))
            seconds.append(took)
            if recognition:
                recognition.add(ours, original)
            if frechet:
                frechet.add(ours, original)
            if distance:
                distances.append(distance(ours, original))
            if len(result.examples) < examples:
                result.examples.append((name, gray, ours, original))
            while len(pending) > 2 * workers:
                rows.append(pending.popleft().result())
        rows += [future.result() for future in pending]
    if not rows:
        raise ConfigError(f"{data} holds no readable picture ({len(unreadable)} unreadable)")
    result.pictures, result.unreadable = len(rows), len(unreadable)
    result.metrics = {**summarize(rows), "seconds_per_picture": float(np.median(seconds))}
    if distances:
        result.metrics["lpips"] = float(np.mean(distances))
    if frechet:
        result.metrics["fid"] = frechet.value()
    if recognition:
        result.metrics |= recognition.metrics()
    else:
        result.left_out.append("recognition agreement and kernel distance: give a classifier's weights (--classifier)")
    return result
