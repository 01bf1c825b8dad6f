"""A job that has not begun, planned as the run itself will plan it: how many passes, and the memory of each."""

from __future__ import annotations

from collections.abc import Sequence

from harness.data.catalog import CATALOG
from harness.padim.plan import GIB, Plan, Task, plan_passes
from harness.resolve import default_memory_budget, make_protocol, read_backbone
from harness.store.overview import ExpectedRun


def job_passes(runs: Sequence[ExpectedRun], *, device: str, n_cores: int, weights_bytes: int) -> tuple[Plan, ...]:
    """Plan the passes of runs that differ in nothing but seed and n_features, at a request's default budget.

    Args:
        runs: at least one; their images are taken to be as many as the official split has.
        device: `cpu` or `cuda`.
        n_cores: that the job may use.
        weights_bytes: of the weights' file.
    """
    first = runs[0]
    counts = CATALOG[first.dataset].categories[first.category]
    fields = {
        key.removeprefix("protocol."): value for key, value in first.demands.items() if key.startswith("protocol.")
    }
    task = Task(
        backbone=read_backbone(first.backbone),
        protocol=make_protocol(fields),
        n_train=counts.train,
        n_test=counts.test_normal + counts.test_anomalous,
        weights_bytes=weights_bytes,
        device=device,
        threads=n_cores,
        decoders=n_cores,
    )
    planned = plan_passes(task, [run.demands["n_features"] for run in runs], int(default_memory_budget() * GIB))
    return tuple(plan for _, plan in planned)
