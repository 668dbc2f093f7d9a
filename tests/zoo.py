"""A small twin of every family in the zoo: the same code at a width that a test can afford."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from edgecolor.models import MODELS, manifest_of
from edgecolor.models.ct2 import CT2, CT2Config
from edgecolor.models.siggraph17 import Siggraph17
from edgecolor.models.zhang16 import Colorful, Eccv16, Zhang16Config
from edgecolor.train.config import load_config
from edgecolor.train.dataset import Batch
from edgecolor.train.losses import Losses, build_losses

CONFIGS = Path(__file__).parent.parent / "train" / "configs"
# The losses of a family's own config; LPIPS needs a file from elsewhere.
CONFIG_OF = {"ct2-tiny-full": "ct2-tiny", "lpips-cnn": "lpips-cnn-mse"}
CT2_SMALL = {"dim": 48, "layers": 2, "branch": (2, 4, 8, 8)}
TWINS: dict[str, Callable[[], nn.Module]] = {
    "edge": MODELS["edge"],
    "basic-lab": MODELS["basic-lab"],
    "basic-rgb": MODELS["basic-rgb"],
    "ct2-tiny": lambda: CT2(CT2Config(**CT2_SMALL)),
    "ct2-tiny-full": lambda: CT2(CT2Config(**CT2_SMALL, query_stride=1)),
    "eccv16": lambda: Eccv16(Zhang16Config(width=8)),
    "colorful": lambda: Colorful(Zhang16Config("ab326", width=8)),
    "siggraph17": lambda: Siggraph17(width=8),
}


def twin_of(name: str) -> str:
    """The key of TWINS for a name of MODELS; KeyError where somebody has added a family and no twin."""
    if name.startswith("ct2-"):
        return "ct2-tiny-full" if name.endswith("-full") else "ct2-tiny"
    return {"lpips-cnn": "basic-lab"}.get(name, name)


def on_meta(name: str) -> nn.Module:
    """The model of that name at its full size, without memory for its weights."""
    with torch.device("meta") if name != "edge" else nullcontext():
        return MODELS[name]().to("meta").eval()


def busy(model: nn.Module, seed: int = 0) -> nn.Module:
    """As if trained: batch norms that do something, so that folding them away is seen."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def lightness_of(n: int, h0: int, w0: int, seed: int = 0) -> torch.Tensor:
    """Waves and noise, (n, 1, h0, w0) L*."""
    y, x = torch.meshgrid(torch.arange(h0) / 9, torch.arange(w0) / 7, indexing="ij")
    waves = torch.stack([50 + 30 * torch.sin(x + i) * torch.cos(y) for i in range(n)])[:, None]
    noise = torch.rand(n, 1, h0, w0, generator=torch.Generator().manual_seed(seed))
    return (waves + 20 * noise).clamp(0, 100)


def batch_for(model: nn.Module, size: int = 32, seed: int = 1) -> Batch:
    """Two crops of four flat colors each: (N, h, w, 2) at the model's stride."""
    ab = torch.tensor([[[40.0, 30], [-30, 20]], [[10, -45], [-5, 60]]])
    cells = size // model.stride
    ab = ab.repeat_interleave(cells // 2, 0).repeat_interleave(cells // 2, 1)
    return Batch(lightness_of(2, size, size, seed), torch.stack([ab, ab.flip(0)]))


def losses_for(family: str, model: nn.Module) -> Losses:
    """Those of the family's own config."""
    config = load_config(CONFIGS / f"{CONFIG_OF.get(family, family)}.yaml")
    tokens = manifest_of(family, model).kind == "tokens"
    prior = torch.full((len(model.token_bias),), 1 / len(model.token_bias), dtype=torch.float64) if tokens else None
    return build_losses(config.losses, model, prior)
