"""CT2: a vision transformer, color tokens that attend to its patches, and a query of every cell for its token.

Source: Weng et al., "CT2: Colorization Transformer via Color Tokens", ECCV 2022. The paper queries at full resolution;
here the query can run at a coarser `query_stride`, because 65,536 x 313 logits and convolutions of full width at full
resolution are most of its work.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.models.ct2_decoder import ColorTokenDecoder
from edgecolor.models.ct2_encoder import VisionTransformer
from edgecolor.models.ct2_luminance import MASKED_LOGIT, LuminanceSelect

AB_LIMIT = 110.0  # ab units that the branch's tanh stands for
NORM_FLOOR = 1e-12  # of a squared length
# The norm makes logits of deviation 1, which move little from a log prior of deviation 4: with 1 to start from, the net
# stayed at the prior's gray (docs/models.md).
LOGIT_SCALE = 4.0


@dataclass(frozen=True)
class CT2Config:
    palette: str = "ab313"
    dim: int = 192
    heads: int = 3
    layers: int = 12
    decoder_layers: int = 2
    branch: tuple[int, int, int, int] = (
        2,
        4,
        8,
        8,
    )  # dim over these: widths of the ab branch as it doubles
    query_stride: int = 4  # pixels per cell of the logits: 1 is the paper's
    patch: int = 16  # pixels; the sides of a picture are multiples of it
    grid: int = 16  # patches per side that position embeddings are stored for
    dropout: float = 0.1  # decoder
    drop_path: float = 0.1  # encoder

    def __post_init__(self):
        if self.query_stride not in (1, 2, 4, 8) or self.patch != 16:
            raise ConfigError(
                f"query_stride must be 1, 2, 4 or 8 and patch 16, got {self.query_stride} and {self.patch}"
            )
        if self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} cannot be split into {self.heads} heads")

    @property
    def doublings(self) -> int:
        """Steps from the grid of patches to the grid of cells."""
        return (self.patch // self.query_stride).bit_length() - 1


SIZES = {
    "ct2-tiny": CT2Config(),
    "ct2-small": CT2Config(dim=384, heads=6, branch=(2, 4, 8, 16)),
    "ct2-base": CT2Config(dim=768, heads=12, branch=(2, 4, 8, 16)),
    "ct2-large": CT2Config(dim=1024, heads=16, layers=24, branch=(4, 16, 64, 256)),
}


def upsampler(widths: list[int]) -> nn.Sequential:
    """From widths[0] channels, doubled in size once for each width after it."""
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(before, before, 3, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def unit(x: Tensor) -> Tensor:
    """Each vector of the last axis at length 1."""
    x = x.float()  # squares of small values leave float16
    return x * ((x * x).sum(dim=-1, keepdim=True) + NORM_FLOOR).rsqrt()


class CT2(nn.Module):
    """lightness (N, 1, h0, w0), L*, sides multiples of 16 -> logits (N, h, w, Q), features (N, h, w, C), and in
    training the ab of the regression branch (N, 2, h, w), ab units; h = h0 / query_stride. Logits of tokens that no
    color of the cell's lightness has are MASKED_LOGIT.

    raises  ShapeError where the patches do not divide the sides
    """

    def __init__(self, config: CT2Config | None = None):
        super().__init__()
        self.config = config = config or CT2Config()
        self.stride, self.multiple = config.query_stride, config.patch
        dim, tokens = config.dim, len(palette(config.palette))
        self.encoder = VisionTransformer(dim, config.heads, config.layers, config.patch, config.grid, config.drop_path)
        self.luminance = LuminanceSelect(config.palette)
        self.tokens = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, dim), std=0.02))
        self.decoder = ColorTokenDecoder(dim, config.heads, config.decoder_layers, config.palette, config.dropout)
        self.upsampler = upsampler([dim] * (1 + config.doublings))
        self.query_patch = nn.Linear(dim, dim, bias=False)
        self.query_token = nn.Linear(dim, dim, bias=False)
        self.logit_norm = nn.LayerNorm(tokens, bias=False)
        nn.init.constant_(self.logit_norm.weight, LOGIT_SCALE)
        self.token_bias = nn.Parameter(torch.zeros(tokens))  # the norm's; starts as the log prior of the data
        widths = [dim] + [dim // divisor for divisor in config.branch[: config.doublings]]
        self.branch = nn.Sequential(*upsampler(widths), nn.Conv2d(widths[-1], 2, 3, padding=1), nn.Tanh())
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        config = self.config
        h0, w0 = lightness.shape[2:]
        if h0 % config.patch or w0 % config.patch:
            raise ShapeError(f"CT2 cuts pictures into patches of {config.patch}, which do not divide {h0} x {w0}")
        present = self.luminance.present(lightness, config.query_stride)
        in_patch = nn.functional.max_pool2d(present, config.patch // config.query_stride)
        patches = self.encoder((lightness - 50) / 100)
        patches, tokens = self.decoder(patches, self.tokens, self.luminance(in_patch))
        cells = unit(self.query_patch(self.upsampler(patches).permute(0, 2, 3, 1)))  # (N, h, w, dim)
        tokens = unit(self.query_token(tokens)).transpose(1, 2)
        likeness = torch.matmul(cells.flatten(1, 2), tokens).unflatten(1, cells.shape[1:3])
        logits = self.logit_norm(likeness) + self.token_bias
        logits = logits.masked_fill(~self.luminance(present), MASKED_LOGIT)
        return (logits, cells, AB_LIMIT * self.branch(patches)) if self.training else (logits, cells)


# NAME-full queries every pixel, as the paper does: the same encoder, two more steps of upsampling, 16 times the logits.
CT2_MODELS: dict[str, Callable[[], nn.Module]] = {
    name + suffix: partial(CT2, replace(config, query_stride=stride))
    for name, config in SIZES.items()
    for suffix, stride in (("", config.query_stride), ("-full", 1))
}
