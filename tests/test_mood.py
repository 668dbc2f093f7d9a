"""The mood of colors: warmth of any model's colors, brightness of a picture."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from edgecolor.cli import main
from edgecolor.color.lab import srgb_to_lab
from edgecolor.colorize import open_colorizer
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting
from edgecolor.mood import DAYLIGHT, brighten


def lab_of(rgb):
    return srgb_to_lab(rgb.astype(np.float64) / 255)


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_warmth_moves_all_colors_along_the_way_from_d65_to_d50():
    skcolor = pytest.importorskip("skimage.color")
    # White under D50, seen as if the light were D65 still.
    white = skcolor.xyz2lab(np.array([[[0.96422, 1, 0.82521]]]), illuminant="D65")[0, 0, 1:]
    np.testing.assert_allclose(DAYLIGHT, white / np.linalg.norm(white), atol=0.01)
    luma_format = LumaFormat(96, 64, 8, Matrix.BT709, full_range=False)
    rng, frames = np.random.default_rng(0), []
    for index in range(6):
        luma = cv2.resize(rng.integers(16, 236, (8, 12), dtype=np.uint8), (96, 64))
        frames.append(LumaFrame(luma if index % 3 == 0 else frames[-1].luma, index, Fraction(1, 4)))
    ab = {}
    for warmth, saturation in ((0.0, 1.0), (20.0, 1.0), (20.0, 2.0), (20.0, 0.0)):
        for look_ahead in (0.0, 0.5):
            config = ColorConfig(
                warmth=warmth, saturation=saturation, working_size=64, half_life=1.0, look_ahead=look_ahead
            )
            colorizer = open_colorizer(config=config)
            colorizer.begin(luma_format, ChromaFormat(96, 64, 0, 0, Siting.CENTER))
            ab[warmth, saturation, look_ahead] = np.array([colors for _, colors in colorizer.colors(frames)])
    way = DAYLIGHT[:, None, None]
    for look_ahead in (0.0, 0.5):  # smoothed colors too are warmed once, not once more for each frame
        plain = ab[0.0, 1.0, look_ahead]
        for saturation, moved in ((1.0, 20 * way), (2.0, 10 * way), (0.0, 0 * way)):  # before saturation; gray stays
            found = ab[20.0, saturation, look_ahead] - plain
            np.testing.assert_allclose(found, np.broadcast_to(moved, plain.shape), rtol=0, atol=1e-3)


def test_a_warm_picture_is_more_yellow_and_as_light(photograph):
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    plain, warm, cold = (
        lab_of(open_colorizer(config=ColorConfig(warmth=w, working_size=96)).image(gray)) for w in (0.0, 12.0, -12.0)
    )
    middle = (gray > 80) & (gray < 180)  # where the gamut has room
    assert (warm - plain)[middle][:, 2].mean() == pytest.approx(12, abs=3.5)
    assert (cold - plain)[middle][:, 2].mean() == pytest.approx(-12, abs=3.5)
    assert np.abs(warm - plain)[..., 0].mean() < 0.5


def test_brightness_bends_lightness_and_keeps_black_white_and_hue():
    rgb = np.zeros((1, 4, 3), np.uint8)
    rgb[0] = (0, 0, 0), (255, 255, 255), (120, 90, 70), (59, 59, 59)  # the last: L* of 25
    bright, dark = brighten(rgb, 1.0), brighten(rgb, -1.0)
    assert np.array_equal(bright[0, :2], rgb[0, :2]) and np.array_equal(dark[0, :2], rgb[0, :2])
    before, after = lab_of(rgb)[0], lab_of(bright)[0]
    np.testing.assert_allclose(after[:, 0], 10 * np.sqrt(before[:, 0]), atol=0.4)
    np.testing.assert_allclose(after[2, 1:], before[2, 1:], atol=0.6)
    np.testing.assert_allclose(lab_of(dark)[0, :, 0], before[:, 0] ** 2 / 100, atol=0.6)
    assert brighten(rgb, 0.0) is rgb


def test_a_picture_of_many_strips_is_bent_as_one_of_few(monkeypatch):
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    whole = brighten(rgb, 0.5)
    monkeypatch.setattr("edgecolor.mood.STRIP", 100)
    assert np.array_equal(brighten(rgb, 0.5), whole)


def test_the_command_takes_warmth_and_brightness_for_a_picture(tmp_path, photograph):
    cv2.imwrite(str(tmp_path / "gray.png"), cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[:96, :128])
    size = ("--working-size", 64, "--quiet")
    assert run("colorize", tmp_path / "gray.png", tmp_path / "plain.png", *size) == 0
    assert (
        run("colorize", tmp_path / "gray.png", tmp_path / "mood.png", "--warmth", 15, "--brightness", 0.5, *size) == 0
    )
    plain, mood = (lab_of(cv2.imread(str(tmp_path / name))[..., ::-1]) for name in ("plain.png", "mood.png"))
    assert mood[..., 0].mean() > plain[..., 0].mean() + 5
    assert mood[..., 2].mean() > plain[..., 2].mean() + 5


@pytest.mark.parametrize(
    "name, option, words",
    [
        ("gray.png", ("--warmth", 61), "warmth is in ab units"),
        ("gray.png", ("--brightness", 1.1), "brightness must lie in"),
        ("clip.mp4", ("--brightness", 0.5), "--brightness is for pictures"),
    ],
)
def test_impossible_moods_are_refused_in_one_line(tmp_path, capsys, name, option, words):
    cv2.imwrite(str(tmp_path / "gray.png"), np.zeros((40, 40), np.uint8))
    assert run("colorize", tmp_path / name, tmp_path / f"out{name[-4:]}", *option) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1


def test_warmth_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="warmth"):
        ColorConfig(warmth=float("nan"))
