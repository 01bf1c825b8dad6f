"""What is known of a run while it runs (the seconds by stage), and how it ended."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from harness.config.keys import FOLDED

OK, DONE, FAILED, REFUSED, TO_DO, CLAIMED = "ok", "done", "failed", "refused", "to do", "claimed"

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]

Display = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Shows a stage, from its name and number of images; None where these cannot be counted."""


class Monitor:
    """Adds up wall-clock seconds by stage, and remembers in which stage an error came. Stages may not nest."""

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


@dataclass(frozen=True)
class Outcome:
    """One run of a sweep."""

    dataset: str
    category: str
    model: str
    backbone: str
    seed: int
    settings: Mapping[str, Any]
    """All else that can tell it from another: `harness.config.settings.settings_of`."""
    key: str | None
    status: str
    """OK (it ran), DONE (the store had it already), FAILED, REFUSED (the request was wrong), CLAIMED (another process
    runs it; no sweep ends with that). In a plan DONE, CLAIMED, TO_DO, or FAILED where its record cannot be trusted."""
    folder: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall-clock seconds of the run; runs that share a pass share these too."""
    error: str | None = None
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    holder: str | None = None

    @property
    def place_in_job(self) -> tuple[Any, ...]:
        """What differs between the runs of a job: seed, and what `harness.config.experiment.IN_ONE_JOB` folds."""
        return self.seed, *(self.settings.get(name) for name in FOLDED)

    @property
    def label(self) -> str:
        """What a person calls this run."""
        return f"{self.dataset}/{self.category} {self.model}-{self.backbone} seed {self.seed}"


def exit_status(outcomes: tuple[Outcome, ...]) -> int:
    """Return 0 all ok, 1 a run failed, 2 the request was wrong."""
    states = {outcome.status for outcome in outcomes}
    return 2 if REFUSED in states else 1 if FAILED in states else 0
