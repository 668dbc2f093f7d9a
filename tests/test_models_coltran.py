"""ColTran: layers, sampler, training, files, commands. pytest tests/test_models_coltran.py"""

import dataclasses
import json
import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="ColTran needs torch")
pytest.importorskip("safetensors")

from train_tiny import crops_of, write_folder  # noqa: E402

from edgecolor import models  # noqa: E402
from edgecolor.cli import main  # noqa: E402
from edgecolor.color.lab import srgb_to_lab  # noqa: E402
from edgecolor.errors import ConfigError, ModelError, ShapeError  # noqa: E402
from edgecolor.models.coltran import PRESETS, STAGES, ColTran  # noqa: E402
from edgecolor.models.coltran_axial import COLUMN, ROW, AxialAttention, AxialBlock, Conditions  # noqa: E402
from edgecolor.models.coltran_codes import ColTranConfig, codes_to_rgb, rgb_to_codes  # noqa: E402
from edgecolor.models.coltran_colorizer import Colorizer  # noqa: E402
from edgecolor.models.coltran_sampling import CachedSteps, RecomputedSteps, drawn, sample_codes  # noqa: E402
from edgecolor.pipeline import image_to_lightness  # noqa: E402

SIDE = 8
CONFIG = ColTranConfig(
    width=16, heads=2, hidden=24, encoder_layers=1, color_layers=1, spatial_layers=1, side=SIDE, full_side=32
)


def shaken(model, amount=0.2):
    """As if trained: no bias is zero, no context without effect."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * amount)
    return model.eval()


@pytest.fixture(scope="module")
def colorizer():
    torch.manual_seed(0)
    return shaken(Colorizer(CONFIG)).requires_grad_(False)


@pytest.fixture(scope="module")
def gray():
    return torch.randint(256, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def codes():
    return torch.randint(512, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A whole ColTran in a file, untrained."""
    pytest.importorskip("onnx")
    from edgecolor.export.coltran import save_coltran

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("coltran") / "coltran.safetensors"
    save_coltran(shaken(ColTran(CONFIG), 0.1), path, seed=3)
    return path


def logits_by_steps(steps, codes):
    columns = []
    for row in range(SIDE):
        steps.start_row(row, codes)
        columns += [steps.logits(row, column, codes) for column in range(SIDE)]
    return torch.stack(columns, dim=1).unflatten(1, (SIDE, SIDE))


# Codes and layers


def test_a_color_code_is_three_bits_of_each_channel():
    rgb = torch.tensor([[255, 0, 32], [31, 64, 95], [0, 0, 0]])
    assert rgb_to_codes(rgb).tolist() == [7 * 64 + 0 * 8 + 1, 0 * 64 + 2 * 8 + 2, 0]
    assert codes_to_rgb(rgb_to_codes(rgb)).tolist() == [[224, 0, 32], [0, 64, 64], [0, 0, 0]]


@pytest.mark.parametrize("axis", [ROW, COLUMN])
@pytest.mark.parametrize("causal", [False, True])
def test_axial_attention_is_the_textbook_sum_along_its_axis_with_a_bias_for_each_distance(axis, causal):
    torch.manual_seed(0)
    layer = shaken(AxialAttention(6, 2, 5, axis, causal))
    x = torch.randn(2, 5, 5, 6)
    with torch.no_grad():
        ours = layer(x, Conditions())
    weight, bias = (p.detach().double().numpy() for p in (layer.query_key_value.weight, layer.distance_bias))
    lines = x.double().numpy() if axis == ROW else x.double().numpy().swapaxes(1, 2)
    result = np.zeros((2, 5, 5, 6))
    for place in range(5):
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            seen = range(place + 1) if causal else range(5)
            scores, values = [], []
            for other in seen:
                query = (lines[:, :, place] @ weight[:6].T)[..., part]
                key = (lines[:, :, other] @ weight[6:12].T)[..., part]
                scores.append((query * key).sum(-1) / math.sqrt(3) + bias[head, other - place + 5])
                values.append((lines[:, :, other] @ weight[12:].T)[..., part])
            shares = np.exp(scores) / np.exp(scores).sum(axis=0)
            result[:, :, place, part] = sum(s[..., None] * v for s, v in zip(shares, values, strict=True))
    result = result if axis == ROW else result.swapaxes(1, 2)
    expected = result @ layer.out.weight.detach().double().numpy().T + layer.out.bias.detach().double().numpy()
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_a_context_that_asks_for_no_change_leaves_a_block_as_a_plain_one_is():
    torch.manual_seed(0)
    plain, told = AxialBlock(8, 2, 8, 4, ROW), AxialBlock(8, 2, 8, 4, ROW, context=3, pooled=3)
    told.load_state_dict(plain.state_dict(), strict=False)
    for layer in (told.attention.condition, told.condition, told.attention_norm.condition):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(told.feed_forward_norm.condition.weight)
    x, context = torch.randn(2, 4, 4, 8), torch.randn(2, 4, 4, 3)
    ours = told(x, told.conditions(context), told.norm_conditions(context))
    torch.testing.assert_close(ours, plain(x))
    torch.nn.init.ones_(told.condition.weight)
    assert not torch.allclose(told(x, told.conditions(context), told.norm_conditions(context)), ours, atol=1e-2)


def test_the_published_sizes_have_as_many_parameters_as_their_layers_by_hand():
    with torch.device("meta"):
        stages = [kind(PRESETS["coltran"]) for kind in STAGES.values()]
    d = 512
    linear = d * d + d
    attention = 3 * d * d + linear + 4 * 128  # q, k, v without bias; out; a bias per head and distance
    plain = attention + 2 * linear + 2 * 2 * d
    positions = 2 * 64 * d
    norms = 2 * (64 * 64 + d * 2 * d + 2 * d)
    outer = attention + 2 * linear + (d * 6 * d + 6 * d) + (d * 2 * d + 2 * d) + norms
    inner = attention + 2 * linear + (2 * d * 6 * d + 6 * d) + (2 * d * 2 * d + 2 * d) + norms
    colorizer = 256 * d + positions + 8 * plain + 512 * d + 512 * d + (positions + 4 * outer)
    colorizer += positions + 2 * inner + 2 * d + linear
    upsampler = 256 * d + (2 * d * d + d) + positions + 8 * plain + (d * 256 + 256)
    assert [sum(p.numel() for p in stage.parameters()) for stage in stages][:2] == [colorizer, upsampler + 24 * d]


# The colorizer goes pixel by pixel


def test_logits_step_by_step_equal_teacher_forced_ones(colorizer, gray, codes):
    z = colorizer.encode(gray)
    torch.testing.assert_close(logits_by_steps(CachedSteps(colorizer, z), codes), colorizer.decode(codes, z))


def test_cached_steps_equal_recomputed_ones(colorizer, gray, codes):
    z = colorizer.encode(gray)
    cached, recomputed = (logits_by_steps(kind(colorizer, z), codes) for kind in (CachedSteps, RecomputedSteps))
    torch.testing.assert_close(cached, recomputed)
    kinds = (CachedSteps, RecomputedSteps)
    one, other = (sample_codes(colorizer, gray[:1], seed=4, steps=kind) for kind in kinds)
    assert torch.equal(one, other)


@pytest.mark.parametrize("place", [(0, 0), (3, 4), (5, 7), (7, 7)])
def test_a_pixel_changes_the_logits_of_all_pixels_after_it_and_of_none_before(colorizer, gray, codes, place):
    z = colorizer.encode(gray)
    other = codes.clone()
    other[:, place[0], place[1]] = (codes[:, place[0], place[1]] + 100) % 512
    change = (colorizer.decode(codes, z) - colorizer.decode(other, z)).abs().amax(dim=(0, 3)).flatten()
    at = place[0] * SIDE + place[1]
    assert (change[: at + 1] == 0).all() and (change[at + 1 :] > 1e-6).all()


def test_every_gray_pixel_matters_to_every_color(colorizer, gray, codes):
    other = gray.clone()
    other[:, 6, 6] = 255 - gray[:, 6, 6]
    before, after = (colorizer.decode(codes, colorizer.encode(each)) for each in (gray, other))
    assert ((before - after).abs().amax(dim=(0, 3)) > 0).all()


def test_samples_depend_on_the_seed_and_their_number_alone(colorizer, gray):
    together = sample_codes(colorizer, gray, seed=7, samples=3)
    assert together.shape == (3, 3, SIDE, SIDE)
    alone = sample_codes(colorizer, gray[1:2], seed=7, samples=2)
    assert torch.equal(together[1, :2], alone[0])
    assert torch.equal(together[2, 2], sample_codes(colorizer, gray[2:], seed=7, first_sample=2)[0, 0])
    torch.manual_seed(123)
    assert torch.equal(together, sample_codes(colorizer, gray, seed=7, samples=3))
    assert not torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(together[:, 0], sample_codes(colorizer, gray, seed=8)[:, 0])


def test_argmax_takes_the_most_probable_code_after_those_it_took(colorizer, gray):
    taken = sample_codes(colorizer, gray, "argmax")[:, 0]
    assert torch.equal(taken, colorizer.decode(taken, colorizer.encode(gray)).argmax(dim=-1))


def test_parallel_takes_the_most_probable_code_of_gray_alone(colorizer, gray):
    expected = (colorizer.encode(gray) @ colorizer.parallel.weight.T).argmax(dim=-1)
    assert torch.equal(sample_codes(colorizer, gray, "parallel")[:, 0], expected)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_codes_are_drawn_as_often_as_they_are_probable(temperature):
    logits = torch.tensor([0.3, -2.0, 1.5, 0.0, -torch.inf])
    noise = (torch.arange(20000) + 0.5) / 20000
    counts = torch.bincount(drawn(logits.expand(20000, -1), noise.double(), temperature), minlength=5)
    weights = np.exp(logits.numpy()) ** (1 / temperature)
    np.testing.assert_allclose(counts / 20000, weights / weights.sum(), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "best"}, "mode"),
        ({"temperature": 0.0}, "temperature"),
        ({"samples": 0}, "samples"),
        ({"mode": "argmax", "samples": 2}, "argmax"),
    ],
)
def test_sampling_refuses_impossible_options(colorizer, gray, options, said):
    with pytest.raises(ConfigError, match=said):
        sample_codes(colorizer, gray, **options)


def test_a_picture_of_another_size_is_refused(colorizer):
    with pytest.raises(ShapeError, match=r"8, 8.*7, 8"):
        sample_codes(colorizer, torch.zeros(1, 7, 8, dtype=torch.int64))


# Upsamplers


@pytest.mark.parametrize("stage", ["color-upsampler", "spatial-upsampler"])
def test_an_upsampler_tells_channels_and_levels_apart_and_sees_the_whole_picture(stage):
    torch.manual_seed(0)
    upsampler = shaken(STAGES[stage](CONFIG)).requires_grad_(False)
    side = upsampler.side
    gray, values = torch.randint(256, (2, side, side)), torch.randint(8, (2, side, side))
    red, green = (upsampler.logits(gray, values, torch.full((2,), channel)) for channel in (0, 1))
    other = values.clone()
    other[:, 2, 3] = (values[:, 2, 3] + 1) % 8
    change = (upsampler.logits(gray, other, torch.zeros(2, dtype=torch.int64)) - red).abs().amax(dim=(0, 3))
    assert not torch.allclose(red, green, atol=1e-2) and (change > 0).all()
    poor = torch.stack([values] * 3, dim=-1)
    assert torch.equal(upsampler.upsample(gray, poor)[..., 1], green.argmax(dim=-1))


def test_upsamplers_learn_from_what_they_will_be_given():
    rgb = torch.randint(256, (1, 32, 32, 3))
    color, spatial = (STAGES[name](CONFIG) for name in ("color-upsampler", "spatial-upsampler"))
    assert torch.equal(color.poor(rgb), rgb // 32)
    poor = spatial.poor(rgb)
    tile = rgb[0, 4:8, 8:12].double().mean(dim=(0, 1))
    assert (poor[0, 4:8, 8:12] - tile).abs().max() <= 0.5 and poor.shape == rgb.shape


# Training


TRAINED = dataclasses.replace(CONFIG, side=32, full_side=32)


@pytest.fixture
def small_stages(monkeypatch):
    for name, kind in STAGES.items():
        config = dataclasses.replace(TRAINED, side=16) if name == "spatial-upsampler" else TRAINED
        monkeypatch.setitem(models.PARTS, f"coltran-test-{name}", lambda kind=kind, config=config: kind(config))


def run_config(tmp_path, folder, model, extra=""):
    losses = (
        "{kind: bits, weight: 0.99}, {kind: parallel_bits, weight: 0.01}" if "colorizer" in model else "{kind: bits}"
    )
    path = tmp_path / f"{model}.yaml"
    path.write_text(
        f"model: {model}\nphases: [{{steps: 12, crop: 32, batch: 4}}]\nlog_every: 4\ntensorboard: false\n"
        f"data:\n  sources: [{{kind: folder, path: '{folder}'}}]\n  min_chroma: 0\nlosses: [{losses}]\n"
        "optim: {kind: rmsprop, lr: 3.0e-3, encoder_lr: 3.0e-3, momentum: 0, weight_decay: 0, warmup_steps: 2,"
        f" ema_halflife: 2, schedule: constant}}\n{extra}"
    )
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory, photograph):
    return write_folder(tmp_path_factory.mktemp("coltran-data") / "photos", crops_of(photograph))


@pytest.mark.parametrize("stage", list(STAGES))
def test_training_a_stage_reaches_all_parameters_and_lowers_its_bits(small_stages, tmp_path, photos, stage):
    from edgecolor.train.config import load_config
    from edgecolor.train.loop import Trainer

    trainer = Trainer(load_config(run_config(tmp_path, photos, f"coltran-test-{stage}")), tmp_path / "run", quiet=True)
    unseen = trainer.crops.batch((9, 9), 32, 8, stride=1)
    torch.manual_seed(1)
    before = trainer.backward(unseen)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trainer.model.parameters())
    most = 9 if stage == "colorizer" else 8
    assert before["bits"] == pytest.approx(most, abs=1)
    if stage == "colorizer":
        assert before["loss"] == pytest.approx(0.99 * before["bits"] + 0.01 * before["parallel_bits"])
    trainer.optimizer.zero_grad()
    assert trainer.run()
    torch.manual_seed(1)
    assert trainer.backward(unseen)["bits"] < before["bits"] - 0.2


def test_bits_are_the_base_2_logarithm_of_the_true_codes_probability(colorizer, photograph):
    from edgecolor.train.code_loss import Bits, code_inputs
    from edgecolor.train.coltran_bits import square

    batch = square(photograph, SIDE)
    gray, rgb = code_inputs(batch)
    top = photograph[:, 64:320].reshape(SIDE, 32, SIDE, 32, 3).mean(axis=(1, 3))
    assert np.abs(rgb[0].numpy() - top).max() <= 1.5  # the photograph's own colors, through Lab and back
    expected = srgb_to_lab(top / 255)[..., 0]
    assert np.abs(srgb_to_lab(np.repeat(gray[0, ..., None].numpy() / 255, 3, axis=-1))[..., 0] - expected).max() < 0.5
    said = colorizer(gray, rgb)
    logits = said.logits.double().numpy().reshape(-1, 512)
    chosen = logits[np.arange(SIDE * SIDE), said.targets.flatten()]
    bits = (np.log(np.exp(logits).sum(axis=1)) - chosen).mean() / np.log(2)
    assert Bits()(said, batch).item() == pytest.approx(bits, rel=1e-5)


def test_losses_that_do_not_go_with_a_stage_are_refused(small_stages, tmp_path, photos, capsys):
    path = run_config(tmp_path, photos, "coltran-test-color-upsampler")
    for override, said in [
        ("losses.0.kind=tokens", "color codes"),
        ("losses.0.kind=parallel_bits", "parallel head"),
        ("phases.0.crop=64", "crops of 32"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(["train", str(path), override, "--out", str(tmp_path / said), "--quiet"])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


# One model of three stages


def checkpoint(path, name, kind, config):
    torch.manual_seed(0)
    weights = shaken(kind(config), 0.1).state_dict()
    torch.save(
        {"config": {"model": name}, "step": 1, "model": weights, "ema": weights, "optimizer": {}},
        path,
    )
    return path


def test_three_checkpoints_join_to_a_file_that_colorizes_and_keeps_lightness(monkeypatch, tmp_path, photograph, capsys):
    from PIL import Image

    paths = []
    for name, kind in STAGES.items():
        monkeypatch.setitem(models.PARTS, f"coltran-test-{name}", lambda kind=kind: kind(CONFIG))
        paths.append(str(checkpoint(tmp_path / f"{name}.pt", f"coltran-test-{name}", kind, CONFIG)))
    file, photo = tmp_path / "coltran.safetensors", tmp_path / "photo.png"
    with pytest.raises(SystemExit) as stopped:
        main(["coltran", "join", paths[1], paths[0], paths[2], str(file)])
    assert stopped.value.code == 2 and "mind the order" in capsys.readouterr().err and not file.exists()
    with pytest.raises(SystemExit) as stopped:
        main(["coltran", "join", *paths, str(file)])
    assert stopped.value.code == 0
    Image.fromarray(photograph[:101, :151]).save(photo)
    with pytest.raises(SystemExit) as stopped:
        main(["colorize", str(photo), str(tmp_path / "out.png"), "--model", str(file)])
    assert stopped.value.code == 0
    ours, original = (np.asarray(Image.open(p)) for p in (tmp_path / "out.png", photo))
    ours, original = (srgb_to_lab(rgb.astype(np.float64) / 255) for rgb in (ours, original))
    assert ours.shape == original.shape and np.abs(ours[..., 0] - original[..., 0]).max() < 1.5
    assert np.abs(ours[..., 1:]).mean() > 3 and np.abs(ours[..., 1:] - original[..., 1:]).mean() > 3


def test_a_stage_alone_is_not_exported_as_a_model(tmp_path, capsys):
    path = checkpoint(tmp_path / "c.pt", "coltran-tiny-colorizer", Colorizer, PRESETS["coltran-tiny"])
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(path), str(tmp_path)])
    assert stopped.value.code == 2 and "join" in capsys.readouterr().err


def test_color_is_not_seen_when_a_photograph_is_recolorized(joined, photograph):
    from edgecolor.coltran import SampleConfig, colorize_samples, open_coltran

    backend = open_coltran(joined)
    small = photograph[:64, :96]
    lightness = srgb_to_lab(small / np.float32(255))[..., 0]
    f = (lightness.astype(np.float64) + 16) / 116
    linear = np.where(f**3 > 216 / 24389, f**3, (116 * f - 16) * 27 / 24389)
    gray = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    gray = np.rint(gray * 255).astype(np.uint8)
    seen, seen_of_gray = (backend.gray(image_to_lightness(image), 32) for image in (small, gray))
    assert (seen - seen_of_gray).abs().max() <= 1  # the gray picture was rounded to 8 bits
    ((ours,),) = colorize_samples([small], backend, SampleConfig(mode="parallel"))
    ab = srgb_to_lab(ours["final"] / np.float32(255))[..., 1:]
    assert np.abs(ab - srgb_to_lab(small / np.float32(255))[..., 1:]).mean() > 3


def test_every_stage_of_a_sample_goes_on_from_the_one_before(joined, photograph):
    from edgecolor.coltran import SampleConfig, colorize_samples, open_coltran

    backend = open_coltran(joined)
    ((one, two),) = colorize_samples([photograph[:50, :80]], backend, SampleConfig(samples=2))
    assert one["stage1"].shape == one["stage2"].shape == (SIDE, SIDE, 3) and one["stage3"].shape == (32, 32, 3)
    assert one["final"].shape == (50, 80, 3) and not np.array_equal(one["stage1"], two["stage1"])
    model = backend.model
    gray = backend.gray(image_to_lightness(photograph[:50, :80]), SIDE)
    codes = rgb_to_codes(torch.from_numpy(one["stage1"]))[None]
    assert torch.equal(codes[0], sample_codes(model.colorizer, gray, seed=3)[0, 0])
    with torch.no_grad():
        better = model.color_upsampler.upsample(gray, torch.from_numpy(one["stage1"]).long()[None] // 32)
    assert np.array_equal(better[0].numpy(), one["stage2"])


def test_pictures_shared_by_machines_come_out_as_from_one(joined, photos, tmp_path, capsys):
    common = ["coltran", "sample", str(joined), str(photos), "--mode", "sample", "--samples", "2", "--batch-size", "2"]
    for out, options in {"whole": ["--stages"], "shared": ["--batches", "2"], "rest": ["--skip-batches", "2"]}.items():
        with pytest.raises(SystemExit) as stopped:
            main([*common, "--out", str(tmp_path / out), "--quiet", *options])
        assert stopped.value.code == 0, capsys.readouterr().err
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "final").iterdir()}
    parts = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("shared", "rest")]
    assert len(whole) == 24 and len(parts[0]) == 8 and not set(parts[0]) & set(parts[1])
    assert whole == parts[0] | parts[1]
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["final", "stage1", "stage2", "stage3"]
    codes = cv2.imread(str(tmp_path / "whole" / "stage1" / "photo_03-1.png.png"))[..., ::-1]
    assert codes.shape == (SIDE, SIDE, 3) and not (codes % 32).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--skip-batches", "9"], "skip fewer"),
        (["--mode", "parallel", "--samples", "2"], "parallel one"),
        (["--temperature", "2"], "temperature"),
    ],
)
def test_sampling_with_impossible_options_ends_in_one_line(joined, photos, tmp_path, capsys, options, said):
    with pytest.raises(SystemExit) as stopped:
        main(["coltran", "sample", str(joined), str(photos), "--out", str(tmp_path / "out"), *options])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1


def test_files_that_are_no_whole_coltran_are_refused(joined, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from edgecolor.backends import open_backend
    from edgecolor.backends.files import WEIGHTS
    from edgecolor.coltran import open_coltran

    whole = joined.read_bytes()
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
    }.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(ModelError, match="not a whole|damaged"):
            open_backend(path)
    with safe_open(joined, "pt") as file:
        facts = json.loads(file.metadata()["edgecolor.coltran"])
        metadata = {
            **file.metadata(),
            "edgecolor.coltran": json.dumps({**facts, "config": {**facts["config"], "width": 32}}),
        }
    save_file(load_file(joined), tmp_path / "wide.safetensors", metadata=metadata)
    with pytest.raises(ModelError, match="does not fit ColTran"):
        open_coltran(tmp_path / "wide.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no joined ColTran"):
        open_coltran(tmp_path / "other.safetensors")
    if not (WEIGHTS / "coltran.safetensors").exists():
        with pytest.raises(ModelError, match="join"):
            open_backend("coltran")


def test_a_sheet_shows_gray_samples_and_the_original(joined, photos, tmp_path):
    from PIL import Image

    photo = sorted(photos.iterdir())[0]
    with pytest.raises(SystemExit) as stopped:
        main(["coltran", "sample", str(joined), str(photo), "--out", str(tmp_path), "--samples", "2", "--sheet"])
    assert stopped.value.code == 0
    sheet, original = (np.asarray(Image.open(path)) for path in (tmp_path / photo.name, photo))
    columns = np.split(sheet, 4, axis=1)
    assert (columns[0] == columns[0][..., :1]).all() and np.array_equal(columns[3], original)
    assert not np.array_equal(columns[1], columns[2])


def test_parts_in_onnx_say_what_pytorch_says(joined, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from edgecolor.coltran import open_coltran
    from edgecolor.export.coltran import export_parts

    paths = export_parts(joined, tmp_path)
    model = open_coltran(joined).model.requires_grad_(False)
    generator = torch.Generator().manual_seed(77)
    for path, side in zip(paths, (SIDE, SIDE, 32), strict=True):
        run = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        gray = torch.randint(256, (4, side, side), generator=generator)
        inputs = {"gray": gray}
        if "upsampler" in path.name:
            color = "color-" in path.name
            upsampler = model.color_upsampler if color else model.spatial_upsampler
            values = torch.randint(8 if color else 256, gray.shape, generator=generator)
            inputs |= {"values": values, "channel": torch.tensor([2, 0, 1, 1])}
            expected = upsampler.logits(**inputs)
        else:
            expected = model.colorizer.parallel_logits(gray)
        (logits,) = run.run(None, {name: value.numpy() for name, value in inputs.items()})
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4, rtol=1e-4)


def test_a_video_keeps_its_colors_while_nothing_moves(joined, photograph):
    from edgecolor import open_colorizer

    colorizer = open_colorizer(joined)
    gray = photograph[:64, :96].mean(axis=2).astype(np.uint8)
    first, second = colorizer.frame(gray, 0.0), colorizer.frame(gray, 0.04)
    assert first.shape == (64, 96, 3) and np.abs(first.astype(int) - second).max() <= 1


def test_bits_command_judges_a_stage(tmp_path, photos, capsys):
    path = checkpoint(
        tmp_path / "c.pt", "coltran-tiny-color-upsampler", STAGES["color-upsampler"], PRESETS["coltran-tiny"]
    )
    with pytest.raises(SystemExit) as stopped:
        main(["coltran", "bits", str(path), str(photos), "--limit", "2"])
    out, err = capsys.readouterr()
    assert stopped.value.code == 0, err
    said = json.loads(out)
    assert said["pictures"] == 2 and 4 < said["bits_per_dim"] < 30
