"""ColTran: three transformers that make a picture of gray, coarse colors first.

A colorizer draws one of 512 colors for each pixel of a small square, a color upsampler gives each channel its 8 bits,
a spatial upsampler makes the square larger. Each is trained by itself. Whatever the shape of a picture, it is squeezed
into the square.
Source: Kumar, Weissenborn, Kalchbrenner, "Colorization Transformer", ICLR 2021; sizes of its published models.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgecolor.models.coltran_codes import ColTranConfig, codes_to_coarse, codes_to_rgb, enlarge_rgb
from edgecolor.models.coltran_colorizer import Colorizer
from edgecolor.models.coltran_sampling import sample_codes
from edgecolor.models.coltran_upsamplers import ColorUpsampler, SpatialUpsampler

PRESETS = {
    "coltran": ColTranConfig(),
    "coltran-small": ColTranConfig(width=128, hidden=128),
    "coltran-tiny": ColTranConfig(
        width=64,
        hidden=128,
        encoder_layers=2,
        outer_layers=1,
        inner_layers=2,
        color_layers=1,
        spatial_layers=1,
        side=32,
        full_side=128,
    ),
}
STAGES = {"colorizer": Colorizer, "color-upsampler": ColorUpsampler, "spatial-upsampler": SpatialUpsampler}

# What can be trained: a stage of a preset, such as coltran-tiny-colorizer. Only joined do they color a picture.
COLTRAN_STAGES: dict[str, Callable[[], nn.Module]] = {
    f"{preset}-{stage}": partial(kind, config) for preset, config in PRESETS.items() for stage, kind in STAGES.items()
}


class Painted(NamedTuple):
    """What each stage made of N pictures, S samples of each: 8-bit R'G'B', int64."""

    coarse: Tensor  # (N, S, side, side, 3), by the colorizer
    colored: Tensor  # (N, S, side, side, 3), by the color upsampler
    full: Tensor  # (N, S, full_side, full_side, 3), by the spatial upsampler


class ColTran(nn.Module):
    """The three stages in one."""

    def __init__(self, config: ColTranConfig | None = None):
        super().__init__()
        self.config = config or ColTranConfig()
        self.colorizer = Colorizer(self.config)
        self.color_upsampler = ColorUpsampler(self.config)
        self.spatial_upsampler = SpatialUpsampler(self.config)

    @torch.no_grad()
    def paint(self, gray: Tensor, full_gray: Tensor, **sampling) -> Painted:
        """Gray to colors.

        gray       (N, side, side) int64, 0 to 255
        full_gray  (N, full_side, full_side), the same pictures
        sampling   mode, seed, samples, first_sample, temperature: see sample_codes
        raises     ConfigError, ShapeError
        """
        codes = sample_codes(self.colorizer, gray, **sampling)
        colored, full = [], []
        for picture in range(len(gray)):
            for sample in codes[picture]:  # one at a time: the full side takes much memory
                small = self.color_upsampler.upsample(gray[picture, None], codes_to_coarse(sample[None]))
                poor = enlarge_rgb(small, self.config.full_side)
                full.append(self.spatial_upsampler.upsample(full_gray[picture, None], poor))
                colored.append(small)
        shape = codes.shape[:2]
        return Painted(codes_to_rgb(codes), *(torch.cat(each).unflatten(0, shape) for each in (colored, full)))
