"""How far a hint reaches: over the thing that it was put on, and not beyond.

A hint's share in a cell falls with the length of the shortest way there. A step is long where the network sees another
color coming, or the lightness has an edge that its surroundings do not have all over (the grain of wood is no end of
it), and through cells that look unlike the hint's own. Nearness itself counts little.
"""

from collections.abc import Iterator

import cv2
import numpy as np

Array = np.ndarray
REACH = 2.0  # a way of this length is the end: the share there is exp(-4)
ACROSS = 0.34  # length of a way over the whole short side that meets nothing
FOREIGN = 3.0, (1.0, 1.9)  # the same through foreign features; squared distance where that begins and is complete
OTHER_COLOR = 17.0, (0.45, 0.9)  # the same through cells of other colors; Hellinger distance of their probabilities
COLOR_EDGE = 3.0, (0.06, 0.4)  # length of one step over a border of colors; that distance across it
LIGHT_EDGE = 1.2, (0.4, 1.4)  # of one step over an edge of lightness; its height, in times of what is usual there
TEXTURE = 8.0  # L* units: height of an edge where there is no texture at all
TIE = 0.1  # two hints whose ways differ by as much have shares of e : 1
CELL = 4  # pixels of the working size; finer cells are taken together


def spread(cells: list[tuple[int, int]], features: Array, probs: Array, lightness: Array, stride: int) -> Array:
    """The share that each of some hints has everywhere.

    cells      (row, column) of each hint on the token grid
    features   (h, w, C) float32 of the network
    probs      (h, w, Q) float32, token probabilities, without the hints
    lightness  (h0, w0) float32, L*
    stride     pixels of the working size per cell
    returns    (h, w, n) float32 in [0, 1]; sums to at most 1 over n
    """
    h, w = probs.shape[:2]
    every = max(CELL // stride, 1)
    ways = _ways([(y // every, x // every) for y, x in cells], features[::every, ::every], probs[::every, ::every],
                 lightness)  # fmt: skip
    least = ways.min(axis=0)
    votes = np.exp((least - ways) / TIE)
    shares = np.exp(-(least**2)) * (least < REACH) * votes / votes.sum(axis=0)
    if every > 1:
        shares = np.stack([cv2.resize(share, (w, h), interpolation=cv2.INTER_LINEAR) for share in shares])
    return np.ascontiguousarray(np.moveaxis(shares, 0, 2), np.float32)


def _ways(cells: list[tuple[int, int]], features: Array, probs: Array, lightness: Array) -> Array:
    """Length of the shortest way from each of n cells to every cell, at most REACH: (n, h, w) float32."""
    h, w = probs.shape[:2]
    light = cv2.resize(lightness, (w, h), interpolation=cv2.INTER_AREA)
    roots, features = np.sqrt(np.moveaxis(probs, 2, 0)), _standard(np.moveaxis(features, 2, 0))
    through = np.stack([_through(cell, features, roots) for cell in cells]) / min(h, w)
    steps = [(to, of, length * through[to] + _over(to, of, roots, light)) for to, of, length in _neighbours(h, w)]
    ways = np.full((len(cells), h, w), REACH, np.float32)
    for way, cell in zip(ways, cells, strict=True):
        way[cell] = 0
    while True:
        before = ways.copy()
        for to, of, cost in steps:
            ways[to] = np.minimum(ways[to], ways[of] + cost)
        if np.array_equal(ways, before):
            break
    for way, (y, x) in zip(ways, cells, strict=True):
        # A cell with an edge in it differs from all around; what it takes to get out of it says nothing of the thing.
        around = np.sort(way[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2], axis=None)
        way[way < REACH] -= around[:3][-1]
    return np.maximum(ways, 0)


def _neighbours(h: int, w: int) -> Iterator[tuple[tuple, tuple, float]]:
    """For each of eight directions: index of the cells that have a neighbour there, of those, and how far they are."""
    for dy, dx in ((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx):
        to = ..., slice(max(dy, 0), h + min(dy, 0)), slice(max(dx, 0), w + min(dx, 0))
        of = ..., slice(max(-dy, 0), h + min(-dy, 0)), slice(max(-dx, 0), w + min(-dx, 0))
        yield to, of, float(np.hypot(dy, dx))


def _standard(features: Array) -> Array:
    """(C, h, w) of mean 0, spread 1 and then length 1; blurred, because coarse levels are in it as blocks."""
    blurred = np.stack([cv2.blur(np.ascontiguousarray(plane), (3, 3)) for plane in features])
    mean, deviation = (f(axis=(1, 2), keepdims=True) for f in (blurred.mean, blurred.std))
    plain = (blurred - mean) / (deviation + 1e-3)
    return plain / (np.linalg.norm(plain, axis=0) + 1e-6)


def _through(cell: tuple[int, int], features: Array, roots: Array) -> Array:
    """Length of a way through each cell, for a hint in one of them, in short sides: (h, w)."""
    y, x = cell
    own = features[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean(axis=(1, 2))
    own /= np.linalg.norm(own) + 1e-6
    foreign = _ramp(2 - 2 * np.tensordot(own, features, 1), FOREIGN)
    return ACROSS + foreign + _ramp(np.linalg.norm(roots - roots[:, y : y + 1, x : x + 1], axis=0), OTHER_COLOR)


def _over(to: tuple, of: tuple, roots: Array, light: Array) -> Array:
    """Length that the difference of neighbours adds to the step between them."""
    usual = cv2.blur(np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)) / 4, (7, 7))
    color = _ramp(np.linalg.norm(roots[to] - roots[of], axis=0), COLOR_EDGE)
    return color + _ramp(np.abs(light[to] - light[of]) / (TEXTURE + usual[to]), LIGHT_EDGE)


def _ramp(values: Array, law: tuple[float, tuple[float, float]]) -> Array:
    """0 up to where the law begins, its top where it is complete, a parabola between."""
    top, (low, high) = law
    return top * np.clip((values - low) / (high - low), 0, 1) ** 2
