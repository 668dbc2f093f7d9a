"""A whole folder at once. pytest tests/test_folder.py"""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import decode, luma_of, make_video
from PIL import Image

from edgecolor.coltran import names_of
from edgecolor.errors import MediaError
from edgecolor.folder import plan_folder


def edgecolor(*arguments):
    command = [sys.executable, "-c", "from edgecolor.cli import main; main()", "colorize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def album(tmp_path, photograph):
    folder = tmp_path / "album"
    (folder / "more").mkdir(parents=True)
    gray = Image.fromarray(photograph).convert("L")
    gray.save(folder / "a.png")
    gray.resize((128, 96)).save(folder / "b.JPG")
    gray.save(folder / "c.bmp")
    make_video(folder / "d.mp4")
    make_video(folder / "e.mpg", codec="mpeg1video", pts=range(12), time_base=Fraction(1, 25), options={})
    (folder / "f.tif").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture either")
    (folder / ".hidden.png").write_text("")
    return folder


def test_everything_is_colored_as_it_would_be_alone_and_one_bad_file_stops_nothing(tmp_path, album):
    lossless = ("--codec", "ffv1")  # x264 does not always give the same for the same
    done = edgecolor(album, tmp_path / "new" / "colored", *lossless)
    out = tmp_path / "new" / "colored"
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.JPG", "c.png", "d.mp4", "e.mkv"]
    assert done.stdout.splitlines()[-1] == f"5 of 6 files of {album} are colored"
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgecolor: error: ")]
    assert "f.tif is not a PNG" in errors[0] and errors[1].endswith(
        f"1 of 6 files of {album} were not colored: see above"
    )
    assert len(errors) == 2
    for name in ("a.png", "d.mp4"):
        assert edgecolor(album / name, tmp_path / name, *(lossless if name == "d.mp4" else ())).returncode == 0
    np.testing.assert_array_equal(cv2.imread(str(out / "a.png")), cv2.imread(str(tmp_path / "a.png")))
    for one, other in zip(decode(out / "d.mp4"), decode(tmp_path / "d.mp4"), strict=True):
        np.testing.assert_array_equal(one.to_ndarray(format="yuv420p"), other.to_ndarray(format="yuv420p"))
    assert len(decode(out / "e.mkv")) == len(decode(album / "e.mpg"))
    np.testing.assert_array_equal(luma_of(decode(out / "e.mkv")[0]), luma_of(decode(album / "e.mpg")[0]))


def test_what_is_there_stays_and_the_rest_is_colored(tmp_path, album):
    (album / "f.tif").unlink()
    out = tmp_path / "colored"
    out.mkdir()
    (out / "a.png").write_bytes(b"precious")
    done = edgecolor(album, out)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        f"4 of 5 files of {album} are colored; already there: 1 (--overwrite colors them again)"
    )
    assert (out / "a.png").read_bytes() == b"precious"
    done = edgecolor(album, out, "--overwrite", "--quiet")
    assert (done.returncode, done.stdout) == (0, "") and (out / "a.png").stat().st_size > 1000


def test_options_for_one_file_and_folders_that_will_not_do_are_refused(tmp_path, album):
    for arguments, words in (
        ((album, tmp_path / "out", "--hint", "1,1,#ff0000"), "hints are for one file"),
        ((album, tmp_path / "out", "--keep-frames", album), "--keep-frames are for one file"),
        ((album, album / "notes.txt" / "out"), "cannot be made"),
        ((album, album / "notes.txt"), "is a file, and"),
        ((album, album / "more" / ".."), "is the folder that is read"),
        ((album / "more", tmp_path / "out"), "holds no picture and no video"),
    ):
        done = edgecolor(*arguments)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
    assert not (tmp_path / "out").exists()


def test_two_files_that_would_have_one_name_are_refused(tmp_path, album):
    (album / "c.jp2").touch()
    with pytest.raises(MediaError, match=r"several files of .* would be written as c.png"):
        plan_folder(album, tmp_path / "out")
    assert names_of(Path("scan.jp2"), 1) == ["scan.png"] and names_of(Path("b.JPG"), 2) == ["b-0.JPG", "b-1.JPG"]
