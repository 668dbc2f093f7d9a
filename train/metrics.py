"""How close a colored picture is to the original, picture by picture.

Pictures are (H, W, 3) uint8 RGB, the colored one first and the original second; every function returns a plain float.
"""

import cv2
import numpy as np

from edgecolor.color.lab import rgb_to_xyz_matrix, srgb_to_linear
from edgecolor.errors import ShapeError

LINEAR_OF_CODE = srgb_to_linear(np.arange(256) / 255).astype(np.float32)
RGB_TO_RELATIVE_XYZ = (lambda m: (m / m.sum(axis=1)[:, None]).T.astype(np.float32))(rgb_to_xyz_matrix())
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5  # Wang et al. 2004: a Gaussian window of 11 samples
AUC_LIMIT = 150.0  # ab units: the largest error on Zhang's curve
BLOCK = 16384  # pixels that go through the color difference at once, so that its many arrays stay in the cache


def check_pair(ours: np.ndarray, original: np.ndarray) -> None:
    for picture in (ours, original):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"a picture is (H, W, 3) uint8 RGB, found {picture.shape} {picture.dtype}")
    if ours.shape != original.shape:
        raise ShapeError(f"pictures of one size can be compared, found {ours.shape[:2]} and {original.shape[:2]}")


def rgb8_to_lab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 sRGB to (..., 3) float32 Lab; the same as color.lab.srgb_to_lab, through a table, so faster."""
    xyz = LINEAR_OF_CODE[rgb] @ RGB_TO_RELATIVE_XYZ
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * np.float32(841 / 108) + np.float32(4 / 29))
    lab = np.empty_like(f)
    lab[..., 0] = 116 * f[..., 1] - 16
    lab[..., 1] = 500 * (f[..., 0] - f[..., 1])
    lab[..., 2] = 200 * (f[..., 1] - f[..., 2])
    return lab


def psnr(ours: np.ndarray, original: np.ndarray) -> float:
    """Peak signal to noise ratio over all samples of R'G'B', in dB; infinite for equal pictures."""
    check_pair(ours, original)
    error = float(np.mean((ours.astype(np.float32) - original) ** 2, dtype=np.float64))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(ours: np.ndarray, original: np.ndarray) -> float:
    """Structural similarity, the mean over R', G' and B'; at most 1.

    source  Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 2004: Gaussian window, K1 = 0.01, K2 = 0.03; the border of half a
            window is left out
    raises  ShapeError for pictures smaller than the window
    """
    check_pair(ours, original)
    if min(ours.shape[:2]) <= 2 * SSIM_RADIUS:
        raise ShapeError(f"SSIM needs a window of {2 * SSIM_RADIUS + 1} samples, the picture is {ours.shape[:2]}")
    x, y = (picture.astype(np.float32) / 255 for picture in (ours, original))

    def blur(image: np.ndarray) -> np.ndarray:
        size = 2 * SSIM_RADIUS + 1
        blurred = cv2.GaussianBlur(image, (size, size), SSIM_SIGMA)
        return blurred[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(similarity.mean(dtype=np.float64))


def ciede2000(lab: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Color difference of each pixel, for Lab (..., 3) of float32 or float64: (...), same type.

    source  CIE 142-2001, in the steps of Sharma, Wu, Dalal, Color Research and Application 2005, with kL = kC = kH = 1
    """
    l1, a1, b1 = np.moveaxis(lab, -1, 0)
    l2, a2, b2 = np.moveaxis(reference, -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1), np.arctan2(b2, a2)

    turn = h2 - h1
    turn = turn - 2 * np.pi * np.round(turn / (2 * np.pi))  # the short way round
    mean_h = h1 + turn / 2
    # Without a hue on one side, its angle (zero here) must not pull the mean away from the other's.
    gray = c1 * c2 == 0
    mean_h = np.where(gray, h1 + h2, mean_h)
    turn = np.where(gray, 0, turn)

    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    cos_h, sin_h = np.cos(mean_h), np.sin(mean_h)
    cos_2h, sin_2h = cos_h**2 - sin_h**2, 2 * sin_h * cos_h
    cos_3h, sin_3h = cos_2h * cos_h - sin_2h * sin_h, sin_2h * cos_h + cos_2h * sin_h
    cos_4h, sin_4h = cos_2h**2 - sin_2h**2, 2 * sin_2h * cos_2h
    (c30, s30), (c6, s6), (c63, s63) = ((np.cos(r), np.sin(r)) for r in np.deg2rad((30.0, 6.0, 63.0)))
    t = 1 - 0.17 * (cos_h * c30 + sin_h * s30) + 0.24 * cos_2h
    t += 0.32 * (cos_3h * c6 - sin_3h * s6) - 0.20 * (cos_4h * c63 + sin_4h * s63)

    from_50 = (mean_l - 50) ** 2
    s_l = 1 + 0.015 * from_50 / np.sqrt(20 + from_50)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    from_275 = np.mod(mean_h, 2 * np.pi) - np.deg2rad(275.0)
    mean_c7 = mean_c**7
    rotation = np.sin(np.deg2rad(60.0) * np.exp(-((from_275 / np.deg2rad(25.0)) ** 2)))
    rotation = rotation * -2 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    x, y, z = d_l / s_l, d_c / s_c, d_h / s_h
    return np.sqrt(np.maximum(x**2 + y**2 + z**2 + rotation * y * z, 0)).astype(lab.dtype)


def mean_ciede2000(lab: np.ndarray, reference: np.ndarray) -> float:
    """Mean color difference of two Lab pictures (H, W, 3)."""
    lab, reference = lab.reshape(-1, 3), reference.reshape(-1, 3)
    total = 0.0
    for start in range(0, len(lab), BLOCK):
        total += float(ciede2000(lab[start : start + BLOCK], reference[start : start + BLOCK]).sum(dtype=np.float64))
    return total / len(lab)


def _colorfulness(red_green: np.ndarray, yellow_blue: np.ndarray) -> float:
    spread = np.hypot(red_green.std(dtype=np.float64), yellow_blue.std(dtype=np.float64))
    return float(spread + 0.3 * np.hypot(red_green.mean(dtype=np.float64), yellow_blue.mean(dtype=np.float64)))


def colorfulness(rgb: np.ndarray) -> float:
    """Hasler and Suesstrunk, SPIE 2003, with signed opponent channels as published; 0 for gray."""
    r, g, b = np.moveaxis(rgb.astype(np.float32), -1, 0)
    return _colorfulness(r - g, (r + g) / 2 - b)


def colorfulness_abs(rgb: np.ndarray) -> float:
    """The variant of DDColor's evaluation, with absolute opponent channels: not comparable to the signed one."""
    r, g, b = np.moveaxis(rgb.astype(np.float32), -1, 0)
    return _colorfulness(np.abs(r - g), np.abs((r + g) / 2 - b))


def mean_chroma(lab: np.ndarray) -> float:
    """Mean of sqrt(a^2 + b^2) over a Lab picture (H, W, 3), in ab units."""
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean(dtype=np.float64))


def ab_error_auc(lab: np.ndarray, reference: np.ndarray) -> float:
    """Area under the share of pixels whose ab error is at most t, for t from 0 to 150, as a share of the full area.

    source  Zhang, Isola, Efros, ECCV 2016, "raw accuracy (AuC)"; integrated exactly: a pixel at distance d adds 150 - d
    """
    error = np.hypot(lab[..., 1] - reference[..., 1], lab[..., 2] - reference[..., 2])
    return float(1 - np.minimum(error, AUC_LIMIT).mean(dtype=np.float64) / AUC_LIMIT)


def picture_metrics(ours: np.ndarray, original: np.ndarray) -> dict[str, float]:
    """Every figure that needs this pair alone; SSIM is NaN for pictures smaller than its window.

    l1 and l2 (mean square) are means over the channels: ab in ab units, rgb in [0, 1].
    """
    check_pair(ours, original)
    lab, reference = rgb8_to_lab(ours), rgb8_to_lab(original)
    ab_error = lab[..., 1:] - reference[..., 1:]
    rgb_error = (ours.astype(np.float32) - original) / 255
    return {
        "psnr": psnr(ours, original),
        "ssim": ssim(ours, original) if min(ours.shape[:2]) > 2 * SSIM_RADIUS else float("nan"),
        "l1_ab": float(np.abs(ab_error).mean(dtype=np.float64)),
        "l2_ab": float((ab_error**2).mean(dtype=np.float64)),
        "l1_rgb": float(np.abs(rgb_error).mean(dtype=np.float64)),
        "l2_rgb": float((rgb_error**2).mean(dtype=np.float64)),
        "ciede2000": mean_ciede2000(lab, reference),
        "colorfulness": colorfulness(ours),
        "colorfulness_abs": colorfulness_abs(ours),
        "colorfulness_original": colorfulness(original),
        "colorfulness_abs_original": colorfulness_abs(original),
        "chroma": mean_chroma(lab),
        "chroma_original": mean_chroma(reference),
        "auc_ab": ab_error_auc(lab, reference),
    }
