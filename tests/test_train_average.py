"""Weights between two checkpoints. pytest tests/test_train_average.py"""

import sys

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.train import average as averaging  # noqa: E402
from edgecolor.train.average import average  # noqa: E402
from edgecolor.train.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402


def checkpoint(path, value, step, width=3):
    ema = {"weight": torch.full((2, width), value), "count": torch.tensor(step)}
    state = {"config": {"model": "edge"}, "step": step, "model": ema, "ema": ema, "optimizer": {}}
    save_checkpoint(path, state)
    return path


def test_the_weights_lie_between_and_everything_else_is_the_second_ones(tmp_path):
    first, second = checkpoint(tmp_path / "a.pt", 1.0, 5), checkpoint(tmp_path / "b.pt", 3.0, 9)
    for share, expected in ((0.0, 1.0), (0.25, 1.5), (1.0, 3.0)):
        state = average(first, second, share)
        assert torch.equal(state["ema"]["weight"], torch.full((2, 3), expected))
        assert state["ema"]["count"] == 9 and state["step"] == 9
        assert state["model"]["weight"] is state["ema"]["weight"]
    assert torch.equal(load_checkpoint(second)["ema"]["weight"], torch.full((2, 3), 3.0))


def test_another_model_a_missing_file_and_a_share_beyond_are_refused(tmp_path, monkeypatch, capsys):
    first, second = checkpoint(tmp_path / "a.pt", 1.0, 5), checkpoint(tmp_path / "b.pt", 3.0, 9, width=4)
    with pytest.raises(ModelError, match=r"are of two models \(the first has weight of"):
        average(first, second, 0.5)
    with pytest.raises(ConfigError, match=r"in \[0, 1\], got 1.5"):
        average(first, first, 1.5)
    arguments = ["average", str(tmp_path / "none.pt"), str(second), str(tmp_path / "out.pt")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        averaging.main()
    assert stopped.value.code == 2 and "there is no such checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()


def test_the_command_writes_the_mean_and_replaces_nothing(tmp_path, monkeypatch, capsys):
    first, second = checkpoint(tmp_path / "a.pt", 1.0, 5), checkpoint(tmp_path / "b.pt", 3.0, 9)
    arguments = ["average", str(first), str(second), str(tmp_path / "new" / "out.pt")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--share", "0.25"])
    averaging.main()
    assert torch.equal(load_checkpoint(tmp_path / "new" / "out.pt")["ema"]["weight"], torch.full((2, 3), 1.5))
    with pytest.raises(SystemExit):  # what is there stays
        averaging.main()
    assert "exists: choose another name" in capsys.readouterr().err
