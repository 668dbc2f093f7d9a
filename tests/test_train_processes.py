"""Runs in their own processes: killed, stopped, out of disk, in a pair. pytest tests/test_train_processes.py"""

import json
import multiprocessing
import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from train_tiny import TINY, crops_of, write_config, write_folder  # noqa: E402

from edgecolor.cli import main  # noqa: E402
from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train import loop  # noqa: E402
from edgecolor.train.checkpoint import load_checkpoint  # noqa: E402
from edgecolor.train.config import load_config  # noqa: E402
from edgecolor.train.distributed import Processes  # noqa: E402
from edgecolor.train.loop import Trainer  # noqa: E402

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch._dynamo", "train_tiny", "edgecolor.train.run"])
PATIENCE = 240  # seconds, on a machine that does other things too
FAST = ("model=tiny-ab", "losses=[{kind: l1}]")  # where it does not matter what is trained


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    for name, kind in TINY.items():
        monkeypatch.setitem(MODELS, name, kind)


@pytest.fixture
def path(tmp_path, photograph):
    folder = write_folder(tmp_path / "photos", crops_of(photograph))
    return write_config(tmp_path / "run.yaml", folder)


class Run:
    """`edgecolor` in a process of its own, forked from one that has PyTorch loaded, which takes seconds."""

    def __init__(self, folder: Path, *arguments, env: dict[str, str] | None = None, file_limit: int | None = None):
        self.files = [folder / f"{name}-{time.monotonic_ns()}" for name in ("stdout", "stderr")]
        words = [str(argument) for argument in arguments]
        self.process = SERVER.Process(target=command, args=(words, self.files, env or {}, file_limit), daemon=True)
        self.process.start()

    def wait(self) -> tuple[int | None, str, str]:
        """Exit status, stdout and stderr."""
        self.process.join(PATIENCE)
        out, err = (file.read_text() if file.exists() else "" for file in self.files)
        return self.process.exitcode, out, err


def command(words: list[str], files: list[Path], env: dict[str, str], file_limit: int | None) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(env)
    if file_limit:  # no file may grow beyond it, as on a disk with that much left
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    MODELS.update(TINY)
    main(words)


def steps_logged(folder: Path) -> list[int]:
    log = folder / "log.jsonl"
    whole = log.read_text().split("\n")[:-1] if log.exists() else []  # a line may be half written
    return [json.loads(line)["step"] for line in whole]


def wait_for_step(run: Run, folder: Path, step: int) -> None:
    until = time.monotonic() + PATIENCE
    while step not in steps_logged(folder):
        assert run.process.is_alive(), run.wait()
        assert time.monotonic() < until, "the run did not come that far"
        time.sleep(0.1)


def test_kill_loses_at_most_the_steps_since_the_last_checkpoint(path, tmp_path):
    many = (*FAST, "phases.0.steps=100000")
    run = Run(tmp_path, "train", path, *many, "--out", tmp_path / "run", "--quiet")
    wait_for_step(run, tmp_path / "run", 10)
    run.process.kill()
    assert run.wait()[0] == -signal.SIGKILL
    resumed = Trainer(load_config(path, many), tmp_path / "run", resume=True)
    # checkpoint_every is 2; the step that was logged last may not have been saved yet.
    assert resumed.step >= max(steps_logged(tmp_path / "run")) - 2 >= 8 and resumed.step % 2 == 0


def test_sigterm_ends_with_a_checkpoint_of_the_very_step(path, tmp_path):
    many = (*FAST, "phases.0.steps=100000", "checkpoint_every=100000", "log_every=1")
    run = Run(tmp_path, "train", path, *many, "--out", tmp_path / "run")
    wait_for_step(run, tmp_path / "run", 4)
    run.process.terminate()
    status, out, err = run.wait()
    assert status == 0, err
    step = load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
    assert step == max(steps_logged(tmp_path / "run")) and f"step {step} of 100000, stopped early" in out


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(path, tmp_path):
    assert Trainer(load_config(path, (*FAST, "phases.0.steps=2")), tmp_path / "run", quiet=True).run()
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    words = ("train", path, *FAST, "--out", tmp_path / "run", "--resume", "--quiet")
    status, _, err = Run(tmp_path, *words, file_limit=len(before) // 2).wait()
    lines = err.strip().splitlines()
    assert status == 2 and len(lines) == 1 and lines[0].startswith("edgecolor: error: "), err
    assert "checkpoint.pt" in lines[0] and "intact" in lines[0]
    assert checkpoint.read_bytes() == before and not list(tmp_path.glob("run/*partial*"))


def test_two_processes_have_the_gradients_and_weights_of_one_with_the_double_batch(path, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # Weights follow the gradients alone, not rounded to bf16. Each process does its 2 of 4 crops in two parts.
    sgd = (
        "precision=fp32",
        "optim.kind=sgd",
        "optim.momentum=0",
        "optim.lr=0.1",
        "optim.accumulate=2",
        "phases.0.steps=4",
    )
    words = ("train", path, *sgd, "--out", tmp_path / "two")
    runs = [Run(tmp_path, *words, env={**group, "RANK": str(rank)}) for rank in range(2)]
    alone = Trainer(load_config(path, sgd), tmp_path / "one", quiet=True)
    untrained = {name: value.clone() for name, value in alone.model.state_dict().items()}
    alone.run()
    said = [run.wait() for run in runs]
    assert [status for status, _, _ in said] == [0, 0], said
    together = load_checkpoint(tmp_path / "two" / "checkpoint.pt")
    assert together["step"] == 4
    for name, value in alone.model.state_dict().items():
        assert torch.allclose(value, together["model"][name], rtol=1e-4, atol=1e-6), name
        assert not torch.allclose(value, untrained[name], rtol=1e-3, atol=1e-5), name
    (_, out, err), others = said
    assert "step 4 of 4" in out and "12 pictures" in err and others == (0, "", ""), "only the first speaks"
    assert steps_logged(tmp_path / "two") == [2, 4]


def test_a_batch_that_two_processes_cannot_share_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "join_processes", lambda device: Processes(0, 3))
    with pytest.raises(ConfigError, match="batch of 4 cannot be shared by 3 processes"):
        Trainer(load_config(path), tmp_path)
