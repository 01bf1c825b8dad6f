"""From records to the paper's places: which runs count, which contradict one another, and what they measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.data.catalog import CATALOG
from harness.keys import CONFIGS
from harness.paper.model import DECLARED_SEED, Edition, Measured, Place, PublishedCell
from harness.paper.published import Published
from harness.store.fields import FAILED
from harness.store.settings import settings_of, varying

if TYPE_CHECKING:
    from harness.store import RunRecord

CONFIDENCE = 0.95
"""Of the intervals that verdicts use; a record with intervals at another level counts, without its intervals."""

LONGEST_MESSAGE = 200
"""Characters of a failed run's error that a reason quotes; the record has all of it."""


def measure(
    records: Iterable[RunRecord], edition: Edition, *, published: Published
) -> Mapping[PublishedCell, Measured]:
    """What the store has for each published number.

    A run counts where it is ok, whole (no limit, the official counts), of the streaming engine with exact arithmetic,
    on trained weights, and of the edition's protocol in every field and in n_features. Runs that count and contradict
    one another (two keys for one seed; several fingerprints, weights or versions of the metrics) are refused together:
    no value is picked or averaged.

    Args:
        records: of one store, in any order.

    Returns:
        A `Measured` for every cell of `published`; one without values for what no run gives.
    """
    protocol = read_config(f"protocol/{edition.protocol}")
    by_place = _sort_by_place(records, edition)
    places = sorted({place for cell in published.cells for place in cell.places}, key=_name)
    chosen = {place: _choose(place, by_place.get(place, ()), edition, protocol) for place in places}
    return MappingProxyType({cell: _measured(cell, chosen) for cell in published.cells})


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


def _sort_by_place(records: Iterable[RunRecord], edition: Edition) -> Mapping[Place, list[RunRecord]]:
    datasets = {theirs: ours for ours, theirs in edition.datasets.items()}
    backbones = {theirs: ours for ours, theirs in edition.backbones.items()}
    by_place: dict[Place, list[RunRecord]] = defaultdict(list)
    for record in records:
        dataset, backbone = datasets.get(record.spec.dataset), backbones.get(record.spec.backbone.name)
        if dataset is not None and backbone is not None:
            by_place[Place(dataset, record.spec.category, backbone)].append(record)
    return by_place


@cache
def read_config(name: str) -> Mapping[str, Any]:
    """A file of configs/, for example `protocol/paper`.

    Raises:
        OSError, yaml.YAMLError: it is not there or no such file: a defect of the checkout.
    """
    import yaml

    return MappingProxyType(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")))


def required_settings(protocol: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """What a run of a protocol was made with, by the names of `harness.store.settings`."""
    fields = {f"protocol.{name}": value for name, value in protocol.items() if name != "n_features"}
    return fields | {"n_features": protocol["n_features"].get(backbone)}


def _choose(place: Place, records: Sequence[RunRecord], edition: Edition, protocol: Mapping[str, Any]) -> _Chosen:
    fit: dict[int, list[RunRecord]] = defaultdict(list)
    left_out: list[tuple[int, str]] = []
    for record in sorted(records, key=lambda record: (record.spec.seed, record.key)):
        reason = _unfit(record, edition, protocol) or _failure(record)
        if reason is None:
            fit[record.spec.seed].append(record)
        else:
            left_out.append((record.spec.seed, reason))
    if not fit:
        return _Chosen({}, missing=_why_missing(left_out))
    conflict = _conflict(fit)
    if conflict is not None:
        return _Chosen({}, refused=conflict)
    return _Chosen(
        runs={seed: runs[0] for seed, runs in sorted(fit.items())},
        notes=tuple(f"{_name(place)}: seed {seed} {reason}" for seed, reason in left_out if seed not in fit),
    )


def _failure(record: RunRecord) -> str | None:
    if record.status != FAILED or record.error is None:
        return None
    stage = f" at {record.error.stage}" if record.error.stage else ""
    message = record.error.message
    short = message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]}…"
    return f"failed{stage} ({record.error.type}: {short})"


def _why_missing(left_out: Sequence[tuple[int, str]]) -> str:
    """`not run`, or why what is there does not count: each reason once, with its seeds, failures first."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for seed, reason in left_out:
        seeds[reason].append(seed)
    ordered = sorted(seeds.items(), key=lambda item: (not item[0].startswith("failed"), item[1], item[0]))
    listed = ((", ".join(map(str, dict.fromkeys(numbers))), reason) for reason, numbers in ordered)
    return "; ".join(f"seed {numbers} {reason}" for numbers, reason in listed) or "not run"


def _unfit(record: RunRecord, edition: Edition, protocol: Mapping[str, Any]) -> str | None:
    """Why a run does not fill its place, the first reason found; None where it does, if it went well."""
    reason = next(_reasons(record, edition, protocol), None)
    return f"does not count ({reason})" if reason else None


def _reasons(record: RunRecord, edition: Edition, protocol: Mapping[str, Any]) -> Iterator[str]:
    spec, info, own = record.spec, record.dataset, settings_of(record)
    required = required_settings(protocol, spec.backbone.name)
    if record.synthetic != edition.synthetic:
        yield f"{'drawn' if record.synthetic else 'real'} images"
    if info.limit is not None:
        yield f"dataset.limit={info.limit}"
    for name in varying([required, {name: own[name] for name in required}]):
        yield f"{name}={own[name]}, the protocol says {required[name]}"
    if spec.engine != "streaming":
        yield f"engine={spec.engine}"
    if spec.inexact:
        yield f"inexact: {', '.join(spec.inexact)}"
    if record.weights.partition(":")[0] == "random":
        yield "random weights"
    found = (info.n_train, info.n_test_normal, info.n_test_anomalous)
    known = CATALOG.get(spec.dataset)
    counts = known.categories.get(spec.category) if known else None
    official = (counts.train, counts.test_normal, counts.test_anomalous) if counts else None
    if official is not None and None not in found and found != official:
        slashed = ("/".join(map(str, counts)) for counts in (found, official))
        yield "{} train/normal/defective images, officially {}".format(*slashed)


_UNIFORM: Mapping[str, Callable[[RunRecord], str]] = MappingProxyType(
    {
        "fingerprints of the images": lambda record: str(record.spec.fingerprint)[:12],
        "weights": lambda record: record.spec.backbone.weights_digest[:12],
        "versions of the metrics": lambda record: str(record.spec.metrics.version),
    }
)
"""What runs of one place must share over all seeds."""


def _conflict(fit: Mapping[int, Sequence[RunRecord]]) -> str | None:
    """How runs that count contradict one another, on one line that says what to do."""
    runs = [record for records in fit.values() for record in records]
    for what, of in _UNIFORM.items():
        values = sorted({of(record) for record in runs})
        if len(values) > 1:
            return f"runs of different {what} ({', '.join(values)}): keep one kind in a store"
    for seed, records in sorted(fit.items()):
        if len(records) > 1:
            keys = ", ".join(record.key for record in records)
            unlike = varying([settings_of(record) for record in records])
            return f"{len(records)} runs of seed {seed} ({keys}) that differ in {', '.join(unlike)}: keep one"
    return None


def _measured(cell: PublishedCell, chosen: Mapping[Place, _Chosen]) -> Measured:
    if cell.metric is None:
        return Measured({}, None, ())
    places = {place: _measure_place(place, chosen[place], cell.metric) for place in cell.places}
    if len(places) == 1:
        return next(iter(places.values()))
    return _mean([chosen[place] for place in places], list(places.values()))


def _measure_place(place: Place, chosen: _Chosen, metric: str) -> Measured:
    name = _name(place)
    if chosen.refused is not None:
        return Measured({}, None, (), refused=(f"{name}: {chosen.refused}",))
    if not chosen.runs:
        return Measured({}, None, (), missing=(f"{name}: {chosen.missing}",))
    values: dict[int, float] = {}
    for seed, record in chosen.runs.items():
        value = record.values[metric]
        if value is None:
            return Measured({}, None, (), missing=(f"{name}: {metric} is absent ({record.metrics_absent[metric]})",))
        values[seed] = value
    interval = _interval(chosen.runs.get(DECLARED_SEED), metric)
    return Measured(
        by_seed=MappingProxyType(values),
        interval=interval,
        keys=tuple(record.key for record in chosen.runs.values()),
        notes=chosen.notes,
        half_width=(interval[1] - interval[0]) / 2 if interval else None,
    )


def _interval(record: RunRecord | None, metric: str) -> tuple[float, float] | None:
    if record is None or record.spec.metrics.confidence != CONFIDENCE or metric not in record.intervals:
        return None
    interval = record.intervals[metric]
    return interval.low, interval.high


def _mean(chosen: Sequence[_Chosen], parts: Sequence[Measured]) -> Measured:
    """The mean over places, at the seeds that all of them have; nothing where a place has nothing."""
    missing = tuple(text for part in parts for text in part.missing)
    refused = tuple(text for part in parts for text in part.refused)
    if not missing and not refused:
        refused = _mixed(chosen)
    if missing or refused:
        return Measured({}, None, (), missing=missing, refused=refused)
    common = sorted(set.intersection(*(set(part.by_seed) for part in parts)))
    if not common:
        return Measured({}, None, (), missing=("no seed that every category of the mean has",))
    widths = [part.half_width for part in parts if part.half_width is not None]
    complete = len(widths) == len(parts)
    return Measured(
        by_seed=MappingProxyType(
            {seed: math.fsum(part.by_seed[seed] for part in parts) / len(parts) for seed in common}
        ),
        interval=None,
        keys=tuple(place.runs[seed].key for place in chosen for seed in common),
        notes=tuple(note for part in parts for note in part.notes),
        half_width=math.hypot(*widths) / len(parts) if complete else None,
    )


def _mixed(chosen: Sequence[_Chosen]) -> tuple[str, ...]:
    """Why categories have no mean, each of which is right by itself."""
    for what in ("weights", "versions of the metrics"):
        values = sorted({_UNIFORM[what](record) for place in chosen for record in place.runs.values()})
        if len(values) > 1:
            return (f"the mean's categories have different {what} ({', '.join(values)})",)
    return ()
