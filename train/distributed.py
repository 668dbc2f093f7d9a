"""Several processes on one batch: what torchrun says about this one, and how they agree."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist

from edgecolor.errors import ConfigError
from edgecolor.train.config import TrainConfig


@dataclass(frozen=True)
class Processes:
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in one process at least; all of them must ask."""
        if self.world == 1:
            return flag
        votes = torch.tensor([float(flag)], device=device)
        dist.all_reduce(votes)
        return bool(votes.item())

    def check_batches(self, config: TrainConfig) -> None:
        """raises ConfigError for a batch that cannot be shared, or whose parts are too small for a loss"""
        parts = self.world * config.optim.accumulate
        for phase in config.phases:
            if phase.batch % parts:
                share = f"{self.world} processes x {config.optim.accumulate} parts"
                raise ConfigError(f"phases: a batch of {phase.batch} cannot be shared by {share}")
            if phase.batch < 2 * parts and any(loss.kind == "kernel" for loss in config.losses):
                raise ConfigError(
                    f"losses: kernel compares sets, and a batch of {phase.batch} leaves each process and part 1 crop: "
                    "raise phases.batch, or lower optim.accumulate"
                )

    def part_of(self, count: int) -> slice:
        """This process's share of `count` crops."""
        share = count // self.world
        return slice(self.rank * share, (self.rank + 1) * share)


def speaks() -> bool:
    """Whether this process tells the user what goes on; known before the group is joined."""
    return os.environ.get("RANK", "0") == "0"


def join_processes(device: torch.device) -> Processes:
    """Join the group that torchrun set up, or be alone; NCCL between GPUs, gloo between processors."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes()
    if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
        raise ConfigError("WORLD_SIZE is set, RANK or MASTER_ADDR is not: start several processes with torchrun")
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), world)


def leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def pick_device(name: str = "auto") -> torch.device:
    """auto: the GPU of this process's LOCAL_RANK where there is one, else the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name} was asked for, and PyTorch finds no GPU: use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device
