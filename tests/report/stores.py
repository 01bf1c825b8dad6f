"""Small stores for the report's tests: records that count, with values that tell one cell from another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harness.papers.model import Edition, Place
from harness.papers.selection import measure
from harness.papers.verdict import judge_all
from harness.report.words import Judged
from harness.store import Interval, RunRecord, Store
from tests.papers.making import PAPER, PUBLISHED, SMOKE, run
from tests.store.making import VALUES, make_scores

PLACES = tuple(dict.fromkeys(place for cell in PUBLISHED.cells for place in cell.places))
"""The ten categories and backbones of Tables 1 to 4."""

EDITIONS = {"paper": PAPER, "smoke": SMOKE}


def values_of(place: Place, seed: int = 42) -> dict[str, float]:
    """Metrics that no other place or seed has."""
    step = PLACES.index(place) * 0.003 + (seed % 10) * 0.0002
    return {name: value - step for name, value in VALUES.items()}


def run_of(place: Place, edition: Edition, seed: int = 42) -> RunRecord:
    """A run that counts, with those values and intervals around them."""
    values = values_of(place, seed)
    intervals = {
        name: Interval(low=value - 0.05, high=min(value + 0.03, 1.0), method="stratified bootstrap over images")
        for name, value in values.items()
    }
    return run(place, edition=edition, seed=seed, values=values, record={"intervals": intervals})


def whole(edition: Edition, seeds: Iterable[int] = (42,)) -> list[RunRecord]:
    """A run for every place and seed."""
    return [run_of(place, edition, seed) for place in PLACES for seed in seeds]


def judge_store(records: Iterable[RunRecord], edition: Edition) -> Judged:
    """All that tables and figures are made from."""
    records = tuple(records)
    measured = measure(records, edition, published=PUBLISHED)
    return Judged(PUBLISHED, edition, judge_all(PUBLISHED, measured, edition), records)


def make_examples(seed: int = 0, labels: tuple[int, ...] = (0, 0, 1, 1), side: int = 32) -> dict[str, np.ndarray]:
    """Arrays as `harness.execution.examples` leaves them; the defective images have a bright corner."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    maps = rng.uniform(1, 5, (n, side, side)).astype(np.float32)
    masks = np.zeros((n, side, side), np.uint8)
    for index, label in enumerate(labels):
        if label:
            maps[index, : side // 3, : side // 3] += 20
            masks[index, : side // 3, : side // 3] = 1
    return {
        "paths": np.array([f"bottle/test/{'bad' if label else 'good'}/{i:03d}.png" for i, label in enumerate(labels)]),
        "labels": np.array(labels, np.int64),
        "images": rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8),
        "anomaly_maps": maps,
        "map_range": np.array([0.5, 30.0], np.float32),
        "masks": masks,
    }


def write_store(path: Path, records: Iterable[RunRecord], examples: dict[str, np.ndarray] | None = None) -> Store:
    """A store of these records, each ok one with scores and the same examples."""
    store = Store(path)
    for record in records:
        ok = record.status == "ok"
        store.write(record, make_scores() if ok else None, examples if ok else None)
    return store
