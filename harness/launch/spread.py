"""How many jobs run at once, and what each may use of the machine: `launcher` and `jobs`, as Hydra takes them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from harness.config import Execution
from harness.errors import RequestError
from harness.launch.gpus import visible_gpus
from harness.overrides import Override
from harness.resources import available_memory

PACKAGES = {
    "joblib": ("hydra_joblib_launcher", "pip install 'vad-harness[launchers]'"),
    "submitit_local": ("hydra_submitit_launcher", "pip install 'vad-harness[launchers]'"),
    "submitit_slurm": ("hydra_submitit_launcher", "pip install 'vad-harness[launchers]'"),
    "ray": ("hydra_ray_launcher", "make setup-ray, which makes an environment of its own"),
}
"""Launcher -> the plugin that brings it, and how to get that; `basic` is Hydra's own."""

LOCAL = "harness_local"
"""Hydra's name of the launcher that `submitit_local` means here: see `harness.launch.local`."""

LONGEST_MIN = 7 * 24 * 60
"""submitit ends a local job after an hour, unless told otherwise; a sweep's job ends when it is done."""


@dataclass(frozen=True)
class Machine:
    """What there is to share."""

    cores: int
    """That this process may use."""
    gpus: int
    memory_bytes: int
    """That is free."""


def this_machine() -> Machine:
    """The machine that this runs on, told without torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = available_memory() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(cores, len(visible_gpus()), memory)


def require(launcher: str) -> None:
    """Check that a launcher can be used.

    Raises:
        RequestError: its plugin is not installed, and how to install it; or SLURM is not there.
    """
    if launcher not in PACKAGES:
        return
    module, remedy = PACKAGES[launcher]
    if find_spec(f"hydra_plugins.{module}") is None:
        name = module.replace("_", "-")
        raise RequestError(f"launcher={launcher}: {name} is not installed in this environment; {remedy}")
    if launcher == "submitit_slurm" and shutil.which("srun") is None:
        raise RequestError(
            "launcher=submitit_slurm: there is no srun here; start it where SLURM's commands are, or give "
            "launcher=submitit_local or joblib for this machine"
        )


def chosen(own: Sequence[Override]) -> str:
    """The launcher that a request means: `jobs` alone means joblib.

    Raises:
        RequestError: several of them, or several numbers of jobs.
    """
    given = {override.key: override.values for override in own}
    for key in ("launcher", "jobs"):
        if len(given.get(key, ())) > 1:
            shown = ",".join(map(str, given[key]))
            raise RequestError(f"{key}={shown}: a sweep has one {key.removesuffix('s')} setting; give one value")
    launcher, jobs = given.get("launcher", (None,))[0], given.get("jobs", (None,))[0]
    if launcher == "basic" and jobs not in (None, 1):
        raise RequestError(f"jobs={jobs}: launcher=basic runs one job at a time; give launcher=joblib, or no launcher")
    return str(launcher or ("joblib" if jobs is not None else "basic"))


def spread(
    own: Sequence[Override], hydra: Sequence[str], *, n_jobs: int, machine: Machine
) -> tuple[list[Override], list[str]]:
    """Fill in what a launcher needs, and divide the machine among the jobs that run on it at once. Pure.

    Whatever the request itself says of threads, workers or the launcher's own settings stays as it is.

    Args:
        own: the request's own overrides.
        hydra: those of Hydra's, such as `hydra.launcher.partition=gpu`.
        n_jobs: how many jobs the sweep has.
        machine: what is there to share.

    Returns:
        The same with `launcher` and, where the machine is divided, `threads` and `workers`; and with Hydra's launcher.
    """
    launcher = chosen(own)
    given = {override.key: override.values[0] for override in own}
    kept = [override for override in own if override.key != "launcher"] + [Override("launcher", (launcher,))]
    extra = _Settings(hydra)
    extra.add("hydra/launcher", LOCAL if launcher == "submitit_local" else launcher)
    if launcher == "basic":
        return kept, extra.arguments
    on_gpus = machine.gpus if given.get("device", "auto") != "cpu" else 0
    if launcher == "submitit_slurm":  # the cluster divides itself
        if given.get("jobs") is not None:
            extra.add("hydra.launcher.array_parallelism", given["jobs"])
        threads = extra.number("hydra.launcher.cpus_per_task")
        return _with_threads(kept, threads), extra.arguments
    for setting, least in (("n_jobs", None), ("array_parallelism", 1)):  # joblib takes -1 for all cores
        extra.check_number(f"hydra.launcher.{setting}", least)
    bytes_per_job = given.get("memory_budget", Execution.memory_budget) * 2**30
    at_once = given.get("jobs") or _at_once(extra, launcher, machine, on_gpus=on_gpus, bytes_per_job=bytes_per_job)
    at_once = max(1, min(at_once, n_jobs))
    threads = max(1, machine.cores // at_once)
    if launcher == "joblib":
        extra.add("hydra.launcher.n_jobs", at_once)
    elif launcher == "submitit_local":
        extra.add("hydra.launcher.array_parallelism", at_once)
    else:
        _ray(extra, machine, threads=threads, on_gpus=on_gpus)
    return _with_threads(kept, threads), extra.arguments


class _Settings:
    """Hydra's overrides; what the request says itself comes first and stays."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)

    def _given(self, key: str) -> str | None:
        found = (argument.partition("=") for argument in self.arguments)
        return next((value for name, _, value in found if name.lstrip("+") == key), None)

    def has(self, prefix: str) -> bool:
        return any(argument.lstrip("+").startswith(prefix) for argument in self.arguments)

    def number(self, key: str) -> int | None:
        """A positive whole number that the request gives."""
        value = self._given(key)
        return int(value) if value is not None and value.isdigit() and int(value) > 0 else None

    def check_number(self, key: str, least: int | None) -> None:
        """Refuse what is no whole number, 0, or less than that.

        Raises:
            RequestError: it is.
        """
        value = self._given(key)
        if value is None:
            return
        if not re.fullmatch(r"-?\d+", value) or int(value) == 0 or (least is not None and int(value) < least):
            raise RequestError(f"{key}={value}: does not fit; give how many jobs run at once, or jobs=N instead")

    def add(self, key: str, value: Any, *, new: bool = False) -> None:
        if self._given(key) is None:
            self.arguments.append(f"{'+' if new else ''}{key}={value}")


def _at_once(settings: _Settings, launcher: str, machine: Machine, *, on_gpus: int, bytes_per_job: float) -> int:
    """How many jobs run at once where `jobs` does not say it: one for each GPU, else as many as fit."""
    name = "n_jobs" if launcher == "joblib" else "array_parallelism"
    if asked := settings.number(f"hydra.launcher.{name}"):
        return asked
    if on_gpus:
        return on_gpus
    # Two threads a job: beyond that a job gains little. On two cores two jobs still beat one.
    by_cores = max(machine.cores // 2, min(2, machine.cores))
    return min(by_cores, int(machine.memory_bytes // bytes_per_job))


def _with_threads(own: Sequence[Override], threads: int | None) -> list[Override]:
    """With what a job may take of the cores, for computing and for decoding, where the request does not say it."""
    said = {override.key for override in own if override.values != (None,)}
    added = {key: Override(key, (threads,)) for key in ("threads", "workers") if threads and key not in said}
    return [override for override in own if override.key not in added] + list(added.values())


def _ray(settings: _Settings, machine: Machine, *, threads: int, on_gpus: int) -> None:
    """A cluster of this machine alone, unless the request or the environment names another."""
    init, remote = "hydra.launcher.ray.init", "hydra.launcher.ray.remote"
    if not settings.has(init) and not os.environ.get("RAY_ADDRESS"):
        settings.add(f"{init}.num_cpus", machine.cores, new=True)
        settings.add(f"{init}.num_gpus", on_gpus, new=True)
        settings.add(f"{init}.include_dashboard", "false", new=True)
        settings.add(f"{init}.log_to_driver", "false", new=True)
        settings.add(f"{init}.logging_level", "error", new=True)
    settings.add(f"{remote}.num_cpus", threads, new=True)
    if on_gpus:
        settings.add(f"{remote}.num_gpus", 1, new=True)
