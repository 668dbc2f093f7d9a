"""ab of the token grid -> ab at the chroma planes' size, with its edges taken from the luma.

Within a window of 3 x 3 cells ab is modelled as gain x luma + offset; the two are enlarged linearly, and the full-size
luma brings the edges back. Source: He, Sun, "Fast Guided Filter", arXiv 1505.00996. Four things are different. The
offset of each cell is set so that the model gives that cell's own ab, instead of a mean over windows: the filter then
only adds detail to what the network said. With the true ab of photographs as input the error is 4 to 9 % below that of
linear interpolation this way, and was 25 to 50 % above it with the mean. Nor are the gains averaged over windows, which
would make color bleed over edges. The variance that tells edges from texture is squared, which keeps more of the
edges and less of the texture, and the window weighs its middle most (docs/flicker.md).
"""

import cv2
import numpy as np

from edgecolor.color.resize import shrink
from edgecolor.color.yuv import luma_range
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import ChromaFormat, LumaFormat, Siting
from edgecolor.stages.check import check_luma, check_rotation

WINDOW = 3  # cells, weighted 1 2 1 each way; wider ones mix colors of different things
# The contrast of luma (standard deviation in the window, black to white spanning 1) at which an edge counts half as one
# of color. Less of it lets texture through into the color, more of it makes edges as soft as plain interpolation does.
EDGE_CONTRAST = 0.06


def fit_ab_to_luma(ab: np.ndarray, guide: np.ndarray, edge_contrast: float = EDGE_CONTRAST):
    """Model ab as gain x guide + offset around every cell.

    ab       (2, h, w) float32
    guide    (h, w) float32, luma or lightness of the cells, black to white spanning 1
    returns  gain, offset: (2, h, w) float32 each; gain * guide + offset gives ab back
    """
    guide_mean = _window_mean(guide)
    variance = np.maximum(_window_mean(guide * guide) - guide_mean * guide_mean, 0)
    gain_of_covariance = variance / (variance * variance + edge_contrast**4)
    gain = np.empty_like(ab)
    for plane in range(2):
        covariance = _window_mean(ab[plane] * guide) - _window_mean(ab[plane]) * guide_mean
        gain[plane] = covariance * gain_of_covariance
    return gain, ab - gain * guide


def luma_at_chroma(luma: np.ndarray, chroma_format: ChromaFormat) -> np.ndarray:
    """Luma filtered and sampled where the chroma samples sit.

    luma     (H, W) uint8 or uint16
    returns  (Hc, Wc) float32, code values, to within half a code; at the left and upper border of planes that are not
             sited in the center it is the mean of the luma that the chroma sample covers
    """
    if not chroma_format.log2_x:
        return luma.astype(np.float32)
    rows, columns = luma.shape
    odd_rows = rows % 2 if chroma_format.log2_y else 0
    if odd_rows or columns % 2:
        luma = cv2.copyMakeBorder(luma, 0, odd_rows, 0, columns % 2, cv2.BORDER_REPLICATE)
    if chroma_format.siting is Siting.CENTER:
        return _block_means(luma, chroma_format.log2_y).astype(np.float32)
    # On the even column: 1 2 1, the mean of the pairs before and after it. Likewise on the even row.
    sited = _sited_left(luma, chroma_format.log2_y)
    if chroma_format.siting is Siting.TOPLEFT and chroma_format.log2_y:
        sited[1:] = (sited[1:] + _sited_left(luma[1:-1], 1)) / 2
    return sited


class UpsampleAb:
    """Enlarge ab to the chroma planes of one format.

    luma_format, chroma_format  of the planes
    h, w                        of the token grid, upright
    raises                      ConfigError if the chroma planes do not belong to the luma plane
    """

    def __init__(self, luma_format: LumaFormat, chroma_format: ChromaFormat, h: int, w: int):
        self._turns = check_rotation(luma_format.rotation) // 90
        self.luma_format, self.chroma_format = luma_format, chroma_format
        self._grid = (h, w)
        self._coded_grid = (w, h) if self._turns % 2 else (h, w)
        for name, luma, chroma, log2 in (
            ("wide", luma_format.width, chroma_format.width, chroma_format.log2_x),
            ("high", luma_format.height, chroma_format.height, chroma_format.log2_y),
        ):
            if log2 not in (0, 1) or chroma != -(-luma >> log2):
                raise ConfigError(
                    f"chroma planes {chroma} samples {name} do not go with luma {luma} {name} at 1/{1 << log2}: "
                    "choose a 4:2:0, 4:2:2 or 4:4:4 format"
                )
        if chroma_format.log2_y > chroma_format.log2_x:
            raise ConfigError("chroma subsampled in height only (4:4:0) is not supported: choose 4:2:0, 4:2:2 or 4:4:4")
        black, white = luma_range(luma_format.bit_depth, luma_format.full_range)
        self._span = np.float32(white - black)
        self._siting_map = self._map_to_siting()

    def __call__(self, ab: np.ndarray, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give ab and luma at the positions of the chroma samples.

        ab       (2, h, w) float32, ab units, upright
        luma     (H, W), as decoded
        returns  ab_planes (Hc, Wc, 2) float32, ab units, as decoded (not turned), a view of two contiguous planes;
                 luma_at_chroma (Hc, Wc) float32, code values
        raises   ShapeError if ab or luma are not of the sizes given at the start
        """
        check_luma(luma, self.luma_format)
        if ab.shape != (2, *self._grid):
            raise ShapeError(f"ab is {ab.shape}, the token grid says {(2, *self._grid)}: build the stage anew")
        ab = np.ascontiguousarray(np.rot90(ab, self._turns, axes=(1, 2)), dtype=np.float32)
        guide = shrink(luma, *self._coded_grid).astype(np.float32) / self._span
        gain, offset = fit_ab_to_luma(ab, guide)
        sited = luma_at_chroma(luma, self.chroma_format)
        return enlarge_model(gain / self._span, offset, sited, self._siting_map), sited

    def _map_to_siting(self) -> np.ndarray | None:
        """Affine map (2, 3) that moves the grid so that cv2.resize, which knows centers only, hits the samples."""
        (rows, columns), luma, chroma = self._coded_grid, self.luma_format, self.chroma_format
        centered = chroma.siting is Siting.CENTER
        scale_x, shift_x = _axis_to_siting(columns, luma.width, chroma.width, chroma.log2_x, centered)
        centered = chroma.siting is not Siting.TOPLEFT
        scale_y, shift_y = _axis_to_siting(rows, luma.height, chroma.height, chroma.log2_y, centered)
        mapping = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
        return None if np.allclose(mapping, [[1, 0, 0], [0, 1, 0]], atol=1e-9) else mapping


def enlarge_model(
    gain: np.ndarray, offset: np.ndarray, guide: np.ndarray, siting_map: np.ndarray | None = None
) -> np.ndarray:
    """Enlarge gain and offset linearly to the guide's size and apply them to it.

    gain, offset  (2, h, w) float32
    guide         (H, W) float32, in the unit that gain counts in
    siting_map    (2, 3) affine map from the wanted grid into the given one, None where they agree
    returns       (H, W, 2) float32, a view of two contiguous planes
    """
    height, width = guide.shape
    planes = np.empty((2, height, width), dtype=np.float32)
    enlarged = np.empty((height, width), dtype=np.float32)
    for plane in range(2):
        for model, target in ((gain[plane], enlarged), (offset[plane], planes[plane])):
            if siting_map is not None:
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                model = cv2.warpAffine(
                    model, siting_map, model.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
                )
            cv2.resize(model, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
        cv2.accumulateProduct(enlarged, guide, planes[plane])
    return np.moveaxis(planes, 0, -1)


def _window_mean(plane: np.ndarray) -> np.ndarray:
    # With a width of 0 OpenCV's kernel of 3 is 1 2 1.
    return cv2.GaussianBlur(plane, (WINDOW, WINDOW), 0, borderType=cv2.BORDER_REPLICATE)


def _block_means(luma: np.ndarray, log2_y: int) -> np.ndarray:
    """Means of pairs of columns (log2_y 0) or of blocks of 2 x 2, rounded; of an empty plane an empty one."""
    rows, columns = luma.shape[0] >> log2_y, luma.shape[1] // 2
    if not rows or not columns:
        return np.empty((rows, columns), luma.dtype)
    # Linear interpolation at exactly half the size is the mean of two samples, and 20 times as fast as the area's.
    return cv2.resize(luma, (columns, rows), interpolation=cv2.INTER_AREA if log2_y else cv2.INTER_LINEAR)


def _sited_left(luma: np.ndarray, log2_y: int) -> np.ndarray:
    after, before = _block_means(luma, log2_y), _block_means(luma[:, 1:-1], log2_y)
    sited = after.astype(np.float32)
    if before.size:
        cv2.addWeighted(after[:, 1:], 0.5, before, 0.5, 0, dst=sited[:, 1:], dtype=cv2.CV_32F)
    return sited


def _axis_to_siting(cells: int, luma: int, chroma: int, log2: int, centered: bool) -> tuple[float, float]:
    """Scale and shift, in cells, from where cv2.resize samples the grid to where the chroma samples sit."""
    step = 1 << log2  # luma samples from one chroma sample to the next
    first = (step - 1) / 2 if centered else 0.0  # luma position of the first chroma sample
    scale = step * chroma / luma  # 1 unless the plane is odd
    # For chroma sample j resize reads the grid at (j + 0.5) cells / chroma - 0.5, and should read it at
    # (step j + first + 0.5) cells / luma - 0.5. Eliminating j leaves:
    shift = (first + 0.5 - step / 2) * cells / luma + (scale - 1) / 2
    return scale, shift
