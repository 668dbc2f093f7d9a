"""Soft-encoded, rebalanced cross entropy over color tokens, without ever making the dense targets.

Source: Zhang, Isola, Efros, ECCV 2016, equations 2 and 4. A target touches 5 of 313 tokens, so the loss gathers
those; the gradient is softmax minus target, in one pass over the logits.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.tokens import SOFT_NEIGHBOURS, SOFT_SIGMA, TINY, Palette
from edgecolor.models.ct2_luminance import MASKED_LOGIT

LOOKUP_STEP = 0.5  # ab units between entries of the table that replaces the nearest-neighbour search
LOOKUP_LIMIT = 128.0
LOOKUP_SIDE = round(2 * LOOKUP_LIMIT / LOOKUP_STEP) + 1


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


@lru_cache(maxsize=4)
def lookup_table(palette: Palette, neighbours: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Palette.nearest on a fine grid of ab: token indices int32 and weights float32, both (LOOKUP_SIDE^2, k).

    The same definition, but through one matrix product and topk: fifteen times faster than the general function.
    """
    axis = torch.linspace(-LOOKUP_LIMIT, LOOKUP_LIMIT, LOOKUP_SIDE)
    centers = torch.from_numpy(palette.centers.copy())
    index, weight = [], []
    for a in axis:
        ab = torch.stack([a.expand(LOOKUP_SIDE), axis], dim=1)
        # Multiples of 1/4 below 2^16 all along: exact in float32.
        distance = (ab**2).sum(1, keepdim=True) + (centers**2).sum(1) - 2 * ab @ centers.T
        near, tokens = distance.topk(neighbours, dim=1, largest=False)
        index.append(tokens.int())
        weight.append((-(near - near[:, :1]) / (2 * sigma**2)).softmax(dim=1))
    return torch.cat(index), torch.cat(weight)


class TokenLoss(nn.Module):
    """Mean over cells of (rebalancing weight of the target) x (cross entropy). The weight is the mean over the target's
    bins or, as Zhang and CT2 have it, that of the nearest one (by_nearest).

    Where a network masks tokens that the cell's lightness cannot have, the target is spread over the others; cells of
    which no token is left (their lightness was bent, or is not that of their mean color) count nothing.
    """

    def __init__(
        self,
        palette: Palette,
        rebalancing: np.ndarray,
        neighbours: int = SOFT_NEIGHBOURS,
        sigma: float = SOFT_SIGMA,
        by_nearest: bool = False,
    ):
        super().__init__()
        self.by_nearest = by_nearest
        index, weight = lookup_table(palette, neighbours, sigma)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("rebalancing", torch.from_numpy(rebalancing).float(), persistent=False)
        self.side = LOOKUP_SIDE

    def targets(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """ab (..., 2) to token indices and weights, (..., k) each."""
        place = ((ab + LOOKUP_LIMIT) / LOOKUP_STEP).round().long().clamp_(0, self.side - 1)
        entry = place[..., 0] * self.side + place[..., 1]
        return self.index[entry].long(), self.weight[entry]

    def forward(self, logits: Tensor, ab: Tensor) -> Tensor:
        logits = logits.float()
        index, weight = self.targets(ab)
        weight = weight * (logits.detach().gather(-1, index) > MASKED_LOGIT)
        weight = weight / weight.sum(dim=-1, keepdim=True).clamp_min(TINY)
        rebalancing = self.rebalancing[index]
        if self.by_nearest:
            nearest = weight.argmax(dim=-1, keepdim=True)
            importance = rebalancing.gather(-1, nearest).squeeze(-1) * weight.sum(dim=-1)  # 0 where no token is left
        else:
            importance = (rebalancing * weight).sum(dim=-1)
        return (sparse_cross_entropy(logits, index, weight) * importance).mean()
