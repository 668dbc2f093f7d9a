"""Original and colored picture in one frame, for a person to compare."""

from dataclasses import replace

import numpy as np

from edgecolor.frames import ChromaFormat, ColorFrame, LumaFormat


class SideBySide:
    """Puts the gray original to the left of the colored frame, as a viewer sees it.

    A frame that players turn by 90 degrees is doubled along the other axis, so that the two still stand side by side.
    Where the chroma planes are subsampled, an odd last column (or row) of each half is left out: a chroma sample
    would otherwise belong to both pictures.
    """

    def __init__(self, luma_format: LumaFormat):
        self.axis = 1 if luma_format.rotation % 180 == 0 else 0
        self.original_first = luma_format.rotation in (0, 270)  # turned clockwise, the top of a frame is its right
        extent = (luma_format.height, luma_format.width)[self.axis]
        self.half = extent - extent % 2 if extent > 1 else extent
        self.neutral = 1 << (luma_format.bit_depth - 1)
        self.luma_format = luma_format

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the double frame."""
        width, height = self.luma_format.width, self.luma_format.height
        return (2 * self.half, height) if self.axis == 1 else (width, 2 * self.half)

    def single(self, double: ChromaFormat) -> ChromaFormat:
        """The chroma format of one full frame, given that of the double one."""
        width, height = self.luma_format.width, self.luma_format.height
        return replace(double, width=-(-width >> double.log2_x), height=-(-height >> double.log2_y))

    def __call__(self, frame: ColorFrame) -> ColorFrame:
        """Double the frame: its luma twice, neutral chroma beside its own."""
        luma = self._double(frame.source.luma, frame.source.luma, self.half)
        extent = self.luma_format.width if self.axis == 1 else self.luma_format.height
        subsampled = frame.cb.shape[self.axis] < extent
        half = self.half // 2 if subsampled else self.half
        cb, cr = (self._double(np.full_like(plane, self.neutral), plane, half) for plane in (frame.cb, frame.cr))
        return ColorFrame(replace(frame.source, luma=luma), cb, cr)

    def _double(self, original: np.ndarray, colored: np.ndarray, half: int) -> np.ndarray:
        pair = (original, colored) if self.original_first else (colored, original)
        return np.concatenate([plane.take(range(half), axis=self.axis) for plane in pair], axis=self.axis)
