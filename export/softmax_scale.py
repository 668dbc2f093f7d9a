"""Whether imported weights have the softmax temperature folded in: measured, because nothing in the file says so.

A network that was trained by cross entropy says probabilities: of all factors on its logits, 1 explains true colors
best. Where the authors have multiplied the last layer by 1 / 0.38 afterwards, so that a plain softmax is already the
annealed one, a factor of 0.38 does. Calibration by a single factor: Guo et al., ICML 2017.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.tokens import ANNEALED_MEAN_T, Palette
from edgecolor.errors import ConfigError, MediaError
from edgecolor.images import is_image, read_image
from edgecolor.stages.frame_to_lightness import resize_lightness, working_size

SCALES = 2.0 ** np.arange(-3, 2.001, 0.125)  # factors on the logits that are tried
BOUNDARY = ANNEALED_MEAN_T**0.5  # half way, as factors go, between folded in and not
LEAST_CHROMA = 5.0  # ab units: cells below are gray, and training left them out
CELLS_PER_PICTURE = 400
PLAIN = "a plain softmax, as the authors' PyTorch code has it"
Cells = tuple[Tensor, Tensor, Tensor]  # logits (M, Q), and true tokens with weights, (M, k) each


def cross_entropies(cells: Iterable[Cells], scales: np.ndarray = SCALES) -> np.ndarray:
    """Mean cross entropy of the cells' true colors under softmax(scale * logits), for each scale; nats."""
    sums, count = np.zeros(len(scales)), 0
    for logits, tokens, weights in cells:
        for i, scale in enumerate(scales):
            log_probs = (logits.double() * float(scale)).log_softmax(dim=-1)
            sums[i] -= float((log_probs.gather(-1, tokens) * weights).sum())
        count += len(logits)
    if not count:
        raise ConfigError("the photographs hold no color to measure with: give color photographs")
    return sums / count


def photographs(folder: Path, limit: int) -> Iterator[np.ndarray]:
    """The first pictures of a folder, in the order of their names: (H, W, 3) uint8. raises ConfigError without any"""
    paths = sorted(path for path in folder.iterdir() if is_image(path)) if folder.is_dir() else []
    count = 0
    for path in paths:
        if count == limit:
            return
        try:
            rgb = read_image(path).rgb
        except MediaError:
            continue  # one damaged picture is no reason to stop
        count += 1
        yield rgb
    if not count:
        raise ConfigError(f"{folder} holds no picture to measure with: give a folder of color photographs")


@torch.inference_mode()
def true_cells(model: nn.Module, rgb: np.ndarray, colors: Palette, short_side: int, rng) -> Cells:
    """What the model says of a photograph turned gray, and what its colors were, at some of its cells."""
    lab = srgb_to_lab(rgb.astype(np.float32) / 255)
    h0, w0 = working_size(rgb.shape[1], rgb.shape[0], short_side, model.multiple)
    lightness = resize_lightness(np.ascontiguousarray(lab[..., 0]), h0, w0)
    logits = model(torch.from_numpy(np.ascontiguousarray(lightness, np.float32))[None, None])[0][0].flatten(0, 1)
    cells = (w0 // model.stride, h0 // model.stride)
    ab = cv2.resize(lab[..., 1:], cells, interpolation=cv2.INTER_AREA).reshape(-1, 2)
    colored = np.flatnonzero(np.abs(ab).max(axis=1) > LEAST_CHROMA)
    chosen = rng.permutation(colored)[:CELLS_PER_PICTURE]
    tokens, weights = colors.nearest(ab[chosen])
    return logits[torch.from_numpy(chosen)], torch.from_numpy(tokens), torch.from_numpy(weights)


def temperature_by_photographs(
    model: nn.Module, colors: Palette, folder: Path, limit: int = 24, short_side: int = 256
) -> tuple[float, str]:
    """The temperature of the annealed mean that suits the weights, and the evidence in words."""
    rng = np.random.default_rng(0)
    pictures = list(photographs(folder, limit))
    entropies = cross_entropies(true_cells(model, rgb, colors, short_side, rng) for rgb in pictures)
    best = int(entropies.argmin())
    scale = float(SCALES[best])
    if best in (0, len(SCALES) - 1):  # a net that knows no colors is best ignored
        return 1.0, f"undecided on {len(pictures)} photographs, whose colors the weights do not explain: {PLAIN}"
    folded = scale < BOUNDARY
    found = f"measured on {len(pictures)} photographs: true colors are likeliest at logits x {scale:.2g}"
    where = "in the weights, so a plain softmax does" if folded else "not in the weights, so it is ours"
    return 1.0 if folded else ANNEALED_MEAN_T, f"{found}, the temperature is {where}"
