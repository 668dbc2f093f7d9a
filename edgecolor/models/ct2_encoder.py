"""The vision transformer under CT2, and the attention that its decoder shares. Starts from weights of timm or
Hugging Face, see ct2_weights.py.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; stochastic depth: Huang et al., ECCV 2016.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.models.ct2_luminance import MASKED_LOGIT
from edgecolor.models.ct2_weights import vit_weights

NORM_EPS = 1e-6  # as timm trains; Hugging Face's 1e-12 computes the same on activations of any size that occurs


class Attention(nn.Module):
    """Multi-head self-attention over (N, T, d).

    allowed  (N, T, T) bool: who may look (second axis) at whom (last axis); None: everyone at everyone
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split(self, x: Tensor) -> Tensor:  # (N, T, d) -> (N, heads, T, d / heads)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        query, key, value = (self.split(part) for part in self.qkv(x).chunk(3, dim=-1))
        dropout = self.dropout if self.training else 0.0
        if allowed is None:
            y = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        else:
            # Written out: the export's form of the function above knows no masks.
            scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
            scores = scores.masked_fill(~allowed[:, None], MASKED_LOGIT)
            y = torch.matmul(F.dropout(scores.softmax(dim=-1), dropout, self.training).to(value), value)
        return self.proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, dim: int, dropout: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """A transformer layer with its norms in front.

    dropout    share of attention weights and activations that training drops
    drop_path  share of pictures for which training skips each half of the layer
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, dropout)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = drop_path

    def keep(self, y: Tensor) -> Tensor:
        y = self.dropout(y)
        if not self.training or not self.drop_path:
            return y
        kept = torch.empty(len(y), 1, 1, device=y.device).bernoulli_(1 - self.drop_path)
        return y * (kept / (1 - self.drop_path)).to(y)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        x = x + self.keep(self.attn(self.norm1(x), allowed))
        return x + self.keep(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """(N, 1, H, W) in [-0.5, 0.5] -> features of its patches, (N, dim, H / patch, W / patch).

    grid  sides of the square of patches that position embeddings are stored for; other sizes see them resized
    """

    def __init__(self, dim: int, heads: int, layers: int, patch: int = 16, grid: int = 16, drop_path: float = 0.0):
        super().__init__()
        self.grid = grid
        self.stem = nn.Conv2d(1, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid**2, dim))
        rates = [drop_path * i / max(1, layers - 1) for i in range(layers)]  # deeper layers are skipped more often
        self.blocks = nn.ModuleList(Block(dim, heads, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h, w = x.shape[2:]
        square = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        place = F.interpolate(square, size=(h, w), mode="bilinear", align_corners=False)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        x = torch.cat([first, (x + place).flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:].transpose(1, 2).unflatten(2, (h, w))

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take a ViT's weights in either layout, whole or not at all. raises ModelError, see vit_weights"""
        self.load_state_dict(vit_weights(state, self.state_dict()))
