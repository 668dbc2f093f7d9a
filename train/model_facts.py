"""How large and how slow a model is: parameters, operations, seconds per picture."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend

REFERENCE_SIZE = (256, 448)  # lightness samples (h0, w0) at which operations are counted


@dataclass(frozen=True)
class ModelFacts:
    parameters: int
    gflop: float  # at REFERENCE_SIZE, a multiplication and an addition counted apart


def facts_of(model: nn.Module) -> ModelFacts:
    """Count a new network's parameters, and the operations of its convolutions and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    model.eval().requires_grad_(False)
    with torch.nn.attention.sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, *REFERENCE_SIZE))
    return ModelFacts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 1e9)
