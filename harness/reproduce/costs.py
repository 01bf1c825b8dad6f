"""What runs will cost in time and memory: from measured costs kept as data, scaled by what this machine has shown."""

from __future__ import annotations

import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.reproduce.presence import ImageKind
from harness.store.fields import OK

if TYPE_CHECKING:
    from harness.store.record import RunRecord

FILE = Path(__file__).with_name("costs.toml")

SCALING_CORES = 4
"""More cores than these are not counted on: decoding has two threads, and a batch of 16 no more work to share."""


@dataclass(frozen=True)
class BackboneCosts:
    """Of one backbone with the paper's number of channels; seconds are a processor's."""

    pass_seconds: float
    """For each image that is decoded and passed, whatever the seeds."""
    seed_seconds: float
    """For each image and seed."""
    base_bytes: int
    seed_bytes: int
    """For each seed whose Gaussians are in memory together."""
    weights_bytes: int
    """Of timm's file."""


@dataclass(frozen=True)
class Costs:
    """Measured costs, as costs.toml holds them."""

    source: str
    start_seconds: float
    megapixels: float
    store_bytes: int
    library_bytes: int
    test_image_bytes: int
    map_bytes: int
    decode_seconds: Mapping[str, float]
    unpacked_ratio: Mapping[str, float]
    backbone: Mapping[str, BackboneCosts]


@dataclass(frozen=True)
class Work:
    """One category with one backbone, at several seeds."""

    backbone: str
    n_train: int
    n_test: int
    n_seeds: int
    seeds_at_once: int
    """How many seeds share one pass through the backbone."""
    kind: ImageKind | None = None
    """Of its images; None takes the measured ones'."""


@dataclass(frozen=True)
class Pace:
    """How this machine compares with the measured costs."""

    factor: float
    """Wall-clock seconds for each of the processor's seconds in costs.toml."""
    source: str
    """What it rests on, for the reader of an estimate."""


def load_costs(path: Path = FILE) -> Costs:
    """Read costs.toml."""
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    backbones = {name: BackboneCosts(**fields) for name, fields in data.pop("backbone").items()}
    return Costs(**data, backbone=backbones)


def processor_seconds(work: Work, costs: Costs) -> float:
    """The processor's seconds that a job takes."""
    backbone = costs.backbone[work.backbone]
    n_images = work.n_train + work.n_test
    n_passes = math.ceil(work.n_seeds / work.seeds_at_once)
    each = backbone.pass_seconds + _decoding(work.kind, costs)
    return costs.start_seconds + n_images * (each * n_passes + backbone.seed_seconds * work.n_seeds)


def _decoding(kind: ImageKind | None, costs: Costs) -> float:
    """How much longer an image takes to decode than the measured one, which was a PNG."""
    if kind is None:
        return 0.0
    rate = costs.decode_seconds.get(kind.suffix, costs.decode_seconds[".png"])
    return kind.megapixels * rate - costs.megapixels * costs.decode_seconds[".png"]


def peak_bytes(work: Work, costs: Costs) -> int:
    """The most memory that a job's process holds: at the fit, or later with all maps of its seeds and the metrics."""
    backbone = costs.backbone[work.backbone]
    n_seeds = min(work.n_seeds, work.seeds_at_once)
    fit = backbone.base_bytes + n_seeds * backbone.seed_bytes
    scoring = costs.library_bytes + work.n_test * (costs.test_image_bytes + n_seeds * costs.map_bytes)
    return max(fit, scoring)


def find_pace(records: Iterable[RunRecord], costs: Costs, *, device: str, cpu: str, n_cores: int) -> Pace:
    """From the jobs in a store that this processor did on this kind of device; else from the number of cores.

    Args:
        device: `cpu` or `cuda`.
        cpu: this machine's, by the name that records hold.
    """
    ratios = [seconds / processor_seconds(work, costs) for work, seconds in _jobs(records, costs, device, cpu)]
    if ratios:
        factor = median(ratios)
        jobs = "1 job" if len(ratios) == 1 else f"{len(ratios)} jobs"
        return Pace(factor, f"scaled by {jobs} in the store that this machine did")
    cores = min(n_cores, SCALING_CORES)
    note = "" if device == "cpu" else f"; nothing is known of {device} here, so this is the processor's time"
    return Pace(1 / cores, f"{costs.source}; scaled to {cores} core{'' if cores == 1 else 's'}{note}")


def _jobs(records: Iterable[RunRecord], costs: Costs, device: str, cpu: str) -> list[tuple[Work, float]]:
    """Whole jobs with their wall-clock seconds: runs that began together are one job."""
    groups: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for record in records:
        spec = record.spec
        fits = record.status == OK and record.dataset.limit is None and spec.engine == "streaming"
        here = spec.device == device and record.environment.cpu == cpu
        if fits and here and spec.backbone.name in costs.backbone:
            groups[spec.dataset, spec.category, spec.backbone.name, record.started].append(record)
    return [(_work(group), _seconds(group)) for group in groups.values()]


def _work(group: Sequence[RunRecord]) -> Work:
    dataset = group[0].dataset
    n_test = (dataset.n_test_normal or 0) + (dataset.n_test_anomalous or 0)
    return Work(group[0].spec.backbone.name, dataset.n_train or 0, n_test, len(group), seeds_at_once=len(group))


def _seconds(group: Sequence[RunRecord]) -> float:
    """Of one job: what its runs share, once, and the metrics of each."""
    shared = max(
        sum(seconds for stage, seconds in record.timing.seconds.items() if stage != "metrics") for record in group
    )
    return shared + sum(record.timing.seconds.get("metrics", 0.0) for record in group)
