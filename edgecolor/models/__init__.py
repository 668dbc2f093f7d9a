"""The PyTorch definitions. Only training, export and the torch backend need them."""

from collections.abc import Callable

from torch import nn

from edgecolor.errors import ConfigError
from edgecolor.models.edge import Edge

MODELS: dict[str, Callable[[], nn.Module]] = {"edge": Edge}


def build_model(name: str) -> nn.Module:
    """A freshly initialised model of that name."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}: known are {', '.join(MODELS)}")
    return MODELS[name]()
