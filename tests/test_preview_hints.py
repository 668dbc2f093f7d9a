"""Hints and references in previews. pytest tests/test_preview_hints.py"""

import av
import cv2
import numpy as np
import pytest
from media import make_video
from PIL import Image
from test_preview import SMALL, cell, frame_of

from edgecolor.cli import main
from edgecolor.color.lab import srgb_to_lab
from edgecolor.colorize import colorize_video, open_colorizer
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError
from edgecolor.hints import Hint
from edgecolor.picture_grid import CELL
from edgecolor.preview import FOLLOWED, out_of_reach, preview
from edgecolor.references import Reference
from edgecolor.video import EncodeOptions

RED, BLUE = (200, 40, 40), (40, 60, 200)
ONE = "temperature=0.4"  # a grid of one cell


def still_video(path, photograph, width: int, height: int, count: int):
    gray = cv2.cvtColor(cv2.resize(photograph, (width, height)), cv2.COLOR_RGB2GRAY)
    frames = [av.VideoFrame.from_ndarray(gray, format="gray").reformat(format="yuv420p") for _ in range(count)]
    return make_video(path, width=width, height=height, frames=frames, pts=[512 * i for i in range(count)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory, photograph):
    """50 frames of 96 x 64 in 2 s: a still photograph, so that what a hint is put on stays where it is."""
    return still_video(tmp_path_factory.mktemp("clip") / "old.mp4", photograph, 96, 64, 50)


def drawn(src, out, at, config=SMALL, **options) -> np.ndarray:
    preview(src, out, ONE, at, config=config, overwrite=True, **options)
    return cell(out, 0, 0, 96, 64, named_rows=False)


def status(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return stopped.value.code


@pytest.mark.parametrize(
    ("given", "half_life"),
    ((Hint(60, 30, RED), 1.0), (Hint(60, 30, RED, 0.5), 1.0), (Hint(60, 30, RED, 1.2), 0.1)),  # reads from 0.7 s
)
def test_a_hint_is_followed_to_the_frame_as_in_colorize(clip, tmp_path, given, half_life):
    config = ColorConfig(working_size=64, temperature=0.4, half_life=half_life, look_ahead=0.1)
    plain = drawn(clip, tmp_path / "grid.png", 1.5, config)
    hinted = drawn(clip, tmp_path / "grid.png", 1.5, config, hints=[given])
    video = tmp_path / "new.mkv"
    colorize_video(clip, video, config=config, hints=[given], encode=EncodeOptions(codec="ffv1", pix_fmt="yuv444p"))
    expected = frame_of(video, 37)
    assert np.abs(hinted - expected).mean() < 1.5 < 4 < np.abs(plain - expected).mean()


def test_a_hints_place_is_that_of_the_video_in_full_size(photograph, tmp_path):
    src, video = still_video(tmp_path / "old.mp4", photograph, 720, 480, 12), tmp_path / "new.mkv"
    config, hint = ColorConfig(working_size=64, temperature=0.4), Hint(450, 225, RED)
    shown = []
    for hints in ((), (hint,)):
        preview(src, tmp_path / "grid.png", ONE, 0.2, config=config, hints=hints, overwrite=True)
        shown.append(cell(tmp_path / "grid.png", 0, 0, 420, 280, named_rows=False))
    colorize_video(src, video, config=config, hints=[hint], encode=EncodeOptions(codec="ffv1", pix_fmt="yuv444p"))
    expected = cv2.resize(frame_of(video, 5).astype(np.float32), (420, 280), interpolation=cv2.INTER_AREA)
    plain, hinted = (np.abs(picture - expected).mean() for picture in shown)
    assert hinted < 3 < 5 < plain  # luma made small before and after coloring is not quite the same


def test_hints_of_later_scenes_and_of_long_ago_have_no_part(clip, tmp_path):
    plain = drawn(clip, tmp_path / "grid.png", 0.2)
    assert (drawn(clip, tmp_path / "grid.png", 0.2, hints=[Hint(60, 30, RED, 1.9)]) == plain).all()
    hints = [Hint(1, 1, RED, seconds) for seconds in (0.0, 9.0, 11.0, 40.0, 70.0)]
    assert [hint.seconds for hint in out_of_reach(hints, 10.0 + FOLLOWED)] == [0.0, 9.0]
    assert out_of_reach(hints, None) == []


def test_a_references_colors_are_shown(clip, tmp_path, photograph):
    plain = drawn(clip, tmp_path / "grid.png", 1.0)
    blue = np.clip(photograph * np.float32([0.5, 0.8, 1.6]), 0, 255).astype(np.uint8)
    shown = drawn(clip, tmp_path / "grid.png", 1.0, references=[Reference(blue)])
    b = [srgb_to_lab(picture / np.float32(255))[..., 2].mean() for picture in (plain, shown)]
    assert b[1] < b[0] - 5
    with pytest.raises(ConfigError, match="give them as references"):
        drawn(clip, tmp_path / "grid.png", 1.0, references=[Reference(blue, frame=3)])


def test_a_hints_place_is_that_of_the_picture_in_full_size(photograph, tmp_path):
    large = cv2.resize(photograph, (1200, 900), interpolation=cv2.INTER_CUBIC)
    src, out = tmp_path / "old.png", tmp_path / "grid.png"
    Image.fromarray(cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)).save(src)
    hint = Hint(900, 600, BLUE)
    preview(src, out, ONE, hints=[hint])
    width, height = CELL[1] * 4 // 3, CELL[1]  # 4:3 fills a cell in height
    assert width <= CELL[0]
    small = cv2.resize(np.asarray(Image.open(src)), (width, height), interpolation=cv2.INTER_AREA)
    scaled = Hint(900.5 * width / 1200 - 0.5, 600.5 * height / 900 - 0.5, BLUE)
    expected = open_colorizer(config=ColorConfig(temperature=0.4)).image(small, [scaled]).astype(int)
    assert np.abs(cell(out, 0, 0, width, height, named_rows=False) - expected).mean() < 0.5
    with pytest.raises(ConfigError, match="1200 x 900"):
        preview(src, out, ONE, hints=[Hint(1200, 10, BLUE)], overwrite=True)


def test_the_command_takes_hints_and_references_and_names_those_it_leaves_out(
    clip, tmp_path, monkeypatch, capsys, photograph
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photograph).save("like.png")
    (tmp_path / "hints.txt").write_text("60,30,#c82828\n")
    common = ["preview", str(clip), "--grid", ONE, "--at", "1", "--working-size", "64", "--quiet"]
    pictures = []
    for given in ((), ("--hint", "60,30,#c82828"), ("--hints", "hints.txt"), ("--reference", "like.png")):
        assert status([*common, "--out", "grid.png", "--overwrite", *given]) == 0
        pictures.append(cell("grid.png", 0, 0, 96, 64, named_rows=False))
    assert (pictures[1] == pictures[2]).all()
    assert all(np.abs(picture - pictures[0]).mean() > 0.5 for picture in (pictures[1], pictures[3]))
    assert status([*common, "--out", "outside.png", "--hint", "96,3,#c82828"]) == 2
    assert "96 x 64" in capsys.readouterr().err and not (tmp_path / "outside.png").exists()
    monkeypatch.setattr("edgecolor.preview.FOLLOWED", 0.4)
    assert status([*common, "--out", "late.png", "--hint", "60,30,#c82828"]) == 0
    assert "warning: hint 60,30,#c82828 begins more than" in capsys.readouterr().err
    assert (cell("late.png", 0, 0, 96, 64, named_rows=False) == pictures[0]).all()
