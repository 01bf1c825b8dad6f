"""What runs will cost in time: from measured costs kept as data, scaled by what this machine has shown."""

from __future__ import annotations

import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError
from harness.reproduce.presence import ImageKind
from harness.store.fields import OK

if TYPE_CHECKING:
    from harness.store.record import PassPlan, RunRecord

FILE = Path(__file__).with_name("costs.toml")

SCALING_CORES = 4
"""More cores than these are not counted on: decoding and the network use all there are, but that was not measured."""


@dataclass(frozen=True)
class BackboneCosts:
    """Of one backbone with the paper's number of channels; seconds are a processor's."""

    pass_seconds: float
    """For each image that is decoded and passed, whatever the seeds."""
    seed_seconds: float
    """For each image and seed."""
    weights_bytes: int
    """Of timm's file."""


@dataclass(frozen=True)
class Costs:
    """Measured costs, as costs.toml holds them."""

    source: str
    start_seconds: float
    megapixels: float
    store_bytes: int
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
    n_passes: int
    """Through the backbone; the seeds are parted among them."""
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
    """Read costs.toml.

    Raises:
        RequestError: it cannot be read, or does not hold what `Costs` says, each number above 0.
    """
    from pydantic import TypeAdapter

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        costs = TypeAdapter(Costs).validate_python(data, strict=False)
        if not all(math.isfinite(number) and number > 0 for number in _numbers(asdict(costs))):
            raise ValueError("a cost is not a number above 0")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); restore it (git checkout)") from error
    except (ValueError, RecursionError) as error:  # TOML's, pydantic's and UTF-8's errors are ValueErrors too
        raise RequestError(f"{path}: is no table of costs ({error}); restore it (git checkout)") from error
    return costs


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif not isinstance(value, str):
        yield value


def processor_seconds(work: Work, costs: Costs) -> float:
    """The processor's seconds that a job takes."""
    backbone = costs.backbone[work.backbone]
    n_images = work.n_train + work.n_test
    each = backbone.pass_seconds + _decoding(work.kind, costs)
    return costs.start_seconds + n_images * (each * work.n_passes + backbone.seed_seconds * work.n_seeds)


def _decoding(kind: ImageKind | None, costs: Costs) -> float:
    """How much longer an image takes to decode than the measured one, which was a PNG."""
    if kind is None:
        return 0.0
    rate = costs.decode_seconds.get(kind.suffix, costs.decode_seconds[".png"])
    return kind.megapixels * rate - costs.megapixels * costs.decode_seconds[".png"]


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
    groups: dict[tuple[str, ...], list[tuple[RunRecord, PassPlan]]] = defaultdict(list)
    for record in records:
        spec = record.spec
        usual = spec.engine == "streaming" and not spec.inexact
        fits = record.status == OK and record.dataset.limit is None and usual
        here = spec.device == device and record.environment.cpu == cpu
        # A record without a plan is of an earlier engine, whose pace says nothing of this one's.
        if fits and here and record.plan is not None and spec.backbone.name in costs.backbone:
            groups[spec.dataset, spec.category, spec.backbone.name, record.started].append((record, record.plan))
    return [(_work(group), _seconds(group)) for group in groups.values()]


def _work(group: Sequence[tuple[RunRecord, PassPlan]]) -> Work:
    record, _ = group[0]
    dataset = record.dataset
    n_test = (dataset.n_test_normal or 0) + (dataset.n_test_anomalous or 0)
    n_passes = max(1, round(sum(1 / plan.runs_together for _, plan in group)))
    return Work(record.spec.backbone.name, dataset.n_train or 0, n_test, len(group), n_passes)


def _seconds(group: Sequence[tuple[RunRecord, PassPlan]]) -> float:
    """Of one job, from its start to its last run's end: stages of several runs overlap, so they do not add up to it."""
    started, *ends = (
        datetime.fromisoformat(time) for time in (group[0][0].started, *(run.finished for run, _ in group))
    )
    # Records hold whole seconds.
    return max(1.0, (max(ends) - started).total_seconds())
