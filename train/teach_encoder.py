"""Teach a vision transformer what another network knows of each patch, before it learns to color.

A transformer that starts from nothing learns from colors alone that the world is brown, for tens of thousands of crops
(docs/models.md). A teacher's features and logits, some hundreds of numbers for every patch, tell it more per crop, and
without CT2's decoder a step takes a fifth of the time. What comes out is for `init_encoder` of a training config.
Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
"""

import logging
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.errors import ConfigError
from edgecolor.models import build_model, kind_of
from edgecolor.models.ct2_encoder import VisionTransformer
from edgecolor.train.colorize import model_of_checkpoint
from edgecolor.train.config import TrainConfig
from edgecolor.train.dataset import Photographs, prefetch
from edgecolor.train.degrade import Degrade
from edgecolor.train.optim import build_optimizer, rate_at
from edgecolor.train.prepare import drop_nothing
from edgecolor.train.training_log import TrainingLog

log = logging.getLogger(__name__)

MEASURED = 20  # batches that the scale of the teacher's channels is measured on
MEASURE_STREAM = 3_000_017  # seed of them, apart from those trained on
LEAST_DEVIATION = 1e-3  # channels that vary less are as good as constant


class PatchTargets(nn.Module):
    """A teacher's features and logits, averaged over each patch, every channel of mean 0 and deviation 1 once
    `measure` has seen some pictures."""

    def __init__(self, teacher: nn.Module, patch: int):
        super().__init__()
        self.teacher, self.cells = teacher, patch // teacher.stride
        self.scales: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def raw(self, lightness: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(part.permute(0, 3, 1, 2), self.cells) for part in self.teacher(lightness)]

    def measure(self, pictures: list[Tensor]) -> list[int]:
        """Set the scales by some batches (N, 1, H, W); how many channels there are of features and logits."""
        for parts in zip(*(self.raw(lightness) for lightness in pictures), strict=True):
            values = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
            deviation = values.std(dim=1).clamp_min(LEAST_DEVIATION)
            self.scales.append((values.mean(dim=1)[:, None, None], deviation[:, None, None]))
        return [len(mean) for mean, _ in self.scales]

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """lightness (N, 1, H, W), L* -> logits and features of its patches, (N, C, H / patch, W / patch) each."""
        return [(part - mean) / scale for part, (mean, scale) in zip(self.raw(lightness), self.scales, strict=True)]


class Student(nn.Module):
    """An encoder with a linear map from its patches to each of the teacher's parts, which is thrown away afterwards."""

    def __init__(self, encoder: VisionTransformer, channels: list[int]):
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Conv2d(encoder.norm.normalized_shape[0], count, 1) for count in channels)

    def forward(self, lightness: Tensor) -> list[Tensor]:
        patches = self.encoder((lightness - 50) / 100)  # as CT2 shows it pictures
        return [head(patches) for head in self.heads]


def teach_encoder(
    config: TrainConfig,
    out: Path,
    device: str | torch.device = "cpu",
    *,
    max_minutes: float | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> str:
    """Train the encoder of the config's model, write it to `out`, and return a line that says how well it learned.

    config       its losses are one of kind distill, which names the teacher; model, phases, data, degrade, optim count
                 as for train
    out          .safetensors, named as timm names a ViT's weights; log.jsonl goes beside it
    max_minutes  ends there, wherever the schedule is
    raises       ConfigError, ModelError (the teacher's checkpoint)
    """
    if [loss.kind for loss in config.losses] != ["distill"]:
        raise ConfigError("losses: an encoder is taught by one loss of kind distill, which names the teacher")
    if config.losses[0].undamaged:
        raise ConfigError("losses: an encoder is taught on the crops as they are: leave undamaged out")
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out.name} must end in .safetensors")
    torch.manual_seed(config.seed)
    model = build_model(config.model)
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, VisionTransformer):
        raise ConfigError(f"{config.model} has no vision transformer to teach: take ct2-tiny or another ct2")
    teacher, _ = model_of_checkpoint(config.losses[0].teacher)
    if kind_of(teacher) != "tokens" or teacher.stride > model.multiple:
        raise ConfigError(f"{config.losses[0].teacher} cannot teach: take a model with color tokens, such as edge")
    if threads:
        torch.set_num_threads(threads)
    if not config.dropout:
        drop_nothing(encoder)
    crops = Photographs(config.data, degrade=Degrade(config.degrade) if config.degrade.any else None)
    targets = PatchTargets(teacher, encoder.stem.kernel_size[0]).to(device)
    first = config.phases[0]
    seen = [crops.batch((MEASURE_STREAM, i), first.crop, first.batch).lightness.to(device) for i in range(MEASURED)]
    student = Student(encoder, targets.measure(seen)).to(device).train()
    optimizer = build_optimizer(student, config.optim)
    plan = [phase for phase in config.phases for _ in range(phase.steps)]
    out.parent.mkdir(parents=True, exist_ok=True)
    report = TrainingLog(out.parent, len(plan), config.log_every, tensorboard=False, quiet=quiet)
    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
    batches = prefetch(lambda i: crops.batch((config.seed, i), plan[i].crop, plan[i].batch), 0, len(plan))
    errors: list[float] = []
    step = 0
    try:
        while step < len(plan) and time.monotonic() < deadline:
            before = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - before
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_at(step, len(plan), config.optim.warmup_steps)
            lightness = batch.lightness.to(device)
            pairs = zip(student(lightness), targets(lightness), strict=True)
            loss = torch.stack([F.mse_loss(ours, theirs) for ours, theirs in pairs]).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), config.optim.clip_norm or float("inf"))
            optimizer.step()
            optimizer.zero_grad()
            errors.append(loss.item())
            step += 1
            report.add(step, {"loss": errors[-1]}, {"rate": group["lr"]}, len(batch), waited)
            if step % config.checkpoint_every == 0:
                save_encoder(encoder, out)
    finally:
        batches.close()
        report.close()
    save_encoder(encoder, out)
    missed = float(np.mean(errors[-(step // 10 + 1) :])) if errors else 1.0
    return f"{out}: step {step} of {len(plan)}, {1 - missed:.0%} of what the teacher says of patches is explained"


def save_encoder(encoder: VisionTransformer, out: Path) -> None:
    """Write the encoder's weights as timm names them; under a temporary name first."""
    from safetensors.torch import save

    names = {"stem.weight": "patch_embed.proj.weight", "stem.bias": "patch_embed.proj.bias"}
    weights = {names.get(name, name): value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
    partial = out.with_name(f".{out.name}.part")
    try:
        partial.write_bytes(save(weights))  # save_file's files only their owner may read
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
