"""siggraph17: Zhang, Zhu, Isola, Geng, Lin, Yu, Efros, "Real-Time User-Guided Image Colorization", SIGGRAPH 2017.

A U-Net that sees the lightness and a few colors that somebody has put in. Layers and key names are those of the
authors' PyTorch weights, so that they can be imported.
"""

import torch
from torch import Tensor, nn

from edgecolor.models.zhang16 import block, for_relu

AB_UNIT = 110.0
CLASSES = 529  # bins of the authors' classification loss: the whole 23 x 23 grid


def up(in_chs: int, out_chs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(in_chs, out_chs, 4, 2, padding=1))


def across(in_chs: int, out_chs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_chs, out_chs, 3, padding=1))


def after_sum(chs: int, convs: int) -> nn.Sequential:
    """What follows the sum of a map from below and one from across."""
    pairs = [layer for _ in range(convs) for layer in (nn.Conv2d(chs, chs, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.ReLU(), *for_relu(*pairs), nn.BatchNorm2d(chs))


class Siggraph17(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 8, and hints -> ab (N, 2, h0, w0).

    hints  (N, 3, h0, w0): a and b in ab units, and 1 where they were put in; zeros elsewhere. None: no hints
    width  channels of the first block; 64 in the paper
    """

    kind, stride, multiple = "regression", 1, 8
    takes_hints = True

    def __init__(self, width: int = 64):
        super().__init__()
        w1, w2, w3, w4 = width, 2 * width, 4 * width, 8 * width
        deep = [w4] * 4
        self.model1, self.model2 = block([4, w1, w1]), block([w1, w2, w2])
        self.model3, self.model4 = block([w2, w3, w3, w3]), block([w3, w4, w4, w4])
        self.model5, self.model6, self.model7 = block(deep, dilation=2), block(deep, dilation=2), block(deep)
        self.model8up, self.model3short8, self.model8 = up(w4, w3), across(w3, w3), after_sum(w3, 2)
        self.model9up, self.model2short9, self.model9 = up(w3, w2), across(w2, w2), after_sum(w2, 1)
        self.model10up, self.model1short10 = up(w2, w2), across(w1, w2)
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(w2, w2, 3, padding=1), nn.LeakyReLU(0.2))
        # The authors' classification head: in their file, idle in regression.
        self.model_class = nn.Sequential(nn.Conv2d(w3, CLASSES, 1)).requires_grad_(False)
        self.model_out = nn.Sequential(nn.Conv2d(w2, 2, 1), nn.Tanh())

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        if hints is None:
            hints = lightness.new_zeros(()).expand(lightness.shape[0], 3, *lightness.shape[2:])
        x1 = self.model1(torch.cat([(lightness - 50) / 100, hints[:, :2] / AB_UNIT, hints[:, 2:]], dim=1))
        x2 = self.model2(x1[:, :, ::2, ::2])
        x3 = self.model3(x2[:, :, ::2, ::2])
        x7 = self.model7(self.model6(self.model5(self.model4(x3[:, :, ::2, ::2]))))
        x8 = self.model8(self.model8up(x7) + self.model3short8(x3))
        x9 = self.model9(self.model9up(x8) + self.model2short9(x2))
        return self.model_out(self.model10(self.model10up(x9) + self.model1short10(x1))) * AB_UNIT
