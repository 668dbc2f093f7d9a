"""One frame under different settings, in one picture. pytest tests/test_preview.py"""

import cv2
import numpy as np
import pytest
from media import make_video
from PIL import Image

from edgecolor.cli import main
from edgecolor.colorize import colorize_image, colorize_image_file, colorize_video
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError, ShapeError
from edgecolor.picture_grid import BAND, CELL, GAP, picture_grid
from edgecolor.preview import AXES, Axis, parse_grid, preview
from edgecolor.times import parse_time
from edgecolor.video import EncodeOptions

SMALL = ColorConfig(working_size=64)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 frames of 96 x 64 in 0.8 s."""
    return make_video(tmp_path_factory.mktemp("clip") / "old.mp4")


def cell(path, column: int, row: int, width: int, height: int, named_rows: bool = True) -> np.ndarray:
    """A picture cut out of a grid, whose first line is the title and second the columns' texts."""
    grid = np.asarray(Image.open(path))
    top = 2 * BAND + row * (height + GAP) + (row + 1) * BAND * named_rows
    left = GAP + column * (width + GAP)
    return grid[top : top + height, left : left + width].astype(int)


def frame_of(path, index: int) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return list(container.decode(video=0))[index].to_ndarray(format="rgb24").astype(int)


@pytest.mark.parametrize("half_life", (0.0, 0.3))
def test_a_cell_is_the_frame_that_colorize_gives_with_these_settings(clip, tmp_path, half_life):
    out, video = tmp_path / "grid.png", tmp_path / "new.mkv"
    grid = f"temperature=0.3/1,half-life={half_life}/2"
    assert preview(clip, out, grid, 0.5, config=SMALL) == (2, 2)
    config = ColorConfig(working_size=64, temperature=1.0, half_life=half_life)
    colorize_video(clip, video, config=config, encode=EncodeOptions(codec="ffv1", pix_fmt="yuv444p"))
    expected = frame_of(video, 12)  # shown from 0.48 to 0.52 s
    assert np.abs(cell(out, 1, 0, 96, 64) - expected).mean() < 1.5
    assert np.abs(cell(out, 0, 1, 96, 64) - expected).mean() > np.abs(cell(out, 1, 0, 96, 64) - expected).mean()


def test_saturation_runs_from_gray_to_vivid(clip, tmp_path):
    out = tmp_path / "grid.png"
    assert preview(clip, out, "saturation=0/1/2", config=SMALL) == (3, 1)
    spreads = [np.ptp(cell(out, i, 0, 96, 64, named_rows=False), axis=2).mean() for i in range(3)]
    assert spreads[0] == 0 < spreads[1] < spreads[2]


def test_look_ahead_and_working_size_make_a_difference(clip, tmp_path):
    out = tmp_path / "grid.png"
    assert preview(clip, out, "look-ahead=0/0.3,working-size=64/128", 0.3, config=ColorConfig(half_life=2)) == (2, 2)
    first = cell(out, 0, 0, 96, 64)
    assert all(np.abs(cell(out, *place, 96, 64) - first).max() > 0 for place in ((1, 0), (0, 1)))


def test_a_half_life_is_seen_because_the_frames_before_are_run_through(clip, tmp_path):
    out = tmp_path / "grid.png"
    preview(clip, out, "half-life=0/3", 0.7, config=ColorConfig(working_size=64, look_ahead=0, network_rate=0))
    assert np.abs(cell(out, 0, 0, 96, 64, False) - cell(out, 1, 0, 96, 64, False)).mean() > 0.3


def test_what_is_set_is_among_the_values_and_marked(clip, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("edgecolor.preview.picture_grid", lambda rows, columns, names, title: drawn.update(
        columns=columns, names=names, title=title) or rows[0][0])  # fmt: skip
    preview(clip, tmp_path / "grid.png", "saturation", 0.4, config=ColorConfig(working_size=64, saturation=0.9))
    assert drawn["columns"] == [f"saturation {value}" for value in ("0.7", "0.9 (as set)", "1", "1.3", "1.6")]
    assert (drawn["names"], drawn["title"]) == ([""], "old.mp4 at 0:00.40")


@pytest.mark.parametrize(("at", "index"), ((None, 0), (0.4, 0), (1.0, 0), (1.02, 0), (8.9, 2), (9.0, 3)))
def test_the_frame_on_the_screen_is_shown_however_long_it_has_been_there(tmp_path, at, index):
    pts = [12800 + 512 * i for i in (0, 1, 2, 200)]  # from 1 to 9.04 s
    src, out = make_video(tmp_path / "old.mp4", pts=pts, audio="aac"), tmp_path / "grid.png"
    preview(src, out, "saturation=0/1", at, config=SMALL)
    shown, frames = cell(out, 0, 0, 96, 64, named_rows=False), [frame_of(src, i) for i in range(4)]
    assert np.argmin([np.abs(shown - frame).mean() for frame in frames]) == index


def test_a_turned_video_is_shown_upright(tmp_path):
    turned, out = make_video(tmp_path / "turned.mp4", rotation=90), tmp_path / "grid.png"
    preview(turned, out, "saturation=0/1", config=SMALL)
    assert np.asarray(Image.open(out)).shape == (2 * BAND + 96 + GAP, 2 * (64 + GAP) + GAP, 3)
    luma = frame_of(turned, 0)[..., 0]
    shown = cell(out, 0, 0, 64, 96, named_rows=False)[..., 0]
    assert np.abs(shown - np.rot90(luma)).mean() < 3 < np.abs(shown - np.rot90(luma, -1)).mean()


def test_a_picture_is_shown_as_colorize_image_colors_it(photograph, tmp_path):
    src, out = tmp_path / "photo.png", tmp_path / "grid.png"
    Image.fromarray(photograph).save(src)
    assert preview(src, out, "temperature=0.3/1,working-size=64/128") == (2, 2)
    expected = colorize_image(photograph, temperature=1.0, working_size=64)
    assert np.abs(cell(out, 1, 0, 384, 256) - expected).mean() < 1.5


@pytest.mark.parametrize("views", [1, 4])
def test_the_number_of_views_is_that_of_colorize(photograph, tmp_path, views):
    src, colored, out = tmp_path / "photo.png", tmp_path / "colored.png", tmp_path / "grid.png"
    Image.fromarray(photograph).save(src)
    colorize_image_file(src, colored, config=ColorConfig(working_size=64, views=views))
    with pytest.raises(SystemExit, match="0"):
        main(["preview", str(src), "--out", str(out), "--grid", "working-size=64", "--views", str(views)])
    shown, expected = cell(out, 0, 0, 384, 256, False), np.asarray(Image.open(colored))
    others = colorize_image(photograph, working_size=64)  # with as many as are the model's own
    assert np.abs(shown - expected).mean() < 0.3 * np.abs(shown - others).mean()


def test_a_grid_of_a_picture_needs_no_choice(photograph, tmp_path):
    src = tmp_path / "photo.png"
    Image.fromarray(photograph[:64, :96]).save(src)
    assert preview(src, tmp_path / "grid.png", config=SMALL) == (len(AXES["temperature"]), len(AXES["saturation"]) + 1)


def test_warmth_is_that_of_colorize_whether_it_varies_or_not(clip, photograph, tmp_path):
    src, colored, out = tmp_path / "photo.png", tmp_path / "colored.png", tmp_path / "grid.png"
    Image.fromarray(photograph).save(src)
    warm = ColorConfig(working_size=64, warmth=20)
    colorize_image_file(src, colored, config=warm)
    for grid, config, column in (("warmth=0/20", SMALL, 1), ("working-size=64", warm, 0)):
        preview(src, out, grid, config=config, overwrite=True)
        assert np.abs(cell(out, column, 0, 384, 256, False) - np.asarray(Image.open(colored))).mean() < 1.5
    video = tmp_path / "new.mkv"
    colorize_video(clip, video, config=warm, encode=EncodeOptions(codec="ffv1", pix_fmt="yuv444p"))
    preview(clip, out, "warmth=0/20", 0.4, config=SMALL, overwrite=True)
    assert np.abs(cell(out, 1, 0, 96, 64, False) - frame_of(video, 10)).mean() < 1.5
    assert np.abs(cell(out, 0, 0, 96, 64, False) - frame_of(video, 10)).mean() > 5


def test_large_pictures_are_made_to_fit_a_cell():
    wide = [np.full((300, 1200, 3), 200, np.uint8)] * 2
    grid = picture_grid([wide], ["one", "two"], [""], "title")
    assert grid.shape == (2 * BAND + CELL[0] // 4 + GAP, 2 * (CELL[0] + GAP) + GAP, 3)
    assert (grid[:BAND] > 200).any() and (grid[BAND : 2 * BAND] > 200).any()  # the texts
    with pytest.raises(ShapeError, match="texts"):
        picture_grid([wide], ["one"], [""], "title")


@pytest.mark.parametrize(("text", "seconds"), (("12.5", 12.5), ("0:12", 12), ("1:02:03.25", 3723.25), ("90", 90)))
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_time(text, "--at") == seconds


@pytest.mark.parametrize("text", ("", "soon", "-3", "1:75", "1:2:3:4", "1.5:20", "nan", "1e3", ":12"))
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="--at: .* is no time"):
        parse_time(text, "--at")


def test_a_grid_is_one_or_two_axes_with_or_without_values():
    assert parse_grid("temperature, half-life") == [Axis("temperature"), Axis("half-life")]
    assert parse_grid("saturation=0.8/1/1.2") == [Axis("saturation", (0.8, 1.0, 1.2))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        (("--grid", "contrast"), ("'contrast'", *AXES)),
        (("--grid", "temperature=low"), ("temperature=low", "temperature=0.2/0.4")),
        (("--grid", "temperature,temperature"), ("two different axes",)),
        (("--grid", "temperature,saturation,half-life"), ("one or two",)),
        (("--grid", ""), ("one or two",)),
        (("--grid", "temperature=0/1"), ("temperature must lie in (0, 1]",)),
        (("--grid", "working-size=100.5"), ("whole pixels",)),
        (("--grid", "working-size=inf"), ("whole pixels",)),
        (("--grid", "saturation=" + "/".join(f"{i / 10}" for i in range(37))), ("37 cells", "fewer")),
        (("--at", "0:05"), ("old.mp4 is over before 0:05",)),
        (("--at", "0:00.9"), ("old.mp4 is over before 0:00.90",)),
        (("--at", "late"), ("'late' is no time",)),
        (("--out", "grid.bmp"), ("grid.bmp", ".png")),
    ),
)  # fmt: skip
def test_what_cannot_be_shown_is_one_line_and_status_2(clip, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["preview", str(clip), "--working-size", "64", *arguments])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and len(error.splitlines()) == 1
    assert all(word in error for word in words), error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    (
        (("--at", "1"), ("a time is for videos",)),
        (("--grid", "half-life"), ("half-life is for videos", "photo.png is a picture")),
    ),
)
def test_what_a_picture_has_not_is_refused(photograph, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    with pytest.raises(SystemExit) as stopped:
        main(["preview", "photo.png", *arguments])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and len(error.splitlines()) == 1 and all(word in error for word in words)


def test_the_command_writes_beside_nothing_and_replaces_only_when_told(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["preview", str(clip), "--at", "0.2", "--grid", "saturation=1/1.5", "--working-size", "64"]
    for arguments, status, words in ((command, 0, "wrote old-preview.png: 2 x 1"), (command, 2, "exists"),
                                     ([*command, "--overwrite", "--quiet"], 0, "")):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        said = capsys.readouterr()
        assert stopped.value.code == status and words in said.out + said.err
    assert [path.name for path in tmp_path.iterdir()] == ["old-preview.png"]
    assert cv2.imread("old-preview.png").shape == (2 * BAND + 64 + GAP, 2 * (96 + GAP) + GAP, 3)
