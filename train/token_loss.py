"""Soft-encoded, rebalanced cross entropy over color tokens, without ever making the dense targets.

Source: Zhang, Isola, Efros, ECCV 2016, equations 2 and 4. A target touches 5 of 313 tokens, so the loss gathers
those; the gradient is softmax minus target, in one pass over the logits.
"""

import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.tokens import SOFT_NEIGHBOURS, SOFT_SIGMA, Palette

LOOKUP_STEP = 0.5  # ab units between entries of the table that replaces the nearest-neighbour search
LOOKUP_LIMIT = 128.0


class _SparseCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, index, weight):
        normalizer = torch.logsumexp(logits, dim=-1)
        ctx.save_for_backward(logits, normalizer, index, weight)
        return normalizer - (logits.gather(-1, index) * weight).sum(dim=-1)

    @staticmethod
    def backward(ctx, grad):
        logits, normalizer, index, weight = ctx.saved_tensors
        probs = (logits - normalizer[..., None]).exp_()
        return probs.scatter_add_(-1, index, -weight).mul_(grad[..., None]), None, None


def sparse_cross_entropy(logits: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy against targets with `weight` at `index` and zero elsewhere.

    logits   (..., Q) float32
    index    (..., k) int64
    weight   (..., k) float32, sums to 1
    returns  (...) float32, nats
    """
    return _SparseCrossEntropy.apply(logits, index, weight)


class TokenLoss(nn.Module):
    """Mean over cells of (rebalancing weight of the target) x (cross entropy)."""

    def __init__(
        self,
        palette: Palette,
        rebalancing: np.ndarray,
        neighbours: int = SOFT_NEIGHBOURS,
        sigma: float = SOFT_SIGMA,
    ):
        super().__init__()
        axis = np.arange(-LOOKUP_LIMIT, LOOKUP_LIMIT + LOOKUP_STEP, LOOKUP_STEP, dtype=np.float32)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
        index, weight = zip(*(palette.nearest(row, neighbours, sigma) for row in grid), strict=True)
        self.register_buffer("index", torch.from_numpy(np.concatenate(index)).int(), persistent=False)
        self.register_buffer("weight", torch.from_numpy(np.concatenate(weight)), persistent=False)
        self.register_buffer("rebalancing", torch.from_numpy(rebalancing).float(), persistent=False)
        self.side = len(axis)

    def targets(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """ab (..., 2) to token indices and weights, (..., k) each."""
        place = ((ab + LOOKUP_LIMIT) / LOOKUP_STEP).round().long().clamp_(0, self.side - 1)
        entry = place[..., 0] * self.side + place[..., 1]
        return self.index[entry].long(), self.weight[entry]

    def forward(self, logits: Tensor, ab: Tensor) -> Tensor:
        index, weight = self.targets(ab)
        importance = (self.rebalancing[index] * weight).sum(dim=-1)
        return (sparse_cross_entropy(logits.float(), index, weight) * importance).mean()
