"""Simulated users: a few true colors of a picture, as somebody who colors it by hand would put them in."""

import torch
from torch import Tensor, nn

from edgecolor.train.dataset import Batch

STOP = 1 / 8  # chance that a point is the last one: their number is geometric, seven on average
LARGEST = 9  # pixels: the longest side of the patch whose mean color a point gets
ALL = 0.01  # share of the pictures whose whole color is given


def random_hints(ab: Tensor) -> Tensor:
    """Draw hints from the true colors, with PyTorch's random numbers.

    ab       (N, h, w, 2), ab units
    returns  (N, 3, h, w): a, b and 1 where a color is given, zeros elsewhere
    source   Zhang et al., SIGGRAPH 2017, section 3.1: points about the middle of the picture, in patches of 1 to 9 px
    """
    batch, h, w, _ = ab.shape
    hints = ab.new_zeros(batch, 3, h, w)
    for picture, given in zip(ab.permute(0, 3, 1, 2), hints, strict=True):
        if torch.rand(()) < ALL:
            given[:2], given[2] = picture, 1
            continue
        while torch.rand(()) >= STOP:
            side = int(torch.randint(1, LARGEST + 1, ()))
            y, x = (
                int((size / 2 + size / 4 * torch.randn(())).clamp(0, max(size - side, 0))) for size in (h, w)
            )  # fmt: skip
            place = (slice(None), slice(y, y + side), slice(x, x + side))
            given[:2][place] = picture[place].mean(dim=(1, 2), keepdim=True)
            given[2:][place] = 1
    return hints


def inputs_of(batch: Batch, model: nn.Module) -> list[Tensor]:
    """What the model is given: the lightness of the batch's pictures, then of the frames before them; hints likewise
    where it takes them, but none for the frames before.
    """
    paired = batch.previous is not None
    lightness = torch.cat([batch.lightness, batch.previous]) if paired else batch.lightness
    inputs = [lightness.contiguous(memory_format=torch.channels_last)]
    if getattr(model, "takes_hints", False):
        hints = random_hints(batch.ab)
        inputs.append(torch.cat([hints, torch.zeros_like(hints)]) if paired else hints)
    return inputs
