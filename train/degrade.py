"""Make gray training pictures look like old film. Every effect is drawn from the generator that is given, so a seed
brings the same damage back; effects of a shot hold for both frames of a pair, those of a frame are drawn for each.
"""

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np

from edgecolor.color.lab import gray_to_lightness, lightness_to_gray
from edgecolor.train.config import DegradeConfig

Gray = np.ndarray  # (H, W) float32, gamma-coded, in [0, 1] before and after each effect
Rng = np.random.Generator
Effect = Callable[[Gray], Gray]  # one effect with its strength drawn

STEPS_IN_TABLE = 8191  # of lightness and of gray, between which powers would take longer than all effects together
GRAY_OF_LIGHTNESS = lightness_to_gray(np.linspace(0, 100, STEPS_IN_TABLE + 1)).astype(np.float32)
LIGHTNESS_OF_GRAY = gray_to_lightness(np.linspace(0, 1, STEPS_IN_TABLE + 1)).astype(np.float32)
SEPIA_LUMA = np.array([0.2990, 0.5870, 0.1140], np.float32)
EFFECTS = tuple(field.name for field in dataclasses.fields(DegradeConfig))


def blur(rng: Rng) -> Effect:
    """A lens or a print out of focus, more along one axis."""
    sigma_x, sigma_y = rng.uniform(0.4, 1.6, 2)
    return lambda gray: cv2.GaussianBlur(gray, (0, 0), sigma_x, sigmaY=sigma_y)


def gamma(rng: Rng) -> Effect:
    """A scan with the wrong curve."""
    exponent = float(np.exp(rng.uniform(np.log(0.6), np.log(1.7))))
    return lambda gray: gray**exponent


def fading(rng: Rng) -> Effect:
    """Blacks that have become gray, whites that have become dull."""
    black, white = rng.uniform(0, 0.25), rng.uniform(0.7, 1)
    return lambda gray: black + (white - black) * gray


def sepia(rng: Rng) -> Effect:
    """A toned print: shadows lean to brown, highlights to cream; what stays of it in luma is a bent curve."""
    shadows = np.array([0.16, 0.08, 0.02], np.float32) * rng.uniform(0.3, 1.2)
    highlights = 1 - np.array([0.0, 0.06, 0.22], np.float32) * rng.uniform(0.3, 1.2)
    dark, bright = float(shadows @ SEPIA_LUMA), float(highlights @ SEPIA_LUMA)
    bow = rng.uniform(0, 0.12)
    return lambda gray: dark + (bright - dark) * gray + bow * gray * (1 - gray)


def vignetting(rng: Rng) -> Effect:
    """Corners darker than a center that is somewhere near the middle."""
    center_x, center_y = rng.uniform(0.35, 0.65, 2)
    strength = rng.uniform(0.15, 0.6)

    def effect(gray: Gray) -> Gray:
        height, width = gray.shape
        x = np.linspace(0, 1, width, dtype=np.float32) - center_x
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None] - center_y
        return gray * (1 - strength * np.minimum(2 * (x**2 + y**2), 1))

    return effect


def flicker(rng: Rng) -> Effect:
    """Exposure that differs from frame to frame."""
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-0.06, 0.06)
    return lambda gray: gray * gain + offset


def grain(rng: Rng) -> Effect:
    """Noise with a size: strongest in the middle tones."""
    strength, size = rng.uniform(0.015, 0.07), rng.uniform(0.3, 1.1)
    seed = int(rng.integers(2**32))

    def effect(gray: Gray) -> Gray:
        noise = np.random.default_rng(seed).standard_normal(gray.shape, dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), size)
        noise *= strength / max(float(noise.std()), 1e-6)
        return gray + noise * (0.4 + 2.4 * gray * (1 - gray))

    return effect


def scratches(rng: Rng) -> Effect:
    """Upright lines, bright or dark, that waver a little."""
    lines = []
    for _ in range(int(rng.integers(1, 4))):
        strength = rng.uniform(0.2, 0.7) * rng.choice((-1, 1))
        lines.append((rng.uniform(0, 1), rng.uniform(-0.02, 0.02), strength, rng.uniform(0.3, 0.9)))

    def effect(gray: Gray) -> Gray:
        height, width = gray.shape
        y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
        x = np.arange(width, dtype=np.float32)
        for place, lean, strength, thickness in lines:
            distance = np.abs(x - (place + lean * y) * width)
            gray = gray + strength * np.clip(thickness + 0.5 - distance, 0, 1)
        return gray

    return effect


def dust(rng: Rng) -> Effect:
    """Specks and hairs that lay on the film or on the print."""
    count = int(rng.integers(2, 12))
    specks = rng.uniform(0, 1, (count, 4))
    bright = rng.random(count) < 0.6

    def effect(gray: Gray) -> Gray:
        height, width = gray.shape
        gray = gray.copy()
        for (x, y, size, angle), is_bright in zip(specks, bright, strict=True):
            center = (round(x * width), round(y * height))
            axes = (1 + round(size**3 * width / 24), 1 + round(size * 1.5))
            cv2.ellipse(gray, center, axes, angle * 180, 0, 360, 0.95 if is_bright else 0.05, -1, cv2.LINE_8)
        return gray

    return effect


def jpeg(rng: Rng) -> Effect:
    """A scan that was saved small."""
    quality = int(rng.integers(15, 70))

    def effect(gray: Gray) -> Gray:
        codes = np.round(np.clip(gray, 0, 1) * 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", codes, (cv2.IMWRITE_JPEG_QUALITY, quality))
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255

    return effect


def video(rng: Rng) -> Effect:
    """A copy from the web: one frame through a video codec at a low quality."""
    crf = int(rng.integers(28, 42))

    def effect(gray: Gray) -> Gray:
        return through_codec(np.round(np.clip(gray, 0, 1) * 255).astype(np.uint8), crf).astype(np.float32) / 255

    return effect


def through_codec(codes: np.ndarray, crf: int) -> np.ndarray:
    """One gray frame (H, W) uint8 with even sides, encoded by H.264 and decoded."""
    import av

    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = codes.shape[1], codes.shape[0], "gray"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"crf": str(crf), "preset": "ultrafast", "tune": "zerolatency"}
    encoder.thread_count = 1
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(codes, format="gray")), *encoder.encode(None)]
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    plane = frames[0].planes[0]  # as it is: a conversion would stretch it from limited to full range
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


# In the order in which they happen to a film: exposure, print, handling, scan, copy. True: another draw for each frame.
STEPS: tuple[tuple[str, Callable[[Rng], Effect], bool], ...] = (
    ("flicker", flicker, True),
    ("vignetting", vignetting, False),
    ("blur", blur, False),
    ("grain", grain, True),
    ("fading", fading, False),
    ("sepia", sepia, False),
    ("scratches", scratches, True),
    ("dust", dust, True),
    ("gamma", gamma, False),
    ("jpeg", jpeg, False),
    ("video", video, False),
)


class Degrade:
    """Applies each effect with the share that the config gives it."""

    def __init__(self, config: DegradeConfig):
        self.shares = {name: getattr(config, name) for name in EFFECTS}

    def __call__(self, frames: list[np.ndarray], rng: Rng) -> list[np.ndarray]:
        """Neighbouring frames of L* (H, W) float32 to their damaged versions, same shape and range."""
        places = (np.clip(frame * (STEPS_IN_TABLE / 100), 0, STEPS_IN_TABLE).astype(np.uint16) for frame in frames)
        grays = [GRAY_OF_LIGHTNESS[place] for place in places]
        for name, make, each_frame in STEPS:
            wanted = rng.random() < self.shares[name]
            seed = int(rng.integers(2**32))  # drawn always, so that an effect switched off leaves the others alone
            if not wanted:
                continue
            for i, gray in enumerate(grays):
                effect = make(np.random.default_rng((seed, i) if each_frame else seed))
                grays[i] = np.clip(effect(gray), 0, 1).astype(np.float32)
        return [LIGHTNESS_OF_GRAY[(gray * STEPS_IN_TABLE).astype(np.uint16)] for gray in grays]


def one_effect(name: str) -> Degrade:
    """A Degrade that applies this effect, and no other, every time."""
    return Degrade(DegradeConfig(**{name: 1.0}))
