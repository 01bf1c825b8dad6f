"""What happens while a run runs: seconds by stage, and whoever wants to show progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""To be called with the number of images just done."""

Display = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows a stage, from its name and number of images; None where these cannot be counted."""


class Monitor:
    """Adds up wall-clock seconds by stage, and remembers in which stage an error came.

    Stages may not nest: the seconds by stage add up to the run's.
    """

    def __init__(self, display: Display | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.current: str | None = None
        self._display = display or (lambda _stage, _total: nullcontext(lambda _n: None))

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Time a stage; `current` keeps its name after an exception, so that a failure can say where it came."""
        if self.current is not None:
            raise RuntimeError(f"stage {name!r} inside stage {self.current!r}")
        self.current = name
        logger.debug("stage %s", name)
        start = time.perf_counter()
        try:
            with self._display(name, total) as advance:
                yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.current = None
