"""Pictures of 16 bits a channel, which Pillow knows in gray only: read, and written as PNG (TIFF: see tiff_file.py)."""

import io
from pathlib import Path

import cv2
import numpy as np

SIGNATURE, HEADER = 8, 25  # bytes at the beginning of a PNG, and of its first chunk
JPEG_2000_START = b"\xff\x4f\xff\x51"  # of the stream; width, height, and the bits of a channel follow
WHITE = 65535


def is_deep(image, data: bytes) -> bool:
    """Whether a picture that Pillow has opened, from these bytes of a file, holds more than 8 bits."""
    if image.format == "PNG":
        return data[SIGNATURE + 16] == 16
    if image.format == "JPEG2000":
        return data[data.index(JPEG_2000_START) + 42] & 0x7F > 7  # bits less one
    return image.format == "TIFF" and max(image.tag_v2.get(258, (1,))) > 8


def deep_rgb(image, grays: tuple[float, float], data: bytes, eight: np.ndarray) -> np.ndarray | None:
    """The picture in 16 bits, upright.

    image    Pillow's, upright
    grays    see gray_range
    data     of the file
    eight    (H, W, 3) uint8: the same picture in 8 bits, upright
    returns  (H, W, 3) uint16; None where it cannot be read so
    """
    if image.mode.startswith(("I", "F")):
        return np.repeat(gray_codes(image, grays, WHITE)[..., None], 3, axis=2)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # larger than OpenCV allows
        return None
    if found is None or found.dtype != np.uint16:
        return None
    rgb = np.repeat(found[..., None], 3, axis=2) if found.ndim == 2 else found[..., 2::-1]
    # How far OpenCV minds the orientation differs between formats and releases: the picture in 8 bits tells.
    turned = [np.rot90(mirrored, quarters) for mirrored in (rgb, rgb[:, ::-1]) for quarters in range(4)]
    away = [_distance(one, eight) if one.shape == eight.shape else np.inf for one in turned]
    best = int(np.argmin(away))
    return np.ascontiguousarray(turned[best]) if away[best] <= 1 else None


def _distance(deep: np.ndarray, eight: np.ndarray) -> float:
    """Mean, in codes of 8 bits; strip by strip, for the sake of memory."""
    strips = range(0, len(deep), 256)
    return float(
        sum(np.abs((deep[i : i + 256] >> 8).astype(np.int16) - eight[i : i + 256]).sum(dtype=np.int64) for i in strips)
        / deep.size
    )


def gray_range(image) -> tuple[float, float]:
    """What black and white are among the values of a gray picture of more than 8 bits, as Pillow has opened it."""
    if image.mode == "F":
        return 0.0, 1.0 if np.nanmax(np.asarray(image), initial=0) <= 1 else 255.0
    white = WHITE
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(258, (16,)))
        white = 2**bits - 1 if 8 < bits < 16 else WHITE
        if image.tag_v2.get(262) == 0:  # white is zero; Pillow turns that round in 8 bits only
            return float(white), 0.0
    return 0.0, float(white)


def gray_codes(image, grays: tuple[float, float], white: int) -> np.ndarray:
    """Pillow's picture of 16 or 32 bits or of floats: (H, W) uint16 codes, from 0 to white. grays: see gray_range"""
    black, top = grays
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=black)
    return np.clip(np.rint((values - black) * (white / (top - black))), 0, white).astype(np.uint16)


def write_deep_png(path: Path, pixels: np.ndarray, **options) -> None:
    """Write (H, W, 3) or (H, W, 4) uint16. options: what Pillow's PNG takes, such as exif, icc_profile, dpi, xmp

    raises  OSError
    """
    from PIL import Image

    order = [2, 1, 0, 3][: pixels.shape[2]]
    try:
        good, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    except cv2.error as error:
        raise OSError("it is larger than OpenCV allows") from error
    if not good:
        raise OSError("OpenCV cannot encode it")
    # What belongs to the picture is taken from a small one that Pillow writes, and put before the pixels.
    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG", **options)
    begin = SIGNATURE + HEADER
    with path.open("wb") as file:
        file.write(encoded[:begin].tobytes())
        for chunk in _chunks(small.getvalue()[begin:]):
            if chunk[4:8] not in (b"IDAT", b"IEND"):
                file.write(chunk)
        file.write(encoded[begin:].tobytes())


def _chunks(data: bytes) -> list[bytes]:
    """Each whole, with its length, name and checksum."""
    found, at = [], 0
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at:end])
        at = end
    return found
