"""Evaluations of whole models: known figures, tables, sheets, bad input. pytest tests/test_evaluate_model.py"""

import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="evaluation needs torch")

from train_tiny import TINY, crops_of, write_folder, write_tar  # noqa: E402

from edgecolor.cli import main  # noqa: E402
from edgecolor.errors import ConfigError, MediaError, ModelError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from edgecolor.train.classifier import classifier_crop, classify, load_classifier  # noqa: E402
from edgecolor.train.colorize import LeftGray  # noqa: E402
from edgecolor.train.evaluate import evaluate  # noqa: E402
from edgecolor.train.evaluate_model import evaluate_model, evaluate_models  # noqa: E402
from edgecolor.train.pictures import read_pictures  # noqa: E402
from edgecolor.train.report import contact_sheet, json_line  # noqa: E402
from edgecolor.train.sweep import Score, Setting, best, measure, sweep  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GRAY_12 = {"psnr": 21.1854, "ciede2000": 13.1102, "colorfulness_original": 47.1610}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    return write_folder(tmp_path_factory.mktemp("photos") / "photos", crops_of(photograph, 5))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Of a tiny network that was never trained."""
    for name, kind in TINY.items():
        monkeypatch.setitem(MODELS, name, kind)
    torch.manual_seed(0)
    model = TINY["tiny"]()
    state = model.state_dict()
    ema = {name: value.float() for name, value in state.items()}
    prior = torch.full((313,), 1 / 313, dtype=torch.float64)
    path = tmp_path / "checkpoint.pt"
    plain = {"config": {"model": "tiny"}, "step": 1, "model": state, "ema": ema, "optimizer": {}, "prior": prior}
    save_checkpoint(path, plain)
    return path


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return left.value.code, out.out, out.err


def test_gray_photographs_have_the_known_figures(shared):
    data = shared / "data" / "val" / "photos-val.tar"
    metrics = evaluate(LeftGray().image, data, limit=12).metrics
    # The first 12 of the 500 whose means are 21.96 dB, 11.69 and 44.03; computed once with scikit-image.
    assert metrics["psnr"] == pytest.approx(GRAY_12["psnr"], abs=0.005)
    assert metrics["ciede2000"] == pytest.approx(GRAY_12["ciede2000"], abs=0.005)
    assert metrics["colorfulness_original"] == pytest.approx(GRAY_12["colorfulness_original"], abs=0.005)
    assert metrics["colorfulness"] == metrics["colorfulness_percent"] == 0


def figures_of_card(column: int) -> dict[str, float]:
    """A column of the first table of the shipped model's card: 1 is gray, 2 the model."""
    names = {"colorfulness": "colorfulness_percent", "CIEDE2000": "ciede2000", "PSNR": "psnr",
             "recognition": "recognition_agreement", "kernel": "kernel_distance_x1000"}  # fmt: skip
    card = (ROOT / "edgecolor" / "weights" / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]
    found = {names[row[0].split()[0].rstrip(",")]: row for row in reversed(rows) if row[0].split()[:1] and
             row[0].split()[0].rstrip(",") in names}  # fmt: skip
    assert len(found) == len(names), "the card's table has other rows than this test reads"
    return {name: float(row[column].split()[0]) for name, row in found.items()}


@pytest.mark.slow
@pytest.mark.skipif("EDGECOLOR_LONG_TESTS" not in os.environ, reason="takes minutes: set EDGECOLOR_LONG_TESTS=1")
def test_the_model_card_has_the_figures_that_evaluate_gives(shared):
    data = shared / "data" / "val" / "photos-val.tar"
    classifier = shared / "weights" / "mobilenet_v2_imagenet.safetensors"
    compared = evaluate_models(["gray", "edge"], data, classifier=classifier)
    assert (compared.count, compared.unreadable) == (500, 0)
    gray, edge = (compared.figures[model] for model in ("gray", "edge"))
    published = {"psnr": 21.96, "ciede2000": 11.69, "colorfulness_original": 44.03, "recognition_agreement": 0.518}
    assert {name: gray[name] for name in published} == pytest.approx(published, abs=0.006)
    assert gray["kernel_distance_x1000"] == pytest.approx(71.8, abs=0.06)
    assert gray["kernel_distance_x1000_low"] < 71.8 < gray["kernel_distance_x1000_high"]
    for column, figures in ((1, gray), (2, edge)):
        for name, value in figures_of_card(column).items():
            assert figures[name] == pytest.approx(value, rel=2e-3), name


def test_the_model_card_states_the_figures_that_are_checked():
    assert figures_of_card(1) == {"colorfulness_percent": 0, "ciede2000": 11.69, "psnr": 21.96,
                                  "recognition_agreement": 0.518, "kernel_distance_x1000": 71.8}  # fmt: skip
    assert figures_of_card(2)["ciede2000"] < 11.69


def test_the_classifier_recognises_photographs_of_known_classes(shared):
    model = load_classifier(shared / "weights" / "mobilenet_v2_imagenet.safetensors")
    cat = pytest.importorskip("skimage.data", reason="needs its photographs").chelsea()
    labels, features = classify(model, np.stack([classifier_crop(cat)]))
    assert labels[0] - 1 in (281, 282, 285)  # tabby, tiger cat, Egyptian cat; class 0 of 1001 is background
    assert features.shape == (1, 1280) and (features >= 0).all() and (features <= 6).all()


def test_colors_closer_to_the_original_score_better(folder):
    originals = {cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).tobytes(): rgb for _, rgb in read_pictures(folder)}

    def half(gray):
        rgb = originals[gray.tobytes()]
        return ((rgb.astype(int) + gray[..., None]) // 2).astype(np.uint8)

    perfect = evaluate(lambda gray: originals[gray.tobytes()], folder).metrics
    better, nothing = evaluate(half, folder).metrics, evaluate(LeftGray().image, folder).metrics
    assert perfect["psnr"] == 100 and perfect["ciede2000"] == 0 and perfect["colorfulness_percent"] == 100
    assert perfect["auc_ab"] == 1 and perfect["chroma_ratio"] == 1 and perfect["delta_colorfulness"] == 0
    for metric, sign in (("psnr", 1), ("ssim", 1), ("auc_ab", 1), ("ciede2000", -1), ("l1_ab", -1), ("l2_rgb", -1)):
        assert sign * perfect[metric] > sign * better[metric] > sign * nothing[metric], metric


def test_a_tar_and_its_folder_give_the_same_figures_and_limit_counts_pictures(folder, tmp_path):
    tar = write_tar(tmp_path / "photos.tar", folder)
    from_folder, from_tar = (evaluate(LeftGray().image, data).metrics for data in (folder, tar))
    assert all(from_folder[name] == from_tar[name] for name in ("psnr", "ciede2000", "colorfulness_original"))
    assert evaluate(LeftGray().image, tar, limit=2).pictures == 2


def test_unreadable_pictures_are_counted(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "some")
    (tmp_path / "some" / "photo_00.png").write_bytes(b"not a picture")
    (tmp_path / "some" / "photo_01.png").write_bytes(b"")
    result = evaluate(LeftGray().image, tmp_path / "some")
    assert (result.pictures, result.unreadable) == (3, 2)


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"text"), lambda p: None])
def test_data_without_pictures_is_refused(tmp_path, make):
    make(tmp_path / "data.tar")
    with pytest.raises((ConfigError, MediaError), match=r"data\.tar"):
        evaluate(LeftGray().image, tmp_path / "data.tar")


def test_a_classifier_file_of_something_else_is_refused(tmp_path, folder):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    for name, words in (("other", "no classifier"), ("text", "not a safetensors"), ("none", "no such file")):
        with pytest.raises(ModelError, match=words):
            evaluate(LeftGray().image, folder, classifier=tmp_path / f"{name}.safetensors")


def test_a_checkpoint_is_judged_with_its_size_and_operations(folder, checkpoint):
    figures = evaluate_model(checkpoint, folder, limit=2, saturation=0.5)
    model = TINY["tiny"]()
    assert figures["parameters"] == sum(p.numel() for p in model.parameters())
    cells = (256 // 4) * (448 // 4)
    products = cells * (8 * 16 + 12 * 8 * 9 + 12 * 12 * 9 + 313 * 12)  # three convolutions and the tokens
    assert figures["gflop"] == pytest.approx(2 * products / 1e9, rel=1e-6)
    assert figures["colorfulness"] > 0 and figures["seconds_per_picture"] > 0
    more = evaluate_model(checkpoint, folder, limit=2, saturation=1.0)
    assert more["colorfulness"] > figures["colorfulness"]


def test_the_command_prints_a_table_and_one_json_line_and_writes_a_sheet(folder, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    code, out, err = run(capsys, "evaluate", "gray", folder, "--limit", 3, "--sheet", sheet, "--sheet-rows", 2)
    assert code == 0 and "PSNR" in out and "CIEDE2000" in out
    figures = json.loads(out.strip().splitlines()[-1])
    assert figures["model"] == "gray" and figures["pictures"] == 3 and figures["colorfulness"] == 0
    assert "left out" in err and "--classifier" in err
    assert cv2.imread(str(sheet)).shape == (22 + 2 * 192, 3 * 256, 3)


def test_compare_puts_models_side_by_side(folder, checkpoint, capsys, tmp_path):
    sheet = tmp_path / "sheet.jpg"
    code, out, _ = run(capsys, "evaluate", "--compare", "gray", checkpoint, folder, "--json", "--sheet", sheet)
    assert code == 0 and len(out.strip().splitlines()) == 1
    models = json.loads(out)["models"]
    assert list(models) == ["gray", str(checkpoint)]
    assert models["gray"]["colorfulness"] == 0 < models[str(checkpoint)]["colorfulness"]
    assert models["gray"]["psnr"] != models[str(checkpoint)]["psnr"] and "gflop" in models[str(checkpoint)]
    assert cv2.imread(str(sheet)).shape[1] == 4 * 256


@pytest.fixture(scope="module")
def clip(tmp_path_factory, photograph):
    """8 frames of 96 x 64 over which the camera moves a pixel to the right each."""
    import av

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(8):
            frame = np.ascontiguousarray(photograph[50:114, 100 + i : 196 + i])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_clip_is_judged_by_its_steadiness_too(clip):
    compared = evaluate_models(["gray"], clip, examples=1)
    figures = compared.figures["gray"]
    assert (compared.count, compared.unit) == (8, "frames") and len(compared.sheet) == 1
    assert 0 < figures["warp_error_x1000"] <= figures["warp_error_x1000_original"] * 1.5
    assert 0 < figures["cdc"] < 0.1 and figures["colorfulness"] == 0 < figures["colorfulness_original"]
    assert figures["seconds_per_frame"] > 0
    assert evaluate_models(["gray"], clip, limit=5).count == 5


def test_three_models_are_compared_on_clips_with_their_size_and_speed(clip, checkpoint, capsys, tmp_path):
    other = shutil.copy(checkpoint, tmp_path / "other.pt")
    models = ["gray", checkpoint, other]
    small = ("--working-size", 64)  # the moving patterns are many frames
    sheet = tmp_path / "sheet.png"
    code, out, err = run(capsys, "evaluate", "--compare", *models, clip, "--limit", 6, *small, "--sheet", sheet)
    assert code == 0 and "frames" in out and "warp error" in out and "CDC" in out and "seconds per frame" in out
    assert "other.pt" in out and "GFLOP" in out and "these are clips" in err
    figures = json.loads(out.strip().splitlines()[-1])["models"]
    assert list(figures) == list(map(str, models))
    same = [figures[str(model)] for model in (checkpoint, other)]
    for name in ("psnr", "cdc", "warp_error_x1000", "parameters", "gflop"):
        assert same[0][name] == same[1][name] > 0
    assert figures["gray"]["warp_error_x1000_original"] == same[0]["warp_error_x1000_original"]
    assert cv2.imread(str(sheet)).shape == (22 + 192, 5 * 256, 3)


def test_a_clip_comes_out_the_same_for_each_model_whatever_was_judged_before(clip, checkpoint):
    alone = evaluate_models([str(checkpoint)], clip, working_size=64).figures[str(checkpoint)]
    second = evaluate_models(["gray", str(checkpoint)], clip, working_size=64).figures[str(checkpoint)]
    assert alone["warp_error_x1000"] == second["warp_error_x1000"] and alone["cdc"] == second["cdc"]


def test_lpips_and_fid_are_reported_as_their_networks_measure_them(folder):
    def distance(ours, original):
        return float(np.abs(ours.astype(int) - original).mean())

    def features(pictures):
        return pictures.mean(axis=(1, 2)).astype(np.float32)

    metrics = evaluate(LeftGray().image, folder, distance=distance, features=features).metrics
    originals = [rgb for _, rgb in read_pictures(folder)]
    grays = [LeftGray().image(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) for rgb in originals]
    assert metrics["lpips"] == pytest.approx(np.mean([distance(*pair) for pair in zip(grays, originals, strict=True)]))
    assert metrics["fid"] > 0


@pytest.mark.parametrize("change", ["shape", "name", "ema"])
def test_a_checkpoint_of_another_architecture_is_refused(folder, checkpoint, capsys, change):
    state = load_checkpoint(checkpoint)
    words = {"shape": "[326, 12] instead of [313, 12]", "name": "'tiniest'", "ema": "no token_bias"}[change]
    if change == "shape":
        state["model"]["tokens"] = torch.zeros(326, 12)
    elif change == "name":
        state["config"]["model"] = "tiniest"
    else:
        del state["ema"]["token_bias"]
    save_checkpoint(checkpoint, state)
    code, _, err = run(capsys, "evaluate", checkpoint, folder)
    assert code == 2 and len(err.strip().splitlines()) == 1 and words in err and "checkpoint.pt" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gray"], ["MODEL DATA"]),
        (["gray", "edge", "DATA"], ["--compare"]),
        (["--compare", "gray", "gray", "DATA"], ["twice"]),
        (["gray", "nowhere"], ["nowhere"]),
        (["gray", "clip.mp4"], ["clip.mp4"]),
        (["missing.pt", "DATA"], ["missing.pt"]),
        (["gray", "DATA", "--temperature", "7"], ["temperature", "7"]),
        (["gray", "DATA", "--lpips", "resnet"], ["resnet", "alex"]),
        (["gray", "DATA", "--limit", "0"], ["--limit"]),
        (["gray", "DATA", "--sheet", "nowhere/sheet.png", "--limit", "1"], ["nowhere"]),
        (["gray", "DATA", "--sheet", "sheet.xyz", "--limit", "1"], ["sheet.xyz", ".png"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_one_line_and_status_2(arguments, words, folder, capsys):
    code, out, err = run(capsys, "evaluate", *(folder if word == "DATA" else word for word in arguments))
    lines = [line for line in err.strip().splitlines() if not line.startswith("edgecolor: left out")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("edgecolor: error: ")
    for word in words:
        assert word in lines[0]


def test_absent_weights_are_named_and_the_rest_is_computed(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    code, out, err = run(capsys, "evaluate", "gray", folder, "--limit", 2, "--lpips", "alex", "--fid", "--json")
    assert code == 0 and "alexnet-owt-7be5be79.pth" in err and "weights-inception-2015-12-05" in err
    figures = json.loads(out)
    assert "lpips" not in figures and "fid" not in figures and figures["psnr"] > 0


def test_json_has_null_for_what_is_no_number():
    assert json.loads(json_line({"a": float("nan"), "b": [1.23456789, float("inf")], "c": 3})) == {
        "a": None,
        "b": [1.23457, None],
        "c": 3,
    }


def test_a_contact_sheet_shows_pictures_of_any_shape(photograph):
    rows = [[photograph, photograph[:, :40]], [photograph[:9], photograph[:200, :200]]]
    assert contact_sheet(rows, ["one", "two"]).shape == (22 + 2 * 192, 512, 3)
    with pytest.raises(ConfigError):
        contact_sheet([], ["one"])


def test_the_sweep_measures_what_evaluate_measures(folder, checkpoint):
    setting = Setting(prior_shift=0.0, temperature=0.5, saturation=0.8, working_size=64)
    (score,) = measure(checkpoint, folder, [setting], limit=3, full_size=True)
    figures = evaluate_model(checkpoint, folder, limit=3, temperature=0.5, saturation=0.8, working_size=64)
    assert score.ciede2000 == pytest.approx(figures["ciede2000"], abs=0.01)
    assert score.psnr == pytest.approx(figures["psnr"], abs=0.01)
    assert score.colorfulness_percent == pytest.approx(figures["colorfulness_percent"], abs=0.1)


def test_the_sweep_tries_every_setting_and_confirms_the_best(folder, checkpoint):
    rough, confirmed = sweep(checkpoint, folder, (0.0, 0.2), (0.4, 1.0), (0.5, 1.0), (64,), limit=2, confirm=2)
    assert len({score.setting for score in rough}) == len(rough) == 8 and 1 <= len(confirmed) <= 2


def test_the_front_keeps_what_no_other_setting_beats():
    figures = ((1, 50, 10), (2, 70, 11), (3, 60, 12), (4, 90, 15))
    scores = [Score(Setting(0, 0.5, saturation, 64), c, e, 20) for saturation, c, e in figures]
    assert [score.colorfulness_percent for score in best(scores, 9)] == [50, 70, 90]
    assert [score.colorfulness_percent for score in best(scores, 2)] == [50, 90]


def test_evaluate_needs_no_training_packages_to_show_its_help(capsys):
    code, out, _ = run(capsys, "evaluate", "--help")
    assert code == 0 and "--compare" in out and sys.version_info >= (3, 10)
