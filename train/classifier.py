"""The ImageNet classifier that judges whether a colored picture is still recognised, and lends its features."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ModelError
from edgecolor.models.mobilenet_v2 import MobileNetV2

SHORT_SIDE, CROP = 256, 224  # pixels: the picture is resized to the first, its center of the second is looked at


class Classifier(nn.Module):
    """MobileNetV2 with its head: RGB (N, 3, H, W) in [-1, 1] to logits (N, classes) and pooled features (N, 1280)."""

    feature_chs = 1280

    def __init__(self, classes: int = 1001):
        super().__init__()
        self.trunk = MobileNetV2()
        self.trunk.stem = nn.Conv2d(3, 32, 3, 2)
        self.head = nn.Conv2d(self.trunk.chs[-1], self.feature_chs, 1)
        self.classifier = nn.Conv2d(self.feature_chs, classes, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.features(rgb)[1]
        return self.classifier(pooled[:, :, None, None]).flatten(1), pooled

    def features(self, rgb: Tensor) -> tuple[list[Tensor], Tensor]:
        """Feature maps at strides 4, 8, 16 and 32, and pooled features (N, 1280)."""
        maps = self.trunk(rgb)
        return maps, F.relu6(self.head(maps[-1])).mean(dim=(2, 3))


def load_classifier(path: str | Path) -> Classifier:
    """Read the weights of a MobileNetV2 with head and classifier; ModelError where the file holds something else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = {name: value.float() for name, value in load_file(path).items()}
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file; the classifier's weights are a safetensors file") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file ({error})") from error
    if "classifier.weight" not in state or "head.weight" not in state:
        raise ModelError(f"{path} holds no classifier: MobileNetV2 weights with head and classifier are needed")
    model = Classifier(len(state["classifier.weight"]))
    own = {name if name.startswith(("head.", "classifier.")) else f"trunk.{name}": v for name, v in state.items()}
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise ModelError(f"{path} is no MobileNetV2 of width 1.0: {' '.join(str(error).split())[:200]}") from error
    return model.eval().requires_grad_(False)


def classifier_crop(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to the center (224, 224, 3) uint8 of the picture whose short side was made 256."""
    height, width = rgb.shape[:2]
    scale = SHORT_SIDE / min(height, width)
    size = max(SHORT_SIDE, round(width * scale)), max(SHORT_SIDE, round(height * scale))
    if size != (width, height):
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (rgb.shape[0] - CROP) // 2, (rgb.shape[1] - CROP) // 2
    return rgb[top : top + CROP, left : left + CROP]


@torch.inference_mode()
def classify(model: Classifier, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 224, 224, 3) uint8 to the most probable class (N,) int64 and pooled features (N, 1280) float32."""
    device = next(model.parameters()).device
    rgb = torch.from_numpy(np.ascontiguousarray(crops)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    logits, features = model(rgb.contiguous(memory_format=torch.channels_last))
    return logits.argmax(dim=1).cpu().numpy(), features.cpu().numpy()
