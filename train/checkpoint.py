"""Checkpoints: written beside the old one and renamed, so a killed run always leaves a whole one; checked when read."""

import os
import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecolor.errors import EdgeColorError, ModelError

DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError, ImportError)
KEYS = ("config", "step", "model", "ema", "optimizer")


class CheckpointWriteError(EdgeColorError, OSError):
    """A checkpoint could not be written; the one before it is untouched."""


def save_checkpoint(path: Path, state: dict) -> None:
    """raises CheckpointWriteError where the disk is full or the folder cannot be written to"""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # else a crash of the machine can leave the new name on an empty file
        os.replace(partial, path)
        for left in path.parent.glob(f"{path.name}.partial-*"):  # by a run that was killed while it wrote
            left.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        kept = "the last one is intact" if path.exists() else "there is none yet"
        reason = " ".join(str(error).split())[:160]
        text = f"the checkpoint {path} cannot be written ({reason}): make room; {kept}"
        raise CheckpointWriteError(text) from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint back: plain data and tensors, on the CPU.

    raises  ModelError where there is none, its checksums do not hold, or it holds something else
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that it wrote
            damaged = archive.testzip()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such checkpoint") from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelError(
            f"{path} is not a whole checkpoint ({error or 'it is empty'}): delete it to start over"
        ) from error
    if damaged:
        raise ModelError(f"{path} is damaged (checksum of {damaged}): delete it to start over")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path} is not a checkpoint of this trainer ({reason}): give another") from error
    missing = [key for key in KEYS if not isinstance(state, dict) or key not in state]
    if missing:
        raise ModelError(f"{path} is not a checkpoint of this trainer: it lacks {', '.join(missing)}")
    config, weights = state["config"], (state["model"], state["ema"])
    named = isinstance(config, dict) and isinstance(config.get("model"), str)
    if not named or not all(isinstance(part, dict) for part in weights):
        raise ModelError(f"{path} is not a checkpoint of this trainer: it names no model, or holds no weights")
    return state


def check_fits(state: dict, name: str, model: nn.Module, path: Path) -> None:
    """raises ModelError where a checkpoint is of another architecture, saying what differs"""
    if state["config"]["model"] != name:
        theirs = state["config"]["model"]
        raise ModelError(f"{path} is of model {theirs!r}, not {name!r}: give one of that model, or use another folder")
    own = model.state_dict()
    wrong = differences(own, state["model"]) or differences(own, state["ema"])
    if wrong:
        raise ModelError(f"{path} does not fit model {name!r}: it has {first_of(wrong)}")


def first_of(wrong: list[str]) -> str:
    """The first thing, and how many more."""
    return wrong[0] + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")


def differences(own: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """What keeps the second state dict from being loaded where the first belongs."""
    missing = [f"no {key}" for key in own if key not in theirs]
    unknown = [f"an unknown {key}" for key in theirs if key not in own]
    shapes = [
        f"{key} of {list(theirs[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in theirs and own[key].shape != theirs[key].shape
    ]
    return missing + unknown + shapes
