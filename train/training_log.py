"""What a run says while it goes on: lines in log.jsonl, a progress bar, TensorBoard."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgecolor.errors import EdgeColorError

log = logging.getLogger(__name__)


class LogWriteError(EdgeColorError, OSError):
    """What a run says could not be written; its last checkpoint is whole."""


class TrainingLog:
    """Collects steps and reports every so many of them.

    folder       of the run; log.jsonl and TensorBoard's events go there
    total        steps of the whole run
    every        steps between reports
    tensorboard  whether to write events, where the package is installed
    quiet        no bar
    raises       LogWriteError, as its methods do, where the disk is full
    """

    def __init__(self, folder: Path, total: int, every: int, tensorboard: bool, quiet: bool = False):
        self.path, self.total, self.every = folder / "log.jsonl", total, every
        self.events = self._open_events(folder) if tensorboard else None
        self.bar = self._open_bar() if not quiet and sys.stderr.isatty() else None
        self.started = time.monotonic()
        self.first_step: int | None = None
        self._clear()

    def _open_events(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("tensorboard is not installed: no events are written (pip install tensorboard)")
            return None
        with self._writing():
            return SummaryWriter(str(folder / "events"))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            folder = self.path.parent
            raise LogWriteError(f"{folder}: its log cannot be written ({error.strerror}): make room there") from error

    def _open_bar(self):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True))
        self.task = bar.add_task("training", total=self.total, figures="")
        bar.start()
        return bar

    def _clear(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.crops, self.waited, self.since = 0, 0.0, time.monotonic()

    def add(self, step: int, values: dict[str, float], rates: dict[str, float], crops: int, waited: float) -> None:
        """One finished step: its losses, the rates it used, crops it saw, seconds it waited for them."""
        if self.first_step is None:
            self.first_step = step - 1
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)
        self.crops += crops
        self.waited += waited
        if self.bar:
            self.bar.update(self.task, completed=step, figures=f"loss {values['loss']:.3f}")
        if step % self.every == 0:
            self._report(step, rates)

    def _report(self, step: int, rates: dict[str, float]) -> None:
        now = time.monotonic()
        elapsed = max(now - self.since, 1e-9)
        left = (now - self.started) / (step - self.first_step) * (self.total - step)
        line = {
            "step": step,
            **{name: round(float(np.mean(values)), 5) for name, values in self.values.items()},
            **{name: float(f"{rate:.4g}") for name, rate in rates.items()},
            "crops_per_second": round(self.crops / elapsed, 1),
            "waiting": round(self.waited / elapsed, 3),
            "minutes_left": round(left / 60, 1),
        }
        if not self.bar:
            log.info("%s", json.dumps(line))
        with self._writing():
            with open(self.path, "a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
            if self.events:
                for name, value in line.items():
                    if name != "step":
                        self.events.add_scalar(name, value, step)
        self._clear()

    def picture(self, step: int, rgb: np.ndarray) -> None:
        """Show a picture (H, W, 3) uint8 in TensorBoard."""
        if self.events:
            with self._writing():
                self.events.add_image("gray, ours, original", rgb, step, dataformats="HWC")

    def close(self) -> None:
        if self.bar:
            self.bar.stop()
        if self.events:
            with self._writing():
                self.events.close()
