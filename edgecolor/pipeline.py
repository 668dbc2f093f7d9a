"""Colorizer: the stages in order, and the state between frames."""

from typing import TYPE_CHECKING

import numpy as np

from edgecolor.color.lab import lightness_of_code, srgb_to_lab
from edgecolor.config import ColorConfig
from edgecolor.errors import ShapeError
from edgecolor.frames import ChromaFormat, ColorFrame, LumaFormat, LumaFrame
from edgecolor.motion.flow import Flow, search_picture, warp_by
from edgecolor.motion.pace import Pace
from edgecolor.motion.scene_cut import SceneCuts
from edgecolor.stages.ab_to_frame import AbToChroma
from edgecolor.stages.ab_to_rgb import ab_to_rgb, upsample_ab_to_image
from edgecolor.stages.frame_to_lightness import FrameToLightness, resize_lightness, working_size
from edgecolor.stages.upsample_ab import UpsampleAb

if TYPE_CHECKING:
    from edgecolor.backends.base import Backend


def keep_of(elapsed: float, half_life: float) -> float:
    """Weight of the past after `elapsed` seconds: 1/2 after one half-life; 0 where smoothing is off."""
    return 2.0 ** (-max(elapsed, 0.0) / half_life) if half_life > 0 else 0.0


def image_to_lightness(image: np.ndarray) -> np.ndarray:
    """(H, W) gray or (H, W, 3) RGB, uint8 -> (H, W) float32, L*."""
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise ShapeError(f"an image is (H, W) or (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.ndim == 2:
        return lightness_of_code(256)[image]
    rows = max(1, 2**20 // image.shape[1])  # strips of a megapixel: the float intermediates stay small
    strips = (image[top : top + rows] for top in range(0, len(image), rows))
    return np.concatenate([srgb_to_lab(strip.astype(np.float32) / 255)[..., 0] for strip in strips])


class Colorizer:
    """Colorizes pictures, or the frames of one video after the other, with a network that is given to it.

    net     an open backend; it keeps the token probabilities between frames
    config  temperature, saturation, smoothing; what is None there is taken from the model's manifest

    One Colorizer serves one video at a time: `begin`, then `ab` for each frame in order, and `chroma` for each result
    (in another thread, if wanted: it touches no state). For pictures of one's own: `image` and `frame`.
    """

    def __init__(self, net: "Backend", config: ColorConfig | None = None):
        self.net = net
        self.config = config = config or ColorConfig()
        manifest = net.manifest
        self.temperature = manifest.temperature if config.temperature is None else config.temperature
        self.saturation = manifest.saturation if config.saturation is None else config.saturation
        self.short_side = manifest.working_size if config.working_size is None else config.working_size
        self.multiple = manifest.multiple
        self._size: tuple[int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._cuts = SceneCuts(self.config.scene_cut)
        self._pace = Pace(self.config.network_rate)
        # Of the last look:
        self._last_look: float | None = None  # its time in seconds
        self._searched: np.ndarray | None = None  # its picture, as motion is searched in
        self._ab: np.ndarray | None = None  # its colors, (2, h, w)
        self.scene_cuts = 0  # seen since the beginning, the first frame not counted

    def _start(self, width: int, height: int) -> tuple[int, int]:
        """Choose the working size of an upright picture and let the network make its buffers for it."""
        size = working_size(width, height, self.short_side, self.multiple)
        if size != self._size:
            self.net.start(1, *size)
            self._size = size
            self._flow = Flow(*(side // self.net.manifest.stride for side in size))
        return size

    def _step(self, lightness: np.ndarray, seconds: float, paced: bool) -> np.ndarray:
        """ab (2, h, w) of the next lightness (h0, w0): looked at by the network, or moved here from its last look."""
        cut = self._cuts.is_cut(lightness)
        due = self._pace.is_due(self._cuts.previous, seconds, cut)
        picture = search_picture(lightness)
        if not due and paced:
            return np.moveaxis(warp_by(np.moveaxis(self._ab, 0, 2), self._flow.motion(picture, self._searched)), 2, 0)
        keep, motion = 0.0, None
        if self._last_look is not None:
            self.scene_cuts += cut
            past = keep_of(seconds - self._last_look, self.config.half_life)
            if past and not cut:
                motion, shown = self._flow.trusted(picture, self._searched)
                motion, keep = motion[None], past * shown[None]
        self._last_look, self._searched = seconds, picture
        self._ab = self.net.step(lightness[None, None], keep, motion, self.temperature)[0]
        return self._ab

    def begin(self, luma_format: LumaFormat, chroma_format: ChromaFormat) -> None:
        """Get ready for the frames of one video, and forget the one before."""
        upright = (luma_format.width, luma_format.height)
        height, width = self._start(*(upright if luma_format.rotation % 180 == 0 else upright[::-1]))
        stride = self.net.manifest.stride
        self._to_lightness = FrameToLightness(luma_format, height, width)
        self._upsample = UpsampleAb(luma_format, chroma_format, height // stride, width // stride)
        self._to_chroma = AbToChroma(luma_format, self.saturation)
        self._forget()

    def ab(self, frame: LumaFrame) -> np.ndarray:
        """The colors of the next frame on the token grid, smoothed over time: (2, h, w) float32, ab units."""
        return self._step(self._to_lightness(frame.luma)[0, 0], frame.pts_seconds, paced=True)

    def chroma(self, frame: LumaFrame, ab: np.ndarray) -> ColorFrame:
        """Bring ab to the chroma planes of the frame it was made for; the luma is passed on as it is."""
        planes, luma_at_chroma = self._upsample(ab, frame.luma)
        return ColorFrame(frame, *self._to_chroma(luma_at_chroma, planes))

    def frame(self, image: np.ndarray, seconds: float) -> np.ndarray:
        """Colorize the next frame of a sequence of one's own, smoothed with the ones before.

        image    (H, W) gray or (H, W, 3) RGB, uint8; only its lightness is used
        seconds  its time; what matters is the distance to the frame before
        returns  (H, W, 3) uint8 RGB
        """
        lightness = image_to_lightness(image)
        height, width = lightness.shape
        known = self._size
        h0, w0 = self._start(width, height)
        if known != (h0, w0):
            self._forget()
        ab = self._step(resize_lightness(lightness, h0, w0), seconds, paced=False)
        return ab_to_rgb(lightness, upsample_ab_to_image(ab * np.float32(self.saturation), lightness))

    def image(self, image: np.ndarray) -> np.ndarray:
        """Colorize one picture by itself: as `frame`, without a past."""
        self._forget()
        return self.frame(image, 0.0)
