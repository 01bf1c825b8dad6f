"""What `make smoke` runs on, and the mini benchmark's numbers as they are known to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.config.experiment import load_experiment
from harness.data.mini.counts import MINI_VERSION
from harness.errors import RequestError
from harness.paths import PROJECT
from harness.store import RunRecord

GOLDEN = PROJECT / "results" / "golden" / "smoke.json"

TOLERANCES: Mapping[str, float] = {
    "image_auroc": 0.0075,
    "image_f1_max": 0.05,
    "image_f1_strict": 0.05,
    "pixel_auroc": 2e-5,
    "pixel_f1_max": 5e-4,
    "pixel_f1_strict": 5e-4,
    "pixel_aupro": 5e-5,
}
"""The largest difference that another processor may make.

Of images: one changes places with its neighbour, which on 14 defective and 10 normal ones is 1/140 of AUROC. Of
pixels: at least four times what another instruction set (SSE4 instead of AVX2) was measured to make (4e-6, 4e-5 and
1.2e-5): with fewer images than features epsilon carries the covariance, and float32's rounding shows more than on a
real category. The number of threads changes no bit.
"""

RAW_TOLERANCES: Mapping[str, float] = {"threshold_image_f1_max": 1e-3, "threshold_pixel_f1_max": 5e-3}
"""Relative, of the raw scores at which F1 is largest.

Rankings alone would not notice another epsilon: with fewer images than features it scales all scores alike. Measured as
above: 1.1e-4; the second allows a step from one best threshold to another whose F1 is nearly the same.
"""


def golden_values(record: RunRecord) -> dict[str, float | None]:
    """Return all that a golden file keeps of a run: its seven metrics, and two raw scores."""
    raw = {f"threshold_{name}": value for name, value in record.thresholds.items()}
    return {name: (record.values | raw)[name] for name in (*TOLERANCES, *RAW_TOLERANCES)}


def place_of(record: RunRecord) -> str:
    """Return the name under which a golden file keeps a run's numbers."""
    spec = record.spec
    return f"{spec.dataset}/{spec.category} {spec.backbone.name} seed {spec.seed}"


def to_golden(records: Iterable[RunRecord]) -> dict[str, Any]:
    """Make golden content from the ok records of a smoke sweep."""
    cells = {place_of(record): golden_values(record) for record in records if record.status == "ok"}
    return {"mini_version": MINI_VERSION, "metrics": dict(sorted(cells.items()))}


def load_golden(path: Path = GOLDEN) -> dict[str, Any]:
    """Read a golden file.

    Raises:
        RequestError: it is of another version of the drawings.
    """
    golden: dict[str, Any] = json.loads(path.read_text())
    if golden["mini_version"] != MINI_VERSION:
        raise RequestError(
            f"{path}: is of mini benchmark version {golden['mini_version']}, the drawings are of {MINI_VERSION}; "
            "run `.venv/bin/python scripts/smoke.py --update-golden` and look at what changes"
        )
    return golden


def deviations(records: Iterable[RunRecord], golden: Mapping[str, Any]) -> list[str]:
    """Give a line for each golden number that the records do not have within its tolerance; none where all is well.

    Every record must fit, also where several have the same place: one made under another protocol is no golden run.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(place_of(record), []).append(record)
    lines = []
    for place, expected in golden["metrics"].items():
        if place not in found:
            lines.append(f"{place}: there is no run")
        for record in found.get(place, []):
            for name, value in expected.items():
                lines += _deviation(place, name, value, golden_values(record).get(name))
    return lines


def _deviation(place: str, name: str, expected: float | None, actual: float | None) -> list[str]:
    if expected is None or actual is None:
        return [] if expected == actual else [f"{place}: {name} is {actual}, golden {expected}"]
    tolerance = TOLERANCES[name] if name in TOLERANCES else RAW_TOLERANCES[name] * abs(expected)
    if abs(actual - expected) <= tolerance:
        return []
    return [f"{place}: {name} is {actual:.6f}, golden {expected:.6f}, tolerance {tolerance:.2g}"]


def real_request(data_root: Path, limit: int) -> list[str]:
    """Make the request that runs every real category of the smoke experiment that is there, on a few images each.

    Raises:
        RequestError: none of them is there.
    """
    grids = load_experiment("smoke_real").grids
    wanted = [(grid["dataset"][0], category) for grid in grids for category in grid["category"]]
    there = [(dataset, category) for dataset, category in wanted if (data_root / dataset / category).is_dir()]
    if not there:
        names = ", ".join(f"{dataset}/{category}" for dataset, category in dict.fromkeys(wanted))
        raise RequestError(f"{data_root}: has none of {names}; give a folder that holds mvtec, visa or btad")
    datasets, categories = (",".join(dict.fromkeys(names)) for names in zip(*there, strict=True))
    keys = [f"dataset={datasets}", f"category={categories}", f"data_root={data_root}", f"dataset.limit={limit}"]
    return ["experiment=smoke_real", *keys]
