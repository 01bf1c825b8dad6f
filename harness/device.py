"""What there is of this machine: its device, told without torch where there is no GPU, its memory, cores and disk."""

from __future__ import annotations

import ctypes
import os
import shutil
from functools import cache
from pathlib import Path

from harness.config.settings import Device
from harness.errors import OutOfMemoryError, RequestError

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Version 2 and version 1: folder, limit, use, and the part of the use that is page cache nobody misses."""
_UNLIMITED = 2**60


def resolve_device(requested: Device) -> Device:
    """Return the device type for `auto`, `cpu` or `cuda`.

    Raises:
        RequestError: `cuda` is asked for and no CUDA device can be used.
    """
    if requested == "cpu":
        return "cpu"
    available = _cuda_is_available()
    if requested == "cuda" and not available:
        raise RequestError("device=cuda: this machine has no CUDA device that torch can use; use device=cpu or auto")
    return "cuda" if available else "cpu"


def _cuda_is_available() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver: spares the two seconds that importing torch takes
        return False
    import torch

    return bool(torch.cuda.is_available())


def free_device_memory() -> int:
    """Return the bytes of the GPU that this process could take: what is free, and what torch keeps to use again.

    Raises:
        RequestError: the GPU cannot be used now: it is full, or another process has it to itself.
    """
    import torch

    try:
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    except RuntimeError as error:
        said = str(error).strip().partition("\n")[0]
        raise RequestError(
            f"device=cuda: the GPU cannot be used now ({said}); end other programs on it, or take device=cpu"
        ) from error


@cache
def gpu_name() -> str:
    """Return the GPU's name; after an error that it does not recover from, it may not answer."""
    import torch

    try:
        return str(torch.cuda.get_device_name())
    except RuntimeError:
        return "a GPU that does not answer"


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes that can be taken without swapping: the machine's, or the container's where that is less.

    None where the system does not say (other than Linux).
    """
    machine = kernel_bytes(Path("/proc/meminfo"), "MemAvailable:")
    known = [left for left in (machine, *(_container(*group) for group in _CGROUPS)) if left is not None]
    return min(known, default=None)


def _container(folder: Path, most: str, used: str, cache: str) -> int | None:
    """Return what a control group leaves."""
    try:
        limit, usage = (folder / most).read_text().strip(), int((folder / used).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        if limit == "max" or int(limit) >= _UNLIMITED:
            return None
        return max(0, int(limit) - usage + int(statistics.get(cache, 0)))
    except (OSError, ValueError):
        return None


def own_memory() -> int:
    """Return the bytes that this process holds already, but for mapped files; 0 where the system does not say."""
    return kernel_bytes(Path("/proc/self/status"), "RssAnon:") or 0


def kernel_bytes(path: Path, name: str) -> int | None:
    """Return a number of kB that the kernel tells in a line, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


def free_disk(folder: Path) -> int | None:
    """Return the free bytes where a folder is, or will be; None where the system does not say."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def ran_out(error: Exception) -> OutOfMemoryError | None:
    """Return what to say of an exception of torch, NumPy or Python for want of memory; None for any other."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return OutOfMemoryError(
            "the GPU's memory ran out: end other programs on it, lower preprocessing.batch_size, give fewer "
            "seeds, or device=cpu"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return OutOfMemoryError(
            "the memory ran out: end other programs, lower jobs, memory_budget or preprocessing.batch_size"
        )
    return None
