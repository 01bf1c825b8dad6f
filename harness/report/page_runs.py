"""The runs of a store as the page shows them: one table of all, where they were made, and on which images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.report.page_grid import NOTHING, Cell, Grid, amount, cell, grid
from harness.report.page_run import METRIC_NAMES, Fields, Run, count, describe_run, run_id, where
from harness.report.words import BACKBONE_NAMES
from harness.store.settings import settings_of, shown, varying

if TYPE_CHECKING:
    from harness.store.record import Environment, RunRecord

_OF_PROTOCOL = ("protocol.", "index_versions")
_TOLD_OTHERWISE = {
    "protocol", "engine", "inexact", "backbone.weights_digest", "index_versions", "index_versions.timm",
    "index_versions.torch",
}  # fmt: skip
"""By the protocol's text, by `weights`, and by the sampler."""


@dataclass(frozen=True)
class Group:
    """Runs of one category with one backbone."""

    title: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Machine:
    """An environment that at least one run was made in."""

    identifier: str
    name: str
    fields: Fields
    packages: Fields
    n_runs: int


@dataclass(frozen=True)
class Runs:
    """All that the page shows of runs."""

    overview: Grid | None
    """None where there are no records."""
    groups: tuple[Group, ...]
    machines: tuple[Machine, ...]
    data: Grid | None
    """Which images were looked at, and under which licence."""


def describe_runs(records: Sequence[RunRecord]) -> Runs:
    """Everything about the runs, sorted by what was run."""
    ordered = sorted(records, key=lambda r: (*where(r), r.spec.seed, _protocol(r), r.spec.n_features, r.key))
    machines = _machines(ordered)
    names = {_machine(record.environment): (name, identifier) for name, identifier, record in machines}
    groups = tuple(
        Group(_title(place), tuple(describe_run(record, *names[_machine(record.environment)]) for record in members))
        for place, members in groupby(ordered, key=where)
    )
    counts = Counter(_machine(record.environment) for record in ordered)
    described = tuple(
        Machine(
            identifier,
            name,
            _environment(record.environment),
            tuple(sorted(record.environment.packages.items())),
            counts[_machine(record.environment)],
        )
        for name, identifier, record in machines
    )
    return Runs(_overview(ordered), groups, described, _data(ordered))


def _title(place: tuple[str, str, str]) -> str:
    dataset, category, backbone = place
    return f"{dataset} / {category}, {BACKBONE_NAMES.get(backbone, backbone)}"


def _overview(records: Sequence[RunRecord]) -> Grid | None:
    if not records:
        return None
    metrics = ("image_auroc", "image_f1_adaptive", "pixel_auroc", "pixel_f1_adaptive", "pixel_aupro")
    columns = ("Run", "Dataset", "Category", "Backbone", "Seed", "Status", *(METRIC_NAMES[name] for name in metrics))
    settings = _told_apart(records)
    rows = [
        (
            Cell(record.key, href=f"#{run_id(record.key)}"),
            *map(Cell, where(record)),
            cell(str(record.spec.seed)),
            cell(record.status),
            *(amount(record.values[name]) for name in metrics),
            amount(sum(record.timing.seconds.values()), 1),
            amount(record.memory.peak_rss_bytes / 1e9 if record.memory else None, 2),
            Cell(settings[record.key]),
        )
        for record in records
    ]
    caption = "Every run in the store. Runs that share a pass through the backbone share its seconds and peak memory."
    return grid("runs-all", caption, (*columns, "Seconds", "Peak GB", "Settings"), rows)


def _protocol(record: RunRecord) -> str:
    """Its name, and what else is not as the paper's tables take it."""
    spec = record.spec
    return ", ".join([record.protocol_name, *([spec.engine] if spec.engine != "streaming" else []), *spec.inexact])


def _told_apart(records: Sequence[RunRecord]) -> dict[str, str]:
    """By key: a run's protocol, and where it differs from others of its dataset, category and backbone otherwise.

    Fields of the protocol are named only if they differ within one protocol.
    """
    texts = {}
    for _, members in groupby(records, key=where):
        group = [(record, settings_of(record)) for record in members]
        by_protocol: dict[str, list[dict[str, Any]]] = {}
        for record, own in group:
            by_protocol.setdefault(_protocol(record), []).append(own)
        names = {name for name in varying([own for _, own in group]) if not name.startswith(_OF_PROTOCOL)}
        names |= {name for alike in by_protocol.values() for name in varying(alike)}
        names -= _TOLD_OTHERWISE
        for record, own in group:
            said = (f"{name.removeprefix('protocol.')}\N{NO-BREAK SPACE}{_short(own.get(name))}" for name in names)
            texts[record.key] = ", ".join([_protocol(record), *sorted(said)])
    return texts


def _short(value: Any) -> str:
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{52}$", r"\1", shown(value))


def failures(records: Sequence[RunRecord]) -> Grid | None:
    """The runs that failed, with stage and error; None where none did."""
    rows = [
        (Cell(record.key, href=f"#{run_id(record.key)}"), *map(Cell, where(record)), cell(str(record.spec.seed)),
         Cell(record.error.stage or "before the first"), Cell(f"{record.error.type}: {record.error.message}"))
        for record in sorted(records, key=lambda r: (*where(r), r.spec.seed, r.key))
        if record.error is not None
    ]  # fmt: skip
    columns = ("Run", "Dataset", "Category", "Backbone", "Seed", "Stage", "Error")
    return grid("failed-runs", "Runs that failed", columns, rows) if rows else None


def _data(records: Sequence[RunRecord]) -> Grid | None:
    seen = {}
    for record in records:
        dataset = record.dataset
        name = (dataset.title, record.spec.category, dataset.fingerprint)
        counts = (dataset.n_train, dataset.n_test_normal, dataset.n_test_anomalous)
        seen[name] = (*map(count, counts), dataset.licence or "not stated", (dataset.fingerprint or NOTHING)[:12])
    rows = [(Cell(title), Cell(category), *map(cell, rest[:3]), Cell(rest[3]), Cell(rest[4]))
            for (title, category, _), rest in sorted(seen.items(), key=str)]  # fmt: skip
    columns = ("Dataset", "Category", "Train", "Normal", "Defective", "Licence", "Fingerprint")
    caption = "Images that were looked at; the same fingerprint means the same bytes"
    return grid("data-all", caption, columns, rows, row_headers=False) if rows else None


def _machine(environment: Environment) -> tuple[Any, ...]:
    """What makes two environments the same machine with the same software; the commit is told run by run."""
    return (*_environment(environment), *sorted(environment.packages.items()))


def _machines(records: Sequence[RunRecord]) -> list[tuple[str, str, RunRecord]]:
    """A name, an id and a record for each distinct environment, in the order of the runs."""
    first: dict[tuple[Any, ...], RunRecord] = {}
    for record in records:
        first.setdefault(_machine(record.environment), record)
    return [(f"Environment {i}", f"environment-{i}", record) for i, record in enumerate(first.values(), start=1)]


def _environment(environment: Environment) -> Fields:
    return (
        ("Device", environment.device),
        ("Processor", environment.cpu),
        ("Threads", NOTHING if environment.threads is None else str(environment.threads)),
        ("Platform", environment.platform),
        ("Python", environment.python),
        ("Harness", environment.harness),
    )
