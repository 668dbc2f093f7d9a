"""How far a hint reaches: over the thing that it was put on, and not beyond.

A hint's share in a cell falls with the length of the shortest way there. A step is long where the network sees another
color coming, or the lightness has an edge that its surroundings do not have all over (the grain of wood is no end of
it), and through cells that look unlike the hint's own. Nearness itself counts little.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

Array = np.ndarray
FALL = 1.5  # the share is exp(-FALL way ^ 3): whole over most of a thing, and gone behind an edge
REACH = 1.5  # a way of this length is the end: the share there is below a hundredth
ACROSS = 0.34  # length of a way over the whole short side that meets nothing
FOREIGN = 3.0, (1.0, 1.9)  # the same through foreign features; squared distance where that begins and is complete
OTHER_COLOR = 17.0, (0.55, 1.05)  # the same through cells of other colors; Hellinger distance of their probabilities
COLOR_EDGE = 3.0, (0.08, 0.5)  # length of one step over a border of colors; that distance across it
LIGHT_EDGE = 1.2, (0.4, 1.4)  # of one step over an edge of lightness; its height, in times of what is usual there
TEXTURE = 8.0  # L* units: height of an edge where there is no texture at all
TIE = 0.1  # two hints whose ways differ by as much have shares of e : 1
CELL = 4  # pixels of the working size; finer cells are taken together
SURE = 0.5  # share from which on a hint's color goes on into what comes into view


class Appearance(NamedTuple):
    """How a hint's own cell looks to the network."""

    features: Array  # (C,), standardized
    roots: Array  # (Q,), of its probabilities


def spread(
    cells: list[tuple[int, int]], features: Array, probs: Array, lightness: Array, stride: int
) -> tuple[Array, list[Appearance]]:
    """The share that each of some hints has everywhere.

    cells      (row, column) of each hint on the token grid
    features   (h, w, C) float32 of the network
    probs      (h, w, Q) float32, token probabilities, without the hints
    lightness  (h0, w0) float32, L*
    stride     pixels of the working size per cell
    returns    (h, w, n) float32 in [0, 1]; sums to at most 1 over n; and how each hint's cell looks
    """
    every = max(CELL // stride, 1)
    features, roots = _standard(np.moveaxis(features[::every, ::every], 2, 0)), _roots(probs[::every, ::every])
    cells = [(y // every, x // every) for y, x in cells]
    own = [_appearance(cell, features, roots) for cell in cells]
    through = np.stack([_through(each, features, roots) for each in own])
    ways = np.full((len(cells), *roots.shape[:2]), REACH, np.float32)
    for way, cell in zip(ways, cells, strict=True):
        way[cell] = 0
    ways = _shortest(ways, through, roots, lightness)
    for way, (y, x) in zip(ways, cells, strict=True):
        # A cell with an edge in it differs from all around; what it takes to get out of it says nothing of the thing.
        around = np.sort(way[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2], axis=None)
        way[way < REACH] -= around[:3][-1]
    return _shares(np.maximum(ways, 0), probs.shape[:2]), own


def grow(
    shares: Array,
    shown: Array,
    own: list[Appearance],
    features: Array,
    probs: Array,
    lightness: Array,
    stride: int,
) -> Array:
    """Go on from where shares are known into what has come into view.

    shares   (h, w, n) float32, of which those in cells that are not shown are without meaning
    shown    (h, w) bool
    own      of each hint, as spread gave it
    features, probs, lightness, stride  as for spread
    returns  (h, w, n) float32 as for spread; where shown, what it was
    """
    every = max(CELL // stride, 1)
    features, roots = _standard(np.moveaxis(features[::every, ::every], 2, 0)), _roots(probs[::every, ::every])
    old = np.moveaxis(shares[::every, ::every], 2, 0)
    known = shown[::every, ::every] & (old > SURE)
    ways = np.where(known, (-np.log(np.clip(old, 1e-9, 1)) / FALL) ** (1 / 3), REACH).astype(np.float32)
    through = np.stack([_through(each, features, roots) for each in own])
    ways = _shortest(ways, through, roots, lightness)
    return np.where(shown[..., None], shares, _shares(ways, shown.shape))


def _shares(ways: Array, grid: tuple[int, int]) -> Array:
    """(n, h, w) -> (*grid, n)."""
    least = ways.min(axis=0)
    votes = np.exp((least - ways) / TIE)
    shares = np.exp(-FALL * least**3) * (least < REACH) * votes / votes.sum(axis=0)
    if least.shape != grid:
        shares = np.stack([cv2.resize(share, grid[::-1], interpolation=cv2.INTER_LINEAR) for share in shares])
    return np.ascontiguousarray(np.moveaxis(shares, 0, 2), np.float32)


def _roots(probs: Array) -> Array:
    """(h, w, Q) of length 1, whose distances are Hellinger's."""
    return np.sqrt(probs)


def _hellinger(roots: Array, others: Array) -> Array:
    """(h, w), or as the two broadcast."""
    return np.sqrt(np.maximum(2 - 2 * np.einsum("...q,...q", roots, others), 0))


def _shortest(ways: Array, through: Array, roots: Array, lightness: Array) -> Array:
    """Ways (n, h, w) from which to start, made as short as the steps between neighbours allow."""
    h, w = roots.shape[:2]
    through, steps = through / min(h, w), []
    light = cv2.resize(lightness, (w, h), interpolation=cv2.INTER_AREA)
    usual = cv2.blur(np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)) / 4, (7, 7))
    for here, there, length in _neighbours(h, w):
        height = np.abs(light[here] - light[there]) / (TEXTURE + (usual[here] + usual[there]) / 2)
        over = _ramp(_hellinger(roots[here], roots[there]), COLOR_EDGE) + _ramp(height, LIGHT_EDGE)
        for to, of in ((here, there), (there, here)):
            to, of = (slice(None), *to), (slice(None), *of)
            steps.append((to, of, length * through[to] + over))
    while True:
        before = ways.copy()
        for to, of, cost in steps:
            ways[to] = np.minimum(ways[to], ways[of] + cost)
        if np.array_equal(ways, before):
            return ways


def _neighbours(h: int, w: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], float]]:
    """All pairs of cells side by side or corner to corner, in four directions, and how far they are."""
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = slice(dy, h), slice(max(dx, 0), w + min(dx, 0))
        there = slice(0, h - dy), slice(max(-dx, 0), w + min(-dx, 0))
        yield here, there, float(np.hypot(dy, dx))


def _standard(features: Array) -> Array:
    """(C, h, w) of mean 0, spread 1 and then length 1; blurred, because coarse levels are in it as blocks."""
    blurred = np.stack([cv2.blur(np.ascontiguousarray(plane), (3, 3)) for plane in features])
    mean, deviation = (f(axis=(1, 2), keepdims=True) for f in (blurred.mean, blurred.std))
    plain = (blurred - mean) / (deviation + 1e-3)
    return plain / (np.linalg.norm(plain, axis=0) + 1e-6)


def _appearance(cell: tuple[int, int], features: Array, roots: Array) -> Appearance:
    y, x = cell
    own = features[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean(axis=(1, 2))
    return Appearance(own / (np.linalg.norm(own) + 1e-6), roots[y, x])


def _through(own: Appearance, features: Array, roots: Array) -> Array:
    """Length of a way through each cell, for a hint of that looks, in short sides: (h, w)."""
    foreign = _ramp(2 - 2 * np.tensordot(own.features, features, 1), FOREIGN)
    return ACROSS + foreign + _ramp(_hellinger(roots, own.roots), OTHER_COLOR)


def _ramp(values: Array, law: tuple[float, tuple[float, float]]) -> Array:
    """0 up to where the law begins, its top where it is complete, a parabola between."""
    top, (low, high) = law
    return top * np.clip((values - low) / (high - low), 0, 1) ** 2
