"""Fast downsampling of planes: exact geometry, area-weighted, at a fraction of the price of cv2's INTER_AREA."""

import cv2
import numpy as np


def shrink(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Downsample a plane to (height, width), averaging over the area that each sample covers.

    plane    (H, W) uint8, uint16 or float32; it may also be smaller than the result, which is then interpolated
    returns  (height, width), same type; integers rounded

    cv2's INTER_AREA costs 4 ms from 1280 x 720 to 448 x 256 unless the factor is 2, where it costs 0.1 ms. So: halve
    as often as possible, and interpolate linearly over the factor below 2 that is left, where no sample is skipped.
    """
    rows, columns = plane.shape
    scale_y, scale_x = rows / height, columns / width
    cropped = False
    while scale_x * scale_y >= 4 and min(plane.shape) >= 2:
        rows, columns = plane.shape
        cropped |= bool(rows % 2 or columns % 2)
        # An odd last row or column is left out; the mapping below still counts from the original edges.
        plane = cv2.resize(
            plane[: rows // 2 * 2, : columns // 2 * 2], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA
        )
        scale_y, scale_x = scale_y / 2, scale_x / 2
    if plane.shape == (height, width) and not cropped:
        return plane
    if not cropped:
        return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    mapping = np.array([[scale_x, 0, scale_x / 2 - 0.5], [0, scale_y, scale_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, mapping, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
