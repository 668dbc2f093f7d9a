"""Distances in the features of trained networks: LPIPS, Inception features for FID, and the shared MobileNetV2.

Nothing here downloads: weights are taken from PyTorch's cache of downloaded files, and where they are not there the
message names the file and where it comes from.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ConfigError, MissingDependencyError, ModelError

# network -> file in PyTorch's cache, as torchvision names it
LPIPS_BACKBONES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
Features = Callable[[np.ndarray], np.ndarray]  # (N, H, W, 3) uint8 to (N, C) float32
Extracted = tuple[list[Tensor], Tensor]  # a classifier's feature maps, and its pooled features


def cached_weights(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def build_lpips(net: str, backbone: Path) -> nn.Module:
    """LPIPS with its published linear layers over an ImageNet backbone from a torchvision weights file.

    raises  ConfigError (unknown net), MissingDependencyError (no `lpips`, no backbone file), ModelError (another file)
    source  Zhang et al., CVPR 2018; the `lpips` package, version 0.1
    """
    if net not in LPIPS_BACKBONES:
        raise ConfigError(f"unknown LPIPS network {net!r}: known are {', '.join(LPIPS_BACKBONES)}")
    if not backbone.is_file():
        source = f"https://download.pytorch.org/models/{LPIPS_BACKBONES[net]}"
        raise MissingDependencyError(f"LPIPS ({net}) needs {backbone}: download {source} to there")
    try:
        import lpips
    except ImportError as error:
        raise MissingDependencyError(f"LPIPS needs the package lpips (pip install lpips): {error}") from error
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = torch.load(backbone, map_location="cpu", weights_only=True)
    own = model.net.state_dict()
    # lpips cuts the backbone into slices but keeps the layers' numbers: slice2.3.weight is features.3.weight.
    renamed = {name: state.get("features." + name.split(".", 1)[1]) for name in own}
    wrong = [name for name, value in renamed.items() if value is None or value.shape != own[name].shape]
    if wrong:
        raise ModelError(f"{backbone} does not hold the layers of {net} ({wrong[0]} is missing): download it again")
    model.net.load_state_dict(renamed)
    return model.eval().requires_grad_(False)


def open_lpips(net: str, left_out: list[str]) -> Callable[[np.ndarray, np.ndarray], float] | None:
    """LPIPS of two (H, W, 3) uint8 pictures; None, and a line in left_out, where something is not there."""
    if net not in LPIPS_BACKBONES:
        raise ConfigError(f"unknown LPIPS network {net!r}: known are {', '.join(LPIPS_BACKBONES)}")
    try:
        model = build_lpips(net, cached_weights(LPIPS_BACKBONES[net]))
    except MissingDependencyError as error:
        left_out.append(str(error))
        return None

    @torch.inference_mode()
    def distance(ours: np.ndarray, original: np.ndarray) -> float:
        a, b = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1 for picture in (ours, original))
        return float(model(a, b))

    return distance


def open_inception(left_out: list[str]) -> Features | None:
    """Pooled Inception features as FID wants them; None, and a line in left_out, where something is not there."""
    weights = cached_weights(INCEPTION_FILE)
    if not weights.is_file():
        source = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
        left_out.append(f"FID needs {weights}: download {source} to there")
        return None
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        left_out.append(f"FID needs the package torch-fidelity (pip install torch-fidelity): {error}")
        return None
    model = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    model.eval()

    @torch.inference_mode()
    def features(pictures: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2))[0].numpy()

    return features


class FeatureExtractor(nn.Module):
    """What an ImageNet classifier sees in colored crops and in the true ones.

    classifier  file of its weights
    side        pixels that crops are enlarged to before it looks; 0 leaves them as they are
    """

    def __init__(self, classifier: str | Path, side: int = 0):
        super().__init__()
        from edgecolor.train.classifier import load_classifier

        self.classifier = load_classifier(classifier).to(memory_format=torch.channels_last)  # half the time on a CPU
        self.side = side

    def extract(self, rgb: Tensor) -> tuple[list[Tensor], Tensor]:
        if self.side:
            rgb = F.interpolate(rgb, size=(self.side, self.side), mode="bicubic", align_corners=False).clamp(0, 1)
        return self.classifier.features(rgb.contiguous(memory_format=torch.channels_last) * 2 - 1)

    def forward(self, rgb: Tensor, reference: Tensor) -> tuple[Extracted, Extracted]:
        """rgb, reference (N, 3, H, W) in [0, 1], sides at least 32 -> of each its maps at strides 4, 8, 16 and 32 and
        its pooled features (N, 1280); gradients go through rgb alone."""
        ours = self.extract(rgb)
        with torch.no_grad():
            theirs = self.extract(reference)
        return ours, theirs


def feature_distance(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """How different two sets of pictures look, picture by picture: 0 for equal ones.

    As LPIPS without trained weights: the feature vectors of every cell are scaled to length 1, and their squared
    distance is averaged over cells and summed over the maps.
    """
    total = ours[0].new_zeros(())
    for a, b in zip(ours, theirs, strict=True):
        total = total + ((F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2).sum(dim=1).mean()
    return total


def batch_kernel_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """The kernel distance (train/distances.py) of pooled features (N, C), N >= 2, row i of both the same picture.

    A picture may be wrong in its own way here; what counts is that the set is as varied and as vivid as the real one.
    Its mean over batches is the squared distance of the two sets; that of a single batch may be below 0.
    source  Li et al., MMD GAN, NeurIPS 2017, with a fixed network
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    cross = kernel(ours, theirs)
    h = kernel(ours, ours) + kernel(theirs, theirs) - cross - cross.T
    n = len(h)
    return (h.sum() - h.diagonal().sum()) / (n * (n - 1))
