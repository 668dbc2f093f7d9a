"""ColTran's second and third stage: all 8 bits of every channel, then all pixels of the full side; each in one pass."""

import torch
from torch import Tensor, nn

from edgecolor.models.coltran_axial import FactorizedAttention, dense, embedding
from edgecolor.models.coltran_codes import (
    CHANNELS,
    COARSE,
    GRAYS,
    STEP,
    CodeLogits,
    ColTranConfig,
    check_side,
    enlarge_rgb,
    shrink_rgb,
)


class Upsampler(nn.Module):
    """One channel of a poor picture, and gray -> logits of all 256 levels of that channel. Subclasses say by `poor`
    what the poor picture (N, H, W, 3) of known 8-bit colors is.

    side, layers  pixels each way, and depth
    levels        of a channel of the poor picture
    """

    kind, stride = "codes", 1

    def __init__(self, config: ColTranConfig, side: int, layers: int, levels: int):
        super().__init__()
        self.config, self.levels = config, levels
        self.side = self.multiple = side
        self.values = embedding(CHANNELS * levels, config.width)
        self.gray = embedding(GRAYS, config.width)
        self.join = dense(2 * config.width, config.width)
        self.encoder = FactorizedAttention(config.width, config.heads, config.hidden, side, layers)
        self.head = dense(config.width, GRAYS)

    def logits(self, gray: Tensor, values: Tensor, channel: Tensor) -> Tensor:
        """gray, values (N, H, W) of the channel (N,) of each picture -> (N, H, W, 256)"""
        check_side(gray, self.side, "gray")
        values = self.values(values + self.levels * channel[:, None, None])
        return self.head(self.encoder(self.join(torch.cat([values, self.gray(gray)], dim=-1))))

    def forward(self, gray: Tensor, rgb: Tensor) -> CodeLogits:
        """One channel of each picture, drawn at random; gray (N, H, W) and rgb (N, H, W, 3), 8 bits each, int64."""
        channel = torch.randint(CHANNELS, (len(gray),), device=gray.device)
        poor, full = (picture[torch.arange(len(gray)), ..., channel] for picture in (self.poor(rgb), rgb))
        return CodeLogits(self.logits(gray, poor, channel), full)

    def channels(self, gray: Tensor, poor: Tensor):
        """Logits (N, H, W, 256) of each channel in turn: three pictures at a time take three times the memory."""
        for index in range(CHANNELS):
            yield self.logits(gray, poor[..., index], torch.full((len(gray),), index, device=gray.device))

    def upsample(self, gray: Tensor, poor: Tensor) -> Tensor:
        """The most probable picture: gray (N, H, W), poor (N, H, W, 3) -> 8-bit (N, H, W, 3), int64."""
        return torch.stack([logits.argmax(dim=-1) for logits in self.channels(gray, poor)], dim=-1)


class ColorUpsampler(Upsampler):
    """3 bits of each channel -> 8 bits, at the colorizer's side."""

    def __init__(self, config: ColTranConfig | None = None):
        config = config or ColTranConfig()
        super().__init__(config, config.side, config.color_layers, COARSE)

    def poor(self, rgb: Tensor) -> Tensor:
        return rgb // STEP


class SpatialUpsampler(Upsampler):
    """Pixels repeated from the colorizer's side -> a picture of the full side."""

    def __init__(self, config: ColTranConfig | None = None):
        config = config or ColTranConfig()
        super().__init__(config, config.full_side, config.spatial_layers, GRAYS)

    def poor(self, rgb: Tensor) -> Tensor:
        return enlarge_rgb(shrink_rgb(rgb, self.config.side), self.side)
