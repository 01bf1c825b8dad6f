"""One GPU for each process where there are several: found without torch, and taken before torch sees any."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"

_taken: list[tuple[str, int]] = []
"""The GPU of this process, and the lock that it keeps until it ends."""


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there is none."""
    named = (os.environ if environment is None else environment).get(VISIBLE)
    n_gpus = count_gpus()
    if named is None:
        return tuple(map(str, range(n_gpus)))
    found = []
    for name in map(str.strip, named.split(",")) if n_gpus else ():
        if not name or name.startswith("-") or (name.isdecimal() and int(name) >= n_gpus):
            break  # CUDA itself reads no further
        found.append(name)
    return tuple(found)


def count_gpus() -> int:
    """The GPUs of this machine, by the driver's own library; 0 where there is no driver."""
    number = ctypes.c_uint(0)
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return 0
        found = library.nvmlDeviceGetCount_v2(ctypes.byref(number)) == 0
        library.nvmlShutdown()
    except (OSError, AttributeError):
        return 0
    return number.value if found else 0


def take_gpu(gpus: Sequence[str] | None = None, folder: Path | None = None) -> str | None:
    """Keep one GPU for this process, until it ends: one that no other process has, else one of those with the fewest.

    To be called before anything asks CUDA for its devices; a second call keeps the first one's choice.

    Args:
        gpus: what to choose among; by default all that are visible.
        folder: where the locks lie, one file for each GPU; by default in this machine's folder for temporary files.

    Returns:
        The GPU, which is all that CUDA_VISIBLE_DEVICES names now; None where there are not several.
    """
    if _taken:
        return _taken[0][0]
    among = visible_gpus() if gpus is None else tuple(gpus)
    if len(among) < 2:
        return None
    place = folder or Path(tempfile.gettempdir()) / f"vad-harness-gpus-{os.getuid()}"
    with suppress(OSError):  # without locks all processes would take the first: better than none
        place.mkdir(mode=0o700, exist_ok=True)
    for turn, gpu in ((turn, gpu) for turn in count() for gpu in among):
        lock = _lock(place / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.{turn}")
        if lock is not None:
            _taken.append((gpu, lock))
            os.environ[VISIBLE] = gpu
            return gpu
    raise AssertionError("unreachable")


def _lock(path: Path) -> int | None:
    """An open file that no other process has locked, or -1 where files cannot be locked; None if another has."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass
    return descriptor
