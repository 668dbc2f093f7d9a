"""Color pictures of 8 or 16 bits a channel to TIFF. Pillow's own writer has no color of 16 bits, and fails where
compression and the directory that Exif adds come together; its tags are used here, the pixels are written by us.

source  TIFF 6.0, and its supplement for deflate
"""

import zlib
from pathlib import Path

import numpy as np

EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965  # directories that Exif adds, the last within the first
XMP, ICC_PROFILE = 700, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 282, 283, 296, 2
DEFLATE, RGB, DIFFERENCES, UNASSOCIATED_ALPHA = 8, 2, 2, 2
# What TIFF says of how the pixels lie in the file, true of this file alone; what is carried over by itself: resolution,
# XMP, ICC profile; and Photoshop's blocks of layers, thumbnails and the like, which show the source.
LAYOUT = frozenset((
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289,
    290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 338, 339,
    340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 559, 34377, 37724, XMP,
    ICC_PROFILE,
))  # fmt: skip
STRIP = 1 << 18  # bytes before compression, about


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    exif: bytes = b"",
    icc_profile: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
) -> None:
    """Write one picture, without loss.

    pixels  (H, W, 3) RGB or (H, W, 4) with alpha, uint8 or uint16
    exif    a block as JPEG files have it; of TIFF's own tags in it those that describe the picture
    dpi     samples an inch, across and down
    raises  OSError, ValueError where the file would pass 4 GB
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = pixels.shape
    rows = max(1, STRIP // (width * channels * pixels.itemsize))
    strips = [_compressed(pixels[top : top + rows]) for top in range(0, height, rows)]
    if sum(map(len, strips)) > 4e9:
        raise ValueError("the picture passes the 4 GB of a TIFF: write a .png")
    tags = ImageFileDirectory_v2()
    for tag, value in _descriptions(exif).items():
        tags[tag] = value
    tags[256], tags[257], tags[258], tags[259] = width, height, (8 * pixels.itemsize,) * channels, DEFLATE
    tags[262], tags[277], tags[278], tags[284], tags[317] = RGB, channels, rows, 1, DIFFERENCES
    if channels == 4:
        tags[338] = UNASSOCIATED_ALPHA
    tags[279] = tuple(map(len, strips))
    tags[273] = tuple(np.cumsum([0, *map(len, strips[:-1])]).tolist())  # from the end of the tags, which adds itself
    if dpi:
        tags[X_RESOLUTION], tags[Y_RESOLUTION], tags[RESOLUTION_UNIT] = *dpi, INCH
    if xmp:
        tags[XMP] = xmp
    if icc_profile:
        tags[ICC_PROFILE] = icc_profile
    with path.open("wb") as file:
        tags.save(file)
        for strip in strips:
            file.write(strip)


def _compressed(rows: np.ndarray) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]  # wraps around, as it is meant to
    return zlib.compress(differences.astype(differences.dtype.newbyteorder("<"), copy=False).tobytes(), 6)


def _descriptions(exif: bytes) -> dict:
    """Tags and directories of the block, without those of LAYOUT."""
    from PIL import Image

    found = Image.Exif()
    found.load(exif)
    described = {tag: as_bytes(value) for tag, value in found.items() if tag not in LAYOUT}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in described:
            described[tag] = dict(found.get_ifd(tag))
    if INTEROP_IFD in described.get(EXIF_IFD, {}):
        described[EXIF_IFD][INTEROP_IFD] = dict(found.get_ifd(INTEROP_IFD))
    return described


def as_bytes(value):
    """A text as it stood in the file, for Pillow, which reads every byte as Latin-1 and writes ASCII alone."""
    return value if not isinstance(value, str) or value.isascii() else value.encode("latin-1", "replace")
