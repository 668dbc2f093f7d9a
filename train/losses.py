"""The terms of the loss, and their weighted sum. Every term is a mean: batch and size do not change what it weighs."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecolor.color.tokens import TINY, palette, rebalancing_weights
from edgecolor.errors import ConfigError
from edgecolor.models import kind_of
from edgecolor.models.color_token_decode import warp
from edgecolor.models.ct2_luminance import MASKED_LOGIT
from edgecolor.train.code_loss import Bits, check_code_losses
from edgecolor.train.colorize import model_of_checkpoint
from edgecolor.train.config import LossConfig
from edgecolor.train.dataset import Batch
from edgecolor.train.perceptual import (
    LPIPS_BACKBONES,
    FeatureExtractor,
    batch_kernel_distance,
    build_lpips,
    cached_weights,
    feature_distance,
)
from edgecolor.train.prediction import Prediction, centers_of, lab_to_rgb
from edgecolor.train.token_loss import TokenLoss

AB_UNIT = 110.0  # ab errors are counted in it, as networks predict them
LEAST_APART = 0.1  # ab units: a batch's colors that lie less apart are one color

__all__ = ["Losses", "TokenLoss", "build_losses"]


class Tokens(nn.Module):
    """Rebalanced cross entropy of the color tokens."""

    def __init__(self, config: LossConfig, palette_name: str, prior: Tensor):
        super().__init__()
        weights = rebalancing_weights(prior.numpy(), config.uniform)
        self.loss = TokenLoss(
            palette(palette_name), weights, config.neighbours, config.sigma, config.rebalance == "argmax"
        )

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        return self.loss(predicted.logits, batch.ab)


class Distance(nn.Module):
    """L1 or L2 (mean square), in ab or RGB; tokens count by their annealed mean.

    In RGB the colors are judged at the true lightness; of a model that paints, the picture is, with its own lightness.
    """

    def __init__(self, config: LossConfig):
        super().__init__()
        self.config = config
        self.measure = F.l1_loss if config.kind == "l1" else F.mse_loss

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        if self.config.space == "ab":
            return self.measure(predicted.ab(self.config.temperature) / AB_UNIT, batch.ab / AB_UNIT)
        if predicted.painted is None:
            return self.measure(*pictures_of(predicted, batch, self.config.temperature))
        truth = lab_to_rgb(batch.lightness, batch.ab)
        return self.measure(F.interpolate(predicted.painted, size=truth.shape[2:], mode="nearest"), truth)


class Branch(nn.Module):
    """Smooth L1 between the ab of a model's second branch and the true one, in units of 110."""

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        return F.smooth_l1_loss(predicted.branch / AB_UNIT, batch.ab / AB_UNIT)


def pictures_of(predicted: Prediction, batch: Batch, temperature: float) -> tuple[Tensor, Tensor]:
    """The colored crops and the true ones, both at the true lightness: (N, 3, H, W) R'G'B' in [0, 1]."""
    if temperature not in predicted.pictures:
        ours = lab_to_rgb(batch.lightness, predicted.ab(temperature))
        predicted.pictures[temperature] = ours, lab_to_rgb(batch.lightness, batch.ab)
    return predicted.pictures[temperature]


class Perceptual(nn.Module):
    """LPIPS between the colored crop and the true one."""

    def __init__(self, config: LossConfig):
        super().__init__()
        self.temperature = config.temperature
        backbone = Path(config.weights) if config.weights else cached_weights(LPIPS_BACKBONES[config.net])
        self.distance = build_lpips(config.net, backbone)

    def train(self, mode: bool = True) -> "Perceptual":
        return super().train(False)  # a fixed judge: its dropout and norms never learn

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        ours, truth = pictures_of(predicted, batch, self.temperature)
        return self.distance(ours * 2 - 1, truth * 2 - 1).mean()


class FeatureLoss(nn.Module):
    """A distance in the shared MobileNetV2: of each crop from the true one, or of the batch's crops as a set."""

    def __init__(self, config: LossConfig, extractor: FeatureExtractor):
        super().__init__()
        self.temperature, self.as_set, self.extractor = config.temperature, config.kind == "kernel", extractor

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        key = self.extractor, self.temperature
        if key not in predicted.features:  # for both distances: it takes longer than the model itself
            predicted.features[key] = self.extractor(*pictures_of(predicted, batch, self.temperature))
        ours, theirs = predicted.features[key]
        return batch_kernel_distance(ours[1], theirs[1]) if self.as_set else feature_distance(ours[0], theirs[0])


def mean_where_seen(change: Tensor, batch: Batch) -> Tensor:
    """Mean of a change (N, h, w) from the frame before, over the cells that it shows too."""
    return (change * batch.seen).sum() / batch.seen.sum().clamp_min(1)


def check_pair(previous: Prediction | None) -> None:
    if previous is None:
        raise ConfigError("a temporal loss needs pairs of frames, and this batch has none")


class Temporal(nn.Module):
    """How much the colors of a thing change from one frame to the next, where both frames show it.

    Tokens: half the L1 distance of the probabilities to the previous frame's, brought along the motion: 0 for equal,
    1 for disjoint ones. Regression: the L1 distance of ab, in units of 110. Cells not seen before do not count.
    """

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        check_pair(previous)
        if predicted.logits is not None:
            change = (predicted.probs - warp(previous.probs, batch.motion)).abs().sum(dim=-1) / 2
        else:
            change = (predicted.ab() - warp(previous.ab(), batch.motion)).abs().mean(dim=-1) / AB_UNIT
        return mean_where_seen(change, batch)


class TemporalAb(nn.Module):
    """The L1 distance of ab, tokens by their annealed mean, to the previous frame's: what a viewer sees of a change.

    As a share of how far colors lie apart where the true ones do (their projection onto the true ones, both without
    their mean, over a process's part of the batch): so neither paling nor a color that follows lightness, such as
    purple shadows below cream lights, is a way out. Between cells the frame before is interpolated, which softens edges
    of color in it: of sharp colors a small rest stays.
    """

    def __init__(self, config: LossConfig):
        super().__init__()
        self.temperature = config.temperature

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        check_pair(previous)
        now, before = predicted.ab(self.temperature), previous.ab(self.temperature)
        change = (now - warp(before, batch.motion)).abs().mean(dim=-1)
        ours, truth = (ab - ab.mean(dim=(0, 1, 2)) for ab in (now, batch.ab))
        apart = (ours * truth).sum() / truth.norm(dim=-1).sum().clamp_min(TINY)
        return mean_where_seen(change, batch) / apart.clamp_min(LEAST_APART)


class Distill(nn.Module):
    """Distance from a teacher that sees the same picture: of token distributions where both have them, else of ab."""

    def __init__(self, config: LossConfig):
        super().__init__()
        self.temperature, self.undamaged = config.temperature, config.undamaged
        self.teacher = model_of_checkpoint(config.teacher)[0].to(memory_format=torch.channels_last)  # faster
        centers = centers_of(self.teacher)
        self.register_buffer("centers", centers, persistent=False)

    def train(self, mode: bool = True) -> "Distill":
        return super().train(False)

    def forward(self, predicted: Prediction, batch: Batch, previous: Prediction | None) -> Tensor:
        lightness = batch.undamaged if self.undamaged and batch.undamaged is not None else batch.lightness
        with torch.no_grad():
            taught = Prediction(self.teacher(lightness), self.centers)
        t = self.temperature
        same = predicted.logits is not None and taught.logits is not None
        if same and predicted.logits.shape == taught.logits.shape:
            # What the learner rules out cannot be learned: the teacher's share of it goes to the rest.
            theirs = taught.logits.masked_fill(predicted.logits <= MASKED_LOGIT, MASKED_LOGIT)
            ours, theirs = predicted.logits / t, theirs / t
            divergence = F.kl_div(ours.log_softmax(-1), theirs.log_softmax(-1), reduction="none", log_target=True)
            return divergence.sum(dim=-1).mean() * t**2  # gradients keep their size over temperatures
        ours, theirs = predicted.ab(), taught.ab().permute(0, 3, 1, 2)
        theirs = F.interpolate(theirs, size=ours.shape[1:3], mode="bilinear", align_corners=False)
        return F.mse_loss(ours / AB_UNIT, theirs.permute(0, 2, 3, 1) / AB_UNIT)


class Losses(nn.Module):
    """The weighted sum of the config's terms."""

    def __init__(self, terms: list[tuple[str, float, nn.Module]]):
        super().__init__()
        self.names = [name for name, _, _ in terms]
        self.weights = [weight for _, weight, _ in terms]
        self.terms = nn.ModuleList(term for _, _, term in terms)

    def forward(
        self, predicted: Prediction, batch: Batch, previous: Prediction | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each term before its weight."""
        values = [term(predicted, batch, previous) for term in self.terms]
        total = sum(weight * value for weight, value in zip(self.weights, values, strict=True))
        return total, {name: value.detach() for name, value in zip(self.names, values, strict=True)}


def build_losses(configs: tuple[LossConfig, ...], model: nn.Module, prior: Tensor | None) -> Losses:
    """raises  ConfigError where a term does not go with the model; what is missing is named by the term's own error"""
    terms: list[tuple[str, float, nn.Module]] = []
    extractors: dict[tuple[str, int], FeatureExtractor] = {}
    kind = kind_of(model)
    check_code_losses([config.kind for config in configs], model)
    for i, config in enumerate(configs):
        if config.kind == "tokens" and kind != "tokens":
            raise ConfigError(f"losses[{i}]: tokens goes with models that predict tokens, and this one predicts ab")
        if config.kind == "tokens":
            term = Tokens(config, model.config.palette, prior)
        elif config.kind == "branch":
            if not hasattr(model, "branch"):
                raise ConfigError(f"losses[{i}]: branch goes with CT2, which predicts ab beside its tokens")
            term = Branch()
        elif config.kind in ("bits", "parallel_bits"):
            term = Bits(parallel=config.kind == "parallel_bits")
        elif config.kind in ("l1", "l2"):
            term = Distance(config)
        elif config.kind == "lpips":
            term = Perceptual(config)
        elif config.kind in ("mobilenet", "kernel"):
            if (config.weights, config.side) not in extractors:
                extractors[config.weights, config.side] = FeatureExtractor(config.weights, config.side)
            term = FeatureLoss(config, extractors[config.weights, config.side])
        elif config.kind == "temporal":
            term = Temporal()
        elif config.kind == "temporal_ab":
            term = TemporalAb(config)
        else:
            term = Distill(config)
        name = f"{config.kind}_{config.space}" if config.kind in ("l1", "l2") else config.kind
        taken = [other for other, _, _ in terms]
        terms.append((name if name not in taken else f"{name}_{i}", config.weight, term))
    return Losses(terms)
