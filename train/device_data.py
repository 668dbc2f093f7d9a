"""The data set in the memory of a GPU, and crops cut there: small networks train faster than a processor can decode.

The same crops are drawn as from memory, but they are sampled instead of area-averaged: each sample of a crop is the
mean of SUPERSAMPLES x SUPERSAMPLES bilinear taps, so pixels differ by a few codes from those of train.dataset.
"""

import numpy as np
import torch
from torch import Tensor

from edgecolor.color.lab import rgb_to_xyz_matrix
from edgecolor.train.dataset import Batch, Draw, Photographs
from edgecolor.train.metrics import LINEAR_OF_CODE

SUPERSAMPLES = 2  # each way


class DeviceCrops:
    """Cuts the crops of Photographs on a device."""

    def __init__(self, photographs: Photographs, device: torch.device):
        self.photographs, self.device = photographs, device
        sizes = [picture.size for picture in photographs.pictures]
        self.start = torch.tensor(np.concatenate([[0], np.cumsum(sizes)[:-1]]), dtype=torch.int64)
        self.width = torch.tensor([picture.shape[1] for picture in photographs.pictures], dtype=torch.int64)
        flat = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        for start, picture in zip(self.start.tolist(), photographs.pictures, strict=True):
            flat[start : start + picture.size] = torch.from_numpy(np.ascontiguousarray(picture)).view(-1).to(device)
        self.bytes = flat
        self.linear_of_code = torch.from_numpy(LINEAR_OF_CODE).to(device)
        matrix = rgb_to_xyz_matrix()
        self.relative_xyz = torch.from_numpy(matrix / matrix.sum(axis=1, keepdims=True)).float().to(device)

    def batch(self, seed: tuple[int, ...], size: int, count: int, part: slice = slice(None), stride: int = 4) -> Batch:
        """As Photographs.batch, with tensors on the device."""
        rng = np.random.default_rng(seed)
        draws = [self.photographs.draw(rng) for _ in range(count)][part]
        codes = self.sample(draws, size)
        lightness = self._lightness(codes, torch.tensor([draw.bend for draw in draws], device=self.device))
        cells = torch.nn.functional.avg_pool2d(codes, stride)
        return Batch(lightness, self._ab(cells))

    def sample(self, draws: list[Draw], size: int) -> Tensor:
        """The crops as R'G'B' codes (N, 3, size, size) float32."""
        fields = torch.tensor([[d.picture, d.side, d.top, d.left, d.flip] for d in draws], dtype=torch.int64)
        picture, side, top, left, flip = fields.unbind(1)
        start, width = (table[picture].to(self.device)[:, None, None] for table in (self.start, self.width))
        side, top, left, flip = (column.to(self.device)[:, None] for column in (side, top, left, flip))
        taps = size * SUPERSAMPLES
        place = (torch.arange(taps, device=self.device) + 0.5) / taps * side - 0.5  # (N, taps), pixels of the crop
        place = place.clamp(min=0).minimum(side - 1)
        mirrored = torch.where(flip > 0, side - 1 - place, place)
        y0, y1, fy = _neighbours(place, side)
        x0, x1, fx = _neighbours(mirrored, side)
        rows0, rows1 = ((top + y)[:, :, None] * width for y in (y0, y1))
        columns0, columns1 = ((left + x)[:, None, :] for x in (x0, x1))

        def take(rows: Tensor, columns: Tensor) -> Tensor:
            index = start + 3 * (rows + columns)  # (N, taps, taps), of the red byte
            return torch.stack([self.bytes[index + channel] for channel in range(3)], dim=1).float()

        fx, fy = fx[:, None, None, :], fy[:, None, :, None]
        upper = torch.lerp(take(rows0, columns0), take(rows0, columns1), fx)
        lower = torch.lerp(take(rows1, columns0), take(rows1, columns1), fx)
        return torch.nn.functional.avg_pool2d(torch.lerp(upper, lower, fy), SUPERSAMPLES)

    def _f_of_xyz(self, codes: Tensor) -> Tensor:
        linear = self.linear_of_code[codes.round().long()]
        relative = torch.einsum("xc,nchw->nxhw", self.relative_xyz, linear)
        return torch.where(relative > 216 / 24389, relative.clamp_min(1e-6) ** (1 / 3), relative * 841 / 108 + 4 / 29)

    def _lightness(self, codes: Tensor, bend: Tensor) -> Tensor:
        lightness = (116 * self._f_of_xyz(codes)[:, 1:2] - 16).clamp(0, 100)
        return 100 * (lightness / 100) ** bend[:, None, None, None].float()

    def _ab(self, codes: Tensor) -> Tensor:
        fx, fy, fz = self._f_of_xyz(codes).unbind(1)
        return torch.stack([500 * (fx - fy), 200 * (fy - fz)], dim=-1)


def _neighbours(place: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels on both sides of each place, and how far it is from the first to the second."""
    first = place.floor().long()
    return first, (first + 1).minimum(side - 1), place - first
