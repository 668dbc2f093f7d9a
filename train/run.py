"""Start a run as the command line asks for it, and say how it ended."""

import logging
import os
from pathlib import Path

import torch

from edgecolor.errors import ConfigError
from edgecolor.train.config import TrainConfig, to_yaml
from edgecolor.train.distributed import leave_processes, pick_device, speaks
from edgecolor.train.kept_memory import keep_freed_memory
from edgecolor.train.loop import Trainer


def train_run(
    config: TrainConfig,
    folder: Path,
    device: str = "auto",
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> str:
    """Train, and return a line that says how far it came; empty in all processes but the first."""
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level if speaks() else logging.ERROR, format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made ({error.strerror}): choose another --out") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder} cannot be written to: choose another --out")
    try:
        where = pick_device(device)
        if where.type == "cpu":
            keep_freed_memory()
        trainer = Trainer(config, folder, where, resume=resume, quiet=quiet)
        if trainer.processes.first:
            write_config(config, folder / "config.yaml")
        complete = trainer.run(max_minutes)
        if not trainer.processes.first:
            return ""
        how = "complete" if complete else "stopped early; --resume goes on"
        return f"{trainer.checkpoint}: step {trainer.step} of {config.total_steps}, {how}"
    finally:
        leave_processes()


def write_config(config: TrainConfig, path: Path) -> None:
    try:
        path.write_text(to_yaml(config), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): make room, or choose another --out") from error
