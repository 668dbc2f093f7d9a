"""What gpu_check.py compares the kernels with: the op in float64, the op chain in PyTorch, and fresh inputs."""

import ctypes

import torch
from torch import Tensor

from edgecolor.color.tokens import TINY, palette
from edgecolor.kernels import FLOAT16, FLOAT32, DecodeJob

TOLERANCE = {torch.float32: (1e-5, 1e-3), torch.float16: (1e-3, 1e-2)}  # probs, ab; from design.md
MOTIONS = ("still", "whole cells", "fractions", "mixed")


def warp(probs: Tensor, motion: Tensor) -> Tensor:
    """probs (N, h, w, Q) sampled at (x + dx, y + dy); positions in float32, as the op says, blended in probs' type."""
    batch, h, w, _ = probs.shape
    x = (torch.arange(w, device=probs.device, dtype=torch.float32) + motion[..., 0]).clamp(0, w - 1)
    y = (torch.arange(h, device=probs.device, dtype=torch.float32)[:, None] + motion[..., 1]).clamp(0, h - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    n = torch.arange(batch, device=probs.device)[:, None, None]
    fx, fy = ((at - low).to(probs.dtype)[..., None] for at, low in ((x, left), (y, top)))
    upper = torch.lerp(probs[n, top, left], probs[n, top, right], fx)
    lower = torch.lerp(probs[n, bottom, left], probs[n, bottom, right], fx)
    return torch.lerp(upper, lower, fy)


def op_chain(logits, prev_probs, motion, keep, centers, temperature, mode: int = 0, dtype=torch.float32):
    """ColorTokenDecode written out in PyTorch, without a look at the values, so that it compiles to one graph."""
    keep = keep.to(dtype)[..., None]
    probs = (1 - keep) * logits.to(dtype).softmax(dim=-1) + keep * warp(prev_probs.to(dtype), motion)
    if mode:
        ab = centers.to(dtype)[probs.argmax(dim=-1)]
    else:
        ab = (probs.clamp(min=TINY).log() / temperature.to(dtype)).softmax(dim=-1) @ centers.to(dtype)
    return ab.permute(0, 3, 1, 2).contiguous(), probs.to(torch.float64 if dtype == torch.float64 else logits.dtype)


def make_inputs(
    shape, tokens, dtype, motion_kind, device, keep: float | None = None, scale: float = 4.0
) -> list[Tensor]:
    """logits, prev_probs, motion, keep, centers for one call; keep None mixes 0, 1 and values between."""
    options = {"device": device}
    logits = (torch.randn(*shape, tokens, **options) * scale).to(dtype)
    prev_probs = (torch.randn(*shape, tokens, **options) * 3).softmax(dim=-1).to(dtype)
    motion = torch.randn(*shape, 2, **options) * 2
    if motion_kind == "still":
        motion.zero_()
    elif motion_kind == "whole cells":
        motion = motion.round()
    elif motion_kind == "mixed":  # still, whole, fractions, and far out of the picture
        kind = torch.randint(4, (*shape, 1), **options)
        motion = torch.where(kind == 0, 0, torch.where(kind == 1, motion.round(), motion))
        motion = torch.where(kind == 3, motion * 1e4, motion)
    weights = torch.rand(shape, **options) if keep is None else torch.full(shape, keep, **options)
    if keep is None:
        kind = torch.randint(5, shape, **options)
        weights = torch.where(kind == 0, 0.0, torch.where(kind == 1, 1.0, weights))
    centers = torch.from_numpy(palette("ab313").centers.copy()) if tokens == 313 else torch.rand(tokens, 2) * 220 - 110
    return [logits, prev_probs, motion, weights, centers.to(device)]


class Decode:
    """One ready call of the kernel: inputs, poisoned outputs, and the job that names them."""

    def __init__(self, run, inputs: list[Tensor], temperature: float = 0.38, mode: int = 0):
        logits = inputs[0]
        batch, h, w, tokens = logits.shape
        self.run, self.inputs, self.mode = run, inputs, mode
        self.temperature = torch.tensor([temperature], device=logits.device)
        self.ab = torch.full((batch, 2, h, w), float("nan"), device=logits.device)
        self.probs = torch.full_like(logits, float("nan"))
        arrays = (*inputs, self.temperature, self.ab, self.probs)
        kind = FLOAT16 if logits.dtype == torch.float16 else FLOAT32
        self.job = DecodeJob(*(array.data_ptr() for array in arrays), batch, h, w, tokens, kind, mode)

    def __call__(self) -> None:
        on_gpu = self.ab.is_cuda
        stream = torch.cuda.current_stream().cuda_stream if on_gpu else None
        status = self.run(ctypes.byref(self.job), stream)
        if status:
            raise RuntimeError(f"the kernel was not started: status {status}")

    @property
    def bytes(self) -> int:
        """What must move through memory: logits in, probs out, the past where it counts, and the small arrays."""
        cells = self.inputs[3].numel()
        rows = 2 + float((self.inputs[3] != 0).float().mean())
        return int(cells * (rows * self.probs.shape[-1] * self.probs.element_size() + 8 + 4 + 8))

    def errors(self) -> tuple[float, float]:
        """Largest difference from float64, in probs and in ab; where an output was not written, not-a-number.

        In mode 1 only cells count where the two best tokens differ by more than the tolerance.
        """
        inputs = self.inputs
        ab, probs = op_chain(*inputs, self.temperature.double(), self.mode, torch.float64)
        off_ab = (self.ab - ab).abs()
        if self.mode and probs.shape[-1] > 1:
            best = probs.topk(2, dim=-1).values
            clear = best[..., 0] - best[..., 1] > TOLERANCE[self.probs.dtype][0]
            off_ab = torch.where(clear[:, None], off_ab, torch.where(off_ab.isnan(), off_ab, 0.0))
        return float((self.probs.double() - probs).abs().max()), float(off_ab.max())
