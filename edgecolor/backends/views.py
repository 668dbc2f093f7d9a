"""A network that sees each picture mirrored too, and from several places, and says the mean.

What a network says of a thing changes with what is left and right of it, with where it comes to lie on the coarse grids
inside the network, and with how near the border is. Mirroring the picture, and moving it by half a coarse cell inside
of a margin, change all of that and nothing of the picture; so in the mean of the views there is less of it, and colors
hold still better before any smoothing. It takes as many runs of the network a look as there are views.
"""

from collections.abc import Sequence

import numpy as np

from edgecolor.backends.base import Array, Backend, Grid, centers_of, logits_of, need_tokens, started
from edgecolor.errors import ConfigError, ModelError

MARGIN = 32  # px around the picture, both sides together: a mirror image of what is inside
# Where in the margin the picture begins, in quarters of it, and whether it is mirrored; ordered by what each one adds.
VIEWS = ((1, False), (1, True), (2, False), (2, True))


def margin_of(views: int) -> int:
    """Of that many views, in px. The picture and its mirror image alone lie in the same place and do without."""
    return MARGIN if views > 2 else 0


class Views:
    """A Backend around another one, which holds the state, with the margin if there is one. For models with tokens.

    count   of the views, 2 to 4
    raises  ModelError where the model has no tokens, or cells that the margin is no multiple of
    """

    def __init__(self, inner: Backend, count: int):
        manifest = inner.manifest
        need_tokens(manifest)
        self.inner, self.views, self.margin = inner, VIEWS[:count], margin_of(count)
        if self.margin % manifest.multiple or self.margin // 4 % manifest.stride:
            fits = f"a margin of {self.margin} pixels does not fit: set views to 1 or 2"
            raise ModelError(f"{manifest.name} has cells that {fits}")
        self.grid: Grid | None = None

    def __getattr__(self, name: str):
        """What is not said here is the inner one's: name, manifest, hint, close, and what is its alone."""
        if name == "inner":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.inner, name)

    def start(self, batch: int, h0: int, w0: int) -> None:
        self.grid = Grid(self.manifest, len(centers_of(self.manifest)), batch, h0, w0)
        self.inner.start(batch, h0 + self.margin, w0 + self.margin)
        self._border = self.margin // 2 // self.manifest.stride  # cells around those of the picture

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        return self.decode(self._mean(logits_of(self.inner, self._seen(lightness))), keep, motion, temperature)

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        """The mean of all views; the features are those of the first."""
        first, *others = self._seen(lightness)
        logits, features = self.inner.logits(first)
        return self._mean([logits, *logits_of(self.inner, others)]), self._inside(features, *self.views[0])

    def _mean(self, said: Sequence[Array]) -> Array:
        """Of the logits of all views."""
        mean, *others = (self._inside(cells, *view) for cells, view in zip(said, self.views, strict=True))
        for cells in others:  # in place: nobody else holds them
            mean += cells
        mean /= len(said)
        return mean

    def _seen(self, lightness: Array) -> list[Array]:
        """The picture as each view shows it, with the margin."""
        lightness = started(self.grid).checked("lightness", lightness)
        return [self._view(lightness, *view) for view in self.views]

    def _view(self, lightness: Array, quarters: int, mirrored: bool) -> Array:
        begin = quarters * self.margin // 4
        around = (begin, self.margin - begin)
        turned = lightness[..., ::-1] if mirrored else lightness
        return np.pad(turned, ((0, 0), (0, 0), around, around), mode="reflect")

    def _inside(self, cells: Array, quarters: int, mirrored: bool) -> Array:
        """Those of the picture, the way the picture lies, of the cells (N, h, w, C) of that view."""
        (_, h, w), begin = started(self.grid).keep, quarters * self.margin // 4 // self.manifest.stride
        inside = cells[:, begin : begin + h, begin : begin + w]
        return inside[:, :, ::-1] if mirrored else inside

    def decode(
        self, logits: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        grid = started(self.grid)
        keep = keep if np.ndim(keep) == 0 else self._bordered(grid.checked("keep", keep))
        motion = None if motion is None else self._bordered(grid.checked("motion", motion))
        ab = self.inner.decode(self._bordered(grid.checked("logits", logits)), keep, motion, temperature)
        (_, h, w), border = grid.keep, self._border
        return ab[..., border : border + h, border : border + w].copy()

    def _bordered(self, cells: Array) -> Array:
        """(N, h, w, ...) with the outermost cells repeated on all sides."""
        if not self._border:
            return cells
        around = (self._border, self._border)
        return np.pad(cells, ((0, 0), around, around, *[(0, 0)] * (cells.ndim - 3)), mode="edge")

    def probs(self) -> Array:
        (_, h, w), border = started(self.grid).keep, self._border
        return np.ascontiguousarray(self.inner.probs()[:, border : border + h, border : border + w])


def with_views(backend: Backend, count: int | None = None) -> Backend:
    """The backend, to see that many views of each picture; None: as many as it sees by itself, as engines may, or as
    its manifest says.

    raises  as Views, and ConfigError where the backend sees another number of them by itself
    """
    inside = getattr(backend, "views_inside", 1)
    if count is None:
        count = inside if inside > 1 else backend.manifest.views
    if count == inside:
        return backend
    if inside > 1:
        raise ConfigError(f"this engine sees {inside} views of each picture: build another one with --views 1")
    return Views(backend, count)
