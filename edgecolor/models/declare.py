"""What a model says of itself: the one place where training, evaluation and export ask."""

from torch import nn

from edgecolor.errors import ModelError
from edgecolor.manifest import KINDS, Manifest


def kind_of(model: nn.Module) -> str:
    """tokens: returns logits (N, h, w, Q), alone or first of a tuple; regression: ab (N, 2, h, w) likewise; codes:
    a part of a model, which says coltran_codes.CodeLogits of gray and colors, and is trained by itself.

    raises  ModelError where it says something else
    """
    kind = getattr(model, "kind", "tokens")
    if kind not in (*KINDS, "codes"):
        raise ModelError(f"models are of kind {' or '.join(KINDS)}, not {kind!r}")
    return kind


def manifest_of(name: str, model: nn.Module, **fields) -> Manifest:
    """The manifest of a model of that name, with the fields that are not the architecture's. raises ModelError"""
    kind = kind_of(model)
    if kind == "codes":
        raise ModelError(f"{name} is a part of ColTran and colors nothing alone: join the parts by edgecolor coltran")
    palette = model.config.palette if kind == "tokens" else ""
    hints = getattr(model, "takes_hints", False)
    return Manifest(name, kind, palette, stride=model.stride, multiple=model.multiple, hints=hints, **fields)
