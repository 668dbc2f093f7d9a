"""What a network said, of whichever kind it is, and the pictures that follow from it; differentiable."""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.color.lab import EPSILON, KAPPA, rgb_to_xyz_matrix
from edgecolor.color.tokens import TINY, palette
from edgecolor.models import kind_of


def centers_of(model: nn.Module) -> Tensor | None:
    """Bin centers (Q, 2) of a tokens model, ab units."""
    return torch.from_numpy(palette(model.config.palette).centers.copy()) if kind_of(model) == "tokens" else None


class Prediction:
    """The output of a network for a batch.

    output   logits (N, h, w, Q) where centers are given, else ab (N, 2, h, w)
    centers  (Q, 2), ab units, or None for regression
    painted  (N, 3, h, w): the R'G'B' of a model that paints, lightness and all
    branch   (N, 2, h, w), ab units: what a tokens model's second branch says, in training
    """

    def __init__(
        self,
        output: Tensor | tuple,
        centers: Tensor | None,
        painted: Tensor | None = None,
        branch: Tensor | None = None,
    ):
        self.painted = None if painted is None else painted.float()
        self.branch = None if branch is None else branch.float().permute(0, 2, 3, 1)
        output = output[0] if isinstance(output, tuple) else output
        self.centers = centers
        # What several terms of a loss ask for, kept while it lives: each costs a sixth of the network or more.
        self.pictures: dict = {}  # colored and true crops, by temperature
        self.features: dict = {}  # of the pictures, by feature extractor and temperature
        self.logits = output.float() if centers is not None else None
        self._ab = None if centers is not None else output.float().permute(0, 2, 3, 1)
        self._means: dict[float, Tensor] = {}  # annealed means of tokens, by temperature

    @cached_property
    def log_probs(self) -> Tensor:
        return self.logits.log_softmax(dim=-1)

    @cached_property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    def ab(self, temperature: float = 1.0) -> Tensor:
        """(N, h, w, 2), ab units; the annealed mean of tokens."""
        if self._ab is not None:
            return self._ab
        if temperature not in self._means:
            floor = torch.log(torch.tensor(TINY))
            weights = (self.log_probs.clamp_min(floor) / temperature).softmax(dim=-1)
            self._means[temperature] = weights @ self.centers
        return self._means[temperature]


def predictions_of(
    output: Tensor | tuple, model: nn.Module, centers: Tensor | None, paired: bool
) -> tuple[Prediction, Prediction | None]:
    """What the model said of a batch; where it is paired, of its first half and of its second."""
    first, *rest = output if isinstance(output, tuple) else (output,)
    painted = rest[0] if getattr(model, "paints", False) else None
    branch = rest[1] if len(rest) > 1 else None
    parts = (first, painted, branch)
    if not paired:
        return Prediction(first, centers, painted, branch), None
    halves = zip(*((None, None) if part is None else part.chunk(2) for part in parts), strict=True)
    now, before = (Prediction(half, centers, *others) for half, *others in halves)
    return now, before


def lab_to_rgb(lightness: Tensor, ab: Tensor) -> Tensor:
    """Lightness and the color of its cells to R'G'B', clipped to the gamut.

    lightness  (N, 1, H, W), L*
    ab         (N, h, w, 2), ab units; enlarged bilinearly
    returns    (N, 3, H, W) in [0, 1]
    """
    full = F.interpolate(ab.permute(0, 3, 1, 2), size=lightness.shape[2:], mode="bilinear", align_corners=False)
    fy = (lightness + 16) / 116
    f = torch.cat([fy + full[:, :1] / 500, fy, fy - full[:, 1:] / 200], dim=1)
    cube = f**3
    relative = torch.where(cube > EPSILON, cube, (116 * f - 16) / KAPPA)
    matrix = torch.from_numpy(rgb_to_xyz_matrix())
    to_linear = torch.linalg.inv(matrix / matrix.sum(dim=1, keepdim=True)).to(relative)
    # Not below the straight piece: a root of zero has no gradient.
    linear = torch.einsum("rc,nchw->nrhw", to_linear, relative).clamp(0, 1)
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)
