"""Hints: colors that somebody puts at places of a picture; when they begin, and how a network takes them as input.

What they do to a model of color tokens is in hint_field.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecolor.color.lab import srgb_to_lab
from edgecolor.errors import ConfigError
from edgecolor.motion.flow import Motion

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend

PATCH = 2  # pixels of the working size around a hint's own; training gives patches of 1 to 9, this is one of 5
LEAST_SHOWN = 0.5  # of a hint's cell, for the next look to show it too
TIME_ROUNDING = 1e-3  # seconds: containers and people round times to it


@dataclass(frozen=True)
class Hint:
    """The color of one place.

    x, y     pixel of the picture in its full size, upright, counted from 0 at the top left
    rgb      (R, G, B) of sRGB, 0 to 255; the picture keeps its own lightness, so of a dark and a bright red the same
             comes
    seconds  of a video, from its beginning: the frame on the screen then is the one that x and y are meant in.
             0: the first frame, and the only choice for a picture
    raises   ConfigError for what cannot be
    """

    x: float
    y: float
    rgb: tuple[int, int, int]
    seconds: float = 0.0

    def __post_init__(self):
        if not (math.isfinite(self.x) and math.isfinite(self.y) and self.x >= 0 and self.y >= 0):
            raise ConfigError(f"a hint's x and y are pixels, counted from 0, got {self.x:g},{self.y:g}")
        if len(self.rgb) != 3 or not all(0 <= code <= 255 and code == int(code) for code in self.rgb):
            raise ConfigError(f"a hint's rgb is three whole numbers from 0 to 255, got {self.rgb}")
        if not 0 <= self.seconds < math.inf:
            raise ConfigError(f"a hint's time is in seconds and cannot be negative or infinite, got {self.seconds}")

    def __str__(self) -> str:
        color = "".join(f"{int(code):02x}" for code in self.rgb)
        return f"{self.x:g},{self.y:g},#{color}" + (f"@{self.seconds:g}" if self.seconds else "")

    def ab(self) -> np.ndarray:
        """(2,) float32, ab units."""
        return srgb_to_lab(np.array(self.rgb, np.float32) / 255)[1:]


def check_places(hints: Sequence[Hint], width: int, height: int) -> None:
    """raises ConfigError where one lies outside of an upright picture of that size"""
    for hint in hints:
        if hint.x >= width or hint.y >= height:
            size = f"the picture is {width} x {height} pixels, so x ends at {width - 1} and y at {height - 1}"
            raise ConfigError(f"hint {hint} lies outside: {size}")


def check_times(hints: Sequence[Hint], start: float, end: float | None) -> None:
    """raises ConfigError for a hint that no frame from start to end, in seconds of a video, is on the screen at"""
    for hint in hints:
        if 0 < hint.seconds < start:
            raise ConfigError(f"hint {hint} is for a frame before {start:g} s, where coloring starts: start earlier")
        if end is not None and hint.seconds >= end:
            raise ConfigError(f"hint {hint}: the video is over at {end:.2f} s: give an earlier time")


class DueHints:
    """Says, frame after frame, which hints begin.

    origin  what frames' times are where the hints' seconds count from
    """

    def __init__(self, hints: Sequence[Hint], origin: float = 0.0):
        self._waiting = sorted(hints, key=lambda hint: hint.seconds)
        self._origin = origin

    def take(self, seconds: float, length: float) -> list[Hint]:
        """Those whose moment has come with a frame that stays on the screen for `length` seconds."""
        passed = seconds - self._origin + max(length - TIME_ROUNDING, TIME_ROUNDING)
        due = [hint for hint in self._waiting if hint.seconds <= 0 or hint.seconds <= passed]
        self._waiting = self._waiting[len(due) :]
        return due

    @property
    def left(self) -> list[Hint]:
        """Those whose moment has not come yet."""
        return self._waiting


class HintedInput:
    """Hints as the input of a network that was trained with them, for one video.

    net            an open backend of a model whose manifest says hints, started with a working size
    grid           (h, w) of its cells
    width, height  of the upright picture, in pixels
    saturation     factor that its ab is multiplied by afterwards
    """

    def __init__(self, net: "Backend", grid: tuple[int, int], width: int, height: int, saturation: float):
        self.net, self.grid, self.size, self.saturation = net, grid, (width, height), saturation
        self.places: list[tuple[np.ndarray, np.ndarray]] = []  # (x, y) in cells, and ab
        self.fresh = 0.0  # 1 at a look at which some begin: what came before was painted without them
        self._given = False  # whether the network has some now
        net.hint(None)

    def __bool__(self) -> bool:
        return bool(self.places)

    def forget(self) -> None:
        """The scene is over."""
        self.places = []

    def follow(self, back: Motion, onward: Motion, elapsed: float) -> None:
        """Move the places along with their things, from the last look to this one; those that are hidden go."""
        moved, (h, w) = [], self.grid
        for place, ab in self.places:
            x, y = np.rint(place).astype(int)
            if onward.shown[y, x] >= LEAST_SHOWN:
                moved.append(((place + onward.cells[y, x]).clip(0, (w - 1, h - 1)), ab))
        self.places = moved

    def begin(self, hints: Sequence[Hint]) -> None:
        """Put those into the look that comes, besides the ones that are there."""
        (h, w), (width, height) = self.grid, self.size
        for hint in hints:
            place = np.array([(hint.x + 0.5) / width * w - 0.5, (hint.y + 0.5) / height * h - 0.5])
            self.places.append((place.clip(0, (w - 1, h - 1)), hint.ab() / self.saturation))
        self.fresh = float(bool(hints))
        if self.places or self._given:
            self.net.hint(self._plane() if self.places else None)
        self._given = bool(self.places)

    def _plane(self) -> np.ndarray:
        """(1, 3, h0, w0), as Backend.hint takes it."""
        (h, w), stride = self.grid, self.net.manifest.stride
        plane = np.zeros((1, 3, h * stride, w * stride), np.float32)
        for place, ab in self.places:
            x, y = np.floor((place + 0.5) * stride).astype(int)
            patch = plane[0, :, max(y - PATCH, 0) : y + PATCH + 1, max(x - PATCH, 0) : x + PATCH + 1]
            patch[:] = np.array([*ab, 1.0], np.float32)[:, None, None]
        return plane
