"""MobileNetV2 as a feature pyramid, with batch norm already folded into the convolutions.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018. Changed here: one input
channel (lightness) instead of three, no classifier, stride-2 convolutions pad right and bottom by one (as the
TensorFlow weights that it starts from were trained), and the strides 4, 8, 16 and 32 are returned.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# expansion, output channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
TAPS = {2: 4, 5: 8, 12: 16, 16: 32}  # index of the last block at a stride, and that stride


def same_pad_conv(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 3x3 convolution; with stride 2 the padding goes right and bottom only."""
    return conv(F.pad(x, (0, 1, 0, 1))) if conv.stride[0] == 2 else conv(x)


class InvertedResidual(nn.Module):
    def __init__(self, in_chs: int, out_chs: int, stride: int, expansion: int):
        super().__init__()
        chs = in_chs * expansion
        self.expand = nn.Conv2d(in_chs, chs, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(chs, chs, 3, stride, padding=0 if stride == 2 else 1, groups=chs)
        self.project = nn.Conv2d(chs, out_chs, 1)
        self.residual = stride == 1 and in_chs == out_chs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(same_pad_conv(self.depthwise, y)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """(N, 1, H, W) in [-1, 1] -> features at strides 4, 8, 16, 32 with `chs` channels."""

    chs = (24, 32, 96, 320)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, 2)
        blocks, in_chs = [], 32
        for expansion, out_chs, repeats, stride in STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(in_chs, out_chs, stride if i == 0 else 1, expansion))
                in_chs = out_chs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(same_pad_conv(self.stem, x))
        features = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                features.append(x)
        return features

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take ImageNet weights that expect RGB: gray has R = G = B, so the stem's input channels are summed."""
        own = {name: value.float() for name, value in state.items() if not name.startswith(("head.", "classifier."))}
        own["stem.weight"] = own["stem.weight"].sum(dim=1, keepdim=True)
        self.load_state_dict(own)


@torch.no_grad()
def imagenet_encoder(state: dict[str, Tensor]) -> MobileNetV2:
    encoder = MobileNetV2()
    encoder.load_imagenet(state)
    return encoder
