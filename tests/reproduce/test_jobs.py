"""A job is planned as the run itself plans it, from the request that the reproduction makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.catalog import CATALOG
from harness.data.split import Sample, Split
from harness.padim.weights import Weights
from harness.passes import plan_runs
from harness.report.page_commands import EXPERIMENTS
from harness.reproduce.jobs import job_passes
from harness.store.overview import expected_runs
from tests.test_config import job


def split_of(dataset, category):
    """As many images as the official split has."""
    counts = CATALOG[dataset].categories[category]
    n_test = counts.test_normal + counts.test_anomalous
    return Split(
        dataset=dataset,
        root=Path("nowhere"),
        category=category,
        train=tuple(Sample(f"train/{n}.png", 0, None) for n in range(counts.train)),
        test=tuple(Sample(f"test/{n}.png", n % 2, None) for n in range(n_test)),
        has_masks=False,
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("n_seeds", [1, 30])
def test_every_job_of_the_tables_is_planned_as_the_run_plans_it(tmp_path, monkeypatch, n_seeds, device):
    monkeypatch.setattr("harness.passes.available_memory", lambda: None)
    monkeypatch.setattr("harness.passes.free_device_memory", lambda: 80 * 2**30)
    path = tmp_path / "network.safetensors"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    seeds = list(range(n_seeds))
    for name in EXPERIMENTS.values():
        expected = expected_runs(name, seeds)
        for first in expected[:: len(seeds)]:
            made = job(
                f"dataset={first.dataset}", f"category={first.category}", f"backbone={first.backbone}",
                f"seeds={seeds}", "threads=3", "workers=3",
            )  # fmt: skip
            runs = [replace(run, device=device) for run in made.runs]
            split = split_of(first.dataset, first.category)
            passes = plan_runs(runs, split, Weights("file", "0" * 64, path, "file"), made.execution)
            alike = [run for run in expected if run.identity[:3] == first.identity[:3]]
            planned = job_passes(alike, device=device, n_cores=3, weights_bytes=100_000_000)
            assert planned == tuple(one.plan for one in passes)
