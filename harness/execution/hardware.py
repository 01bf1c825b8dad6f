"""How many jobs run at once, and what each may use of the machine: its share of the cores, and one GPU of its own."""

import ctypes
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from harness.config.overrides import Override
from harness.config.settings import Execution
from harness.device import available_memory, cores
from harness.errors import RequestError

PACKAGES = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"

_taken: list[tuple[str, Any]] = []


@dataclass(frozen=True)
class Capacity:
    """What there is to share: cores that this process may use, GPUs, and memory that is free."""

    cores: int
    gpus: int
    memory_bytes: int


def this_machine() -> Capacity:
    """Return the machine that this runs on, told without torch."""
    return Capacity(cores(), len(visible_gpus()), available_memory() or sys.maxsize)


def require(launcher: str) -> None:
    """Check that a launcher can be used.

    Raises:
        RequestError: its package is not installed, and how to install it; or SLURM is not there.
    """
    package = PACKAGES.get(launcher)
    if package and find_spec(package) is None:
        extra = "ray" if package == "ray" else "launchers"
        raise RequestError(f"launcher={launcher}: {package} is not installed; pip install 'vad-harness[{extra}]'")
    if launcher == "submitit_slurm" and shutil.which("srun") is None:
        raise RequestError(
            "launcher=submitit_slurm: there is no srun here; start it where SLURM's commands are, or give "
            "launcher=joblib for this machine"
        )


def divide(own: Sequence[Override], *, n_jobs: int, machine: Capacity, cluster: bool = False) -> list[Override]:
    """Choose the launcher, and divide the machine among the jobs that run on it at once; keep what the request says.

    `jobs` alone means joblib; one job at a time needs no process of its own.

    Args:
        n_jobs: how many jobs the request means.
        cluster: whether Ray joins a cluster that is there, and so has other machines than this one.

    Returns:
        The request with `launcher`, and where jobs run side by side `jobs`, `threads` and `workers`.

    Raises:
        RequestError: several launchers or numbers of jobs, or settings of a launcher that was not chosen.
    """
    given = {override.key: override.values for override in own}
    launcher, jobs = _chosen(given)
    if launcher == "submitit_slurm":  # the cluster divides itself
        return _filled_in(own, launcher=launcher, threads=given.get("slurm.cpus_per_task", (None,))[0])
    if launcher == "basic":
        return _filled_in(own, launcher=launcher)
    if launcher == "ray" and cluster:  # two threads a job: beyond that a job gains little
        return _filled_in(own, launcher=launcher, jobs=jobs or n_jobs, threads=2)
    at_once = max(1, min(jobs or _at_once(given, machine), n_jobs))
    if launcher == "joblib" and at_once == 1:
        return _filled_in(own, launcher="basic")
    return _filled_in(own, launcher=launcher, jobs=at_once, threads=max(1, machine.cores // at_once))


def _chosen(given: Mapping[str, tuple[Any, ...]]) -> tuple[str, int | None]:
    launcher, jobs = given.get("launcher", (None,))[0], given.get("jobs", (None,))[0]
    for key, values in given.items():
        of_slurm = key.startswith("slurm.")
        if len(values) > 1 and (of_slurm or key in ("launcher", "jobs")):
            raise RequestError(f"{key}={','.join(map(str, values))}: a sweep takes only one value of it; give one")
        if of_slurm and launcher != "submitit_slurm":
            raise RequestError(f"{key}={values[0]}: is for SLURM; give launcher=submitit_slurm as well")
    if launcher == "basic" and jobs not in (None, 1):
        raise RequestError(f"jobs={jobs}: launcher=basic runs one job at a time; give launcher=joblib, or no launcher")
    return str(launcher or ("joblib" if jobs is not None else "basic")), jobs


def _at_once(given: Mapping[str, tuple[Any, ...]], machine: Capacity) -> int:
    """Return how many jobs run at once where `jobs` does not say it: one for each GPU, else as many as fit."""
    if machine.gpus and given.get("device") != ("cpu",):
        return machine.gpus
    # Two threads a job: beyond that a job gains little. On two cores two jobs still beat one.
    by_cores = max(machine.cores // 2, min(2, machine.cores))
    budget = given.get("memory_budget", (Execution.memory_budget,))[0]
    return min(by_cores, int(machine.memory_bytes // (budget * 2**30)))


def _filled_in(
    own: Sequence[Override], *, launcher: str, jobs: int | None = None, threads: int | None = None
) -> list[Override]:
    """Return the request with these settings; threads and workers only where it does not say them itself."""
    said = {override.key for override in own if override.values != (None,)}
    added: dict[str, Any] = {key: threads for key in ("threads", "workers") if threads and key not in said}
    added |= {"launcher": launcher} | ({"jobs": jobs} if jobs else {})
    return [o for o in own if o.key not in added] + [Override(key, (value,)) for key, value in added.items()]


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there is none."""
    n_gpus, named = count_gpus(), os.environ.get(VISIBLE)
    if n_gpus == 0 or named is None:
        return tuple(map(str, range(n_gpus)))
    return tuple(name for name in map(str.strip, named.split(",")) if name and name != "-1")


def count_gpus() -> int:
    """Return the number of GPUs of this machine, by the driver's own library; 0 where there is no driver."""
    number = ctypes.c_uint(0)
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() == 0:
            library.nvmlDeviceGetCount_v2(ctypes.byref(number))
            library.nvmlShutdown()
    except (OSError, AttributeError):
        return 0
    return number.value


def take_gpu() -> str | None:
    """Keep one GPU for this process, until it ends: one that no other process has, else one of those with the fewest.

    Call it before anything asks CUDA for its devices; a second call returns the first choice.

    Returns:
        The GPU, the only one in CUDA_VISIBLE_DEVICES now; None with fewer than two GPUs.
    """
    from filelock import FileLock, Timeout

    gpus = visible_gpus()
    if _taken or len(gpus) < 2:
        return _taken[0][0] if _taken else None
    folder = Path(tempfile.gettempdir()) / f"vad-harness-gpus-{os.getuid()}"
    for turn, gpu in ((turn, gpu) for turn in count() for gpu in gpus):
        lock = FileLock(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.{turn}", mode=0o600)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            continue
        except (OSError, NotImplementedError) as error:  # without locks all take the first: better than none
            logger.debug("GPUs cannot be locked (%s)", error)
        break
    _taken.append((gpu, lock))
    os.environ[VISIBLE] = gpu
    logger.debug("took GPU %s of %s, beside %d processes", gpu, ", ".join(gpus), turn)
    return gpu
