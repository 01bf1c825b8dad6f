"""What this machine has to offer a reproduction: memory, disk, processor."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.store.provenance import cpu_model


@dataclass(frozen=True)
class Machine:
    """Of the machine that this runs on; bytes."""

    free_memory: int | None
    """None where the system does not say."""
    free_disk: int
    """Where the store is, or will be."""
    cpu: str
    """By the name that records hold."""
    n_cores: int
    """That this process may use."""


def this_machine(store: Path) -> Machine:
    """What there is now; `store` need not exist yet."""
    place = store.absolute()
    while not place.exists():
        place = place.parent
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(free_memory(), shutil.disk_usage(place).free, cpu_model(), n_cores)


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """What Linux says a new program could have without swapping."""
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
