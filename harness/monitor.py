"""What happens while a run runs: seconds by stage, and whoever wants to show progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Display(Protocol):
    """Shows the stages of a run; `harness.terminal` has one for a terminal and one for everything else."""

    def begin(self, stage: str, total: int | None) -> None:
        """A stage starts; `total` is its number of images, None where it cannot be counted."""

    def advance(self, n: int) -> None:
        """`n` more images are done."""

    def end(self) -> None:
        """The stage is over."""


class Monitor:
    """Adds up wall-clock seconds by stage, and remembers in which stage an error came.

    Stages may not nest: the seconds by stage add up to the run's.
    """

    def __init__(self, display: Display | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.current: str | None = None
        self._display = display

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Time a stage; yields a function to be called with the number of images just done.

        `current` keeps the stage's name after an exception, so that a failure can say where it came.
        """
        if self.current is not None:
            raise RuntimeError(f"stage {name!r} inside stage {self.current!r}")
        self.current = name
        if self._display:
            self._display.begin(name, total)
        start = time.perf_counter()
        try:
            yield self._display.advance if self._display else _ignore
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            if self._display:
                self._display.end()
        self.current = None


def _ignore(_: int) -> None:
    """Progress that nobody watches."""
