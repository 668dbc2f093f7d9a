"""Networks that train in milliseconds, and pictures to train them on. Run as a script, it is `edgecolor` with both."""

import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from edgecolor.models import MODELS

# Networks this small gain nothing from more threads, which on a busy machine wait for each other.
torch.set_num_threads(1)


@dataclass(frozen=True)
class TinyConfig:
    palette: str = "ab313"


class TinyTokens(nn.Module):
    """lightness -> logits (N, h, w, Q) and features, with neither norms nor dropout: batches can be cut exactly."""

    stride, multiple = 4, 32

    def __init__(self):
        super().__init__()
        self.config = TinyConfig()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1)
        )
        self.tokens = nn.Parameter(torch.randn(313, 12) * 0.3)
        self.token_bias = nn.Parameter(torch.zeros(313))

    def forward(self, lightness):
        cells = self.features(lightness / 50 - 1).permute(0, 2, 3, 1)
        return cells @ self.tokens.T + self.token_bias, cells


class TinyDropout(TinyTokens):
    """The same with dropout: exact resume must bring back its random numbers."""

    def forward(self, lightness):
        logits, cells = super().forward(lightness)
        return nn.functional.dropout(logits, 0.1, self.training), cells


class TinyAb(nn.Module):
    """lightness -> ab (N, 2, h, w)."""

    kind, stride, multiple = "regression", 4, 32

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))

    def forward(self, lightness):
        return 110 * torch.tanh(self.net(lightness / 50 - 1))


TINY = {"tiny": TinyTokens, "tiny-dropout": TinyDropout, "tiny-ab": TinyAb}


def crops_of(photograph: np.ndarray, count: int = 12, height: int = 64, width: int = 80) -> list[np.ndarray]:
    """Different parts of a photograph, (height, width, 3) uint8 RGB each."""
    rng = np.random.default_rng(0)
    room = photograph.shape[0] - height, photograph.shape[1] - width
    places = [[int(rng.integers(extent)) for extent in room] for _ in range(count)]
    return [np.ascontiguousarray(photograph[y : y + height, x : x + width]) for y, x in places]


def write_png(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1])


def write_folder(folder: Path, pictures: list[np.ndarray], prefix: str = "photo") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        write_png(folder / f"{prefix}_{i:02d}.png", picture)
    return folder


def write_tar(path: Path, folder: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return path


def write_config(path: Path, source: Path, extra: str = "", kind: str = "folder") -> Path:
    """A run of 8 steps of the tiny model."""
    path.write_text(
        f"model: tiny\nphases: [{{steps: 8, crop: 32, batch: 4}}]\nlog_every: 2\ncheckpoint_every: 2\n"
        f"tensorboard: false\nprior_crops: 50\n"
        f"data:\n  sources: [{{kind: {kind}, path: '{source}'}}]\n  min_chroma: 0\n"
        f"optim: {{warmup_steps: 2, lr: 1.0e-3}}\n{extra}"
    )
    return path


if __name__ == "__main__":
    MODELS.update(TINY)
    from edgecolor.cli import main

    main(sys.argv[1:])
