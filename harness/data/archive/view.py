"""What a person sees of a long transfer: a bar on a terminal, one line per stage everywhere else."""

from __future__ import annotations

import os
import sys
from typing import Protocol


class View(Protocol):
    """Shows the stages of a transfer, one after the other, in bytes."""

    def begin(self, stage: str, total: int | None, done: int = 0) -> None:
        """A stage starts with `done` of `total` bytes behind it; None where the total is not known."""

    def advance(self, n: int) -> None:
        """`n` more bytes are done."""

    def end(self) -> None:
        """The stage is over, or given up."""

    def say(self, line: str) -> None:
        """Something worth a line: a retry, a restart."""


class LineView:
    """One plain line per stage on standard error."""

    def begin(self, stage: str, total: int | None, done: int = 0) -> None:
        """Print the stage and its size."""
        size = "" if total is None else f", {megabytes(total)}"
        behind = f" ({megabytes(done)} are here already)" if done else ""
        self.say(f"{stage}{size}{behind}")

    def advance(self, n: int) -> None:
        """Nothing: a log has no use for it."""

    def end(self) -> None:
        """Nothing: the next stage says it."""

    def say(self, line: str) -> None:
        """Print the line."""
        from harness.terminal import printable

        print(printable(line), file=sys.stderr, flush=True)


class BarView:
    """A bar with size, rate and remaining time on a terminal's standard error; gone when the stage ends."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Rate

        from harness.terminal import console

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def begin(self, stage: str, total: int | None, done: int = 0) -> None:
        """Show the stage; without a total the bar only moves."""
        from harness.terminal import printable

        self._progress.start()
        self._progress.reset(self._task, total=total, completed=done, description=printable(stage))

    def advance(self, n: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, n)

    def end(self) -> None:
        """Take the bar away until the next stage begins."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print the line above the bar."""
        from rich.text import Text

        from harness.terminal import printable

        self._progress.console.print(Text(printable(line)), soft_wrap=True)


def make_view() -> View:
    """A bar where standard error is a terminal, else lines."""
    return BarView() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else LineView()


def megabytes(n: int) -> str:
    """A number of bytes for a person, in decimal units."""
    if n >= 1_000_000_000:
        return f"{n / 1e9:.1f} GB"
    return f"{n / 1e6:.1f} MB" if n >= 100_000 else f"{n} bytes"
