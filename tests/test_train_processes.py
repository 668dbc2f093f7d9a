"""Runs in their own processes: killed, stopped, out of disk, in a pair. pytest tests/test_train_processes.py"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from train_tiny import TINY, crops_of, write_config, write_folder  # noqa: E402

from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train.checkpoint import load_checkpoint  # noqa: E402
from edgecolor.train.config import load_config  # noqa: E402
from edgecolor.train.loop import Trainer  # noqa: E402

pytestmark = pytest.mark.skipif(
    "EDGECOLOR_LONG_TESTS" not in os.environ, reason="takes minutes: set EDGECOLOR_LONG_TESTS=1 to run it"
)

TESTS = Path(__file__).resolve().parent
PATIENCE = 240  # seconds, on a machine that does other things too


@pytest.fixture
def path(tmp_path, photograph):
    folder = write_folder(tmp_path / "photos", crops_of(photograph))
    return write_config(tmp_path / "run.yaml", folder)


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, str(TESTS / "train_tiny.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])}
    env |= options.pop("env", {})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **options)


def wait_for_step(log: Path, step: int) -> None:
    until = time.monotonic() + PATIENCE
    while not (log.exists() and f'"step": {step},' in log.read_text()):
        assert time.monotonic() < until, "the run did not come that far"
        time.sleep(0.1)


def test_kill_loses_at_most_the_steps_since_the_last_checkpoint(path, tmp_path):
    run = start("train", path, "phases.0.steps=100000", "--out", tmp_path / "run", "--quiet")
    wait_for_step(tmp_path / "run" / "log.jsonl", 10)
    run.kill()
    run.communicate()
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert state["step"] >= 10 and state["step"] % 2 == 0  # checkpoint_every is 2, and it is whole


def test_sigterm_ends_with_a_checkpoint_of_the_very_step(path, tmp_path):
    every = "checkpoint_every=100000"
    run = start("train", path, "phases.0.steps=100000", every, "--out", tmp_path / "run")
    wait_for_step(tmp_path / "run" / "log.jsonl", 4)
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    step = load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
    assert step >= 4 and f"step {step} of 100000, stopped early" in out


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(path, tmp_path):
    done = start("train", path, "phases.0.steps=2", "--out", tmp_path / "run", "--quiet")
    assert done.wait(PATIENCE) == 0, done.stderr.read()
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    limit = len(before) // 2  # no file may grow beyond it, as on a disk with that much left

    def restrict():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    run = start("train", path, "--out", tmp_path / "run", "--resume", "--quiet", preexec_fn=restrict)
    _, err = run.communicate(timeout=PATIENCE)
    lines = [line for line in err.strip().splitlines() if line.startswith("edgecolor: error")]
    assert run.returncode == 2 and len(lines) == 1 and "checkpoint.pt" in lines[0] and "intact" in lines[0], err
    assert "Traceback" not in err
    assert checkpoint.read_bytes() == before and not list(tmp_path.glob("run/*partial*"))


def test_two_processes_have_the_gradients_and_weights_of_one_with_the_double_batch(path, tmp_path, monkeypatch):
    for name, kind in TINY.items():
        monkeypatch.setitem(MODELS, name, kind)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sgd = ("optim.kind=sgd", "optim.momentum=0", "optim.lr=0.1", "optim.accumulate=2")  # weights follow gradients alone
    runs = [
        start("train", path, *sgd, "--out", tmp_path / "two", "--quiet", env={**group, "RANK": str(rank)})
        for rank in range(2)
    ]
    alone = Trainer(load_config(path, sgd), tmp_path / "one", quiet=True)
    alone.run()
    for run in runs:
        _, err = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, err
    together = load_checkpoint(tmp_path / "two" / "checkpoint.pt")
    assert together["step"] == 8
    for name, value in alone.model.state_dict().items():
        assert torch.allclose(value, together["model"][name], rtol=1e-4, atol=1e-6), name
    assert len(list((tmp_path / "two").glob("log.jsonl"))) == 1


def test_a_batch_that_two_processes_cannot_share_is_refused(path, tmp_path, monkeypatch):
    from edgecolor.errors import ConfigError
    from edgecolor.train import loop
    from edgecolor.train.distributed import Processes

    monkeypatch.setitem(MODELS, "tiny", TINY["tiny"])
    monkeypatch.setattr(loop, "join_processes", lambda device: Processes(0, 3))
    with pytest.raises(ConfigError, match="batch of 4 cannot be shared by 3 processes"):
        Trainer(load_config(path), tmp_path)
