"""sRGB and CIE L*a*b* (D65, 2 degree observer), both ways, in NumPy.

Channels stand last. R'G'B' is gamma-coded, in [0, 1]; L* in [0, 100]; a* and b* roughly in [-110, 110].
Source: IEC 61966-2-1 (the curve, and primaries Rec. 709), CIE 15 (Lab); the matrix is derived from the
primaries and the white point, so gray is gray to the last bit of float32.
"""

from functools import cache

import numpy as np

WHITE_XY = (0.3127, 0.3290)  # D65
PRIMARIES_XY = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # red, green, blue of Rec. 709
EPSILON = 216 / 24389  # (6/29)^3: below it the cube root is replaced by its tangent
KAPPA = 24389 / 27  # (29/3)^3


def rgb_to_xyz_matrix(primaries_xy=PRIMARIES_XY, white_xy=WHITE_XY) -> np.ndarray:
    """The (3, 3) float64 matrix from linear RGB to XYZ, with Y = 1 for white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries_xy]).T
    x, y = white_xy
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return columns * np.linalg.solve(columns, white)


def srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """Undo the sRGB curve: gamma-coded [0, 1] to linear [0, 1], same shape."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Apply the sRGB curve: linear [0, 1] to gamma-coded [0, 1], same shape; negative values stay on the tangent."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _f(t: np.ndarray) -> np.ndarray:
    return np.where(t > EPSILON, np.cbrt(t), (KAPPA * t + 16) / 116)


def _f_inverse(f: np.ndarray) -> np.ndarray:
    cube = f * f * f
    return np.where(cube > EPSILON, cube, (116 * f - 16) / KAPPA)


def _mix(matrix: np.ndarray, planes) -> list[np.ndarray]:
    """matrix (3, 3) times three planes, in their type; a tenth of the time that `@` takes on so short an axis."""
    first, second, third = planes
    return [first * m0 + second * m1 + third * m2 for m0, m1, m2 in matrix.tolist()]


def _as_float(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def srgb_to_lab(srgb: np.ndarray, matrix: np.ndarray | None = None, white: np.ndarray | None = None) -> np.ndarray:
    """R'G'B' (..., 3) in [0, 1] to Lab (..., 3); float32 or float64 as given.

    matrix, white  linear RGB to XYZ and the XYZ of white; by default ours, given only to compare with other libraries
    """
    srgb = _as_float(srgb)
    matrix = rgb_to_xyz_matrix() if matrix is None else matrix
    white = matrix.sum(axis=1) if white is None else white
    linear = np.moveaxis(srgb_to_linear(srgb), -1, 0)
    fx, fy, fz = (_f(plane) for plane in _mix(matrix / np.asarray(white)[:, None], linear))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def lab_to_linear(lab: np.ndarray, matrix: np.ndarray | None = None, white: np.ndarray | None = None) -> np.ndarray:
    """Lab (..., 3) to linear RGB (..., 3), not clipped: values outside [0, 1] are out of gamut."""
    return np.stack(lab_to_linear_planes(*np.moveaxis(_as_float(lab), -1, 0), matrix, white), axis=-1)


def lab_to_linear_planes(lightness, a, b, matrix=None, white=None) -> list[np.ndarray]:
    """The same with each channel in an array of its own, which is faster; R = G = B to the last bit where a = b = 0."""
    matrix = rgb_to_xyz_matrix() if matrix is None else matrix
    white = matrix.sum(axis=1) if white is None else white
    fy = (lightness + 16) / 116
    x, y, z = (_f_inverse(f) for f in (fy + a / 500, fy, fy - b / 200))
    inverse = np.linalg.inv(matrix / np.asarray(white)[:, None])
    # Each row of the inverse sums to 1 for the white of the matrix, so y can stand alone and x = y = z stays exact.
    off_white = (inverse.sum(axis=1) - 1).tolist()
    rows = zip(inverse.tolist(), off_white, strict=True)
    return [y + (x - y) * m0 + (z - y) * m2 + (y * rest if abs(rest) > 1e-12 else 0) for (m0, _, m2), rest in rows]


def lab_to_srgb(lab: np.ndarray, matrix: np.ndarray | None = None, white: np.ndarray | None = None) -> np.ndarray:
    """Lab (..., 3) to R'G'B' (..., 3), not clipped."""
    return linear_to_srgb(lab_to_linear(lab, matrix, white))


def gray_to_lightness(gray: np.ndarray) -> np.ndarray:
    """Gamma-coded gray (R' = G' = B') in [0, 1] to L* in [0, 100], same shape."""
    return 116 * _f(srgb_to_linear(_as_float(gray))) - 16


def lightness_to_gray(lightness: np.ndarray) -> np.ndarray:
    """L* in [0, 100] to the gamma-coded gray in [0, 1] that has it, same shape."""
    return linear_to_srgb(_f_inverse((_as_float(lightness) + 16) / 116))


@cache
def lightness_of_code(codes: int) -> np.ndarray:
    """L* of each gray code 0 .. codes - 1, full range: (codes,) float32."""
    return gray_to_lightness(np.arange(codes, dtype=np.float64) / (codes - 1)).astype(np.float32)
