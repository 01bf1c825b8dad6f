"""From records to the paper's places: which runs count, which contradict one another, and what they measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.config.keys import protocol_settings
from harness.data.catalog import CATALOG
from harness.papers.arithmetic import Classes, auroc_step, f1_steps
from harness.papers.model import Edition, Measured, Place, PublishedCell
from harness.papers.published import Published
from harness.paths import CONFIGS
from harness.store.fields import not_measured, settings_of, varying

if TYPE_CHECKING:
    from harness.store import Failure, RunRecord

CONFIDENCE = 0.95
"""Of the intervals that tables and whiskers show; a record with intervals at another level counts, without them."""

LONGEST_MESSAGE = 200
"""Characters of a failed run's error that a reason quotes; the record has all of it."""


def measure(
    records: Iterable[RunRecord], edition: Edition, *, published: Published
) -> Mapping[PublishedCell, Measured]:
    """Find what the store has for each published number.

    A run counts where it is ok, whole (no limit, the official counts), of the streaming engine with exact arithmetic,
    on trained weights, and of the edition's protocol in every setting. Runs that count and contradict
    one another (two keys for one seed; several fingerprints, weights or versions of the metrics) are refused together:
    no value is picked or averaged.

    Args:
        records: of one store, in any order.

    Returns:
        A `Measured` for every cell of `published`; one without values for what no run gives.
    """
    by_place = _sort_by_place(records, edition)
    places = sorted({place for cell in published.cells for place in cell.places}, key=_name)
    shared = _shared(published.metrics.values())
    chosen = {place: _choose(place, by_place.get(_where(place), ()), edition, shared) for place in places}
    return {cell: _measured(cell, chosen, edition, shared) for cell in published.cells}


@dataclass(frozen=True)
class _Chosen:
    """The runs of one place that count."""

    runs: Mapping[int, RunRecord]
    """By seed, sorted."""
    missing: str | None = None
    refused: str | None = None
    notes: tuple[str, ...] = ()


def _name(place: Place) -> str:
    return f"{place.dataset}/{place.category}/{place.backbone}"


def _where(place: Place) -> tuple[str, str, str]:
    return place.dataset, place.category, place.backbone


def _sort_by_place(records: Iterable[RunRecord], edition: Edition) -> Mapping[tuple[str, str, str], list[RunRecord]]:
    """Return records by the paper's dataset, category and backbone; of any model."""
    datasets = {theirs: ours for ours, theirs in edition.datasets.items()}
    backbones = {theirs: ours for ours, theirs in edition.backbones.items()}
    by_place: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        dataset, backbone = datasets.get(record.spec.dataset), backbones.get(record.spec.backbone.name)
        if dataset is not None and backbone is not None:
            by_place[dataset, record.spec.category, backbone].append(record)
    return by_place


@cache
def read_config(name: str) -> Mapping[str, Any]:
    """Read a file of configs/, for example `protocol/paper`."""
    import yaml

    return dict(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")))


def required_settings(protocol: str, model: str, backbone: str) -> dict[str, Any]:
    """Return what a run of a protocol was made with, by the names of `harness.store.fields`."""
    return {"model": model, **protocol_settings(protocol, model=model, backbone=backbone)}


def _choose(place: Place, records: Sequence[RunRecord], edition: Edition, shared: _Shared) -> _Chosen:
    fit: dict[int, list[RunRecord]] = defaultdict(list)
    left_out: list[tuple[int, str]] = []
    for record in sorted(records, key=lambda record: (record.spec.seed, record.key)):
        reason = next(_reasons(record, edition, place.model), None)
        if reason is not None:
            left_out.append((record.spec.seed, f"does not count ({reason})"))
        elif record.error is not None:
            left_out.append((record.spec.seed, _failure(record.error)))
        else:
            fit[record.spec.seed].append(record)
    if not fit:
        return _Chosen({}, missing=_why_missing(left_out))
    conflict = _conflict(fit, shared)
    if conflict is not None:
        return _Chosen({}, refused=conflict)
    return _Chosen(
        runs={seed: runs[0] for seed, runs in sorted(fit.items())},
        notes=tuple(f"{_name(place)}: seed {seed} {reason}" for seed, reason in left_out if seed not in fit),
    )


def _failure(error: Failure) -> str:
    stage = f" at {error.stage}" if error.stage else ""
    cut = "…" if len(error.message) > LONGEST_MESSAGE else ""
    return f"failed{stage} ({error.type}: {error.message[:LONGEST_MESSAGE]}{cut})"


def _why_missing(left_out: Sequence[tuple[int, str]]) -> str:
    """Return `not run`, or why what is there does not count: each reason once, with its seeds, failures first."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for seed, reason in left_out:
        seeds[reason].append(seed)
    ordered = sorted(seeds.items(), key=lambda item: (not item[0].startswith("failed"), item[1], item[0]))
    listed = ((", ".join(map(str, dict.fromkeys(numbers))), reason) for reason, numbers in ordered)
    return "; ".join(f"seed {numbers} {reason}" for numbers, reason in listed) or "not run"


def _reasons(record: RunRecord, edition: Edition, model: str) -> Iterator[str]:
    """Yield why a run does not fill its place; nothing where it does, if it went well."""
    spec, info, own = record.spec, record.dataset, settings_of(record)
    required = required_settings(edition.protocol, model, spec.backbone.name)
    if record.synthetic != edition.synthetic:
        yield f"{'drawn' if record.synthetic else 'real'} images"
    if info.limit is not None:
        yield f"dataset.limit={info.limit}"
    for name in varying([required, {name: own.get(name) for name in required}]):
        yield f"{name}={own.get(name)}, the protocol says {required[name]}"
    if spec.engine != "streaming":
        yield f"engine={spec.engine}"
    if record.weights.partition(":")[0] == "random":
        yield "random weights"
    found = (info.n_train, info.n_test_normal, info.n_test_anomalous)
    known = CATALOG.get(spec.dataset)
    counts = known.categories.get(spec.category) if known else None
    if counts is not None and None not in found:
        official = (counts.train, counts.test_normal, counts.test_anomalous)
        if found != official:
            slashed = ("/".join(map(str, each)) for each in (found, official))
            yield "{} train/normal/defective images, officially {}".format(*slashed)


_Shared = Mapping[str, Callable[["RunRecord"], str]]


def _shared(metrics: Iterable[str]) -> _Shared:
    """Return what runs of one place, and of the places of a mean, must share over all seeds."""
    names = list(metrics)

    def versions(record: RunRecord) -> str:
        """Return the version that all of the paper's metrics have, or each one's; nothing where a run has none."""
        found = [str(record.metrics[name].version) for name in names if name in record.metrics]
        return found[0] if len(set(found)) == 1 else "/".join(found)

    return {"weights": lambda record: record.spec.backbone.weights_digest[:12], "versions of the metrics": versions}


def _conflict(fit: Mapping[int, Sequence[RunRecord]], shared: _Shared) -> str | None:
    """Say how runs that count contradict one another, on one line that says what to do."""
    runs = [record for records in fit.values() for record in records]
    mixed = _mixed(runs, {"fingerprints of the images": lambda record: str(record.spec.fingerprint)[:12], **shared})
    if mixed is not None:
        return f"runs of {mixed}: keep one kind in a store"
    for seed, records in sorted(fit.items()):
        if len(records) > 1:
            keys = ", ".join(record.key for record in records)
            unlike = varying([settings_of(record) for record in records])
            return f"{len(records)} runs of seed {seed} ({keys}) that differ in {', '.join(unlike)}: keep one"
    return None


def _mixed(runs: Iterable[RunRecord], shared: _Shared) -> str | None:
    """Say what these runs should share and do not, as `different weights (a, b)`."""
    runs = list(runs)
    for what, of in shared.items():
        values = sorted({of(record) for record in runs} - {""})
        if len(values) > 1:
            return f"different {what} ({', '.join(values)})"
    return None


def _measured(cell: PublishedCell, chosen: Mapping[Place, _Chosen], edition: Edition, shared: _Shared) -> Measured:
    if cell.metric is None:
        return Measured({}, None, ())
    parts = [_measure_place(place, chosen[place], cell.metric, edition.declared_seed) for place in cell.places]
    return (
        parts[0]
        if len(parts) == 1
        else _mean([chosen[place] for place in cell.places], parts, edition.declared_seed, shared)
    )


def _measure_place(place: Place, chosen: _Chosen, metric: str, declared_seed: int) -> Measured:
    name = _name(place)
    if chosen.refused is not None:
        return Measured({}, None, (), refused=(f"{name}: {chosen.refused}",))
    if not chosen.runs:
        return Measured({}, None, (), missing=(f"{name}: {chosen.missing}",))
    values: dict[int, float] = {}
    for seed, record in chosen.runs.items():
        reason = not_measured(record, metric)
        if reason is not None:
            return Measured({}, None, (), missing=(f"{name}: {metric} is absent ({reason})",))
        values[seed] = record.metrics[metric].value
    declared = chosen.runs.get(declared_seed)
    usable = declared is not None and declared.metrics_settings.confidence == CONFIDENCE
    interval = declared.intervals.get(metric) if declared is not None and usable else None
    return Measured(
        by_seed=values,
        interval=(interval.low, interval.high) if interval else None,
        keys=tuple(record.key for record in chosen.runs.values()),
        notes=chosen.notes,
        half_width=(interval.high - interval.low) / 2 if interval else None,
        steps=grid_steps(metric, math.fsum(values.values()) / len(values), next(iter(chosen.runs.values()))),
        declared=values.get(declared_seed),
    )


def grid_steps(metric: str, value: float, record: RunRecord) -> tuple[float, float]:
    """Return how far from a value the metric's grid goes on, by the test images that the runs of a place share."""
    n_pos, n_neg = record.dataset.n_test_anomalous, record.dataset.n_test_normal
    if not n_pos or not n_neg or not metric.startswith("image_"):
        return 0.0, 0.0
    classes = Classes(n_pos, n_neg)
    return (auroc_step(classes),) * 2 if metric == "image_auroc" else f1_steps(value, classes)


def _mean(chosen: Sequence[_Chosen], parts: Sequence[Measured], declared_seed: int, shared: _Shared) -> Measured:
    """Take the mean over places, at the seeds that all of them have; nothing where a place has nothing."""
    missing = tuple(text for part in parts for text in part.missing)
    refused = tuple(text for part in parts for text in part.refused)
    mixed = _mixed((record for place in chosen for record in place.runs.values()), shared)
    if not missing and not refused and mixed is not None:
        refused = (f"the mean's categories have {mixed}",)
    if missing or refused:
        return Measured({}, None, (), missing=missing, refused=refused)
    common = sorted(set.intersection(*(set(part.by_seed) for part in parts)))
    if not common:
        return Measured({}, None, (), missing=("no seed that every category of the mean has",))
    by_seed = {seed: math.fsum(part.by_seed[seed] for part in parts) / len(parts) for seed in common}
    widths = [part.half_width for part in parts if part.half_width is not None]
    return Measured(
        by_seed=by_seed,
        interval=None,
        keys=tuple(place.runs[seed].key for place in chosen for seed in common),
        notes=tuple(note for part in parts for note in part.notes),
        half_width=math.hypot(*widths) / len(parts) if len(widths) == len(parts) else None,
        steps=(max(part.steps[0] for part in parts) / len(parts), max(part.steps[1] for part in parts) / len(parts)),
        declared=by_seed.get(declared_seed),
    )
