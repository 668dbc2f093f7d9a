"""ab at the chroma samples -> Cb and Cr that show this ab at the luma that is there."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from edgecolor.color.chroma_table import LEVELS, NODES, REACH, STEP, chroma_table, codes_per_level
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import LumaFormat


class AbToChroma:
    """Choose the chroma planes of one format.

    luma_format  of the video
    saturation   factor on ab; 0 gives gray, 1 what was predicted
    raises       ConfigError if saturation is negative
    """

    def __init__(self, luma_format: LumaFormat, saturation: float = 1.0):
        if not 0 <= saturation < float("inf"):
            raise ConfigError(f"saturation is a factor of 0 or more, got {saturation}")
        self.saturation = saturation
        self._bit_depth = luma_format.bit_depth
        # In a thread: it takes a third of a second, in which the network can look at the first frames.
        pool = ThreadPoolExecutor(1)
        self._table = pool.submit(chroma_table, luma_format.matrix, luma_format.bit_depth, luma_format.full_range)
        pool.shutdown(wait=False)
        self._levels_per_code = 1 / codes_per_level(luma_format.bit_depth, luma_format.full_range)
        # Row of b = 0 in the slice of each level.
        self._row = (np.arange(LEVELS) * NODES + NODES // 2).astype(np.float32)

    def __call__(self, luma_at_chroma: np.ndarray, ab_planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give Cb and Cr.

        luma_at_chroma  (Hc, Wc) float32, code values
        ab_planes       (Hc, Wc, 2) float32, ab units
        returns         cb, cr: (Hc, Wc) uint8 at 8 bits, else uint16. Decoded at this luma they have this ab times
                        saturation; where that is no color, the chroma is as large as it can be at the same hue angle
                        in ab. Where ab is zero they are neutral exactly.
        raises          ShapeError if the two do not belong together
        """
        if ab_planes.shape != (*luma_at_chroma.shape, 2):
            raise ShapeError(f"ab is {ab_planes.shape} for luma of {luma_at_chroma.shape}: take both from UpsampleAb")
        cb, cr = self.to_float_codes(luma_at_chroma, ab_planes)
        if self._bit_depth == 8:
            return cv2.convertScaleAbs(cb), cv2.convertScaleAbs(cr)
        # Chroma codes are far from the ends of 16 bits, but full range can round up to 2^n.
        top = 2**self._bit_depth - 1
        return tuple(np.minimum(np.rint(plane), top).astype(np.uint16) for plane in (cb, cr))

    def to_float_codes(self, luma_at_chroma: np.ndarray, ab_planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same before rounding: two (Hc, Wc) float32."""
        a, b = (np.ascontiguousarray(ab_planes[..., k], dtype=np.float32) for k in range(2))
        a, b = self._within_reach(a, b)
        # Rounded to the nearest level; luma codes are never negative, so the absolute value changes nothing.
        level = cv2.convertScaleAbs(luma_at_chroma, alpha=self._levels_per_code)
        row = cv2.LUT(level, self._row)
        cv2.scaleAdd(b, self.saturation / STEP, row, dst=row)
        column = cv2.addWeighted(a, self.saturation / STEP, a, 0, NODES // 2)
        cb, cr = (cv2.remap(plane, column, row, cv2.INTER_LINEAR) for plane in self._table.result())
        return cb, cr

    def _within_reach(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw ab that the table does not reach toward gray, keeping its hue; rarely needed, so tested first."""
        most = max(cv2.norm(a, cv2.NORM_INF), cv2.norm(b, cv2.NORM_INF))
        if most * self.saturation <= REACH:
            return a, b
        largest = np.maximum(np.abs(a), np.abs(b)) * self.saturation
        shrink = REACH / np.maximum(largest, REACH)
        return a * shrink, b * shrink
