"""A training checkpoint to the files that are shipped: NAME.onnx, NAME.safetensors and decode.onnx."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette, rebalancing_weights
from edgecolor.errors import ConfigError, ModelError
from edgecolor.export.torch_to_onnx import export_decode_onnx, export_onnx
from edgecolor.manifest import Manifest, weights_sha256
from edgecolor.models import build_model, kind_of, manifest_of

SAFETENSORS_TYPES = {"float16": "F16", "float32": "F32", "int64": "I64"}


def load_checkpoint(path: Path) -> dict:
    """raises ModelError where there is none, or it lacks what an export needs"""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"there is no checkpoint {path}: train first, or check the path") from error
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        reason = " ".join(str(error).split())[:160] or "it is empty"
        raise ModelError(f"{path} is not a whole checkpoint ({reason}): give one that training wrote") from error
    missing = [key for key in ("ema", "config", "step") if not isinstance(state, dict) or key not in state]
    if missing:
        raise ModelError(f"{path} holds no {', '.join(missing)}: give a checkpoint that training wrote")
    config = state["config"]
    if not isinstance(state["ema"], dict) or not isinstance(config, dict) or not isinstance(config.get("model"), str):
        raise ModelError(f"{path} names no model, or holds no weights: give a checkpoint that training wrote")
    return state


def ema_model(state: dict) -> nn.Module:
    """The model of a checkpoint, with the running average of its weights."""
    model = build_model(state["config"]["model"])
    try:
        model.load_state_dict(state["ema"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"the checkpoint does not fit today's {state['config']['model']} ({reason})") from error
    return model.eval()


@torch.no_grad()
def shift_prior(model: nn.Module, prior: Tensor, shift: float, uniform: float) -> None:
    """Rebalance after training: token_bias += shift * log(rebalancing weights), so that rare colors come up more often.

    shift    0 leaves the model; 1 is Bayes' rule for a loss that was weighted that way
    uniform  lambda of the weights, see rebalancing_weights
    raises   ConfigError where the model has no such bias
    """
    if not hasattr(model, "token_bias"):
        raise ConfigError("prior_shift changes the bias of color tokens, and this model has none: leave it at 0")
    weights = rebalancing_weights(prior.double().numpy(), uniform)
    model.token_bias.add_(shift * torch.from_numpy(np.log(weights)).to(model.token_bias))


def save_safetensors(model: nn.Module, manifest: Manifest, path: Path) -> Manifest:
    """Matrices and kernels in float16, vectors (biases, norms) as they are; the manifest in the metadata."""
    arrays = {}
    for name, value in sorted(model.state_dict().items()):
        value = value.half() if value.ndim >= 2 and value.is_floating_point() else value
        arrays[name] = np.asarray(value.numpy(), order="C")
    blobs = {name: array.tobytes() for name, array in arrays.items()}
    manifest = manifest.replace(weights_sha256=weights_sha256(blobs.items()))
    header: dict = {"__metadata__": manifest.to_metadata()}
    at = 0
    for name, array in arrays.items():
        span = [at, at + array.nbytes]
        header[name] = {"dtype": SAFETENSORS_TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # readers map the tensors, which must be aligned
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs.values()))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def export_checkpoint(
    checkpoint: str | Path,
    out_dir: str | Path,
    *,
    prior_shift: float = 0.0,
    prior_uniform: float = 0.5,
    temperature: float | None = None,
    saturation: float = 1.0,
    half_life: float = 1.0,
    views: int = 1,
    working_size: int = 256,
    training_data: str = "",
    license: str = "Apache-2.0",
    version: str = "",
) -> Manifest:
    """Write NAME.onnx, NAME.safetensors and, for color tokens, decode.onnx into out_dir, which is made if need be.

    prior_shift, prior_uniform  see shift_prior; chosen on validation photographs, both files contain the result
    temperature                 default of the annealed mean; None: the manifest's
    half_life                   default of the smoothing, seconds
    views                       of each picture that the network is to see by default
    returns                     the manifest of NAME.onnx
    raises                      ModelError (checkpoint or parity), ConfigError (an impossible option)
    """
    if not np.isfinite(prior_shift):
        raise ConfigError(f"prior_shift must be a number, got {prior_shift}")
    state = load_checkpoint(Path(checkpoint))
    model = ema_model(state)
    if prior_shift:
        if kind_of(model) == "tokens" and "prior" not in state:
            raise ModelError(f"{checkpoint} holds no prior, which prior_shift needs: give one that training wrote")
        shift_prior(model, state.get("prior"), prior_shift, prior_uniform)
    manifest = manifest_of(
        state["config"]["model"],
        model,
        working_size=working_size,
        saturation=saturation,
        half_life=half_life,
        views=views,
        prior_shift=prior_shift,
        prior_uniform=prior_uniform,
        training_data=training_data,
        license=license,
        version=version,
    )
    if temperature is not None:
        manifest = manifest.replace(temperature=temperature)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    written = export_onnx(model, manifest, out_dir / f"{manifest.name}.onnx")
    save_safetensors(model, manifest, out_dir / f"{manifest.name}.safetensors")
    if manifest.kind == "tokens":
        export_decode_onnx(palette(manifest.palette), out_dir / "decode.onnx", version)
    return written
