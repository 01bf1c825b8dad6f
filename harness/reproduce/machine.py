"""What this machine has to offer a reproduction: memory, disk, processor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.resources import available_memory, free_disk
from harness.store.provenance import cpu_model


@dataclass(frozen=True)
class Machine:
    """Of the machine that this runs on; bytes."""

    free_memory: int | None
    """None where the system does not say."""
    free_disk: int | None
    """Where the store is, or will be; None where the system does not say."""
    cpu: str
    """By the name that records hold."""
    n_cores: int
    """That this process may use."""


def this_machine(store: Path) -> Machine:
    """What there is now; `store` need not exist yet."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(available_memory(), free_disk(store), cpu_model(), n_cores)
