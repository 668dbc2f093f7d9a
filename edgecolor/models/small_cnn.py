"""lpips-cnn, basic-lab and basic-rgb: half a ResNet-18, then convolutions and nearest-neighbour upsampling.

Widths, order and names of the layers are those of two student projects (a CNN trained on LPIPS; a starter network in
RGB or Lab), which share them: 0.95 M parameters. The upsampling by two that comes last there is left to whoever needs
full size: it adds no information.
"""

from torch import Tensor, nn

from edgecolor.models.resnet18 import ResNet18Stem
from edgecolor.models.rgb_to_ab import rgb_to_ab

AB_SCALE = 127.5  # ab units per unit of output: Lab in bytes, brought to [-1, 1]


def upsampling(outputs: int) -> nn.Sequential:
    """(N, 128, h, w) -> (N, outputs, 4 h, 4 w)."""

    def conv(in_chs: int, out_chs: int) -> list[nn.Module]:
        return [nn.Conv2d(in_chs, out_chs, 3, padding=1), nn.BatchNorm2d(out_chs), nn.ReLU()]

    def up() -> nn.Module:
        return nn.Upsample(scale_factor=2.0, mode="nearest")

    layers = [*conv(128, 128), up(), *conv(128, 64), *conv(64, 64), up(), *conv(64, 32)]
    return nn.Sequential(*layers, nn.Conv2d(32, outputs, 3, padding=1))


class SmallCnn(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 8 -> ab (N, 2, h0/2, w0/2)."""

    kind, stride, multiple = "regression", 2, 8

    def __init__(self, outputs: int = 2):
        super().__init__()
        self.encoder = ResNet18Stem()
        self.upsample = upsampling(outputs)

    def forward(self, lightness: Tensor) -> Tensor:
        return self.upsample(self.encoder(lightness / 50 - 1)) * AB_SCALE


class SmallRgbCnn(SmallCnn):
    """The same, but it paints the whole picture: ab (N, 2, h0/2, w0/2), and the R'G'B' that ab is taken from.

    forward  also returns rgb (N, 3, h0/2, w0/2), 0 for black and 1 for white, not clipped: what its loss judges
    """

    paints = True

    def __init__(self):
        super().__init__(outputs=3)

    def forward(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        rgb = self.upsample(self.encoder(lightness / 50 - 1)).float() / 2 + 0.5  # dark colors need more than bf16
        return rgb_to_ab(rgb), rgb
