"""edge, the default model: a light pyramid over MobileNetV2, and color tokens that look at the picture.

One learned query per ab bin attends to the picture's features, then every cell of the token grid is compared with
every query: tokens x cells = logits. The idea of colors as queries is CT2's (Weng et al., ECCV 2022) and DDColor's
(Kang et al., ICCV 2023); here the queries are few, narrow and attend once at stride 16, so that the whole net stays
under 4 M parameters.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.color.tokens import palette
from edgecolor.models.mobilenet_v2 import MobileNetV2


@dataclass(frozen=True)
class EdgeConfig:
    palette: str = "ab313"
    dims: tuple[int, int, int, int] = (64, 96, 128, 160)  # pyramid channels at strides 4, 8, 16, 32
    token_dim: int = 96  # width of the color tokens
    token_layers: int = 2
    heads: int = 4


def conv_bn_relu(in_chs: int, out_chs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_chs, out_chs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out_chs), nn.ReLU()
    )


class Merge(nn.Module):
    """Bring the coarser map up to the finer one's grid, add the two, and look around with 3x3 convolutions."""

    def __init__(self, coarse_chs: int, fine_chs: int, out_chs: int, convs: int = 1):
        super().__init__()
        self.coarse = nn.Conv2d(coarse_chs, out_chs, 1)
        self.fine = nn.Conv2d(fine_chs, out_chs, 1)
        self.blend = nn.Sequential(*(conv_bn_relu(out_chs, out_chs) for _ in range(convs)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return self.blend(F.interpolate(self.coarse(coarse), scale_factor=2.0, mode="bilinear") + self.fine(fine))


class Attention(nn.Module):
    """Multi-head attention of queries (N, T, d) over a context (N, S, c), written out so that it exports plainly."""

    def __init__(self, dim: int, context_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x: Tensor) -> Tensor:  # (N, T, d) -> (N, heads, T, d / heads)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        key, value = self.key_value(context).chunk(2, dim=-1)
        y = F.scaled_dot_product_attention(self.split(self.query(x)), self.split(key), self.split(value))
        return self.out(y.transpose(1, 2).flatten(2))


class TokenLayer(nn.Module):
    """One round: the tokens look at the picture, then think. They do not look at each other: that cost a third of the
    training time, and tokens that are neighbours in ab already start alike."""

    def __init__(self, dim: int, context_dim: int, heads: int):
        super().__init__()
        self.look_norm = nn.LayerNorm(dim)
        self.look = Attention(dim, context_dim, heads)
        self.think_norm = nn.LayerNorm(dim)
        self.think = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        tokens = tokens + self.look(self.look_norm(tokens), context)
        return tokens + self.think(self.think_norm(tokens))


def fourier_of_ab(centers: np.ndarray, dim: int) -> Tensor:
    """A smooth code of each bin center: neighbouring bins start alike. (Q, dim) float32."""
    angles = torch.from_numpy(centers.copy()) / 110 * torch.pi  # (Q, 2)
    frequencies = 2.0 ** torch.linspace(-1, 2, dim // 4)
    phases = (angles[:, :, None] * frequencies).flatten(1)  # (Q, dim / 2)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


class Edge(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 32 -> logits (N, h0/4, w0/4, Q), features (same, C).

    The features are the encoder's at strides 8 and 16: alike where the same thing is seen, whatever colors it got.
    """

    stride = 4
    multiple = 32

    def __init__(self, config: EdgeConfig | None = None):
        super().__init__()
        self.config = config = config or EdgeConfig()
        d4, d8, d16, d32 = config.dims
        e4, e8, e16, e32 = MobileNetV2.chs
        self.encoder = MobileNetV2()
        self.context = nn.Sequential(conv_bn_relu(e32, d32, 1), conv_bn_relu(d32, d32))
        self.merge16 = Merge(d32, e16, d16)
        self.merge8 = Merge(d16, e8, d8)
        self.merge4 = Merge(d8, e4, d4, convs=2)
        self.cells = nn.Conv2d(d4, config.token_dim, 1)
        centers = palette(config.palette).centers
        self.tokens = nn.Parameter(fourier_of_ab(centers, config.token_dim))
        self.token_layers = nn.ModuleList(
            TokenLayer(config.token_dim, d16, config.heads) for _ in range(config.token_layers)
        )
        self.token_norm = nn.LayerNorm(config.token_dim)
        self.token_bias = nn.Parameter(torch.zeros(len(centers)))  # starts as the log prior of the data

    def forward(self, lightness: Tensor) -> tuple[Tensor, Tensor]:
        f4, f8, f16, f32 = self.encoder(lightness / 50 - 1)
        x16 = self.merge16(self.context(f32), f16)
        cells = self.cells(self.merge4(self.merge8(x16, f8), f4)).permute(0, 2, 3, 1)  # (N, h, w, token_dim)
        context = x16.flatten(2).transpose(1, 2)  # (N, h0/16 * w0/16, d16)
        tokens = self.tokens.expand(lightness.shape[0], -1, -1)
        for layer in self.token_layers:
            tokens = layer(tokens, context)
        tokens = self.token_norm(tokens) * self.config.token_dim**-0.5  # (N, Q, token_dim)
        logits = torch.matmul(cells.flatten(1, 2), tokens.transpose(1, 2)).unflatten(1, cells.shape[1:3])
        coarse = F.interpolate(f16, scale_factor=2.0, mode="nearest")
        features = F.interpolate(torch.cat([f8, coarse], dim=1), scale_factor=2.0, mode="nearest")
        return logits + self.token_bias, features.permute(0, 2, 3, 1)
