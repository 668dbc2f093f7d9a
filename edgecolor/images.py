"""Still images from and to files, with what belongs to them: EXIF, ICC profile, resolution, transparency."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecolor.deep_picture import deep_rgb, gray_codes, gray_range, is_deep, write_deep_png
from edgecolor.errors import MediaError, MediaNotFoundError, UnsupportedMediaError
from edgecolor.exif import orientation_of, turned_upright, upright_block
from edgecolor.tiff_file import LAYOUT, as_bytes, write_tiff

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
ONLY_READ = {".jp2": "JPEG2000", ".j2k": "JPEG2000", ".bmp": "BMP"}
SAVE_OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
}
OPAQUE = ("JPEG",)  # hold no transparency
DESCRIPTIONS = ("exif", "xmp", "dpi")  # what a picture can do without
DEEP = ("PNG", "TIFF")  # hold 16 bits a channel
RESOLUTION = 0x011A  # EXIF tag


@dataclass
class Still:
    """A picture and what has to be written back with it."""

    rgb: np.ndarray  # (H, W, 3) uint8 or uint16, upright, in sRGB
    alpha: np.ndarray | None = None  # (H, W) uint8
    exif: bytes = b""  # orientation taken out, because the pixels are upright
    icc_profile: bytes | None = None  # of an RGB color space
    extra: dict = field(default_factory=dict)  # dpi, xmp
    notes: list[str] = field(default_factory=list)  # one line for each thing that could not be read as it is


def is_image(path: str | os.PathLike) -> bool:
    """Whether the name is one of a still image that we read."""
    return Path(path).suffix.lower() in SUFFIXES | ONLY_READ


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Pillow and OpenCV say of files on their own, on which no user can act."""
    import cv2

    log = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # where OpenCV 4 and 5 have it
    level = log.getLogLevel()
    log.setLogLevel(0)  # silent
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLogLevel(level)


def written_name(path: Path) -> str:
    """The picture's own name, or one that ends in .png where we only read its kind."""
    return path.name if path.suffix.lower() in SUFFIXES else f"{path.stem}.png"


def read_image(path: str | os.PathLike, deep: bool = False) -> Still:
    """Read PNG, JPEG, TIFF, WebP, JPEG 2000 or BMP. Of a camera's JPEG with more pictures behind it (MPO) the first.

    deep    whether pictures of more than 8 bits are given in 16
    raises  MediaNotFoundError, MediaError (not an image, damaged), UnsupportedMediaError (more than one picture in it,
            too large)
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise MediaNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: give one file")
    try:
        with quiet():
            return _decoded(path, deep)
    except UnidentifiedImageError as error:
        raise MediaError(
            f"{path} is not a PNG, JPEG, TIFF, WebP, JPEG 2000 or BMP picture, whatever its name says"
        ) from error
    except UnsupportedMediaError:
        raise
    except Image.DecompressionBombError as error:
        most = f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
        raise UnsupportedMediaError(f"{path} has more than {most}, the most that is read: make it smaller") from error
    except Exception as error:  # of damaged files Pillow raises of every kind
        raise MediaError(
            f"{path} cannot be decoded ({' '.join(str(error).split())}): it is damaged or cut off"
        ) from error


def _decoded(path: Path, deep: bool) -> Still:
    from PIL import Image

    # From memory: what Pillow 13.0 maps from a file, gray TIFF without compression, it turns wrongly.
    data, notes = path.read_bytes(), []
    with Image.open(io.BytesIO(data), formats=sorted({*SUFFIXES.values(), *ONLY_READ.values()})) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG with smaller copies behind it
            raise UnsupportedMediaError(f"{path} holds {image.n_frames} pictures: split it into single ones first")
        image.load()
        info = dict(image.info)
        if (image.format == "TIFF" and RESOLUTION not in image.tag_v2) or not _is_resolution(info.get("dpi")):
            info.pop("dpi", None)  # without one, Pillow says 1 x 1
        upright = turned_upright(image, orientation_of(image))
        exif = _exif_of_upright(image, notes)
        grays = gray_range(image)
        eight = _to_8_bit(upright, grays)
        rgb, profile = _to_srgb(eight, info.get("icc_profile"))
        rgb = np.asarray(rgb)
        if deep and is_deep(image, data):
            fine = deep_rgb(upright, grays, data, np.asarray(eight.convert("RGB")))
            if fine is None or not _is_near(rgb, eight):
                why = "this kind of it" if fine is None else "a picture with its color profile"
                notes.append(f"{path.name} has more than 8 bits, and {why} is read in 8")
            else:
                rgb = fine
        alpha = np.asarray(upright.convert("RGBA").getchannel("A")) if _has_alpha(upright) else None
    extra = {key: info[key] for key in ("dpi", "xmp") if info.get(key)}
    return Still(rgb, alpha, exif, profile, extra, notes)


def _is_near(rgb: np.ndarray, plain) -> bool:
    """Whether a color profile leaves the picture as it is."""
    return np.abs(rgb.astype(np.int16) - np.asarray(plain.convert("RGB"))).max(initial=0) <= 1


def _is_resolution(dpi) -> bool:
    try:
        return len(dpi) == 2 and all(0 < float(value) < 1e6 for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return False


def _exif_of_upright(image, notes: list[str]) -> bytes:
    """The EXIF block as it came, except that a turned picture's no longer asks to be turned; of a TIFF, all tags that
    say something of the picture."""
    if image.format != "TIFF":
        return upright_block(image.info.get("exif") or b"")
    try:
        exif = image.getexif()
        for tag in LAYOUT:
            exif.pop(tag, None)
        for tag, value in exif.items():
            exif[tag] = as_bytes(value)
        return exif.tobytes() if len(exif) else b""
    except Exception as error:  # a tag of another type than it should have
        notes.append(f"its descriptions cannot be read and are left out ({error})")
        return b""


def _has_alpha(image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _to_8_bit(image, grays: tuple[float, float]):
    """Gray of more than 8 bits becomes 8 bit over its nominal range; every other mode is left alone."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    return Image.fromarray(gray_codes(image, grays, 255).astype(np.uint8))


def _to_srgb(image, profile: bytes | None):
    """Convert to RGB in sRGB; returns it and the profile to write back: none for gray, whose profile fits no color."""
    from PIL import ImageCms

    mode = "L" if image.mode in ("1", "L", "LA") else image.mode if image.mode == "CMYK" else "RGB"
    plain = image.convert(mode)
    if not profile:
        return plain.convert("RGB"), None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        rgb = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # damaged, or of another color space: nothing to be understood from it
        return plain.convert("RGB"), None
    return rgb, profile if mode == "RGB" else None


def write_image(path: Path, rgb: np.ndarray, still: Still) -> list[str]:
    """Write a picture with everything of `still`, under a temporary name first; see check_image_output.

    rgb      (H, W, 3) uint8 or uint16, sRGB
    returns  a line for each thing that the format does not hold
    raises   MediaError (the disk is full, the picture too large for the format)
    """
    kind = SUFFIXES[path.suffix.lower()]
    notes = []
    if rgb.dtype == np.uint16 and kind not in DEEP:
        rgb = np.rint(rgb / np.float32(257)).astype(np.uint8)
        notes.append(f"{path.name} holds 8 bits, the source has more: write a .png or .tif to keep them")
    rgb, profile = _in_color_space(rgb, still.icc_profile)
    if still.icc_profile and not profile:
        notes.append(f"{path.name} is in sRGB: the source's color profile leads from its colors, and not to them")
    alpha = None if kind in OPAQUE else still.alpha
    if alpha is not None:
        rgb = np.dstack([rgb, alpha.astype(rgb.dtype) * (np.iinfo(rgb.dtype).max // 255)])
    found = {"exif": still.exif, "icc_profile": profile} | still.extra
    options = SAVE_OPTIONS.get(kind, {}) | {name: value for name, value in found.items() if value}
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with quiet():
            try:
                _write(partial, kind, rgb, options)
            except Exception as error:  # of descriptions that a format does not take, Pillow raises of every kind
                plain = {name: value for name, value in options.items() if name not in DESCRIPTIONS}
                if plain == options or (isinstance(error, OSError) and error.errno):  # the disk's
                    raise
                _write(partial, kind, rgb, plain)
                notes.append(f"{path.name} is without the source's descriptions: {kind} does not take them ({error})")
            _check_readable(partial, kind)
        os.replace(partial, path)
    except Exception as error:
        raise MediaError(f"{path} cannot be written: {' '.join(str(error).split())}") from error
    finally:
        partial.unlink(missing_ok=True)
    return notes


def _in_color_space(rgb: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """From sRGB to that of the profile, and the profile; None: it stays sRGB."""
    from PIL import Image, ImageCms

    if not profile or rgb.dtype != np.uint8:  # deep pictures are read with profiles of sRGB only
        return rgb, profile
    try:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = Image.fromarray(rgb)
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a scanner's
        return rgb, None
    return np.asarray(image), profile


def _write(path: Path, kind: str, pixels: np.ndarray, options: dict) -> None:
    from PIL import Image

    if kind == "TIFF":
        write_tiff(path, pixels, **options)
    elif pixels.dtype == np.uint16:
        write_deep_png(path, pixels, **options)
    else:
        Image.fromarray(pixels).save(path, format=kind, **options)


def _check_readable(path: Path, kind: str) -> None:
    """What cannot be read again is not to get its name. raises OSError"""
    from PIL import Image

    # Beside its source, for --compare, a picture may be larger than what Pillow opens: then it is not looked at.
    with suppress(Image.DecompressionBombError), Image.open(path, formats=[kind]) as written:
        written.load()


def check_transparency(path: Path, still: Still) -> None:
    """raises  UnsupportedMediaError for a picture that shows what is behind it, to be written where that gets lost"""
    if SUFFIXES[path.suffix.lower()] in OPAQUE and still.alpha is not None and still.alpha.min(initial=255) < 255:
        advice = "write a .png or .webp"
        raise UnsupportedMediaError(f"{path.name}: a JPEG cannot be transparent as the source is: {advice}")


def check_image_output(path: Path, src: Path, overwrite: bool) -> None:
    """Refuse what could not be written, before any work.

    raises  UnsupportedMediaError (suffix), MediaError (a folder, the input itself, exists, folder missing or read-only)
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UnsupportedMediaError(f"{path.name}: a still image is written to {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise MediaError(f"{path} is a folder: give a file name in it")
    if not path.parent.is_dir():
        raise MediaError(f"the folder {path.parent} does not exist: make it first")
    if path.exists() and src.exists() and os.path.samefile(src, path):
        raise MediaError(f"{path} is the input itself: choose another name")
    if path.exists() and not overwrite:
        raise MediaError(f"{path} exists: choose another name, or give --overwrite")
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f"the folder {path.parent} is read-only: choose another")
