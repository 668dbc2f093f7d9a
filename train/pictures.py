"""Read photographs one by one from where they lie: a picture file, a folder, tar shards, or a pattern of them."""

import glob
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgecolor.errors import ConfigError, MediaError

PICTURE_SUFFIXES = (".webp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".ppm")


def decode_rgb(data: bytes) -> np.ndarray | None:
    """An encoded picture to (H, W, 3) uint8 RGB, or None where it cannot be decoded."""
    if not data:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that promises an impossible size
        return None
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture in a tar file, in its order; MediaError where it is no tar or ends too soon."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(PICTURE_SUFFIXES):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise MediaError(f"{path} is not a whole tar file ({error}): make it again") from error


def encoded_pictures(where: str | Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture in a file, a folder (with its subfolders and tar files), or a pattern with *."""
    path = Path(where)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in (*PICTURE_SUFFIXES, ".tar") and p.is_file())
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(where)))]
    if not found:
        raise ConfigError(f"{where}: no picture or .tar file there, nor any folder or pattern that holds one")
    for file in found:
        if file.suffix.lower() == ".tar":
            yield from tar_files(file)
        else:
            yield str(file), file.read_bytes()


def read_pictures(where: str | Path, limit: int | None = None) -> Iterator[tuple[str, np.ndarray | None]]:
    """Name and (H, W, 3) uint8 RGB of the pictures there, None for the unreadable ones; the first `limit` of them."""
    for i, (name, data) in enumerate(encoded_pictures(where)):
        if limit is not None and i >= limit:
            return
        yield name, decode_rgb(data)
