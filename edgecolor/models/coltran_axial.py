"""Axial attention over pictures, plain and conditional: the layers that ColTran is made of.

Pictures are (N, H, W, C), channels last. A block attends along one axis, then thinks about each pixel by itself; what
a block does can depend on a context, in three places (cAtt, cMLP and cLN of the paper). What the context says is
computed apart from its use, so that a sampler that goes pixel by pixel computes it once.
Source: Kumar, Weissenborn, Kalchbrenner, "Colorization Transformer", ICLR 2021, sections 3 and 4, table 1.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROW, COLUMN = "row", "column"


def dense(in_chs: int, out_chs: int, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot's weights and no offset at first, as in the paper's code."""
    layer = nn.Linear(in_chs, out_chs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def embedding(symbols: int, width: int) -> nn.Embedding:
    """The same on one-hot symbols, where it is a table."""
    table = nn.Embedding(symbols, width)
    nn.init.xavier_uniform_(table.weight)
    return table


def scale_and_shift(context: int, width: int, parts: int, scale_first: bool) -> nn.Linear:
    """A context to the scales and shifts of `parts` things of `width`; it changes nothing on average at first."""
    layer = dense(context, 2 * parts * width)
    with torch.no_grad():
        layer.bias.view(2, -1)[0 if scale_first else 1] = 1
    return layer


class Position(nn.Module):
    """Learned codes of rows and columns, added to a picture (N, H, W, C)."""

    def __init__(self, side: int, width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(side, 1, width) * 0.02)
        self.columns = nn.Parameter(torch.randn(1, side, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.rows + self.columns)

    def of_row(self, row: int) -> Tensor:
        """(1, W, C)"""
        return self.rows[row] + self.columns


class ConditionalNorm(nn.Module):
    """cLN: a layer norm whose scale and shift come from the context's mean over the picture, at learned weights."""

    def __init__(self, width: int, context: int, side: int):
        super().__init__()
        self.places = nn.Parameter(torch.empty(side, side))
        nn.init.xavier_uniform_(self.places)
        self.condition = scale_and_shift(context, width, 1, scale_first=True)

    def conditions(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, context) -> scale and shift (N, 1, 1, C)"""
        mean = torch.einsum("nhwc,hw->nc", context, self.places) / self.places.numel()
        return self.condition(mean)[:, None, None].chunk(2, dim=-1)

    def forward(self, x: Tensor, condition: tuple[Tensor, Tensor]) -> Tensor:
        scale, shift = condition
        return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale)


class PlainNorm(nn.LayerNorm):
    """A layer norm in the place of a conditional one."""

    def forward(self, x: Tensor, condition: None = None) -> Tensor:
        return super().forward(x)


class Conditions(NamedTuple):
    """What a context says to one block, pixel by pixel; None where the block has no such layer."""

    scale: Tensor | None = None  # (N, H, W, 3 C), of q, k and v
    shift: Tensor | None = None  # (N, H, W, 3 C)
    out_scale: Tensor | None = None  # (N, H, W, C), of the two dense layers' result
    out_shift: Tensor | None = None  # (N, H, W, C)

    def unbind(self, axis: int) -> list["Conditions"]:
        """One for each row (axis 1) or column (axis 2): (N, W, .) or (N, H, .)."""
        return [Conditions(*parts) for parts in zip(*(each.unbind(axis) for each in self), strict=True)]


NOTHING = Conditions()


class Cache:
    """Keys and values of a causal block, for lanes (rows or columns) that are filled place by place, many at once.

    keys, values, bias  for each place, views of what it may see: (lanes, heads, places, C / heads), of bias
                        (1, heads, 1, places)
    slots               for each place, the view that its own key and value go to: (lanes, 2, heads, 1, C / heads)
    """

    def __init__(self, attention: "AxialAttention", lanes: int, like: Tensor):
        heads, length = attention.heads, attention.length
        store = like.new_zeros(lanes, 2, heads, length, like.shape[-1] // heads)
        ends = range(1, length + 1)
        self.keys = [store[:, 0, :, :end] for end in ends]
        self.values = [store[:, 1, :, :end] for end in ends]
        self.slots = [store[:, :, :, end - 1 : end] for end in ends]
        # Of the distances -place .. 0.
        self.bias = [attention.distance_bias[None, :, None, length - end + 1 : length + 1] for end in ends]


class AxialAttention(nn.Module):
    """Multi-head attention along the rows or columns of a picture, with a learned bias for each distance.

    causal   each place sees itself and those before it only
    context  channels of the context for cAtt; 0 for plain attention
    """

    def __init__(self, width: int, heads: int, length: int, axis: str, causal: bool, context: int = 0):
        super().__init__()
        self.heads, self.length, self.axis, self.causal = heads, length, axis, causal
        self.query_key_value = dense(width, 3 * width, bias=False)
        self.out = dense(width, width)
        self.distance_bias = nn.Parameter(torch.zeros(heads, 2 * length))  # [head, key - query + length]
        self.condition = scale_and_shift(context, width, 3, scale_first=True) if context else None
        places = torch.arange(length)
        self.register_buffer("distances", places[None, :] - places[:, None] + length, persistent=False)
        self.register_buffer("later", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def project(self, x: Tensor, conditions: Conditions) -> Tensor:
        """(..., C) -> q, k and v one after the other (..., 3 C)"""
        together = self.query_key_value(x)
        return together if conditions.scale is None else torch.addcmul(conditions.shift, together, conditions.scale)

    def bias(self) -> Tensor:
        """(heads, length, length), -inf where a key may not be seen"""
        bias = self.distance_bias[:, self.distances]
        return bias.masked_fill(self.later, -torch.inf) if self.causal else bias

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        parts = self.project(x, conditions).chunk(3, dim=-1)
        if self.axis == COLUMN:
            parts = [part.transpose(1, 2) for part in parts]
        n, lanes = parts[0].shape[:2]
        q, k, v = (part.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias()[None].to(q.dtype))
        seen = seen.transpose(1, 2).flatten(2).unflatten(0, (n, lanes))
        return self.out(seen.transpose(1, 2) if self.axis == COLUMN else seen)

    def step(self, x: Tensor, place: int, cache: Cache, conditions: Conditions) -> Tensor:
        """The next place of each lane, after those in the cache, which then holds it too: (N, lanes / N, C)."""
        parts = self.project(x, conditions).view(-1, 3, self.heads, 1, x.shape[-1] // self.heads)
        cache.slots[place].copy_(parts[:, 1:])
        keys, values, bias = cache.keys[place], cache.values[place], cache.bias[place]
        return self.out(F.scaled_dot_product_attention(parts[:, 0], keys, values, attn_mask=bias).view(x.shape))


class AxialBlock(nn.Module):
    """Attention along one axis, then two dense layers; each is added to what came, and normed after that.

    context  channels of the context of cAtt and cMLP, 0 for none
    pooled   channels of the context of cLN, 0 for plain norms
    """

    def __init__(self, width, heads, hidden, side, axis, causal=False, context=0, pooled=0):
        super().__init__()
        self.attention = AxialAttention(width, heads, side, axis, causal, context)
        self.widen, self.narrow = dense(width, hidden), dense(hidden, width)
        self.condition = scale_and_shift(context, width, 1, scale_first=False) if context else None
        norms = [ConditionalNorm(width, pooled, side) if pooled else PlainNorm(width) for _ in range(2)]
        self.attention_norm, self.feed_forward_norm = norms

    def conditions(self, context: Tensor) -> Conditions:
        """Of the places (N, H, W, context); any part of a picture will do."""
        scale, shift = self.attention.condition(context).chunk(2, dim=-1)
        out_shift, out_scale = self.condition(context).chunk(2, dim=-1)
        return Conditions(scale, shift, out_scale, out_shift)

    def norm_conditions(self, pooled: Tensor) -> tuple:
        """Of a whole picture (N, H, W, pooled), for each of the two norms."""
        return self.attention_norm.conditions(pooled), self.feed_forward_norm.conditions(pooled)

    def feed_forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        y = self.narrow(F.relu(self.widen(x)))
        return y if conditions.out_scale is None else torch.addcmul(conditions.out_shift, y, conditions.out_scale)

    def forward(self, x: Tensor, conditions: Conditions = NOTHING, norms: tuple = (None, None)) -> Tensor:
        x = self.attention_norm(x + self.attention(x, conditions), norms[0])
        return self.feed_forward_norm(x + self.feed_forward(x, conditions), norms[1])

    def step(self, x: Tensor, place: int, cache: Cache, conditions: Conditions, norms: tuple) -> Tensor:
        """The next place of each lane of a causal block: x (N, lanes / N, C), conditions (N, lanes / N, .), norms those
        of the picture without their first axis of length 1."""
        x = self.attention_norm(x + self.attention.step(x, place, cache, conditions), norms[0])
        return self.feed_forward_norm(x + self.feed_forward(x, conditions), norms[1])


def of_lanes(norms: tuple) -> tuple:
    """What AxialBlock.norm_conditions returned, as its `step` wants it."""
    return tuple((scale[:, 0], shift[:, 0]) for scale, shift in norms)


class FactorizedAttention(nn.Module):
    """Positions, then layers of a row block and a column block: every pixel sees the whole picture."""

    def __init__(self, width: int, heads: int, hidden: int, side: int, layers: int):
        super().__init__()
        self.position = Position(side, width)
        axes = [axis for _ in range(layers) for axis in (ROW, COLUMN)]
        self.blocks = nn.ModuleList(AxialBlock(width, heads, hidden, side, axis) for axis in axes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.position(x)
        for block in self.blocks:
            x = block(x)
        return x
