"""Still images from and to files, with what belongs to them: EXIF, ICC profile, resolution, transparency."""

import io
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecolor.errors import MediaError, MediaNotFoundError, UnsupportedMediaError
from edgecolor.tiff_file import LAYOUT, write_tiff

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
SAVE_OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
}
OPAQUE = ("JPEG",)  # hold no transparency
ORIENTATION, RESOLUTION = 0x0112, 0x011A  # EXIF tags


@dataclass
class Still:
    """A picture and what has to be written back with it."""

    rgb: np.ndarray  # (H, W, 3) uint8, upright, in sRGB
    alpha: np.ndarray | None = None  # (H, W) uint8
    exif: bytes = b""  # orientation taken out, because the pixels are upright
    icc_profile: bytes | None = None  # of an RGB color space
    extra: dict = field(default_factory=dict)  # dpi, xmp


def is_image(path: str | os.PathLike) -> bool:
    """Whether the name is one of a still image that we read and write."""
    return Path(path).suffix.lower() in SUFFIXES


def read_image(path: str | os.PathLike) -> Still:
    """Read PNG, JPEG, TIFF or WebP; of a camera's JPEG that has more pictures behind it (MPO) the first.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of size and EXIF, that no user can act on
            return _decoded(path)
    except UnidentifiedImageError as error:
        raise MediaError(f"{path} is not a PNG, JPEG, TIFF or WebP picture, whatever its name says") from error
    except UnsupportedMediaError:
        raise
    except Image.DecompressionBombError as error:
        most = f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
        raise UnsupportedMediaError(f"{path} has more than {most}, the most that is read: make it smaller") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise MediaError(
            f"{path} cannot be decoded ({' '.join(str(error).split())}): it is damaged or cut off"
        ) from error


def _decoded(path: Path) -> Still:
    from PIL import Image, ImageOps

    # From memory: what Pillow 13.0 maps from a file, gray TIFF without compression, it turns wrongly.
    with Image.open(io.BytesIO(path.read_bytes()), formats=sorted(set(SUFFIXES.values()))) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG with smaller copies behind it
            raise UnsupportedMediaError(f"{path} holds {image.n_frames} pictures: split it into single ones first")
        image.load()
        info = dict(image.info)
        if image.format == "TIFF" and RESOLUTION not in image.tag_v2:
            info.pop("dpi", None)  # Pillow's, 1 x 1
        upright = ImageOps.exif_transpose(image)
        exif = _exif_of_upright(image)
        rgb, profile = _to_srgb(_to_8_bit(upright), info.get("icc_profile"))
        alpha = np.asarray(upright.convert("RGBA").getchannel("A")) if _has_alpha(upright) else None
    extra = {key: info[key] for key in ("dpi", "xmp") if info.get(key)}
    return Still(np.asarray(rgb), alpha, exif, profile, extra)


def _exif_of_upright(image) -> bytes:
    """The EXIF block as it came, except that a turned picture's no longer asks to be turned; of a TIFF, all tags that
    say something of the picture."""
    exif = image.getexif()
    if image.format != "TIFF" and exif.get(ORIENTATION, 1) == 1 and "exif" in image.info:
        return image.info["exif"]
    for tag in LAYOUT if image.format == "TIFF" else (ORIENTATION,):
        exif.pop(tag, None)
    return exif.tobytes() if len(exif) else b""


def _has_alpha(image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _to_8_bit(image):
    """Gray of 16 or 32 bit becomes 8 bit over its nominal range; every other mode is left alone."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray(np.clip(np.rint(np.asarray(image).astype(np.float64) / 257), 0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        top = 1.0 if values.max(initial=0) <= 1 else 255.0
        return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))
    return image


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
    except ImageCms.PyCMSError:  # a profile of another color space than the pixels: nothing to be understood from it
        return plain.convert("RGB"), None
    return rgb, profile if mode == "RGB" else None


def write_image(path: Path, rgb: np.ndarray, still: Still) -> None:
    """Write (H, W, 3) uint8 sRGB with everything of `still`, under a temporary name first; see check_image_output.

    raises  MediaError (the disk is full, the picture too large for the format)
    """
    from PIL import Image, ImageCms

    kind = SUFFIXES[path.suffix.lower()]
    image = Image.fromarray(rgb)
    if still.icc_profile:
        target = ImageCms.ImageCmsProfile(io.BytesIO(still.icc_profile))
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    if still.alpha is not None and kind not in OPAQUE:
        image.putalpha(Image.fromarray(still.alpha))
    options = SAVE_OPTIONS.get(kind, {}) | still.extra
    if still.exif:
        options["exif"] = still.exif
    if still.icc_profile:
        options["icc_profile"] = still.icc_profile
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        if kind == "TIFF":
            write_tiff(partial, np.asarray(image), **options)
        else:
            image.save(partial, format=kind, **options)
        with Image.open(partial, formats=[kind]) as written:  # what cannot be read again gets no name
            written.load()
        os.replace(partial, path)
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be written: {' '.join(str(error).split())}") from error
    finally:
        partial.unlink(missing_ok=True)


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
