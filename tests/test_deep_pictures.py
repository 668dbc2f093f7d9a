"""Pictures of 16 bits a channel, read back with OpenCV. pytest tests/test_deep_pictures.py"""

import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from edgecolor import ColorConfig, colorize_image, open_colorizer
from edgecolor.colorize import colorize_image_file
from edgecolor.images import read_image
from edgecolor.mood import brighten

SUFFIXES = (".png", ".tif")


@pytest.fixture
def deep(photograph):
    """(H, W) uint16: a photograph with steps between those of 8 bits."""
    gray = cv2.GaussianBlur(cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.float32), (5, 5), 0)
    return np.rint(gray * 250 + 300).astype(np.uint16)


def lightness_of(codes: np.ndarray) -> np.ndarray:
    """L* of R'G'B' in 16 bits, in float64, by IEC 61966-2-1 and CIE 15."""
    srgb = codes / 65535
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    y = linear @ (0.2126, 0.7152, 0.0722)
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def write_source(path, pixels):
    cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    return path


def read(path):
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


@pytest.mark.parametrize("out", SUFFIXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_scan_of_16_bits_keeps_its_lightness_in_16_bits(tmp_path, deep, colorizer, suffix, out, channels):
    source = write_source(tmp_path / f"in{suffix}", deep if channels == 1 else np.dstack([deep] * 3))
    assert colorize_image_file(source, tmp_path / f"out{out}", colorizer=colorizer) == []
    found = read(tmp_path / f"out{out}")
    assert found.dtype == np.uint16 and found.shape == (*deep.shape, 3)
    expected = lightness_of(np.dstack([deep] * 3).astype(np.float64))
    away = np.abs(lightness_of(found.astype(np.float64)) - expected)
    assert np.median(away) < 0.003  # a step of 8 bits is 0.4
    assert np.abs(found[..., 0].astype(int) - found[..., 2]).max() > 2000  # it has color
    with Image.open(tmp_path / f"out{out}") as opened:  # and Pillow, which has 8 bits of color only, reads it too
        assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - (found >> 8)).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_and_bmp_are_read(tmp_path, deep, colorizer, channels):
    pixels = deep if channels == 1 else np.dstack([deep] * 3)
    source = write_source(tmp_path / "in.jp2", pixels)
    decoded = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)  # it is lossy
    still = read_image(source, deep=True)
    assert still.rgb.dtype == np.uint16 and not still.notes
    np.testing.assert_array_equal(still.rgb[..., 0], decoded if channels == 1 else decoded[..., 2])
    for name in ("eight.jp2", "eight.bmp"):
        source = write_source(tmp_path / name, (pixels >> 8).astype(np.uint8))
        assert colorize_image_file(source, tmp_path / f"{name}.png", colorizer=colorizer) == []
        assert read(tmp_path / f"{name}.png").dtype == np.uint8
        assert np.abs(read_image(source).rgb[..., 0].astype(int) - (deep >> 8)).mean() < 1


@pytest.mark.parametrize("out", SUFFIXES)
def test_without_saturation_every_code_comes_back(tmp_path, out):
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    gray = open_colorizer("edge", config=ColorConfig(saturation=0.0))
    colorize_image_file(write_source(tmp_path / "in.tif", codes), tmp_path / f"out{out}", colorizer=gray)
    found = read(tmp_path / f"out{out}").astype(int)
    assert np.abs(found - codes[..., None]).max() <= 1 and (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_turned_scan_is_upright(tmp_path, deep, suffix, orientation):
    pixels, source = np.dstack([deep, deep // 2, deep // 3]), tmp_path / f"in{suffix}"
    plain = Image.fromarray((deep >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if suffix == ".tif":
        write_plain_tiff(source, pixels, orientation)
    else:
        data = write_source(source, pixels).read_bytes()
        content = exif.tobytes().removeprefix(b"Exif\0\0")
        source.write_bytes(data[:33] + png_chunk(b"eXIf", content) + data[33:])
    plain.save(tmp_path / "plain.png", exif=exif)
    expected = read_image(tmp_path / "plain.png").rgb
    still = read_image(source, deep=True)
    assert still.rgb.dtype == np.uint16 and not still.notes
    np.testing.assert_array_equal(still.rgb[..., 0] >> 8, expected[..., 0])
    assert read_image(source).rgb.dtype == np.uint8


def write_plain_tiff(path, pixels, orientation):
    height, width, channels = pixels.shape
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[258], tags[259] = width, height, (16,) * channels, 1
    tags[262], tags[274], tags[277], tags[278] = 2, orientation, channels, height
    tags[273], tags[279] = (0,), (pixels.nbytes,)
    with path.open("wb") as file:
        tags.save(file)
        file.write(pixels.astype("<u2").tobytes())


def png_chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


@pytest.mark.parametrize("out", SUFFIXES)
def test_what_belongs_to_the_picture_is_kept_beside_16_bits(tmp_path, deep, colorizer, out):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "grandmother, 1951"
    small = Image.new("RGB", (1, 1))
    small.save(tmp_path / "small.png", exif=exif, icc_profile=profile, dpi=(600, 600))
    begin = (tmp_path / "small.png").read_bytes()
    data = write_source(tmp_path / "in.png", np.dstack([deep] * 3)).read_bytes()
    (tmp_path / "in.png").write_bytes(data[:33] + begin[33 : begin.index(b"IDAT") - 4] + data[33:])
    assert colorize_image_file(tmp_path / "in.png", tmp_path / f"out{out}", colorizer=colorizer) == []
    assert read(tmp_path / f"out{out}").dtype == np.uint16
    with Image.open(tmp_path / f"out{out}") as opened:
        assert opened.info["icc_profile"] == profile and np.allclose([*map(float, opened.info["dpi"])], 600, atol=0.1)
        assert opened.getexif()[0x010E] == "grandmother, 1951"


@pytest.mark.parametrize("out", SUFFIXES)
def test_transparency_stays_beside_16_bits(tmp_path, deep, colorizer, out):
    alpha = np.tile(np.linspace(0, 65535, deep.shape[1]).astype(np.uint16), (len(deep), 1))
    source = write_source(tmp_path / "in.png", np.dstack([deep] * 3 + [alpha]))
    colorize_image_file(source, tmp_path / f"out{out}", colorizer=colorizer)
    found = read(tmp_path / f"out{out}")
    assert found.shape[2] == 4 and np.abs(found[..., 3].astype(int) - alpha).max() <= 257  # Pillow reads 8 bits of it


def test_what_holds_8_bits_says_so(tmp_path, deep, colorizer, monkeypatch):
    source = write_source(tmp_path / "in.tif", deep)
    said = "out.jpg holds 8 bits, the source has more: write a .png or .tif to keep them"
    assert colorize_image_file(source, tmp_path / "out.jpg", colorizer=colorizer) == [said]
    assert read(tmp_path / "out.jpg").dtype == np.uint8
    monkeypatch.setattr("edgecolor.images._is_near", lambda *_: False)  # a profile of another color space
    assert colorize_image_file(source, tmp_path / "out.png", colorizer=colorizer) == [
        "in.tif has more than 8 bits, and a picture with its color profile is read in 8"
    ]
    assert read(tmp_path / "out.png").dtype == np.uint8


def test_arrays_and_brightness_keep_their_type(deep, colorizer):
    rgb = colorize_image(deep, colorizer=colorizer)
    eight = colorize_image((deep >> 8).astype(np.uint8), colorizer=colorizer)
    assert rgb.dtype == np.uint16 and eight.dtype == np.uint8
    assert np.abs((rgb >> 8).astype(int) - eight).mean() < 2
    brighter = brighten(rgb, 0.5)
    assert brighter.dtype == np.uint16 and brighter.mean() > rgb.mean()
    away = np.abs(brighten(eight, 0.5) - brighter / 257)
    assert away.mean() < 0.5 and away.max() < 8
