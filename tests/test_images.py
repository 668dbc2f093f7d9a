"""Still images: what belongs to them stays. pytest tests/test_images.py"""

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from edgecolor.colorize import colorize_image_file
from edgecolor.errors import MediaError, MediaNotFoundError, UnsupportedMediaError
from edgecolor.images import Still, read_image, write_image


def gray_of(photograph) -> np.ndarray:
    return np.asarray(Image.fromarray(photograph).convert("L"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_exif_and_icc_profile_survive(tmp_path, photograph, colorizer, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "grandmother, 1951"  # ImageDescription
    exif[0x0132] = "1951:07:01 12:00:00"
    src, dst = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(photograph).save(src, exif=exif, icc_profile=profile, dpi=(600, 600))
    colorize_image_file(src, dst, colorizer=colorizer)
    with Image.open(dst) as out:
        assert out.getexif()[0x010E] == "grandmother, 1951"
        assert out.info["icc_profile"] == profile
        assert out.size == (384, 256) and out.mode == "RGB"
        if suffix != ".webp":
            assert np.allclose([float(value) for value in out.info["dpi"]], 600, atol=0.1)


def test_a_turned_photograph_is_written_upright(tmp_path, photograph, colorizer):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    exif[0x010E] = "kept"
    Image.fromarray(np.rot90(photograph)).save(tmp_path / "in.png", exif=exif)
    colorize_image_file(tmp_path / "in.png", tmp_path / "out.png", colorizer=colorizer)
    with Image.open(tmp_path / "out.png") as out:
        assert out.size == (384, 256)
        assert out.getexif().get(0x0112, 1) == 1 and out.getexif()[0x010E] == "kept"
        upright = colorizer.image(np.asarray(Image.fromarray(photograph)))
        assert np.array_equal(np.asarray(out), upright)


GRAY_TIFFS = {
    "8 bit": (lambda gray: Image.fromarray(gray), {}),
    "LZW": (lambda gray: Image.fromarray(gray), {"compression": "tiff_lzw"}),
    "black and white": (lambda gray: Image.fromarray(gray).convert("1"), {"compression": "group4"}),
    "16 bit": (lambda gray: Image.fromarray(gray.astype(np.uint16) * 257), {}),
    "float": (lambda gray: Image.fromarray(gray.astype(np.float32) / 255), {}),
    "palette": (lambda gray: Image.fromarray(gray).convert("P"), {}),
    "CMYK": (lambda gray: Image.fromarray(gray).convert("CMYK"), {}),
    "color": (lambda gray: Image.fromarray(gray).convert("RGB"), {}),
}


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
@pytest.mark.parametrize("kind", GRAY_TIFFS)
def test_every_scan_in_tiff_gives_a_color_picture_with_its_descriptions(tmp_path, photograph, colorizer, kind, suffix):
    make, options = GRAY_TIFFS[kind]
    picture = make(gray_of(photograph))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315], tags[33432], tags[269] = "grandmother, 1951", "Nobody", "all of us", "album 3"
    tags[274] = 6  # to be turned by 90 degrees clockwise
    if not options:  # which Pillow cannot write together
        tags[34665] = {36867: "1951:07:01 12:00:00"}  # when it was taken, in the directory that Exif adds
    picture.save(tmp_path / "in.tif", tiffinfo=tags, dpi=(600, 600), **options)
    colorize_image_file(tmp_path / "in.tif", tmp_path / f"out{suffix}", colorizer=colorizer)
    with Image.open(tmp_path / f"out{suffix}") as out:
        out.load()
        exif = out.getexif()
        assert out.mode == "RGB" and out.size == (256, 384) and exif.get(274, 1) == 1
        assert [exif[tag] for tag in (270, 315, 33432, 269)] == ["grandmother, 1951", "Nobody", "all of us", "album 3"]
        assert options or exif.get_ifd(34665)[36867] == "1951:07:01 12:00:00"
        assert np.allclose([float(value) for value in out.info["dpi"]], 600, atol=0.1)
        upright = np.rot90(
            np.asarray(picture.convert("L") if kind != "16 bit" and kind != "float" else gray_of(photograph)), -1
        )
        found = np.asarray(out.convert("L")).astype(int)
        assert np.abs(found - upright).mean() < 12  # L* is kept, which is not quite Pillow's gray


def test_a_tiff_without_a_resolution_gets_none(tmp_path, photograph, colorizer):
    Image.fromarray(gray_of(photograph)).save(tmp_path / "in.tif")
    colorize_image_file(tmp_path / "in.tif", tmp_path / "out.jpg", colorizer=colorizer)
    assert "dpi" not in Image.open(tmp_path / "out.jpg").info


def test_what_cannot_be_read_again_gets_no_name(tmp_path, photograph, monkeypatch):
    monkeypatch.setattr("edgecolor.images.write_tiff", lambda path, *_, **__: path.write_bytes(b"II*\0 and no more"))
    with pytest.raises(MediaError, match=r"out.tif cannot be written"):
        write_image(tmp_path / "out.tif", photograph, Still(photograph))
    assert not list(tmp_path.iterdir())


def test_transparency_survives_in_png(tmp_path, photograph, colorizer):
    alpha = np.tile(np.linspace(0, 255, 384).astype(np.uint8), (256, 1))
    Image.fromarray(np.dstack([photograph, alpha])).save(tmp_path / "in.png")
    colorize_image_file(tmp_path / "in.png", tmp_path / "out.png", colorizer=colorizer)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png"))[..., 3], alpha)
    with pytest.raises(UnsupportedMediaError, match=r"out.jpg: a JPEG cannot be transparent .* \.png"):
        colorize_image_file(tmp_path / "in.png", tmp_path / "out.jpg", colorizer=colorizer)
    assert not (tmp_path / "out.jpg").exists()
    opaque = np.full_like(alpha, 255)
    Image.fromarray(np.dstack([photograph, opaque])).save(tmp_path / "opaque.png")
    colorize_image_file(tmp_path / "opaque.png", tmp_path / "out.jpg", colorizer=colorizer)
    assert Image.open(tmp_path / "out.jpg").mode == "RGB"


def test_gray_of_16_bit_is_read_over_its_whole_range(tmp_path, photograph):
    gray = gray_of(photograph)
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "scan.tif")
    assert np.array_equal(read_image(tmp_path / "scan.tif").rgb, np.repeat(gray[..., None], 3, axis=2))


def test_a_gray_profile_is_applied_and_not_written_to_a_color_picture(tmp_path, photograph, colorizer):
    """Pillow makes no gray profile, so an RGB one stands in for a profile that does not fit the pixels."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(gray_of(photograph)).save(tmp_path / "in.png", icc_profile=profile)
    colorize_image_file(tmp_path / "in.png", tmp_path / "out.png", colorizer=colorizer)
    assert "icc_profile" not in Image.open(tmp_path / "out.png").info


def test_compare_puts_the_original_on_the_left(tmp_path, photograph, colorizer):
    Image.fromarray(gray_of(photograph)).save(tmp_path / "in.png")
    colorize_image_file(tmp_path / "in.png", tmp_path / "out.png", colorizer=colorizer, compare=True)
    out = np.asarray(Image.open(tmp_path / "out.png"))
    assert out.shape == (256, 768, 3)
    assert np.array_equal(out[:, :384], np.repeat(gray_of(photograph)[..., None], 3, axis=2))


def test_bad_pictures_are_refused_in_one_line(tmp_path, photograph):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(photograph).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    pages = [Image.fromarray(photograph)] * 2
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    for name, kind in (
        ("missing.png", MediaNotFoundError),
        ("text.png", MediaError),
        ("empty.jpg", MediaError),
        ("folder.png", MediaError),
        ("cut.jpg", MediaError),
        ("pages.tif", UnsupportedMediaError),
    ):
        with pytest.raises(kind) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_outputs_that_cannot_be_are_refused_and_nothing_is_left(tmp_path, photograph, colorizer):
    src = tmp_path / "in.png"
    Image.fromarray(photograph).save(src)
    (tmp_path / "there.png").write_bytes(b"precious")
    before = sorted(tmp_path.iterdir())
    for dst, message in (
        (tmp_path / "out.bmp", ".png"),
        (tmp_path / "out.mp4", "still image"),
        (tmp_path / "no" / "out.png", "does not exist"),
        (tmp_path / "there.png", "exists"),
        (src, "the input itself"),
        (tmp_path, "a still image is written to"),
    ):
        with pytest.raises(MediaError, match=message):
            colorize_image_file(src, dst, colorizer=colorizer)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_of_a_cameras_file_with_further_pictures_behind_it_the_first_is_read(tmp_path, photograph):
    whole = Image.fromarray(photograph)
    whole.save(tmp_path / "in.jpg", format="MPO", save_all=True, append_images=[whole.resize((96, 64))], quality=95)
    rgb = read_image(tmp_path / "in.jpg").rgb
    assert rgb.shape == photograph.shape and np.abs(rgb.astype(int) - photograph).mean() < 4


def test_a_large_scan_is_read_without_a_word_and_one_beyond_the_limit_refused(tmp_path, monkeypatch, recwarn):
    Image.new("L", (96, 64)).save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert read_image(tmp_path / "in.png").rgb.shape == (64, 96, 3) and not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(UnsupportedMediaError, match="more than 0 million pixels"):
        read_image(tmp_path / "in.png")
