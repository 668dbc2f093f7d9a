"""ColorTokenDecode: logits and the past's token probabilities to ab. This NumPy code is the definition of the op;
the ONNX function, the PyTorch twin and the CUDA kernel must equal it.
"""

import numpy as np

from edgecolor.color.tokens import annealed_mean, softmax
from edgecolor.color.tokens import mode as mode_of
from edgecolor.errors import ConfigError, ShapeError

ANNEALED_MEAN, MODE = 0, 1
DOMAIN, OP, OP_VERSION = "edgecolor", "ColorTokenDecode", 1  # in ONNX
PLUGIN = {"plugin_version": "1", "plugin_namespace": "edgecolor"}  # attributes by which TensorRT finds the CUDA kernel
Array = np.ndarray


def check_decode(
    logits: Array, prev_probs: Array, motion: Array, keep: Array, centers: Array, temperature: float, mode: int
) -> None:
    """Hold the shapes and types of ColorTokenDecode; see color_token_decode. Works on tensors too."""
    if len(logits.shape) != 4:
        raise ShapeError(f"logits must be (N, h, w, Q), tokens last, found {tuple(logits.shape)}")
    batch, h, w, tokens = logits.shape
    for name, array, shape in (
        ("prev_probs", prev_probs, (batch, h, w, tokens)),
        ("motion", motion, (batch, h, w, 2)),
        ("keep", keep, (batch, h, w)),
        ("centers", centers, (tokens, 2)),
    ):
        if tuple(array.shape) != shape:
            raise ShapeError(f"{name} must be {shape} beside logits {tuple(logits.shape)}, found {tuple(array.shape)}")
    if prev_probs.dtype != logits.dtype:
        raise ShapeError(f"prev_probs must be of the type of logits, found {prev_probs.dtype} beside {logits.dtype}")
    if not 0 < temperature <= 1:
        raise ConfigError(f"temperature must lie in (0, 1], got {temperature}")
    if mode not in (ANNEALED_MEAN, MODE):
        raise ConfigError(f"mode must be 0 (annealed mean) or 1 (most probable token), got {mode}")


def bilinear(grid: Array, x: Array, y: Array) -> Array:
    """A grid (h, w, C) sampled at columns x and rows y, (...) float32 each, clamped to the grid: (..., C)."""
    h, w, channels = grid.shape
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, w - 1), np.minimum(top + 1, h - 1)
    fx, fy = x - left.astype(np.float32), y - top.astype(np.float32)
    taps = np.stack([top * w + left, top * w + right, bottom * w + left, bottom * w + right], -1)
    shares = np.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1)
    return (shares[..., None, :] @ grid.reshape(-1, channels)[taps])[..., 0, :]


def warp(probs: Array, motion: Array) -> Array:
    """Sample a token grid bilinearly at (x + dx, y + dy), positions clamped to the grid.

    probs    (N, h, w, Q) float32
    motion   (N, h, w, 2), (dx, dy) in cells
    returns  (N, h, w, Q) float32
    """
    if not motion.any():
        return probs
    _, h, w, _ = probs.shape
    x = np.arange(w, dtype=np.float32) + motion[..., 0]
    y = np.arange(h, dtype=np.float32)[:, None] + motion[..., 1]
    return np.stack([bilinear(*picture) for picture in zip(probs, x, y, strict=True)])


def color_token_decode(
    logits: Array, prev_probs: Array, motion: Array, keep: Array, centers: Array, temperature: float, mode: int = 0
) -> tuple[Array, Array]:
    """Blend the tokens' probabilities with the past's, and reduce each cell to one ab color.

    logits       (N, h, w, Q) float16 or float32, finite; log-probabilities are valid logits
    prev_probs   (N, h, w, Q) of the type of logits: the state; zeros at the start
    motion       (N, h, w, 2), (dx, dy) in cells: where this cell was in the previous frame, relative to itself
    keep         (N, h, w) in [0, 1]: weight of the past; 0 at scene cuts, occlusions and on the first frame
    centers      (Q, 2), ab units
    temperature  in (0, 1], a number or an array of one
    mode         0 annealed mean, 1 the most probable token (ties take the lowest index)
    returns      ab (N, 2, h, w) float32, and probs (N, h, w, Q) of the type of logits: the next state.
                 ab is made from probs before they are rounded to that type
    raises       ShapeError for shapes or types that do not fit, ConfigError for temperature or mode
    """
    temperature = float(np.asarray(temperature).item())
    check_decode(logits, prev_probs, motion, keep, centers, temperature, mode)
    if logits.dtype not in (np.float16, np.float32):
        raise ShapeError(f"logits must be float16 or float32, found {logits.dtype}")
    keep = keep.astype(np.float32)[..., None]
    past = warp(prev_probs.astype(np.float32), motion.astype(np.float32))
    probs = (1 - keep) * softmax(logits.astype(np.float32)) + keep * past
    ab = mode_of(probs, centers) if mode == MODE else annealed_mean(probs, centers, temperature)
    return np.ascontiguousarray(ab.transpose(0, 3, 1, 2), dtype=np.float32), probs.astype(logits.dtype)
