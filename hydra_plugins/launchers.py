"""Hydra's door to the harness's own launcher, `launcher=submitit_local`; what it does is in `harness.launch.local`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from harness.launch.spread import LOCAL, LONGEST_MIN


class LocalLauncher(Launcher):
    """A few processes of this machine, by submitit's local executor, that take the jobs in turn."""

    def __init__(self, **params: Any) -> None:
        self._params = params
        self._setup: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a job needs; Hydra calls this before `launch`."""
        self._setup = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and return how each ended."""
        from harness.launch.local import JobSetup, run_jobs  # Hydra scans this module for every command, help included

        return run_jobs(JobSetup(**self._setup), job_overrides, first=initial_job_idx, **self._params)


ConfigStore.instance().store(
    group="hydra/launcher",
    name=LOCAL,
    node={
        "_target_": "hydra_plugins.launchers.LocalLauncher",
        "folder": None,
        "array_parallelism": 1,
        "timeout_min": LONGEST_MIN,
    },
    provider="harness",
)
