"""Pictures whose colors a video is to take over, and what the network sees in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.memory import TokenMemory
from edgecolor.stages.frame_to_lightness import image_to_lightness, resize_lightness, working_size

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

# A picture of the user's is less like the film than the film's own frames are; see TokenMemory for the measure.
DISTANCES = (0.7, 1.1)
MOST_PLACES = 16384
LEAST_SATURATION = 0.1  # below it the colors could not be reached


@dataclass(frozen=True)
class Reference:
    """Colors to be taken over.

    rgb    (H, W, 3) uint8, a picture of the film's people and things; of its lightness little is expected
    since  from when on it holds, in seconds
    frame  the number of the frame, from 0 where coloring starts, that this is the corrected picture of, if it is one
    raises ShapeError, ConfigError for what cannot be
    """

    rgb: np.ndarray
    since: float = 0.0
    frame: int | None = None

    def __post_init__(self):
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8 or not self.rgb.size:
            raise ShapeError(f"a reference is (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")
        if not 0 <= self.since < math.inf:
            raise ConfigError(f"a reference's time is in seconds and cannot be negative or infinite, got {self.since}")


def learn_references(
    net: "Backend",
    references: Sequence[Reference],
    height: int,
    width: int,
    temperature: float,
    saturation: float,
) -> tuple[list[tuple[float, TokenMemory]], dict[int, np.ndarray]]:
    """Let the network look at the pictures, each in its own size.

    height, width  working size of the video, for which the network is started at the end
    temperature, saturation  of the video's colors
    returns  memories with the seconds from which each holds, and by number of a frame the token probabilities (h, w, Q)
             that paint it as its corrected picture
    """
    memories: list[tuple[float, TokenMemory]] = []
    given: dict[int, np.ndarray] = {}
    if not references:
        return memories, given
    saturation = max(saturation, LEAST_SATURATION)
    learnt = []
    for reference in references:
        size = working_size(reference.rgb.shape[1], reference.rgb.shape[0], min(height, width), net.manifest.multiple)
        net.start(1, *size)
        lightness = resize_lightness(image_to_lightness(reference.rgb), *size)
        _, features = net.logits(lightness[None, None])
        learnt.append((features[0], _probs_of(reference.rgb, size, net, temperature, saturation)))
        if reference.frame is not None:
            given[reference.frame] = _probs_of(reference.rgb, (height, width), net, temperature, saturation)
    for since in sorted({0.0, *(reference.since for reference in references)}):
        memory = TokenMemory(*DISTANCES, capacity=MOST_PLACES)
        for reference, (features, probs) in zip(references, learnt, strict=True):
            if reference.since in (0.0, since):
                memory.learn(features, probs)
        if len(memory):
            memories.append((since, memory))
    net.start(1, height, width)
    return memories, given


def _probs_of(
    rgb: np.ndarray, size: tuple[int, int], net: "Backend", temperature: float, saturation: float
) -> np.ndarray:
    """(h, w, Q) float32 that paint a color picture (H, W, 3) at that working size."""
    height, width = (side // net.manifest.stride for side in size)
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return probs_of(
        srgb_to_lab(small.astype(np.float32) / 255)[..., 1:] / saturation, net.manifest.palette, temperature
    )


def probs_of(ab: np.ndarray, palette_name: str, temperature: float) -> np.ndarray:
    """Token probabilities (h, w, Q) float32 whose annealed mean at that temperature is ab (h, w, 2)."""
    # The annealed mean sharpens by 1 / T, which would snap a soft encoding to its nearest bin.
    probs = palette(palette_name).soft_encode(ab) ** np.float32(temperature)
    return probs / probs.sum(axis=-1, keepdims=True)
