"""R'G'B' to ab in PyTorch, differentiable; the twin of edgecolor.color.lab.srgb_to_lab without L*."""

import torch
from torch import Tensor

from edgecolor.color.lab import EPSILON, KAPPA, rgb_to_xyz_matrix


def rgb_to_ab(rgb: Tensor) -> Tensor:
    """rgb (N, 3, H, W), clipped to [0, 1] -> ab (N, 2, H, W), ab units."""
    rgb = rgb.clamp(0, 1)
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    matrix = rgb_to_xyz_matrix()
    rows = (matrix / matrix.sum(axis=1, keepdims=True)).tolist()
    red, green, blue = linear[:, 0:1], linear[:, 1:2], linear[:, 2:3]
    xyz = torch.cat([red * r + green * g + blue * b for r, g, b in rows], dim=1)
    # Not below the straight piece: a root of zero has no gradient.
    f = torch.where(xyz > EPSILON, xyz.clamp_min(EPSILON) ** (1 / 3), (KAPPA * xyz + 16) / 116)
    return torch.cat([500 * (f[:, 0:1] - f[:, 1:2]), 200 * (f[:, 1:2] - f[:, 2:3])], dim=1)
