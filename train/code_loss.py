"""Training of models of kind codes, which predict symbols of a picture one after the other: ColTran's stages."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ConfigError
from edgecolor.models.coltran_codes import CodeLogits
from edgecolor.train.dataset import Batch
from edgecolor.train.prediction import lab_to_rgb


def code_inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    """gray (N, H, W) and rgb (N, H, W, 3) of a batch with ab at full size, 8 bits each, int64."""
    if batch.previous is not None:
        raise ConfigError("losses: a temporal loss does not go with models that predict color codes")
    gray = lab_to_rgb(batch.lightness, torch.zeros_like(batch.ab))[:, 0]
    rgb = lab_to_rgb(batch.lightness, batch.ab).permute(0, 2, 3, 1)
    return (gray * 255).round().long(), (rgb * 255).round().long()


class Bits(nn.Module):
    """Cross entropy of the symbols in bits per pixel (bits/dim), of the model's logits or of its parallel head's."""

    def __init__(self, parallel: bool = False):
        super().__init__()
        self.parallel = parallel

    def forward(self, predicted: CodeLogits, batch: Batch, previous: None = None) -> Tensor:
        logits = predicted.parallel if self.parallel else predicted.logits
        return F.cross_entropy(logits.float().flatten(0, -2), predicted.targets.flatten()) / math.log(2)


def check_code_losses(kinds: list[str], model: nn.Module) -> None:
    """raises ConfigError where losses do not go with the model"""
    coded = getattr(model, "kind", "") == "codes"
    for i, kind in enumerate(kinds):
        if coded != (kind in ("bits", "parallel_bits")):
            what = "color codes: use bits" if coded else "no color codes: use another"
            raise ConfigError(f"losses[{i}]: {kind} does not go with a model that predicts {what}")
        if kind == "parallel_bits" and not hasattr(model, "parallel"):
            raise ConfigError(f"losses[{i}]: parallel_bits goes with ColTran's colorizer, which has a parallel head")
