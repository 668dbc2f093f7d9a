"""fit-tokens: prior, rebalancing weights, palette and their pictures. pytest tests/test_train_tokens.py"""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from train_tiny import crops_of, write_config, write_folder  # noqa: E402

from edgecolor.cli import main  # noqa: E402
from edgecolor.color.lab import lab_to_srgb  # noqa: E402
from edgecolor.color.tokens import palette  # noqa: E402
from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.train.fit_tokens import CELL, GRID, fit, gamut_picture  # noqa: E402
from edgecolor.train.prior import read_prior  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    return write_folder(tmp_path_factory.mktemp("data") / "photos", crops_of(photograph))


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return left.value.code, out.out, out.err


def test_pictures_of_one_color_have_their_prior_at_its_bin(tmp_path):
    rgb = lab_to_srgb(np.array([60.0, 30.0, 40.0]))
    picture = np.tile(np.round(rgb * 255).astype(np.uint8), (40, 40, 1))
    fitted = fit([str(write_folder(tmp_path / "one", [picture]))], crops=20)
    assert fitted.centers[fitted.prior.argmax()].tolist() == [30, 40]
    assert fitted.in_gamut.tolist() == [[30, 40]]
    assert fitted.prior.sum() == pytest.approx(1) and fitted.prior.max() > 0.5
    assert (fitted.prior * fitted.weights).sum() == pytest.approx(1)
    assert fitted.weights.argmin() == fitted.prior.argmax()


def test_the_gamut_picture_lights_what_the_data_reaches(tmp_path):
    rgb = lab_to_srgb(np.array([60.0, 30.0, 40.0]))
    picture = np.tile(np.round(rgb * 255).astype(np.uint8), (40, 40, 1))
    drawn = gamut_picture(fit([str(write_folder(tmp_path / "one", [picture]))], crops=5))
    assert drawn.shape == (GRID * CELL, GRID * CELL, 3)

    def at(a, b):
        column, row = (a // 10 + 11) * CELL + CELL // 2, (11 - b // 10) * CELL + CELL // 2
        return drawn[row, column].astype(int)

    lit, dim, outside = at(30, 40), at(30, 50), at(-110, -110)
    assert lit.max() > 150 and dim.max() < 90 and (outside == 16).all()
    assert lit[0] > lit[2]  # a and b above zero are warm


def test_the_command_writes_files_that_training_reads(folder, tmp_path, capsys):
    code, out, _ = run(capsys, "fit-tokens", folder, "--out", tmp_path / "tokens", "--crops", 50, "--palette", "ab326")
    assert code == 0
    summary = json.loads(out.strip().splitlines()[-1])
    assert summary["pictures"] == 12 and summary["palette"] == "ab326" and summary["prior_min"] > 0
    prior = read_prior(tmp_path / "tokens" / "prior.npy", palette("ab326"))
    assert prior.shape == (326,) and prior.max() == pytest.approx(summary["prior_max"], rel=1e-4)
    for name in ("gamut.png", "prior.png"):
        assert cv2.imread(str(tmp_path / "tokens" / name)).shape == (GRID * CELL, GRID * CELL, 3)
    with pytest.raises(ConfigError, match="326"):
        read_prior(tmp_path / "tokens" / "prior.npy", palette("ab313"))


def test_a_training_config_names_its_data(folder, tmp_path, capsys):
    config = write_config(tmp_path / "run.yaml", folder)
    code, out, _ = run(capsys, "fit-tokens", config, "--out", tmp_path / "tokens", "--crops", 20)
    assert code == 0 and json.loads(out.strip().splitlines()[-1])["pictures"] == 12


def test_the_same_seed_fits_the_same_prior(folder):
    first, again, other = (fit([str(folder)], crops=30, seed=seed) for seed in (0, 0, 1))
    assert (first.prior == again.prior).all() and not (first.prior == other.prior).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], ["nowhere"]),
        (["DATA", "--palette", "ab999"], ["ab999", "ab313"]),
        (["DATA", "--uniform", "2"], ["lambda", "2"]),
        (["DATA", "--sigma", "0"], ["sigma"]),
        (["DATA", "--crops", "0"], ["--crops"]),
        (["none.yaml"], ["none.yaml"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_one_line_and_status_2(folder, arguments, words, capsys, tmp_path):
    arguments = [folder if word == "DATA" else word for word in arguments]
    code, _, err = run(capsys, "fit-tokens", *arguments, "--out", tmp_path / "tokens")
    assert code == 2 and len(err.strip().splitlines()) == 1 and not (tmp_path / "tokens").exists()
    for word in words:
        assert word in err


@pytest.mark.parametrize("content", [b"", b"no array", np.zeros(3).tobytes()])
def test_a_file_that_is_no_prior_is_refused(tmp_path, content):
    (tmp_path / "prior.npy").write_bytes(content)
    with pytest.raises(ConfigError, match=r"prior\.npy"):
        read_prior(tmp_path / "prior.npy", palette("ab313"))
    np.save(tmp_path / "prior.npy", np.zeros(313))
    with pytest.raises(ConfigError, match="distribution"):
        read_prior(tmp_path / "prior.npy", palette("ab313"))
