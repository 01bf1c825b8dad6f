"""What `make smoke` runs on, and what it must find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.errors import RequestError, StoreError
from harness.experiment import load_experiment
from harness.golden import GOLDEN, deviations, load_golden, to_golden
from harness.store import RunRecord, Store

REAL_EXPERIMENT = "smoke_real"


def real_request(data_root: Path, limit: int) -> list[str]:
    """The request that runs every real category of the smoke experiment that is there, on a few images each.

    Raises:
        RequestError: none of them is there.
    """
    grids = load_experiment(REAL_EXPERIMENT).grids
    wanted = [(grid["dataset"][0], category) for grid in grids for category in grid["category"]]
    there = [(dataset, category) for dataset, category in wanted if (data_root / dataset / category).is_dir()]
    if not there:
        names = ", ".join(f"{dataset}/{category}" for dataset, category in dict.fromkeys(wanted))
        raise RequestError(f"{data_root}: has none of {names}; give a folder that holds mvtec, visa or btad")
    datasets = ",".join(dict.fromkeys(dataset for dataset, _ in there))
    categories = ",".join(dict.fromkeys(category for _, category in there))
    return [
        f"experiment={REAL_EXPERIMENT}", f"dataset={datasets}", f"category={categories}", f"data_root={data_root}",
        f"dataset.limit={limit}",
    ]  # fmt: skip


def begin_empty(store: Path) -> Path:
    """Take away the runs of an earlier smoke: code is not in a run's key, so they would count as done."""
    shutil.rmtree(store, ignore_errors=True)
    return store


def check_golden(store: Store) -> list[str]:
    """What moved in a store of the smoke experiment; see `harness.golden.deviations`.

    Raises:
        StoreError: the store holds a record that cannot be trusted.
    """
    return deviations(_records(store), load_golden())


def draw_everything(store: Path) -> str:
    """Tables, figures and page of a smoke store, into its own folders; returns a line that says where they are."""
    from harness.report.render import EDITIONS, render

    rendered = render(
        store, EDITIONS["smoke"], tables=store / "tables", figures=store / "figures", report=store / "report.html"
    )
    return f"{len(rendered.files)} files in {store}: tables/, figures/, report.html; {rendered.summary}"


def update_golden(store: Store) -> Path:
    """Keep the store's numbers as the golden ones."""
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(to_golden(_records(store)), indent=2) + "\n")
    return GOLDEN


def _records(store: Store) -> tuple[RunRecord, ...]:
    contents = store.records()
    if contents.problems:
        raise StoreError(contents.problems[0])
    return contents.records
