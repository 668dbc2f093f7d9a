"""Which color tokens a lightness can have: CT2's luminance-selecting module, with masks made from sRGB itself.

A dark blue is far from gray, a bright one cannot be. L* is cut into four groups of 25, and a token belongs to a group
when some sRGB color of that lightness lies nearest to its bin: 82, 182, 227 and 156 of the 313.
Source: Weng et al., "CT2: Colorization Transformer via Color Tokens", ECCV 2022, section 3.3.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.tokens import STEP, palette

GROUPS = 4
GROUP_STEP = 25.0  # L* per group; 100 itself counts to the last
REACH = 12  # bins from gray to the edge of the table below, beyond every sRGB color
# A logit that is out of the question. Finite, so that sums, float16 and exporters bear it, and so low that its
# probability is exactly zero in float32; small enough that parity of the other logits is still seen beside it.
MASKED_LOGIT = -1000.0


@cache
def gamut_masks() -> np.ndarray:
    """Bins of the ab grid that sRGB reaches: (4, 25, 25) bool; [group, a / 10 + 12, b / 10 + 12].

    All 2^24 colors give the same table. The 393,216 on the faces of the color cube suffice, because the gamut is a
    solid: whatever lies between two of its colors in a row of bins is filled.
    """
    rows, columns = (axis.ravel() for axis in np.mgrid[0:256, 0:256])
    face = np.stack([rows, columns], axis=1)
    faces = [np.insert(face, channel, code, axis=1) for channel in range(3) for code in (0, 255)]
    lab = srgb_to_lab(np.concatenate(faces) / 255.0)
    group = (lab[:, 0] // GROUP_STEP).clip(0, GROUPS - 1).astype(int)
    a, b = (np.rint(lab[:, 1:] / STEP).astype(int) + REACH).T
    masks = np.zeros((GROUPS, 2 * REACH + 1, 2 * REACH + 1), dtype=bool)
    masks[group, a, b] = True
    upward, downward = (np.logical_or.accumulate(m, axis=2) for m in (masks, masks[:, :, ::-1]))
    return upward & downward[:, :, ::-1]


def token_masks(palette_name: str) -> np.ndarray:
    """Whether a token can occur in a group of lightness: (4, Q) bool."""
    a, b = (np.rint(palette(palette_name).centers / STEP).astype(int) + REACH).T
    return gamut_masks()[:, a, b]


class LuminanceSelect(nn.Module):
    """From lightness to the tokens that a cell or a patch may have."""

    def __init__(self, palette_name: str):
        super().__init__()
        masks = torch.from_numpy(token_masks(palette_name)).float()
        self.register_buffer("masks", masks, persistent=False)  # (4, Q)
        groups = torch.arange(GROUPS, dtype=torch.float32)[:, None, None]
        self.register_buffer("groups", groups, persistent=False)

    def present(self, lightness: Tensor, stride: int) -> Tensor:
        """Groups that the pixels of a cell belong to: lightness (N, 1, H, W), L* -> (N, 4, H / stride, W / stride)."""
        group = (lightness / GROUP_STEP).floor().clamp(0, GROUPS - 1)
        one_hot = (group == self.groups).to(self.masks)
        return F.max_pool2d(one_hot, stride) if stride > 1 else one_hot

    def forward(self, present: Tensor) -> Tensor:
        """Tokens of the groups that are present: (N, 4, h, w) -> (N, h, w, Q) bool."""
        return torch.matmul(present.permute(0, 2, 3, 1), self.masks) > 0
