"""Choose how a trained model's tokens become colors: prior shift, temperature, saturation, working size.

The network runs once for each picture and working size; everything after it is tried on its logits. A grid of settings
is first compared on pictures of the token grid's size, which takes milliseconds each; the best few are then measured
at full size, as `edgecolor evaluate` measures.

    python -m edgecolor.train.sweep runs/edge/checkpoint.pt photographs.tar --limit 120
"""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from edgecolor.color.lab import lightness_of_code
from edgecolor.color.tokens import TINY, palette, rebalancing_weights
from edgecolor.errors import ConfigError, ModelError
from edgecolor.stages.ab_to_rgb import ab_to_rgb, upsample_ab_to_image
from edgecolor.stages.frame_to_lightness import resize_lightness, working_size
from edgecolor.train.colorize import model_of_checkpoint
from edgecolor.train.evaluate import EQUAL_PSNR, to_gray
from edgecolor.train.metrics import colorfulness, mean_ciede2000, psnr, rgb8_to_lab
from edgecolor.train.pictures import read_pictures

BETAS = (-0.2, -0.1, 0.0, 0.1, 0.2)
TEMPERATURES = (0.2, 0.3, 0.38, 0.5, 0.7)
SATURATIONS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
WORTH = (50.0, 120.0)  # percent of the originals' colorfulness: duller and gaudier settings are not measured further
SHIFT_UNIFORM = 0.5  # lambda of the rebalancing weights whose logarithm is the direction of the shift


@dataclass(frozen=True)
class Setting:
    prior_shift: float  # times log of the rebalancing weights at lambda 0.5, added to the logits
    temperature: float
    saturation: float
    working_size: int  # short side in pixels


@dataclass(frozen=True)
class Score:
    setting: Setting
    colorfulness_percent: float  # mean of the colored pictures, of the originals' mean
    ciede2000: float  # means over pictures
    psnr: float


def grid(
    shifts: Sequence[float], temperatures: Sequence[float], saturations: Sequence[float], sizes: Sequence[int]
) -> list[Setting]:
    return [Setting(*values) for values in itertools.product(shifts, temperatures, saturations, sizes)]


def decode(logits: Tensor, centers: Tensor, temperature: float) -> np.ndarray:
    """Annealed mean of logits (h, w, Q): ab (2, h, w) float32."""
    log_probs = logits.log_softmax(dim=-1).clamp_min(float(np.log(TINY)))
    return ((log_probs / temperature).softmax(dim=-1) @ centers).permute(2, 0, 1).numpy()


class Tally:
    """Sums of one setting's figures over pictures."""

    def __init__(self):
        self.sums = np.zeros(4)
        self.count = 0

    def add(self, ours: np.ndarray, original: np.ndarray, original_lab: np.ndarray) -> None:
        difference = mean_ciede2000(rgb8_to_lab(ours), original_lab)
        noise = min(psnr(ours, original), EQUAL_PSNR)
        self.sums += (colorfulness(ours), colorfulness(original), difference, noise)
        self.count += 1

    def score(self, setting: Setting) -> Score:
        ours, original, difference, noise = self.sums / self.count
        return Score(setting, 100 * ours / original if original else float("nan"), difference, noise)


@torch.inference_mode()
def measure(
    checkpoint: str | Path, data: str | Path, settings: Iterable[Setting], limit: int | None, full_size: bool
) -> list[Score]:
    """Score each setting on the pictures at `data`, at full size or at the token grid's."""
    settings = list(settings)
    model, prior = model_of_checkpoint(checkpoint)
    if getattr(model, "kind", "tokens") != "tokens" or prior is None:
        raise ModelError(f"{checkpoint} has no color tokens: there is nothing to choose but its saturation")
    tokens = palette(model.config.palette)
    centers = torch.from_numpy(tokens.centers.copy())
    direction = torch.from_numpy(rebalancing_weights(prior.numpy(), SHIFT_UNIFORM)).log().float()
    tallies = {setting: Tally() for setting in settings}
    for _, original in read_pictures(data, limit):
        if original is None:
            continue
        lightness = lightness_of_code(256)[to_gray(original)]
        for size in sorted({setting.working_size for setting in settings}):
            h0, w0 = working_size(lightness.shape[1], lightness.shape[0], size, model.multiple)
            seen = resize_lightness(lightness, h0, w0)
            logits = model(torch.from_numpy(seen)[None, None])[0][0].float()
            if full_size:
                target, light = original, lightness
            else:
                cells = (w0 // model.stride, h0 // model.stride)
                target = cv2.resize(original, cells, interpolation=cv2.INTER_AREA)
                light = cv2.resize(seen, cells, interpolation=cv2.INTER_AREA)
            target_lab = rgb8_to_lab(target)
            here = [setting for setting in settings if setting.working_size == size]
            for shift, temperature in sorted({(setting.prior_shift, setting.temperature) for setting in here}):
                ab = decode(logits + shift * direction, centers, temperature)
                planes = upsample_ab_to_image(ab, light) if full_size else ab.transpose(1, 2, 0)
                for setting in here:
                    if (setting.prior_shift, setting.temperature) == (shift, temperature):
                        ours = ab_to_rgb(light, planes * np.float32(setting.saturation))
                        tallies[setting].add(ours, target, target_lab)
    if not next(iter(tallies.values())).count:
        raise ConfigError(f"{data} holds no readable picture")
    return [tally.score(setting) for setting, tally in tallies.items()]


def best(scores: Iterable[Score], count: int) -> list[Score]:
    """The settings that no other one beats in both colorfulness and CIEDE2000, thinned evenly, dull ones first."""
    front: list[Score] = []
    for score in sorted(scores, key=lambda s: (-s.colorfulness_percent, s.ciede2000)):
        if not front or score.ciede2000 < front[-1].ciede2000:
            front.append(score)
    front.reverse()
    if len(front) > count:
        front = [front[round(i)] for i in np.linspace(0, len(front) - 1, count)]
    return front


def sweep(
    checkpoint: str | Path,
    data: str | Path,
    betas: Sequence[float] = BETAS,
    temperatures: Sequence[float] = TEMPERATURES,
    saturations: Sequence[float] = SATURATIONS,
    working_sizes: Sequence[int] = (256,),
    limit: int | None = 120,
    confirm: int = 6,
) -> tuple[list[Score], list[Score]]:
    """Scores of the whole grid at the token grid's size, and of the best `confirm` of them at full size."""
    rough = measure(checkpoint, data, grid(betas, temperatures, saturations, working_sizes), limit, full_size=False)
    worth = [score for score in rough if WORTH[0] <= score.colorfulness_percent <= WORTH[1]]
    chosen = [score.setting for score in best(worth or rough, confirm)]
    return rough, measure(checkpoint, data, chosen, limit, full_size=True)


def print_scores(scores: Iterable[Score], title: str) -> None:
    print(f"{title}\n shift     T   sat  size | colorfulness %  CIEDE2000    PSNR")
    for score in scores:
        s = score.setting
        print(
            f"{s.prior_shift:6.2f} {s.temperature:5.2f} {s.saturation:5.2f} {s.working_size:5d} |"
            f" {score.colorfulness_percent:14.1f} {score.ciede2000:10.3f} {score.psnr:7.2f}"
        )


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=120, help="pictures")
    parser.add_argument("--confirm", type=int, default=6, help="settings measured at full size")
    parser.add_argument("--betas", type=float, nargs="+", default=BETAS)
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--saturations", type=float, nargs="+", default=SATURATIONS)
    parser.add_argument("--working-sizes", type=int, nargs="+", default=(256,))
    options = vars(parser.parse_args())
    rough, confirmed = sweep(**options)
    print_scores(best(rough, len(rough)), "at the token grid's size, those that no other one beats in both")
    print_scores(confirmed, "at full size")
    print(json.dumps([asdict(score) for score in confirmed]))


if __name__ == "__main__":
    main()
