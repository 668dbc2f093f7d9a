"""What every backend can do. A backend holds one model and the state between its frames: the token probabilities, or
the ab of a model that predicts ab without tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edgecolor.backends.files import DECODE
from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, ModelError, ShapeError
from edgecolor.manifest import Manifest

Array = np.ndarray


class Backend(Protocol):
    """N pictures at a time, each with a past of its own. h = h0 / stride, w = w0 / stride."""

    name: str
    manifest: Manifest

    def start(self, batch: int, h0: int, w0: int) -> None:
        """Forget the past, and make room for `batch` pictures of h0 x w0 pixels.

        raises  ShapeError unless both sides are multiples of manifest.multiple
        """

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        """Color one frame of each picture; the state moves on. Without tokens ab itself is blended with the past's.

        lightness    (N, 1, h0, w0) float32, L* in [0, 100]
        keep         (N, h, w) float32 or one number, in [0, 1]: weight of the past
        motion       (N, h, w, 2) float32, (dx, dy) in cells to where each cell was; None: nothing moved
        temperature  in (0, 1]; None: the manifest's; without meaning where there are no tokens
        returns      ab (N, 2, h, w) float32, ab units
        raises       ShapeError, ConfigError
        """

    def hint(self, hints: Array | None) -> None:
        """Colors that the network is to take up from the next step on, for models whose manifest says hints.

        hints   (N, 3, h0, w0) float32: a and b in ab units, and 1 where they are given; zeros elsewhere. None: no more
        raises  ModelError where the model takes none, ShapeError
        """

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        """logits (N, h, w, Q) and features (N, h, w, C), float32; the state stays.

        raises  ModelError where the model has no tokens, as decode and probs do
        """

    def decode(
        self, logits: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        """The second half of step alone, on logits (N, h, w, Q) of the caller's; the state moves on."""

    def probs(self) -> Array:
        """A copy of the state, (N, h, w, Q) float32."""

    def close(self) -> None:
        """Give the memory back. The backend is of no use after it."""


def logits_of(backend: Backend, inputs: Sequence[Array]) -> list[Array]:
    """The logits alone of each; side by side, and without the features, where the backend has a way to do so."""
    side_by_side = getattr(backend, "logits_side_by_side", None)
    return side_by_side(inputs) if side_by_side else [backend.logits(lightness)[0] for lightness in inputs]


def check_network(manifest: Manifest, where: Path) -> None:
    if manifest.name == DECODE:
        raise ModelError(f"{where} holds the decoding of color tokens alone, no network: give the model beside it")


def check_tokens(manifest: Manifest, count: int | None, where: Path) -> None:
    """raises ModelError where the network is not over the color tokens that its manifest promises; count None: none"""
    promised = len(centers_of(manifest)) if manifest.kind == "tokens" else None
    if count != promised:
        says, found = promised or "no", "none" if count is None else count
        raise ModelError(
            f"{where} says that it predicts {says} color tokens, and its network has {found}: export it again"
        )


def centers_of(manifest: Manifest) -> Array:
    """Bin centers (Q, 2) of a model's tokens; (0, 2) where it has none."""
    return palette(manifest.palette).centers if manifest.kind == "tokens" else np.zeros((0, 2), np.float32)


def need_tokens(manifest: Manifest) -> None:
    """raises ModelError where the model has none"""
    if manifest.kind != "tokens":
        raise ModelError(
            f"{manifest.name} predicts ab without color tokens, which this needs: take a model with tokens"
        )


def need_hints(manifest: Manifest) -> None:
    """raises ModelError where the network takes none"""
    if not manifest.hints:
        raise ModelError(f"{manifest.name} takes no colors by hint(): take siggraph17, or edit a tokens model's logits")


class Grid:
    """The sizes that start() fixed; turns the arguments of step and decode into checked arrays."""

    def __init__(self, manifest: Manifest, tokens: int, batch: int, h0: int, w0: int):
        multiple, stride = manifest.multiple, manifest.stride
        if batch < 1 or h0 < multiple or w0 < multiple or h0 % multiple or w0 % multiple:
            raise ShapeError(f"{batch} x {h0} x {w0} (N, h0, w0) will not do: sides must be multiples of {multiple}")
        self.lightness = (batch, 1, h0, w0)
        self.hints = (batch, 3, h0, w0)
        self.keep = (batch, h0 // stride, w0 // stride)
        self.motion = (*self.keep, 2)
        self.probs = (*self.keep, tokens)
        self.ab = (batch, 2, *self.keep[1:])
        self.default_temperature = manifest.temperature

    def checked(self, name: str, array: Array) -> Array:
        """The array in float32 and C order. raises ShapeError where its shape is not the one that start() fixed"""
        shape = getattr(self, "probs" if name == "logits" else name)
        if np.shape(array) != shape:
            raise ShapeError(f"{name} must be {shape}, found {np.shape(array)}: call start() anew for another size")
        return np.ascontiguousarray(array, dtype=np.float32)

    def checked_keep(self, keep: Array | float) -> Array:
        full = np.full(self.keep, keep, np.float32) if np.ndim(keep) == 0 else self.checked("keep", keep)
        if not (full.min() >= 0 and full.max() <= 1):
            raise ConfigError(f"keep must lie in [0, 1], found {full.min():.4g} to {full.max():.4g}")
        return full

    def checked_temperature(self, temperature: float | None) -> Array:
        value = self.default_temperature if temperature is None else float(temperature)
        if not 0 < value <= 1:
            raise ConfigError(f"temperature must lie in (0, 1], got {value}")
        return np.array([value], np.float32)


def started(grid: Grid | None) -> Grid:
    if grid is None:
        raise ShapeError("the backend has no size yet: call start(batch, h0, w0) first")
    return grid
