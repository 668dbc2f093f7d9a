"""eccv16 and colorful: the network of Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016.

eccv16 has the layers and key names of the authors' PyTorch weights, so that they can be imported; colorful is the
same network over the 326 bins, under the names of a student re-implementation for STL-10.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette

AB_UNIT = 110.0  # model_out's weights are bin centers in it


@dataclass(frozen=True)
class Zhang16Config:
    palette: str = "ab313"
    width: int = 64  # channels of the first block; the others have 2, 4 and 8 times as many


def for_relu(*layers: nn.Module) -> list[nn.Module]:
    """The layers, with weights that keep the size of what passes through them and a ReLU: batch norm comes late here,
    and with PyTorch's own it would blow up what is left after three.
    """
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return list(layers)


def block(chs: list[int], last_stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolutions chs[0] -> chs[1] -> ..., each with a ReLU, and one batch norm at the end."""
    layers: list[nn.Module] = []
    for i, (in_chs, out_chs) in enumerate(zip(chs, chs[1:], strict=False)):
        stride = last_stride if i == len(chs) - 2 else 1
        layers += [nn.Conv2d(in_chs, out_chs, 3, stride, dilation, dilation), nn.ReLU()]
    return nn.Sequential(*for_relu(*layers), nn.BatchNorm2d(chs[-1]))


def encoder_blocks(width: int) -> list[nn.Sequential]:
    """The first seven blocks, from lightness to 8 * width channels at stride 8."""
    w1, w2, w3, w4 = width, 2 * width, 4 * width, 8 * width
    deep = [w4] * 4
    return [
        block([1, w1, w1], last_stride=2),
        block([w1, w2, w2], last_stride=2),
        block([w2, w3, w3, w3], last_stride=2),
        block([w3, w4, w4, w4]),
        block(deep, dilation=2),
        block(deep, dilation=2),
        block(deep),
    ]


def upward(width: int) -> list[nn.Module]:
    """The eighth block: up to stride 4, in half the channels."""
    w3, w4 = 4 * width, 8 * width
    convs = [layer for _ in range(2) for layer in (nn.Conv2d(w3, w3, 3, padding=1), nn.ReLU())]
    return for_relu(nn.ConvTranspose2d(w4, w3, 4, 2, padding=1), nn.ReLU(), *convs)


class Eccv16(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 8 -> logits (N, h0/4, w0/4, 313), features (same, 256)."""

    stride, multiple = 4, 8

    def __init__(self, config: Zhang16Config | None = None):
        super().__init__()
        self.config = config = config or Zhang16Config()
        centers = palette(config.palette).centers
        for i, part in enumerate(encoder_blocks(config.width), start=1):
            setattr(self, f"model{i}", part)
        self.model8 = nn.Sequential(*upward(config.width), nn.Conv2d(4 * config.width, len(centers), 1))
        # The authors' file carries the bin centers as a last convolution; here the palette has them, so it is idle.
        self.model_out = nn.Conv2d(len(centers), 2, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.model_out.weight.copy_(torch.from_numpy(centers.T / AB_UNIT)[:, :, None, None])

    @property
    def token_bias(self) -> nn.Parameter:
        return self.model8[6].bias

    def forward(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        x = (lightness - 50) / 100
        for i in range(1, 8):
            x = getattr(self, f"model{i}")(x)
        features = self.model8[:-1](x)
        return self.model8[-1](features).permute(0, 2, 3, 1), features.permute(0, 2, 3, 1)


class Colorful(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 8 -> logits (N, h0/4, w0/4, 326), features (same, 256)."""

    stride, multiple = 4, 8

    def __init__(self, config: Zhang16Config | None = None):
        super().__init__()
        self.config = config = config or Zhang16Config("ab326")
        for i, part in enumerate([*encoder_blocks(config.width), nn.Sequential(*upward(config.width))], start=1):
            setattr(self, f"conv{i}", part)
        self.softmax = nn.Sequential(nn.Conv2d(4 * config.width, len(palette(config.palette)), 1))

    @property
    def token_bias(self) -> nn.Parameter:
        return self.softmax[0].bias

    def forward(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        x = (lightness - 50) / 100
        for i in range(1, 9):
            x = getattr(self, f"conv{i}")(x)
        return self.softmax(x).permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
