"""Judge models by name: open each, evaluate it on pictures or clips, gather the figures side by side."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from edgecolor.config import ColorConfig
from edgecolor.models import MODELS
from edgecolor.train.clips import is_clips
from edgecolor.train.colorize import LeftGray, Opened, open_colors
from edgecolor.train.evaluate import Evaluation, evaluate
from edgecolor.train.evaluate_clips import evaluate_clips
from edgecolor.train.model_facts import facts_of
from edgecolor.train.perceptual import open_inception, open_lpips


@dataclass
class ComparedModels:
    """The figures of one or more models on the same data."""

    data: str
    unit: str  # "pictures" or "frames"
    count: int = 0
    unreadable: int = 0
    figures: dict[str, dict[str, float]] = field(default_factory=dict)  # model as given -> metric -> value
    left_out: list[str] = field(default_factory=list)  # metrics that could not be computed, and why
    sheet: list[list[np.ndarray]] = field(default_factory=list)  # rows: gray, each model's, original

    @property
    def title(self) -> str:
        skipped = f", {self.unreadable} unreadable" if self.unreadable else ""
        return f"{self.data}: {self.count} {self.unit}{skipped}"

    def plain(self) -> dict:
        facts = {"data": self.data, self.unit: self.count, "unreadable": self.unreadable}
        if len(self.figures) == 1:
            model, figures = next(iter(self.figures.items()))
            return {"model": model, **facts, **figures}
        return {**facts, "models": self.figures}


def evaluate_models(
    models: list[str],
    data: str | Path,
    *,
    limit: int | None = None,
    classifier: str | Path | None = None,
    lpips: str | None = None,
    fid: bool = False,
    examples: int = 0,
    backend: str = "auto",
    workers: int = 2,
    **colorize,
) -> ComparedModels:
    """Evaluate each model on the same data.

    models      as train.colorize.open_colors takes them
    data        pictures (see train.pictures) or clips (a video file, a folder of them)
    limit       the first so many pictures, or frames of each clip
    classifier  ImageNet weights for recognition agreement and kernel distance
    lpips, fid  alex, vgg or squeeze; whether to compute FID. Where weights are absent these are left out, with a line
    examples    rows of the contact sheet
    colorize    fields of ColorConfig: temperature, saturation, working_size, half_life
    raises      EdgeColorError of some kind
    """
    config = ColorConfig(**colorize)
    clips = is_clips(data)
    compared = ComparedModels(str(data), "frames" if clips else "pictures")
    distance, features = None, None
    if lpips:
        distance = open_lpips(lpips, compared.left_out)
    if fid:
        features = open_inception(compared.left_out)
    for model in models:
        opened = open_colors(model, backend, config)
        if clips:
            result = evaluate_clips(lambda m=model: open_colors(m, backend, config).colors, data, limit)
            missing = ["recognition, kernel distance, LPIPS, FID: they are computed on pictures, these are clips"]
        else:
            result = evaluate(opened.colors.image, data, limit, classifier, examples, workers, distance, features)
            missing = result.left_out
        compared.count, compared.unreadable = result.pictures, result.unreadable
        compared.figures[str(model)] = result.metrics | facts_of_opened(opened)
        compared.left_out += [line for line in missing if line not in compared.left_out]
        _add_examples(compared.sheet, result)
    return compared


def evaluate_model(model: str | Path, data: str | Path, limit: int | None = None, **options) -> dict[str, float]:
    """The figures of one model; options as for evaluate_models."""
    return evaluate_models([str(model)], data, limit=limit, **options).figures[str(model)]


def facts_of_opened(opened: Opened) -> dict[str, float]:
    if opened.architecture not in MODELS:  # ColTran: how much it computes depends on how it samples
        network = getattr(getattr(opened.colors, "net", None), "model", None)
        if not isinstance(network, nn.Module):
            return {}
        return {"parameters": sum(parameter.numel() for parameter in network.parameters())}
    facts = facts_of(MODELS[opened.architecture]())
    return {"parameters": facts.parameters, "gflop": facts.gflop}


def _add_examples(sheet: list[list[np.ndarray]], result: Evaluation) -> None:
    """A new model's pictures go before the originals, which stand last."""
    if not sheet:
        shown = ((LeftGray().image(gray), ours, original) for _, gray, ours, original in result.examples)
        sheet += [list(row) for row in shown]
        return
    for row, (_, _, ours, _) in zip(sheet, result.examples, strict=True):
        row.insert(-1, ours)
