"""The loop: exact resume, accumulation, optimizers, stops, checkpoints. pytest tests/test_train_loop.py"""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from train_tiny import TINY, crops_of, write_config, write_folder, write_tar  # noqa: E402

from edgecolor.cli import main  # noqa: E402
from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train import loop  # noqa: E402
from edgecolor.train.checkpoint import CheckpointWriteError, load_checkpoint, save_checkpoint  # noqa: E402
from edgecolor.train.config import DegradeConfig, LossConfig, Phase, Source, TrainConfig, load_config  # noqa: E402
from edgecolor.train.loop import NON_FINITE_FILE, Trainer, TrainingError  # noqa: E402
from edgecolor.train.optim import WeightEma, rate_at  # noqa: E402
from edgecolor.train.prepare import prepare_model  # noqa: E402


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    for name, kind in TINY.items():
        monkeypatch.setitem(MODELS, name, kind)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    return write_folder(tmp_path_factory.mktemp("data") / "photos", crops_of(photograph))


@pytest.fixture
def config(tmp_path, folder):
    """8 steps of 4 crops of 32 x 32."""
    return load_config(write_config(tmp_path / "run.yaml", folder))


@pytest.fixture
def path(tmp_path, folder):
    return write_config(tmp_path / "run.yaml", folder)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def with_optim(config, **changes):
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **changes))


def test_training_lowers_the_loss_of_unseen_crops_and_logs_it(config, tmp_path):
    config = dataclasses.replace(with_optim(config, lr=1e-2), phases=(Phase(30, crop=32, batch=8),))
    trainer = Trainer(config, tmp_path / "run")
    unseen = trainer.crops.batch((99, 99), 32, 24)
    before = trainer.backward(unseen)["loss"]
    trainer.optimizer.zero_grad()
    assert trainer.run() and trainer.backward(unseen)["loss"] < 0.9 * before
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, 31, 2))
    assert all({"loss", "tokens", "rate", "crops_per_second", "waiting"} <= set(line) for line in lines)


@pytest.mark.parametrize(("kind", "model"), [("adamw", "tiny-dropout"), ("sgd", "tiny"), ("rmsprop", "tiny")])
def test_a_run_that_was_interrupted_ends_exactly_as_one_that_was_not(config, tmp_path, kind, model):
    phases = (Phase(3, crop=64, batch=2), Phase(5, crop=32, batch=4))
    degrade = DegradeConfig(grain=0.5, dust=0.5)
    config = dataclasses.replace(with_optim(config, kind=kind), model=model, phases=phases, degrade=degrade)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run()
    part = Trainer(config, tmp_path / "part")
    for step in range(4):
        part.train_step(part.batch_at(step))
    part.save()
    rest = Trainer(config, tmp_path / "part", resume=True)
    assert rest.step == 4 and rest.run() and rest.step == 8
    assert torch.equal(weights(whole), weights(rest))
    assert all(torch.equal(value, rest.ema.state[name]) for name, value in whole.ema.state.items())


def test_another_seed_trains_another_model(config, tmp_path):
    first, other = (Trainer(dataclasses.replace(config, seed=seed), tmp_path / str(seed)) for seed in (0, 1))
    first.run()
    other.run()
    assert not torch.equal(weights(first), weights(other))


def test_accumulated_parts_have_the_gradient_of_the_whole_batch(config, tmp_path):
    exact = dataclasses.replace(config, precision="fp32")  # bf16, where there is such, rounds a part otherwise
    whole, parts = (Trainer(with_optim(exact, accumulate=n), tmp_path) for n in (1, 2))
    losses = [trainer.backward(trainer.batch_at(0))["loss"] for trainer in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-7)


def test_gradients_are_clipped_to_the_norm(config, tmp_path):
    trainer = Trainer(with_optim(config, clip_norm=1e-3, kind="sgd", momentum=0.0, lr=1.0, weight_decay=0.0), tmp_path)
    before = weights(trainer)
    trainer.train_step(trainer.batch_at(0))
    assert float((weights(trainer) - before).norm()) == pytest.approx(1e-3 * 0.5, rel=1e-3)  # first of 2 warm-up steps


def test_frozen_blocks_and_encoder_rate_want_an_encoder(config, tmp_path):
    with pytest.raises(ConfigError, match="encoder"):
        Trainer(dataclasses.replace(config, frozen_blocks=1), tmp_path)


def test_what_should_be_a_file_of_weights_and_is_a_folder_is_refused(tmp_path):
    for key in ("init", "init_encoder"):
        folder = tmp_path / "weights.safetensors"
        folder.mkdir(exist_ok=True)
        with pytest.raises(ModelError, match=f"{key}: .*cannot be read"):
            prepare_model(TrainConfig(model="edge", **{key: str(folder)}))


def test_a_model_that_is_unknown_is_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("model: edge\n")
    for name, near in (("egde", "edge"), ("coltran", "coltran-colorizer")):
        with pytest.raises(SystemExit, match="2"):
            main(["train", "run.yaml", f"model={name}"])
        said = capsys.readouterr().err
        assert f"did you mean {near}" in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_dropout_a_transformer_says_the_same_twice():
    lightness = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100
    for dropout in (True, False):
        torch.manual_seed(0)
        model = prepare_model(TrainConfig(model="ct2-tiny", dropout=dropout)).train()
        first, second = (model(lightness)[0] for _ in range(2))
        assert torch.equal(first, second) != dropout


def test_a_kernel_loss_on_crops_one_by_one_is_refused_before_anything_is_read(config, tmp_path):
    kernel = LossConfig("kernel", weights="classifier.safetensors")
    phases = tuple(dataclasses.replace(phase, batch=1) for phase in config.phases)
    with pytest.raises(ConfigError, match="a batch of 1 leaves each process and part 1 crop: raise phases.batch"):
        Trainer(dataclasses.replace(config, losses=(kernel,), phases=phases), tmp_path)


def test_the_default_models_encoder_starts_from_imagenet_and_its_frozen_blocks_stay(config, tmp_path, shared):
    imagenet = str(shared / "weights" / "mobilenet_v2_imagenet.safetensors")
    config = dataclasses.replace(config, model="edge", init_encoder=imagenet, frozen_blocks=2)
    trainer = Trainer(config, tmp_path)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train_step(trainer.batch_at(0))
    after = trainer.model.state_dict()
    rates = {round(group["peak"], 6) for group in trainer.optimizer.param_groups}
    assert rates == {config.optim.lr, config.optim.encoder_lr}
    assert torch.equal(before["encoder.blocks.1.project.weight"], after["encoder.blocks.1.project.weight"])
    assert not torch.equal(before["encoder.blocks.4.project.weight"], after["encoder.blocks.4.project.weight"])
    assert torch.allclose(before["token_bias"], trainer.prior.log().float())


def test_a_regression_model_trains_with_l1_and_temporal_terms_are_refused_without_video(config, tmp_path):
    l1 = dataclasses.replace(config, model="tiny-ab", losses=(LossConfig("l1"), LossConfig("l2", space="rgb")))
    trainer = Trainer(l1, tmp_path)
    assert trainer.run() and set(trainer.train_step(trainer.batch_at(7))) == {"loss", "l1_ab", "l2_rgb"}
    assert "prior" not in load_checkpoint(trainer.checkpoint)
    with pytest.raises(ConfigError, match="pairs"):
        Trainer(dataclasses.replace(config, losses=(LossConfig("temporal"),)), tmp_path)


def test_pairs_of_frames_train_with_a_temporal_term(config, tmp_path, photograph):
    import av

    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for i in range(6):
            frame = np.ascontiguousarray(photograph[60:124, 60 + i : 156 + i])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    data = dataclasses.replace(config.data, sources=(Source(str(clip), "video", every=2),))
    config = dataclasses.replace(config, data=data, losses=(LossConfig("tokens"), LossConfig("temporal", weight=0.5)))
    trainer = Trainer(config, tmp_path)
    values = trainer.train_step(trainer.batch_at(0))
    assert 0 < values["temporal"] < 1 and values["loss"] == pytest.approx(values["tokens"] + values["temporal"] / 2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_close_to_float32(config, tmp_path, precision):
    half, full = (Trainer(dataclasses.replace(config, precision=p), tmp_path / p) for p in (precision, "fp32"))
    losses = [trainer.backward(trainer.batch_at(0))["loss"] for trainer in (half, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    half.optimizer.zero_grad()
    before = weights(half)
    half.run()
    assert torch.isfinite(weights(half)).all() and not torch.equal(before, weights(half))


def test_crops_cut_on_the_device_train_too(config, tmp_path):
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, on="device"))
    assert Trainer(config, tmp_path).run()


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_batch(config, tmp_path):
    trainer = Trainer(config, tmp_path)
    batch = trainer.batch_at(0)
    batch.lightness[0, 0, 3, 3] = float("nan")
    with pytest.raises(TrainingError, match=NON_FINITE_FILE):
        trainer.train_step(batch)
    saved = torch.load(tmp_path / NON_FINITE_FILE, weights_only=True)
    assert torch.equal(saved["ab"], batch.ab) and torch.isnan(saved["lightness"]).sum() == 1


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(config, tmp_path):
    trainer = Trainer(config, tmp_path)
    before = weights(trainer)
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=f"norm of the gradients.*{NON_FINITE_FILE}"):
        trainer.train_step(trainer.batch_at(0))
    assert torch.equal(weights(trainer), before) and (tmp_path / NON_FINITE_FILE).exists()


def test_max_minutes_ends_with_a_checkpoint_to_go_on_from(config, tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 5))  # five seconds between looks
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    trainer = Trainer(config, tmp_path)
    assert not trainer.run(max_minutes=1.0)
    assert 0 < trainer.step < 8 and load_checkpoint(trainer.checkpoint)["step"] == trainer.step


def test_fine_tuning_starts_from_the_averaged_weights(config, tmp_path):
    first = Trainer(config, tmp_path / "first")
    first.run()
    config = dataclasses.replace(config, init=str(first.checkpoint))
    again = Trainer(config, tmp_path / "second")
    assert again.step == 0
    assert all(torch.equal(value.float(), first.ema.state[n]) for n, value in again.model.state_dict().items())


def test_the_rate_warms_up_and_comes_down_as_its_schedule_says():
    assert [rate_at(step, 110, 10) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert rate_at(60, 110, 10) == pytest.approx(0.5) and rate_at(110, 110, 10) == pytest.approx(0)
    assert rate_at(60, 110, 10, "poly") == pytest.approx(0.5**0.9) and rate_at(60, 110, 10, "constant") == 1


def test_the_ema_reaches_half_way_after_its_half_life():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = WeightEma(model, halflife=50)
    torch.nn.init.ones_(model.weight)
    for _ in range(50):
        ema.update(model, step=10**6)
    assert float(ema.state["weight"]) == pytest.approx(0.5, abs=1e-5)


def test_a_bit_that_flipped_in_a_checkpoint_is_noticed(config, tmp_path):
    trainer = Trainer(config, tmp_path)
    trainer.save()
    data = bytearray(trainer.checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    trainer.checkpoint.write_bytes(data)
    with pytest.raises(ModelError, match=r"checkpoint\.pt is damaged"):
        Trainer(config, tmp_path, resume=True)


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"once upon a time"])
def test_a_file_that_is_no_checkpoint_is_refused(config, tmp_path, damage):
    trainer = Trainer(config, tmp_path)
    trainer.save()
    trainer.checkpoint.write_bytes(damage(trainer.checkpoint.read_bytes()))
    with pytest.raises(ModelError, match=r"checkpoint\.pt"):
        Trainer(config, tmp_path, resume=True)


@pytest.mark.parametrize("change", [{"config": {}}, {"config": "tiny"}, {"ema": None}, {"model": 3}])
def test_a_checkpoint_that_names_no_model_or_holds_no_weights_is_refused(config, tmp_path, change):
    trainer = Trainer(config, tmp_path)
    trainer.save()
    save_checkpoint(trainer.checkpoint, load_checkpoint(trainer.checkpoint) | change)
    with pytest.raises(ModelError, match="names no model, or holds no weights"):
        Trainer(config, tmp_path, resume=True)


def test_a_checkpoint_of_another_model_is_refused_naming_the_difference(config, tmp_path):
    trainer = Trainer(config, tmp_path)
    trainer.save()
    with pytest.raises(ModelError, match="'tiny'.*'tiny-ab'"):
        Trainer(dataclasses.replace(config, model="tiny-ab", losses=(LossConfig("l1"),)), tmp_path, resume=True)
    state = load_checkpoint(trainer.checkpoint)
    state["model"]["tokens"] = torch.zeros(326, 12)
    save_checkpoint(trainer.checkpoint, state)
    with pytest.raises(ModelError, match=r"tokens of \[326, 12\] instead of \[313, 12\]"):
        Trainer(config, tmp_path, resume=True)
    del state["model"]["tokens"]
    save_checkpoint(trainer.checkpoint, state)
    with pytest.raises(ModelError, match="no tokens"):
        Trainer(config, tmp_path, resume=True)


def test_a_checkpoint_holds_no_code(tmp_path):
    class Sly:
        def __reduce__(self):
            return print, ("this ran",)

    torch.save({"config": Sly()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match=r"checkpoint\.pt is not a checkpoint of this trainer"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(config, tmp_path, monkeypatch):
    trainer = Trainer(config, tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()

    def half(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(CheckpointWriteError, match="last one is intact"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before and len(list(tmp_path.glob("checkpoint*"))) == 1


def test_what_a_killed_run_left_half_written_is_cleared_away(config, tmp_path):
    left = tmp_path / "checkpoint.pt.partial-1"
    left.write_bytes(b"half")
    Trainer(config, tmp_path).save()
    assert not left.exists() and load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 0


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return left.value.code, out.out, out.err


def test_the_command_trains_prints_its_config_and_resumes(path, tmp_path, capsys):
    code, out, err = run(capsys, "train", path, "phases.0.steps=4", "--out", tmp_path / "run")
    assert code == 0 and "step 4 of 4, complete" in out and "ema_halflife: 500" in err
    assert "steps: 4" in (tmp_path / "run" / "config.yaml").read_text()
    code, out, err = run(capsys, "train", path, "--out", tmp_path / "run")
    assert code == 2 and "--resume" in err
    code, out, _ = run(capsys, "train", path, "--out", tmp_path / "run", "--resume", "--quiet")
    assert code == 0 and load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 8


def test_the_command_draws_a_preview(path, tmp_path, capsys):
    import cv2

    code, out, _ = run(capsys, "train", path, "degrade.grain=0.5", "--preview", tmp_path / "preview.png")
    assert code == 0 and not (tmp_path / "run").exists()
    assert cv2.imread(str(tmp_path / "preview.png")).shape == (22 + 4 * 192, 13 * 256, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.sources=[]"], ["data.sources"]),
        (["data.sources=[{kind: folder, path: nowhere}]"], ["nowhere"]),
        (["data.sources=[{kind: folder, path: EMPTY}]"], ["empty", "no picture"]),
        (["data.sources=[{path: EMPTY.tar}]"], ["empty.tar", "no picture"]),
        (["data.sources=[{path: EMPTY/text.tar}]"], ["text.tar", "tar file"]),
        (["data.sources=[{kind: folder, path: EMPTY/bad}]"], ["bad", "2 unreadable"]),
        (["data.weights={photo: 0}"], ["no picture"]),
        (["optim.lrr=1"], ["optim.lrr", "lr"]),
        (["model=tinny"], ["tinny"]),
        (["init=none.pt"], ["none.pt"]),
        (["prior=none.npy"], ["none.npy", "fit-tokens"]),
        (["init_encoder=none.safetensors"], ["encoder"]),
        (["losses=[{kind: distill, teacher: none.pt}]"], ["none.pt"]),
        (["losses=[{kind: lpips, weights: none.pth}]"], ["none.pth"]),
        (["losses=[{kind: mobilenet, weights: none.safetensors}]"], ["none.safetensors"]),
        (["--device", "cuda"], ["cuda"]),
        (["--device", "abacus"], ["abacus"]),
        (["--max-minutes", "-1"], ["max-minutes"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_one_line_and_status_2(path, tmp_path, arguments, words, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "empty" / "bad").mkdir(parents=True)
    write_tar(tmp_path / "empty.tar", tmp_path / "empty")
    arguments = [argument.replace("EMPTY", str(tmp_path / "empty")) for argument in arguments]
    if "bad" in " ".join(arguments):
        (tmp_path / "empty" / "bad" / "a.png").write_bytes(b"no picture")
        (tmp_path / "empty" / "bad" / "b.jpg").symlink_to("nowhere")
    if "text.tar" in " ".join(arguments):
        (tmp_path / "empty" / "text.tar").write_text("no tar")
    code, _, err = run(capsys, "train", path, *arguments, "--out", tmp_path / "run", "--quiet")
    lines = [line for line in err.strip().splitlines() if "cannot be read" not in line]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("edgecolor: error: "), err
    for word in words:
        assert word in lines[0]
    assert not list(tmp_path.glob("run/checkpoint*"))


@pytest.mark.parametrize(
    ("file", "arguments"),
    [("config.yaml", []), ("log.jsonl", []), (NON_FINITE_FILE, ["optim.lr=1e30", "optim.clip_norm=0"])],
)
def test_a_full_disk_is_named_by_whatever_file_meets_it(path, tmp_path, capsys, file, arguments):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).symlink_to("/dev/full")
    code, _, err = run(capsys, "train", path, *arguments, "--out", tmp_path / "run", "--quiet")
    assert code == 2 and len(err.strip().splitlines()) == 1 and err.startswith("edgecolor: error: "), err
    assert str(tmp_path / "run") in err and ("No space left" in err or "cannot be saved" in err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optim.kind=sgd"], ["adamw", "sgd"]),
        (["model=tiny-ab", "losses=[{kind: l1}]"], ["'tiny'", "'tiny-ab'"]),
        (["phases.0.steps=1"], ["step 2", "1"]),
        (["DAMAGED"], ["damaged"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_checkpoint_that_does_not_fit_is_one_line_and_stays_as_it_is(path, tmp_path, capsys, arguments, words):
    trainer = Trainer(load_config(path), tmp_path / "run")
    trainer.step = 2
    trainer.save()
    if arguments == ["DAMAGED"]:
        data = bytearray(trainer.checkpoint.read_bytes())
        data[len(data) // 2] ^= 1
        trainer.checkpoint.write_bytes(data)
        arguments = []
    before = trainer.checkpoint.read_bytes()
    code, _, err = run(capsys, "train", path, *arguments, "--out", tmp_path / "run", "--resume", "--quiet")
    assert code == 2 and len(err.strip().splitlines()) == 1 and "checkpoint.pt" in err, err
    assert all(word in err for word in words), err
    assert trainer.checkpoint.read_bytes() == before


def test_tensorboard_gets_losses_rates_and_pictures(config, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    Trainer(dataclasses.replace(config, tensorboard=True, samples_every=4), tmp_path).run()
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "tokens", "rate", "crops_per_second", "waiting"} <= set(tags["scalars"])
    assert len(events.Images("gray, ours, original")) == 2
