"""Progress of long work: a bar with fps and time left on a terminal, one line per ten seconds elsewhere."""

import sys
import time
from types import TracebackType

LINE_EVERY = 10.0  # seconds


class FrameProgress:
    """Call it with frames done, and frames expected or None; use it as a context manager. `quiet` shows nothing."""

    def __init__(self, title: str, quiet: bool = False):
        self.title, self.quiet = title, quiet
        self._bar = None
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> "FrameProgress":
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[count]} frames"),
                TextColumn("{task.fields[fps]:.1f} fps"),
                TimeRemainingColumn(compact=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self.title, total=None, fps=0.0, count="0")
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int, expected: int | None) -> None:
        now = time.monotonic()
        fps = done / max(now - self._began, 1e-6)
        count = f"{done}/{expected}" if expected else str(done)
        if self._bar:
            total = max(expected, done) if expected else None
            self._bar.update(self._task, completed=done, fps=fps, count=count, total=total)
        elif not self.quiet and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            left = f", {max(expected - done, 0) / fps:.0f} s left" if expected else ""
            print(f"{self.title}: {count} frames, {fps:.1f} fps{left}", file=sys.stderr, flush=True)
