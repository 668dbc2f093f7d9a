"""Fit the color tokens to a data set: how often each occurs, how much each should weigh, which occur at all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecolor.color.lab import lab_to_srgb
from edgecolor.color.tokens import STEP, palette, rebalancing_weights
from edgecolor.errors import ConfigError, MediaError
from edgecolor.train.clips import CLIP_SUFFIXES
from edgecolor.train.config import DataConfig, Source, load_config
from edgecolor.train.dataset import Photographs
from edgecolor.train.prior import token_prior
from edgecolor.train.report import save_picture

GRID = 23  # bins each way, a and b from -110 to 110
CELL = 26  # pixels of a bin in the pictures
GAMUT_LIGHTNESS = 55.0  # L* at which the bins are drawn; where a color does not exist there, the nearest that does


@dataclass(frozen=True)
class Fit:
    palette: str
    prior: np.ndarray  # (Q,) float64, sums to 1
    weights: np.ndarray  # (Q,) float64, mean 1 under the prior
    counts: np.ndarray  # (23, 23) int64, cells of the data by their nearest grid point, indexed a, b from -110
    pictures: int

    @property
    def centers(self) -> np.ndarray:
        return palette(self.palette).centers

    @property
    def in_gamut(self) -> np.ndarray:
        """The grid points that the data reaches, (n, 2) float32, sorted by a, then b: the data set's own palette."""
        return ((np.argwhere(self.counts > 0) - GRID // 2) * STEP).astype(np.float32)

    def summary(self) -> dict:
        known = {tuple(center) for center in self.centers.tolist()}
        return {
            "palette": self.palette,
            "pictures": self.pictures,
            "prior_min": float(self.prior.min()),
            "prior_max": float(self.prior.max()),
            "most_common": [float(value) for value in self.centers[self.prior.argmax()]],
            "weight_min": float(self.weights.min()),
            "weight_max": float(self.weights.max()),
            "bins_in_data": len(self.in_gamut),
            "bins_outside_palette": sum(tuple(center) not in known for center in self.in_gamut.tolist()),
        }


def data_config(data: list[str]) -> DataConfig:
    """What the command line names, as sources: folders, shards, clips, or the data of one training config."""
    if len(data) == 1 and data[0].endswith((".yaml", ".yml")):
        return load_config(data[0]).data

    def source(where: str) -> Source:
        if where.lower().endswith(CLIP_SUFFIXES):
            return Source(where, "video")
        return Source(where, "folder" if Path(where).is_dir() else "shards")

    return DataConfig(sources=tuple(source(where) for where in data))


def fit(
    data: list[str],
    palette_name: str = "ab313",
    uniform: float = 0.5,
    neighbours: int = 5,
    sigma: float = 5.0,
    crops: int = 4000,
    seed: int = 0,
) -> Fit:
    """Count tokens over random crops. raises ConfigError for unknown palettes, impossible values, empty data"""
    if sigma <= 0:
        raise ConfigError(f"sigma is a width in ab units, above 0, got {sigma}")
    colors = palette(palette_name)
    rebalancing_weights(np.full(len(colors), 1 / len(colors)), uniform)  # refuses an impossible lambda before the work
    photographs = Photographs(data_config(data))
    prior = token_prior(photographs, colors, crops, seed, neighbours, sigma)
    rng = np.random.default_rng(seed)
    counts = np.zeros((GRID, GRID), np.int64)
    for _ in range(crops):
        _, ab = photographs.crop(rng, 32)
        a, b = np.clip(np.round(ab.reshape(-1, 2) / STEP).astype(int) + GRID // 2, 0, GRID - 1).T
        np.add.at(counts, (a, b), 1)
    return Fit(palette_name, prior, rebalancing_weights(prior, uniform), counts, len(photographs.pictures))


def write_fit(fit: Fit, folder: Path) -> list[Path]:
    """Write prior.npy, weights.npy, palette.npy (the grid points in the data), gamut.png and prior.png."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"prior": fit.prior, "weights": fit.weights, "palette": fit.in_gamut}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    except OSError as error:
        raise MediaError(f"{folder} cannot be written to ({error.strerror}): choose another --out") from error
    save_picture(folder / "gamut.png", gamut_picture(fit))
    save_picture(folder / "prior.png", prior_picture(fit))
    return [folder / name for name in ("prior.npy", "weights.npy", "palette.npy", "gamut.png", "prior.png")]


def _bin_colors() -> np.ndarray:
    """The color of each grid point, (23, 23, 3) uint8, indexed a, b; chroma shrunk where no such color exists."""
    axis = (np.arange(GRID) - GRID // 2) * float(STEP)
    ab = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    colors = np.zeros((GRID, GRID, 3))
    for share in np.linspace(0, 1, 51):  # the largest share of the chroma that is still in gamut stays
        rgb = lab_to_srgb(np.concatenate([np.full((GRID, GRID, 1), GAMUT_LIGHTNESS), ab * share], axis=-1))
        inside = ((rgb >= -1e-6) & (rgb <= 1 + 1e-6)).all(axis=-1)
        colors[inside] = rgb[inside]
    return np.round(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def _draw(cells: np.ndarray) -> np.ndarray:
    """Enlarge (23, 23, 3) indexed a, b to a picture with a to the right and b upward, and a line between bins."""
    picture = np.kron(cells.transpose(1, 0, 2)[::-1], np.ones((CELL, CELL, 1), np.uint8))
    picture[::CELL] = picture[:, ::CELL] = 40
    return picture


def _places(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    places = (fit.centers / STEP).astype(int) + GRID // 2
    return places[:, 0], places[:, 1]


def gamut_picture(fit: Fit) -> np.ndarray:
    """The bins in their colors: those of the palette that the data reaches are full, those it does not reach are dim,
    and grid points of the data outside the palette have a white dot."""
    colors = _bin_colors()
    in_palette = np.zeros((GRID, GRID), bool)
    in_palette[_places(fit)] = True
    reached = fit.counts > 0
    shown = np.where(in_palette[..., None], np.where(reached[..., None], colors, colors // 3), 16).astype(np.uint8)
    picture = _draw(shown)
    for a, b in np.argwhere(reached & ~in_palette):
        row, column = (GRID - 1 - b) * CELL + CELL // 2, a * CELL + CELL // 2
        picture[row - 3 : row + 4, column - 3 : column + 4] = 255
    return picture


def prior_picture(fit: Fit) -> np.ndarray:
    """How often each token occurs, on a logarithmic scale: white for the most common, black for one that never does."""
    level = np.zeros((GRID, GRID))
    log_prior = np.log10(np.maximum(fit.prior, 1e-9))
    span = max(float(log_prior.max() - log_prior.min()), 1e-9)
    level[_places(fit)] = 0.12 + 0.88 * (log_prior - log_prior.min()) / span
    return _draw(np.repeat(np.round(level * 255).astype(np.uint8)[..., None], 3, axis=2))
