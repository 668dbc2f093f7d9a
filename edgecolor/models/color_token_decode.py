"""ColorTokenDecode in PyTorch: differentiable, and on export the one node `edgecolor::ColorTokenDecode`."""

import torch
from torch import Tensor

from edgecolor.color.tokens import ANNEALED_MEAN_T, TINY
from edgecolor.stages.logits_to_ab import DOMAIN, MODE, OP, OP_VERSION, PLUGIN, check_decode


def warp(probs: Tensor, motion: Tensor) -> Tensor:
    """probs (N, h, w, Q) sampled bilinearly at (x + dx, y + dy) for motion (N, h, w, 2); see stages/logits_to_ab.py."""
    batch, h, w, _ = probs.shape
    x = (torch.arange(w, device=probs.device, dtype=torch.float32) + motion[..., 0]).clamp(0, w - 1)
    y = (torch.arange(h, device=probs.device, dtype=torch.float32)[:, None] + motion[..., 1]).clamp(0, h - 1)
    left, top = x.detach().floor().long(), y.detach().floor().long()
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    n = torch.arange(batch, device=probs.device)[:, None, None]
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = torch.lerp(probs[n, top, left], probs[n, top, right], fx)
    lower = torch.lerp(probs[n, bottom, left], probs[n, bottom, right], fx)
    return torch.lerp(upper, lower, fy)


def color_token_decode(
    logits: Tensor,
    prev_probs: Tensor,
    motion: Tensor,
    keep: Tensor,
    centers: Tensor,
    temperature: Tensor | float = ANNEALED_MEAN_T,
    mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """The twin of edgecolor.stages.logits_to_ab.color_token_decode: same arguments, shapes, units and errors.

    Gradients reach logits, prev_probs, motion and keep (mode 0; the argmax of mode 1 has none).
    """
    if torch.onnx.is_in_onnx_export():
        batch, h, w, _ = logits.shape
        return torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{OP}",
            (logits, prev_probs, motion, keep, centers, temperature),
            {"mode": mode, **PLUGIN},
            dtypes=(torch.float32, logits.dtype),
            shapes=((batch, 2, h, w), logits.shape),
            version=OP_VERSION,
        )
    check_decode(logits, prev_probs, motion, keep, centers, float(temperature), mode)
    keep = keep.float()[..., None]
    past = prev_probs.float()
    if motion.requires_grad or motion.any():
        past = warp(past, motion.float())
    probs = (1 - keep) * logits.float().softmax(dim=-1) + keep * past
    if mode == MODE:
        ab = centers[probs.argmax(dim=-1)]
    else:
        ab = (probs.clamp(min=TINY).log() / temperature).softmax(dim=-1) @ centers
    return ab.permute(0, 3, 1, 2).contiguous(), probs.to(logits.dtype)
