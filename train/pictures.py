"""Read photographs one by one from where they lie: a picture file, a folder, tar shards, or a pattern of them."""

import glob
import http.client
import logging
import lzma
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgecolor.errors import ConfigError, MediaError

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = (".webp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".ppm")
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
URL_TIMEOUT = 60  # seconds without an answer


def decode_rgb(data: bytes) -> np.ndarray | None:
    """An encoded picture to (H, W, 3) uint8 RGB, or None where it cannot be decoded."""
    if not data or ends_too_soon(data):
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that promises an impossible size
        return None
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def ends_too_soon(data: bytes) -> bool:
    """Whether a JPEG breaks off: older releases of OpenCV give the rest of it as gray. Its scans cannot hold the two
    markers, an embedded thumbnail has both."""
    return data[:2] == JPEG_START and data.rfind(JPEG_END) < data.rfind(JPEG_SCAN)


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes; none, which do not decode, where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        log.warning("%s cannot be read (%s)", path, error.strerror)
        return b""


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def expand(pattern: str) -> list[str]:
    """The shards of a pattern, in order: {00..03} counts, * and ? match local files; URLs are not looked up."""
    counted = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if counted:
        first, last = counted.groups()
        names = (str(i).zfill(len(first)) for i in range(int(first), int(last) + 1))
        return [item for name in names for item in expand(pattern[: counted.start()] + name + pattern[counted.end() :])]
    if is_url(pattern) or Path(pattern).is_file():
        return [pattern]
    return sorted(glob.glob(pattern))


class WholeTarInfo(tarfile.TarInfo):
    """A member's header. One that is damaged, or missing before the end mark, is an error, where tarfile would stop."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "WholeTarInfo":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            if tar.offset == 0:  # no tar at all, which tarfile itself says
                raise
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from error


def tar_pictures(where: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture in a tar file or URL, in its order.

    raises  MediaError where there is no such shard, it is no tar, or it ends too soon; what came before was yielded
    """
    try:
        if is_url(where):
            with (
                urllib.request.urlopen(where, timeout=URL_TIMEOUT) as response,
                tarfile.open(fileobj=response, mode="r|*", tarinfo=WholeTarInfo) as tar,
            ):
                yield from _members(tar)
        else:
            with tarfile.open(where, tarinfo=WholeTarInfo) as tar:
                yield from _members(tar)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, http.client.IncompleteRead) as error:
        raise MediaError(f"{where} is not a whole tar file ({error}): make or download it again") from error
    except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise MediaError(f"{where} cannot be read ({error}): check the path") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        if member.isfile() and member.name.lower().endswith(PICTURE_SUFFIXES):
            data = tar.extractfile(member).read()
            if len(data) < member.size:
                raise tarfile.ReadError("unexpected end of data")
            yield member.name, data


def encoded_pictures(where: str | Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture in a file, a folder (with its subfolders and tar files), or a pattern with *."""
    path = Path(where)
    if path.is_dir():
        found = [str(p) for p in sorted(path.rglob("*")) if p.suffix.lower() in (*PICTURE_SUFFIXES, ".tar")]
    else:
        found = expand(str(where))
    if not found:
        raise ConfigError(f"{where}: no picture or .tar file there, nor any folder or pattern that holds one")
    for file in found:
        if file.lower().endswith(".tar"):
            yield from tar_pictures(file)
        else:
            yield file, read_bytes(file)


def read_pictures(where: str | Path, limit: int | None = None) -> Iterator[tuple[str, np.ndarray | None]]:
    """Name and (H, W, 3) uint8 RGB of the pictures there, None for the unreadable ones; the first `limit` of them."""
    for i, (name, data) in enumerate(encoded_pictures(where)):
        if limit is not None and i >= limit:
            return
        yield name, decode_rgb(data)
