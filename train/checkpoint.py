"""Checkpoints: written beside the old one and renamed, so a killed run always leaves a whole one."""

import os
from pathlib import Path

import torch

from edgecolor.errors import ModelError


def save_checkpoint(path: Path, state: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        torch.save(state, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict:
    """raises ModelError where the file is damaged or holds anything but tensors and plain data"""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path} is not a whole checkpoint ({reason}): delete it to start over") from error
