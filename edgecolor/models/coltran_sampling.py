"""Draw color codes pixel by pixel. What has been computed is kept: keys and values of the places seen, what the rows
above say, what gray says. So a picture takes about as many operations as one pass of training over it.
"""

import numpy as np
import torch
from torch import Tensor

from edgecolor.errors import ConfigError
from edgecolor.models.coltran_axial import COLUMN, Cache, of_lanes
from edgecolor.models.coltran_colorizer import Colorizer

MODES = ("sample", "argmax", "parallel")


class CachedSteps:
    """Logits pixel by pixel, in reading order; every row begins with `start_row`.

    z  (N, H, W, C), of Colorizer.encode
    """

    def __init__(self, colorizer: Colorizer, z: Tensor):
        self.net, self.z = colorizer, z
        n, width = z.shape[0], z.shape[2]
        outer, inner = colorizer.outer.blocks, colorizer.inner.blocks
        self.outer_norms = [block.norm_conditions(z) for block in outer]
        self.inner_norms = [of_lanes(block.norm_conditions(z)) for block in inner]
        self.columns = {b: Cache(b.attention, n * width, z) for b in outer if b.attention.axis == COLUMN}
        self.row = [Cache(block.attention, n, z) for block in inner]  # each row writes over the one before

    def _of_row_above(self, row: int, codes: Tensor) -> Tensor:
        """What the outer decoder says of the last finished row to the next: (N, 1, W, C)."""
        if row == 0:
            return torch.zeros_like(self.z[:, :1])
        above = slice(row - 1, row)
        outer, z = self.net.outer, self.z[:, above]
        x = self.net.colors(codes[:, above]) + outer.position.of_row(row - 1)
        for block, norms in zip(outer.blocks, self.outer_norms, strict=True):
            conditions = block.conditions(z)
            if block in self.columns:
                of_row = conditions.unbind(1)[0]
                x = block.step(x[:, 0], row - 1, self.columns[block], of_row, of_lanes(norms))[:, None]
            else:
                x = block(x, conditions, norms)
        return x

    def start_row(self, row: int, codes: Tensor) -> None:
        """codes (N, H, W), final above the row"""
        z, upper, inner = self.z[:, row : row + 1], self._of_row_above(row, codes), self.net.inner
        context = torch.cat([z, upper], dim=-1)
        self.known = ((z + upper) + inner.position.of_row(row)).unbind(2)  # of each column, (N, 1, C)
        self.conditions = [block.conditions(context).unbind(2) for block in inner.blocks]

    def logits(self, row: int, column: int, codes: Tensor) -> Tensor:
        """(N, 512) of the next pixel; codes (N, H, W), final before it"""
        x = self.known[column]
        if column:
            x = x + self.net.colors(codes[:, row, column - 1 : column])
        parts = zip(self.net.inner.blocks, self.row, self.conditions, self.inner_norms, strict=True)
        for block, cache, conditions, norms in parts:
            x = block.step(x, column, cache, conditions[column], norms)
        return self.net.head(self.net.norm(x))[:, 0]


class RecomputedSteps:
    """The same without keeping anything but z: the outer decoder on the whole picture for every row, the inner one on
    the whole picture's rows for every pixel of its row. The measure of CachedSteps."""

    def __init__(self, colorizer: Colorizer, z: Tensor):
        self.net, self.z = colorizer, z

    def start_row(self, row: int, codes: Tensor) -> None:
        self.upper = self.net.outer(self.net.colors(codes), self.z)[:, row : row + 1]
        self.norms = [block.norm_conditions(self.z) for block in self.net.inner.blocks]

    def logits(self, row: int, column: int, codes: Tensor) -> Tensor:
        z = self.z[:, row : row + 1]
        inner = self.net.inner
        colors = self.net.colors(codes[:, row : row + 1])
        x = torch.cat([torch.zeros_like(colors[:, :, :1]), colors[:, :, :-1]], dim=2)
        x = x + z + self.upper + inner.position.of_row(row)
        context = torch.cat([z, self.upper], dim=-1)
        for block, norms in zip(inner.blocks, self.norms, strict=True):
            x = block(x, block.conditions(context), norms)
        return self.net.head(self.net.norm(x))[:, 0, column]


def noise_of(seed: int, sample: int, pixels: int) -> np.ndarray:
    """The random numbers in [0, 1) of one sample, (pixels,) float64. Neither the batch nor the picture enters, so a
    picture gets the same colors whatever it is sampled beside, and on whatever machine."""
    return np.random.default_rng((seed, sample)).random(pixels)


def drawn(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Codes (N,) from logits (N, Q), by where noise (N,) falls in the running sum of the probabilities."""
    sums = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    return torch.searchsorted(sums, noise[:, None] * sums[:, -1:], right=True)[:, 0].clamp_max(logits.shape[-1] - 1)


def check_mode(mode: str, temperature: float, samples: int) -> None:
    """raises ConfigError"""
    if mode not in MODES:
        raise ConfigError(f"mode cannot be {mode!r}: known are {', '.join(MODES)}")
    if not 0 < temperature <= 1:
        raise ConfigError(f"temperature must lie in (0, 1], got {temperature:g}")
    if samples < 1 or (samples > 1 and mode != "sample"):
        raise ConfigError(f"{samples} samples: mode sample gives any number from 1 on, {mode} one")


@torch.no_grad()
def sample_codes(
    colorizer: Colorizer,
    gray: Tensor,
    mode: str = "sample",
    *,
    seed: int = 0,
    samples: int = 1,
    first_sample: int = 0,
    temperature: float = 1.0,
    steps: type = CachedSteps,
) -> Tensor:
    """Color codes of pictures.

    gray         (N, H, W) int64, 0 to 255
    mode         sample: draw each pixel; argmax: its most probable code; parallel: all pixels at once from gray alone
    seed         of mode sample; samples of each picture, numbered from first_sample on
    temperature  divides the logits of mode sample; in (0, 1]
    returns      (N, samples, H, W) int64, 0 to 511
    raises       ConfigError, ShapeError (not the size that the colorizer is for)
    """
    check_mode(mode, temperature, samples)
    if mode == "parallel":
        return colorizer.parallel_logits(gray).argmax(dim=-1)[:, None]
    z = colorizer.encode(gray).repeat_interleave(samples, dim=0)
    n, height, width = z.shape[:3]
    numbers = [noise_of(seed, first_sample + i, height * width) for i in range(samples)]
    noise = torch.from_numpy(np.stack(numbers)).to(z.device).repeat(len(gray), 1).view(n, height, width)
    codes = torch.zeros(n, height, width, dtype=torch.int64, device=z.device)
    stepper = steps(colorizer, z)
    for row in range(height):
        stepper.start_row(row, codes)
        for column in range(width):
            logits = stepper.logits(row, column, codes)
            pick = logits.argmax(dim=-1) if mode == "argmax" else drawn(logits, noise[:, row, column], temperature)
            codes[:, row, column] = pick
    return codes.unflatten(0, (len(gray), samples))
