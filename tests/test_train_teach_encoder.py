"""A vision transformer's encoder, taught by another network: what it learns is in the file that colors start from."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from train_tiny import TINY, crops_of, write_folder  # noqa: E402

from edgecolor.cli import main  # noqa: E402
from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train.checkpoint import save_checkpoint  # noqa: E402
from edgecolor.train.config import DataConfig, LossConfig, OptimConfig, Phase, Source, TrainConfig  # noqa: E402
from edgecolor.train.prepare import prepare_model  # noqa: E402
from edgecolor.train.teach_encoder import PatchTargets, teach_encoder  # noqa: E402


@pytest.fixture
def config(tmp_path, photograph, monkeypatch):
    """Thirty steps of a teacher with weights of its own, over crops of a photograph."""
    for name, build in TINY.items():
        monkeypatch.setitem(MODELS, name, build)
    torch.manual_seed(1)
    for name in ("tiny", "tiny-ab"):
        state = TINY[name]().state_dict()
        path = tmp_path / f"{name}.pt"
        save_checkpoint(path, {"config": {"model": name}, "step": 1, "model": state, "ema": state, "optimizer": {}})
    folder = write_folder(tmp_path / "photos", crops_of(photograph))
    return TrainConfig(
        model="ct2-tiny",
        dropout=False,
        phases=(Phase(30, crop=32, batch=8),),
        data=DataConfig(sources=(Source(str(folder), "folder"),), min_chroma=0.0),
        losses=(LossConfig("distill", teacher=str(tmp_path / "tiny.pt")),),
        optim=OptimConfig(lr=1e-3, encoder_lr=1e-3, warmup_steps=2),
        log_every=4,
    )


def explained(line: str) -> float:
    return float(line.rsplit(", ", 1)[1].split("%")[0])


def test_the_encoder_learns_and_a_model_starts_from_what_it_learned(config, tmp_path):
    out = tmp_path / "taught" / "encoder.safetensors"
    line = teach_encoder(config, out, quiet=True)
    assert "step 30 of 30" in line and explained(line) > 20, line
    (tmp_path / "plain").write_bytes(b"")
    assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode  # others may read it as they may any file
    taught = load_file(out)
    started = prepare_model(dataclasses.replace(config, init_encoder=str(out))).encoder.state_dict()
    assert torch.equal(started["stem.weight"], taught["patch_embed.proj.weight"])
    assert torch.equal(started["blocks.11.mlp.fc2.weight"], taught["blocks.11.mlp.fc2.weight"])
    again = tmp_path / "again" / "encoder.safetensors"
    teach_encoder(config, again, quiet=True)
    assert all(torch.equal(taught[name], value) for name, value in load_file(again).items())
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_targets_are_the_teachers_patch_means_in_standard_scores():
    torch.manual_seed(0)
    teacher = TINY["tiny"]().eval()
    pictures = [torch.rand(3, 1, 32, 64) * 100 for _ in range(4)]
    targets = PatchTargets(teacher, 16)
    assert targets.measure(pictures) == [313, 12]
    with torch.no_grad():
        expected = [
            teacher(lightness)[1].numpy().reshape(3, 2, 4, 4, 4, 12).mean(axis=(2, 4)) for lightness in pictures
        ]
    everything = np.stack(expected).reshape(-1, 12)
    for lightness, means in zip(pictures, expected, strict=True):
        found = targets(lightness)[1].permute(0, 2, 3, 1).numpy()
        scores = (means - everything.mean(axis=0)) / np.maximum(everything.std(axis=0, ddof=1), 1e-3)
        assert np.allclose(found, scores, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "out", "says"),
    [
        ({"losses": (LossConfig("tokens"),)}, "encoder.safetensors", "distill"),
        ({"losses": (LossConfig("distill", teacher="edge.pt", undamaged=True),)}, "encoder.safetensors", "undamaged"),
        ({"model": "tiny"}, "encoder.safetensors", "no vision transformer"),
        ({}, "encoder.pt", "must end in .safetensors"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_pictures_are_read(config, tmp_path, change, out, says):
    config = dataclasses.replace(config, data=DataConfig(), **change)
    with pytest.raises(ConfigError, match=says):
        teach_encoder(config, tmp_path / out, quiet=True)


def test_a_teacher_without_tokens_is_refused(config, tmp_path):
    losses = (LossConfig("distill", teacher=str(tmp_path / "tiny-ab.pt")),)
    with pytest.raises(ConfigError, match="cannot teach"):
        teach_encoder(dataclasses.replace(config, losses=losses), tmp_path / "encoder.safetensors", quiet=True)


def test_the_command_keeps_a_file_that_is_there(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("model: ct2-tiny\n")
    out = tmp_path / "encoder.safetensors"
    out.write_bytes(b"kept")
    with pytest.raises(SystemExit, match="2"):
        main(["teach-encoder", str(tmp_path / "run.yaml"), "--out", str(out)])
    assert "--overwrite" in capsys.readouterr().err and out.read_bytes() == b"kept"
