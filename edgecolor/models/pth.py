"""Weights files of other projects (.pth), read without running anything that is in them."""

import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from edgecolor.errors import ModelError

DAMAGED = (
    *(RuntimeError, EOFError, KeyError, ValueError, AttributeError, ImportError, IndexError, TypeError),
    *(struct.error, zipfile.BadZipFile, SafetensorError),  # the last, as torch.load reads such files too
)
# A checkpoint often wraps the state dict, and data-parallel training prefixes its keys.
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
PREFIX = "module."


def read_pth(path: Path, where: str = "") -> dict[str, Tensor]:
    """The tensors of a .pth file by name, on the CPU, without wrapper and prefix.

    where   goes before the message
    raises  ModelError where there is none, it is damaged, holds Python code, or holds something else than tensors
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums in it
                if damaged := archive.testzip():
                    raise RuntimeError(f"the checksum of {damaged} does not hold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle's protocol, which no user can act on
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{where}there is no file {path}: check the path") from error
    except OSError as error:
        raise ModelError(f"{where}{path} cannot be read ({error.strerror or error}): check the path") from error
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():
            what = "holds Python objects beside weights, and what could run code is not loaded: get a file of weights"
            raise ModelError(f"{where}{path} {what}") from error
        raise ModelError(f"{where}{path} is not a .pth file, or a damaged one: get it again") from error
    except DAMAGED as error:
        broken = isinstance(error, KeyError)  # its text is a byte of the file
        reason = "its structure is broken" if broken else " ".join(str(error).split())[:80] or "it ends too early"
        raise ModelError(f"{where}{path} is not a whole .pth file ({reason}): get it again") from error
    for name in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
            break
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{where}{path} holds no dictionary of tensors by name: give a file of weights")
    return {str(name).removeprefix(PREFIX): value for name, value in state.items()}
