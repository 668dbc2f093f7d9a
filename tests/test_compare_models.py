"""Models side by side on the same pictures."""

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from train_tiny import TINY, crops_of, write_png  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.cli import main  # noqa: E402
from edgecolor.export.checkpoint import save_safetensors  # noqa: E402
from edgecolor.models import MODELS, manifest_of  # noqa: E402
from edgecolor.pipeline import Colorizer  # noqa: E402
from edgecolor.train.compare_models import best_of, compare_models, is_gray  # noqa: E402
from edgecolor.train.report import CAPTION, CELL_HEIGHT, CELL_WIDTH  # noqa: E402


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Model files of a tokens model and of one without."""
    files = []
    for name in ("tiny", "tiny-ab"):
        monkeypatch.setitem(MODELS, name, TINY[name])
        torch.manual_seed(0)
        model = TINY[name]()
        files.append(tmp_path / f"{name}.safetensors")
        save_safetensors(model, manifest_of(name, model, working_size=64), files[-1])
    return [str(file) for file in files]


@pytest.fixture
def pictures(tmp_path, photograph):
    """Two color pictures and a gray one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    crops = crops_of(photograph, 3)
    for i, crop in enumerate(crops[:2]):
        write_png(folder / f"{i}.png", crop)
    cv2.imwrite(str(folder / "2.png"), cv2.cvtColor(crops[2], cv2.COLOR_RGB2GRAY))
    return folder


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_color_pictures_are_judged_and_gray_ones_are_shown(tiny, pictures):
    compared = compare_models([*tiny, "gray"], [pictures])
    assert (compared.count, compared.unreadable) == (3, 0)
    assert list(compared.figures) == [*tiny, "gray"]
    assert compared.figures["gray"]["chroma_ratio"] < 1e-6
    originals = [cv2.imread(str(path))[..., ::-1] for path in sorted(pictures.iterdir())]
    backend = open_backend(tiny[1])
    for row, original, known in zip(compared.sheet, originals, (True, True, False), strict=True):
        gray = cv2.cvtColor(np.ascontiguousarray(original), cv2.COLOR_RGB2GRAY)
        assert len(row) == 5 and np.array_equal(row[0][..., 1], gray)
        assert np.array_equal(row[2], Colorizer(backend).image(gray))
        assert np.array_equal(row[4], original if known else np.zeros_like(original))


def test_the_figures_are_those_of_the_color_pictures_alone(tiny, pictures, tmp_path):
    alone = compare_models(tiny, sorted(pictures.iterdir())[:2])
    both = compare_models(tiny, [pictures])
    for model in tiny:
        assert both.figures[model]["ciede2000"] == alone.figures[model]["ciede2000"]


def test_gray_pictures_alone_have_no_figures_of_color(tiny, pictures):
    compared = compare_models(tiny, [pictures / "2.png"])
    assert all("ciede2000" not in figures and figures["seconds_per_picture"] > 0 for figures in
               compared.figures.values())  # fmt: skip
    assert all(figures["parameters"] > 0 and figures["gflop"] > 0 for figures in compared.figures.values())
    assert "no original is known" in compared.left_out[0]


def test_the_best_by_each_measure_is_the_one_with_more_or_less_of_it():
    figures = {"a": {"psnr": 30.0, "ciede2000": 9.0, "lpips": 0.2}, "b": {"psnr": 29.0, "ciede2000": 8.0}}
    assert best_of(figures) == {"psnr": "a", "ciede2000": "b"}
    assert best_of({"a": figures["a"]}) == {}
    assert best_of({"a": {"psnr": float("nan")}, "b": {"psnr": 1.0}}) == {}


def test_a_tint_of_a_few_pixels_is_color_and_the_noise_of_jpeg_is_not():
    rgb = np.full((40, 40, 3), 100, np.uint8)
    assert is_gray(rgb)
    rgb[3, 3] = (102, 99, 101)
    assert is_gray(rgb)
    rgb[5, 5] = (120, 90, 90)
    assert not is_gray(rgb)


def test_the_command_writes_a_sheet_and_a_table_and_one_json_line(tiny, pictures, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert run("compare", pictures / "0.png", pictures / "2.png", "--models", ",".join(tiny), "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    said = json.loads(printed[-1])
    assert said["pictures"] == 2 and set(said["models"]) == set(tiny)
    assert set(said["best"].values()) <= set(tiny) and "ciede2000" in said["best"]
    assert any(line.startswith("tiny") and "is best by" in line for line in printed)
    assert cv2.imread(str(out)).shape == (CAPTION + 2 * CELL_HEIGHT, 4 * CELL_WIDTH, 3)


@pytest.mark.parametrize("command", [["compare", "--models", "gray", "--out"], ["evaluate", "edge", "--sheet"]])
@pytest.mark.parametrize("sheet, words", [("none/sheet.png", "does not exist"), ("sheet.xyz", "'.xyz': use .png")])
def test_a_sheet_that_cannot_be_written_is_refused_at_once(command, sheet, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*command, sheet, "nowhere") == 2  # pictures that are not there would be found missing later
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{pictures}", "--models", "a,a"], "different models"),
        (["{pictures}", "--models", ","], "different models"),
        (["{pictures}", "--models", "edgee"], "did you mean edge"),
        (["nowhere", "--models", "gray"], "nowhere: no picture"),
        (["{broken}", "--models", "gray"], "no readable picture"),
        (["{pictures}", "--models", "gray", "--out", "{broken}"], "exists already"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert run("compare", *(text.format(pictures=pictures, broken=broken) for text in arguments)) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "compare.png").exists()
