"""CT2's decoder: color tokens and patches attend to each other, and each knows where it stands.

Source: Weng et al., "CT2: Colorization Transformer via Color Tokens", ECCV 2022, sections 3.2 to 3.4.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.color.tokens import STEP, palette
from edgecolor.models.ct2_encoder import Block

SIDE = 23  # bins of the ab grid's axes, -110 to 110


class ColorPosition(nn.Module):
    """Lay the tokens on the ab grid, look at the neighbours with a depthwise convolution, add what was seen."""

    def __init__(self, dim: int, palette_name: str):
        super().__init__()
        centers = palette(palette_name).centers
        cell = (np.rint(centers / STEP).astype(np.int64) + SIDE // 2) @ [SIDE, 1]
        token = np.full(SIDE**2, len(centers), dtype=np.int64)  # where no token lies: one past the last
        token[cell] = np.arange(len(centers))
        self.register_buffer("cell_of_token", torch.from_numpy(cell), persistent=False)
        self.register_buffer("token_of_cell", torch.from_numpy(token), persistent=False)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, tokens: Tensor) -> Tensor:  # (N, Q, d) -> the same
        padded = F.pad(tokens.transpose(1, 2), (0, 1))  # a zero for the empty cells
        grid = padded.index_select(2, self.token_of_cell).unflatten(2, (SIDE, SIDE))
        return tokens + self.conv(grid).flatten(2).index_select(2, self.cell_of_token).transpose(1, 2)


class PatchPosition(nn.Module):
    """The same for patches, which lie on the picture: (N, d, h, w) -> the same."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, patches: Tensor) -> Tensor:
        return patches + self.conv(patches)


def color_attention_mask(allowed: Tensor) -> Tensor:
    """Patches and tokens see each other where the token is possible there, and their own kind always.

    allowed  (N, P, Q) bool
    returns  (N, P + Q, P + Q) bool
    """
    batch, patches, tokens = allowed.shape
    each = torch.ones((), dtype=torch.bool, device=allowed.device)
    upper = torch.cat([each.expand(batch, patches, patches), allowed], dim=2)
    lower = torch.cat([allowed.transpose(1, 2), each.expand(batch, tokens, tokens)], dim=2)
    return torch.cat([upper, lower], dim=1)


class ColorTokenDecoder(nn.Module):
    """Patches (N, d, h, w) and the tokens possible in each (N, h, w, Q) bool -> both, having looked at each other:
    patches (N, d, h, w) and tokens (N, Q, d).
    """

    def __init__(self, dim: int, heads: int, layers: int, palette_name: str, dropout: float):
        super().__init__()
        self.proj = nn.Linear(dim, dim)
        self.patch_position = PatchPosition(dim)
        self.color_position = ColorPosition(dim, palette_name)
        self.layers = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.patch_out = nn.Conv2d(dim, dim, 3, padding=1)
        self.token_out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches: Tensor, tokens: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        batch, _, h, w = patches.shape
        mask = color_attention_mask(allowed.flatten(1, 2))
        patches = self.proj(patches.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (h, w))
        patches = self.patch_position(patches).flatten(2).transpose(1, 2)
        tokens = self.color_position(tokens).expand(batch, -1, -1)
        x = torch.cat([patches, tokens], dim=1)
        for layer in self.layers:
            x = layer(x, mask)
        patches, tokens = x[:, : h * w], x[:, h * w :]
        patches = self.patch_out(patches.transpose(1, 2).unflatten(2, (h, w)))
        patches = self.norm(patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return patches, self.norm(self.token_out(tokens))
