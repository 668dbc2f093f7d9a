"""ColTran's first stage: gray to color codes, pixel after pixel, or all at once by the parallel head."""

import torch
from torch import Tensor, nn

from edgecolor.models.coltran_axial import COLUMN, ROW, AxialBlock, FactorizedAttention, Position, dense, embedding
from edgecolor.models.coltran_codes import CODES, GRAYS, CodeLogits, ColTranConfig, check_side, rgb_to_codes


def shift_down(x: Tensor) -> Tensor:
    """Every row takes the place of the next; the first is zero."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


def shift_right(x: Tensor) -> Tensor:
    """Every column takes the place of the next; the first is zero."""
    return torch.cat([torch.zeros_like(x[:, :, :1]), x[:, :, :-1]], dim=2)


class OuterDecoder(nn.Module):
    """Colors and what gray says, to what the rows above each pixel say; before `forward` shifts it, of its own row."""

    def __init__(self, config: ColTranConfig):
        super().__init__()
        c = config
        self.position = Position(c.side, c.width)
        layers = [axis for _ in range(c.outer_layers) for axis in (ROW, COLUMN)]
        self.blocks = nn.ModuleList(
            AxialBlock(c.width, c.heads, c.hidden, c.side, axis, causal=axis == COLUMN, context=c.width, pooled=c.width)
            for axis in layers
        )

    def forward(self, colors: Tensor, z: Tensor) -> Tensor:
        x = self.position(colors)
        for block in self.blocks:
            x = block(x, block.conditions(z), block.norm_conditions(z))
        return shift_down(x)


class InnerDecoder(nn.Module):
    """What gray, the rows above and the pixels to the left say of each pixel."""

    def __init__(self, config: ColTranConfig):
        super().__init__()
        c = config
        self.position = Position(c.side, c.width)
        self.blocks = nn.ModuleList(
            AxialBlock(c.width, c.heads, c.hidden, c.side, ROW, causal=True, context=2 * c.width, pooled=c.width)
            for _ in range(c.inner_layers)
        )

    def forward(self, colors: Tensor, z: Tensor, upper: Tensor) -> Tensor:
        x = self.position(shift_right(colors) + z + upper)
        context = torch.cat([z, upper], dim=-1)
        for block in self.blocks:
            x = block(x, block.conditions(context), block.norm_conditions(z))
        return x


class Colorizer(nn.Module):
    """gray (N, side, side) in 0..255 and the colors so far -> logits of the next color codes.

    `forward` is for training, with all colors known; sampling is in coltran_sampling.
    """

    kind, stride = "codes", 1

    def __init__(self, config: ColTranConfig | None = None):
        super().__init__()
        self.config = c = config or ColTranConfig()
        self.side = self.multiple = c.side
        self.gray = embedding(GRAYS, c.width)
        self.encoder = FactorizedAttention(c.width, c.heads, c.hidden, c.side, c.encoder_layers)
        self.parallel = dense(c.width, CODES, bias=False)
        self.colors = embedding(CODES, c.width)
        self.outer, self.inner = OuterDecoder(c), InnerDecoder(c)
        self.norm = nn.LayerNorm(c.width)
        self.head = dense(c.width, CODES)

    def encode(self, gray: Tensor) -> Tensor:
        """What gray says of each pixel: (N, H, W) -> z (N, H, W, C)."""
        check_side(gray, self.side, "gray")
        return self.encoder(self.gray(gray))

    def decode(self, codes: Tensor, z: Tensor) -> Tensor:
        """Logits (N, H, W, 512) of each pixel, given z and the codes (N, H, W) of the pixels before it."""
        colors = self.colors(codes)
        return self.head(self.norm(self.inner(colors, z, self.outer(colors, z))))

    def parallel_logits(self, gray: Tensor) -> Tensor:
        """(N, H, W, 512): of each pixel given gray alone, in one pass."""
        return self.parallel(self.encode(gray))

    def forward(self, gray: Tensor, rgb: Tensor) -> CodeLogits:
        """gray (N, H, W) and rgb (N, H, W, 3), 8 bits each, int64"""
        codes, z = rgb_to_codes(rgb), self.encode(gray)
        return CodeLogits(self.decode(codes, z), codes, self.parallel(z))
