"""The zoo: PyTorch definitions by name. Only training, export and the torch backend need them.

What a model is to training, evaluation, export and the backends, whatever its family (see also declare.py):

kind            "tokens" (the default) or "regression"
config.palette  tokens: the name of the palette that its logits are over
stride          pixels of its input per cell of its output, each way
multiple        the sides of its input are multiples of it
token_bias      tokens, if it has one: a (Q,) parameter added to all logits, which starts as the log prior of the data
forward         lightness (N, 1, h0, w0), L* in [0, 100], to
                tokens: logits (N, h, w, Q), tokens last, and features (N, h, w, C), and in training, where it has a
                branch, that one's ab (N, 2, h, w);
                regression: ab (N, 2, h, w), ab units, alone or first of a tuple
takes_hints     true where forward takes hints too: (N, 3, h0, w0), a, b and 1 where a color is given, or None
paints          true where the second of that tuple is R'G'B' (N, 3, h, w), which losses in RGB then judge
"""

import difflib
from collections.abc import Callable

from torch import nn

from edgecolor.errors import ConfigError
from edgecolor.models.coltran import COLTRAN_STAGES
from edgecolor.models.ct2 import CT2_MODELS
from edgecolor.models.declare import kind_of, manifest_of
from edgecolor.models.edge import Edge
from edgecolor.models.siggraph17 import Siggraph17
from edgecolor.models.small_cnn import SmallCnn, SmallRgbCnn
from edgecolor.models.zhang16 import Colorful, Eccv16

__all__ = ["MODELS", "PARTS", "build_model", "check_name", "kind_of", "manifest_of"]

PARTS = COLTRAN_STAGES  # of kind codes: trained by name as models are, but none of them colors a picture alone

MODELS: dict[str, Callable[[], nn.Module]] = {
    "edge": Edge,
    "basic-lab": SmallCnn,
    "basic-rgb": SmallRgbCnn,
    "lpips-cnn": SmallCnn,
    **CT2_MODELS,
    "eccv16": Eccv16,
    "colorful": Colorful,
    "siggraph17": Siggraph17,
}


def check_name(name: str) -> None:
    """raises ConfigError for a name that is neither a model's nor a part's, and suggests the nearest one"""
    names = [*MODELS, *PARTS]
    if name not in names:
        near = difflib.get_close_matches(name, names, 1) or [known for known in names if known.startswith(name)]
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
        raise ConfigError(f"unknown model {name!r}: {hint}")


def build_model(name: str) -> nn.Module:
    """A freshly initialised model of that name. raises ConfigError, see check_name"""
    check_name(name)
    return {**MODELS, **PARTS}[name]()
