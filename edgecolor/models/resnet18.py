"""The first half of ResNet-18, as an encoder at stride 8, with the names that torchvision's weights have.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. Changed here: one input channel
(lightness) instead of three, and no layer3, layer4 and classifier.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ModelError

NOT_USED = ("layer3.", "layer4.", "fc.")


class BasicBlock(nn.Module):
    def __init__(self, in_chs: int, out_chs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_chs, out_chs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_chs)
        self.conv2 = nn.Conv2d(out_chs, out_chs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_chs)
        self.downsample = None
        if stride > 1 or in_chs != out_chs:
            shortcut = nn.Conv2d(in_chs, out_chs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_chs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18Stem(nn.Module):
    """(N, 1, H, W) in [-1, 1], sides multiples of 8 -> (N, 128, H / 8, W / 8)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stem(self) -> nn.Module:
        """What comes before the first block, for freezing."""
        return nn.ModuleList([self.conv1, self.bn1])

    @property
    def blocks(self) -> list[nn.Module]:
        return [*self.layer1, *self.layer2]

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        return self.layer2(self.layer1(x))

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take torchvision's resnet18, which expects RGB: gray has R = G = B, so conv1's input channels are summed.

        raises  ModelError where the file holds another network
        """
        own = {name: value.float() for name, value in state.items() if not name.startswith(NOT_USED)}
        if own.get("conv1.weight") is not None:
            own["conv1.weight"] = own["conv1.weight"].sum(dim=1, keepdim=True)
        expected = {name: value.shape for name, value in self.state_dict().items()}
        optional = {name for name in expected if name.endswith("num_batches_tracked")}  # old files lack them
        wrong = sorted(name for name in expected if name not in own and name not in optional)
        wrong += sorted(name for name in own if name not in expected or own[name].shape != expected[name])
        if wrong:
            raise ModelError(f"these weights are not torchvision's resnet18 (see {wrong[0]}): give resnet18-*.pth")
        self.load_state_dict({**{name: self.state_dict()[name] for name in optional}, **own})
