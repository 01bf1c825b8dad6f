"""What is left of the machine: memory that a process may take, and room on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import OutOfMemoryError

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Version 2 and version 1: folder, limit, use, and the part of the use that is page cache nobody misses."""
_UNLIMITED = 2**60


def available_memory() -> int | None:
    """Bytes that can be taken without swapping: the machine's, or the container's where that is less.

    None where the system does not say (other than Linux).
    """
    known = [left for left in (_machine(), *(_container(*group) for group in _CGROUPS)) if left is not None]
    return min(known) if known else None


def own_memory() -> int:
    """Bytes that this process itself holds already, but for mapped files; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    except (OSError, ValueError, IndexError):
        return 0


def free_disk(folder: Path) -> int | None:
    """Free bytes where a folder is, or will be; None where the system does not say."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def ran_out(error: Exception) -> OutOfMemoryError | None:
    """What to say of an exception that torch, NumPy or Python raised for want of memory; None for any other."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return OutOfMemoryError(
            "the GPU's memory ran out: end other programs on it, lower n_features or protocol.batch_size, give fewer "
            "seeds, or device=cpu"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return OutOfMemoryError(
            "the memory ran out: end other programs, lower jobs, memory_budget, n_features or protocol.batch_size"
        )
    return None


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _container(folder: Path, most: str, used: str, cache: str) -> int | None:
    """What a control group leaves."""
    try:
        limit, usage = (
            (folder / most).read_text(encoding="ascii").strip(),
            int((folder / used).read_text(encoding="ascii")),
        )
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        return max(0, int(limit) - usage + int(statistics.get(cache, 0)))
    except (OSError, ValueError):
        return None
