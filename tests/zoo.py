"""A small twin of every family in the zoo: the same code at a width that a test can afford."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn

from edgecolor.models import MODELS
from edgecolor.models.ct2 import CT2, CT2Config
from edgecolor.models.siggraph17 import Siggraph17
from edgecolor.models.zhang16 import Colorful, Eccv16, Zhang16Config

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
