"""Pictures with odd or damaged descriptions, or odd grays, are colored. pytest tests/test_odd_pictures.py"""

import struct
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from edgecolor.colorize import colorize_image_file
from edgecolor.images import read_image

SUFFIXES = (".tif", ".png", ".jpg", ".webp")


def exif_block(entries, order="<") -> bytes:
    """Tag, type, count, and four bytes of value (or None: the place of `more`) each."""
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        data += struct.pack(f"{order}HHI", tag, kind, count) + value
    return b"Exif\0\0" + data + bytes(4)


def gray_jpeg(path, photograph, exif: bytes):
    Image.fromarray(photograph).convert("L").save(path, exif=exif, quality=95)
    return path


TEXT = "Großmütter".encode()  # ten letters, twelve bytes


def described(orientation: int) -> bytes:
    tags = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0))]
    place = struct.pack("<I", 8 + 2 + 12 * 2 + 4)
    return exif_block([(0x010E, 2, len(TEXT) + 1, place), *tags]) + TEXT + b"\0"


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_descriptions_keep_letters_beyond_ascii(tmp_path, photograph, colorizer, suffix, orientation):
    source = gray_jpeg(tmp_path / "in.jpg", photograph, described(orientation))
    assert colorize_image_file(source, tmp_path / f"out{suffix}", colorizer=colorizer) == []
    with Image.open(tmp_path / f"out{suffix}") as out:
        assert out.size == ((384, 256) if orientation == 1 else (256, 384))
        assert out.getexif()[0x010E].encode("latin-1") == TEXT and out.getexif().get(0x0112, 1) == 1


ODD = {
    "zeros": bytes(64),
    "garbage": b"Exif\0\0 nothing of the kind",
    "no end": exif_block([(0x010E, 2, 10**6, struct.pack("<I", 26))]),
    "a number where text belongs": exif_block([(0x010F, 5, 1, struct.pack("<I", 26))]) + struct.pack("<II", 1, 0),
    "text in the place's directory": exif_block([(0x8825, 4, 1, struct.pack("<I", 26))])
    + struct.pack("<HHHI4sHHI4sI", 2, 5, 2, 2, b"x\0\0\0", 2, 2, 4, b"abc\0", 0),
    "a directory that is none": exif_block([(0x8825, 2, 4, b"abc\0"), (0x8769, 3, 1, b"\1\0\0\0")]),
    "an orientation that is none": exif_block([(0x0112, 2, 4, b"six\0")]),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("odd", ODD)
def test_odd_exif_fails_no_picture(tmp_path, photograph, colorizer, odd, suffix):
    source = gray_jpeg(tmp_path / "in.jpg", photograph, ODD[odd])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = colorize_image_file(source, tmp_path / f"out{suffix}", colorizer=colorizer)
    assert len(notes) <= 1 and all("descriptions" in note for note in notes)
    with Image.open(tmp_path / f"out{suffix}") as out:
        out.load()
        assert out.size == (384, 256)
    assert len(list(tmp_path.iterdir())) == 2


def test_descriptions_that_a_format_has_no_room_for_are_noted(tmp_path, photograph, colorizer):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33723], tags[270] = bytes(100_000), "an album"
    Image.fromarray(photograph).convert("L").save(tmp_path / "in.tif", tiffinfo=tags)
    (note,) = colorize_image_file(tmp_path / "in.tif", tmp_path / "out.jpg", colorizer=colorizer)
    assert note.startswith("out.jpg is without the source's descriptions: JPEG does not take them")
    assert colorize_image_file(tmp_path / "in.tif", tmp_path / "out.tif", colorizer=colorizer) == []
    with Image.open(tmp_path / "out.tif") as out:
        assert out.tag_v2[270] == "an album" and len(out.tag_v2[33723]) == 100_000


def test_a_damaged_color_profile_and_an_impossible_resolution_are_left_out(tmp_path, photograph, colorizer):
    Image.fromarray(photograph).save(tmp_path / "in.jpg", icc_profile=b"no profile" * 20, quality=95)
    data = (tmp_path / "in.jpg").read_bytes()
    at = data.index(b"JFIF\0") + 7
    (tmp_path / "in.jpg").write_bytes(data[:at] + b"\1\0\0\0\0" + data[at + 5 :])
    for suffix in SUFFIXES:
        assert colorize_image_file(tmp_path / "in.jpg", tmp_path / f"out{suffix}", colorizer=colorizer) == []
        assert "icc_profile" not in Image.open(tmp_path / f"out{suffix}").info


def write_gray_tiff(path, values, bits, photometric=1, kind=1):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    height, width = values.shape
    tags[256], tags[257], tags[258], tags[259], tags[262] = width, height, bits, 1, photometric
    tags[277], tags[278], tags[339] = 1, height, kind
    data = values.tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        whole = pairs[:, 0] << 12 | pairs[:, 1]
        data = np.stack([whole >> 16, whole >> 8 & 255, whole & 255], axis=1).astype(np.uint8).tobytes()
    tags[273], tags[279] = (0,), (len(data),)
    with path.open("wb") as file:
        tags.save(file)
        file.write(data)
    return path


def test_every_gray_is_read_over_its_own_range(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 64), (32, 1))
    deep = np.rint(ramp * 65535).astype("<u2")
    floats = ramp.astype("<f4")
    floats[0, 0] = np.nan
    for values, bits, photometric, kind in (
        (deep, 16, 1, 1),
        (65535 - deep, 16, 0, 1),
        (np.rint(ramp * 4095).astype("<u2"), 12, 1, 1),
        (floats, 32, 1, 3),
    ):
        path = write_gray_tiff(tmp_path / "in.tif", values, bits, photometric, kind)
        still = read_image(path, deep=True)
        assert still.rgb.dtype == np.uint16 and np.abs(still.rgb[..., 1] - ramp * 65535).max() <= 9, (bits, photometric)
        assert np.abs(read_image(path).rgb[..., 1] - ramp * 255).max() <= 1, (bits, photometric)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_sparse_picture_of_16_bits_is_turned_like_any_other(tmp_path, orientation):
    sky = np.zeros((90, 120, 3), np.uint16)
    sky[5, 100], sky[20, 7] = 60000, 30000
    cv2.imwrite(str(tmp_path / "in.png"), sky)
    data = (tmp_path / "in.png").read_bytes()
    Image.new("RGB", (1, 1)).save(
        tmp_path / "small.png", exif=exif_block([(0x0112, 3, 1, bytes([orientation, 0, 0, 0]))])
    )
    small = (tmp_path / "small.png").read_bytes()
    (tmp_path / "in.png").write_bytes(data[:33] + small[33 : small.index(b"IDAT") - 4] + data[33:])
    deep, eight = read_image(tmp_path / "in.png", deep=True).rgb, read_image(tmp_path / "in.png").rgb
    assert deep.dtype == np.uint16 and deep.shape == ((90, 120, 3) if orientation < 5 else (120, 90, 3))
    np.testing.assert_array_equal(deep >> 8, eight)


def test_the_bits_of_jpeg_2000_are_read_where_they_stand(tmp_path, photograph):
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    for bits, pixels in ((8, gray), (16, gray.astype(np.uint16) * 257)):
        cv2.imwrite(str(tmp_path / "in.jp2"), pixels)
        data = (tmp_path / "in.jp2").read_bytes()
        box = data.index(b"jp2c") - 4
        other = (
            struct.pack(">I4s", 8 + 16 + 60, b"uuid") + bytes(16) + b"\xff\x51" + bytes([7 if bits == 16 else 15] * 58)
        )
        (tmp_path / "in.jp2").write_bytes(data[:box] + other + data[box:])
        still = read_image(tmp_path / "in.jp2", deep=True)
        assert still.rgb.dtype == (np.uint16 if bits == 16 else np.uint8) and not still.notes


def test_a_picture_beside_its_source_may_be_larger_than_what_is_read(tmp_path, photograph, colorizer, monkeypatch):
    Image.fromarray(photograph).save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", photograph.shape[0] * photograph.shape[1] * 3 // 4)
    colorize_image_file(tmp_path / "in.png", tmp_path / "out.png", colorizer=colorizer, compare=True)
    assert cv2.imread(str(tmp_path / "out.png")).shape == (256, 768, 3)
