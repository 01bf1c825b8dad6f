"""The plan of a reproduction: which runs the paper's tables need, which are done, and which sweeps make the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.resolve import read_backbone
from harness.config.settings import DatasetConfig, Device
from harness.data.catalog import CATALOG
from harness.data.layouts import validate_request
from harness.errors import RequestError
from harness.execution.overview import ExpectedRun, RunState, State, compare, expected_runs
from harness.models.weights import resolve_weights
from harness.papers.model import EXPERIMENTS

if TYPE_CHECKING:
    from harness.store.record import RunRecord

Category = tuple[str, str]
"""Dataset and category."""


@dataclass(frozen=True)
class Request:
    """What a reproduction is asked for."""

    data_root: Path
    store: Path
    seeds: tuple[int, ...]
    device: Device = "auto"
    launcher: str = "basic"
    """As the key `launcher` takes it."""
    weights: Mapping[str, str] | None = None
    """Backbone -> a file of weights, where timm's cannot or must not be downloaded."""


Place = tuple[str, str, str]
"""Dataset, category and backbone."""

Call = tuple[str, ...]
"""One sweep, as arguments of `python -m harness`."""


@dataclass(frozen=True)
class Presence:
    """Which of some categories are there."""

    there: frozenset[Category]
    missing: Mapping[Category, str]
    """With the reason, one line."""

    def has(self, run: ExpectedRun) -> bool:
        """Tell whether a run's images are there."""
        return (run.dataset, run.category) in self.there

    def missing_lines(self) -> list[str]:
        """Write one line for each dataset that is not there, or not whole."""
        lines = []
        for dataset in dict.fromkeys(dataset for dataset, _ in self.missing):
            lost = {category: why for (name, category), why in self.missing.items() if name == dataset}
            partly = any(name == dataset for name, _ in self.there)
            what = f"{dataset}/{', '.join(lost)}" if partly else dataset
            lines.append(f"{what}: not there ({next(iter(lost.values()))}); what needs it is not run")
        return lines


def look(data_root: Path, categories: Iterable[Category]) -> Presence:
    """Look for categories below `data_root`/<dataset>, names and folders only: by the rule of a sweep."""
    there, missing = set(), {}
    for dataset, category in categories:
        config = DatasetConfig(name=dataset, layout=CATALOG[dataset].layout, root=data_root / dataset)
        try:
            validate_request(config, category)
        except RequestError as error:
            missing[dataset, category] = str(error).split(";")[0]
        else:
            there.add((dataset, category))
    return Presence(frozenset(there), missing)


@dataclass(frozen=True)
class Plan:
    """What will happen."""

    states: tuple[RunState, ...]
    """Every run that Tables 1 to 4 need, once."""
    presence: Presence
    calls: tuple[Call, ...]

    @property
    def done(self) -> tuple[RunState, ...]:
        """Runs that the store has; whether of these very images and weights, the sweep itself finds out."""
        return tuple(state for state in self.states if state.state == State.DONE)

    @property
    def to_do(self) -> tuple[RunState, ...]:
        """Runs that are not done, and whose images are there."""
        return tuple(state for state in self.states if state.state != State.DONE and self.presence.has(state.run))


def place_of(run: ExpectedRun) -> Place:
    """Return what a row of the plan is about."""
    return run.dataset, run.category, run.backbone


def needed_runs(seeds: Sequence[int]) -> tuple[ExpectedRun, ...]:
    """List every run of the experiments of Tables 1 to 4 at these seeds, each once."""
    runs = [run for name in EXPERIMENTS.values() for run in _runs_of(name)]
    return tuple({(place_of(run), seed): replace(run, seed=seed) for run in runs for seed in seeds}.values())


def needed_categories() -> tuple[Category, ...]:
    """List dataset and category of everything that Tables 1 to 4 need."""
    return tuple(dict.fromkeys((run.dataset, run.category) for run in needed_runs([0])))


def make_plan(request: Request, presence: Presence, records: Iterable[RunRecord]) -> Plan:
    """Put together what is needed, what is there and what is done."""
    states = compare(needed_runs(request.seeds), records)
    return Plan(states, presence, _calls(request, presence, states))


_runs_of = cache(expected_runs)


def _calls(request: Request, presence: Presence, states: Sequence[RunState]) -> tuple[Call, ...]:
    """Return a sweep for each dataset, and for each file of weights of its own."""
    groups: dict[tuple[str | None, str], set[Place]] = defaultdict(set)
    for state in states:
        if presence.has(state.run):
            weights = (request.weights or {}).get(state.run.backbone)
            groups[weights, state.run.dataset].add(place_of(state.run))
    return tuple(_call(request, group, weights) for (weights, _), group in groups.items())


def _filters(places: Iterable[Place]) -> dict[str, tuple[str, ...]]:
    """Return the experiments that hold some places, and what narrows them to these, in the experiments' order."""
    wanted = [set(column) for column in zip(*places, strict=True)]
    names = [name for name in EXPERIMENTS.values() if any(place_of(run) in places for run in _runs_of(name))]
    there = zip(*(place_of(run) for name in names for run in _runs_of(name)), strict=True)
    kept = [
        tuple(value for value in dict.fromkeys(column) if value in values)
        for column, values in zip(there, wanted, strict=True)
    ]
    return {"experiment": tuple(names), "dataset": kept[0], "category": kept[1], "backbone": kept[2]}


def _call(request: Request, places: set[Place], weights: str | None) -> Call:
    arguments = [f"{key}={','.join(values)}" for key, values in _filters(places).items()]
    arguments += [f"backbone.weights={weights}"] if weights else []
    arguments += [f"data_root={request.data_root}", f"seeds=[{','.join(map(str, request.seeds))}]"]
    arguments += [f"device={request.device}", f"store={request.store}"]
    arguments += [f"launcher={request.launcher}"] if request.launcher != "basic" else []
    return tuple(arguments)


def downloads(presence: Presence) -> tuple[str, ...]:
    """List datasets that are missing as a whole and have an archive; a download leaves alone what is there in part."""
    partly = {dataset for dataset, _ in presence.there}
    missing = dict.fromkeys(dataset for dataset, _ in presence.missing)
    return tuple(name for name in missing if CATALOG[name].archive is not None and name not in partly)


def after_download(presence: Presence, fetched: Iterable[str]) -> Presence:
    """Return what will be there once these datasets have come."""
    names = set(fetched)
    come = {where for where in presence.missing if where[0] in names}
    left = {where: why for where, why in presence.missing.items() if where not in come}
    return Presence(presence.there | come, left)


def contradiction(request: Request, plan: Plan, records: Sequence[RunRecord], *, device: str) -> str | None:
    """Say why a plan's sweeps would make runs that stand in no table together with the store's; None where they fit.

    Args:
        device: that the request's means here, `cpu` or `cuda`.

    Raises:
        RequestError: a file of weights that is not there.
    """
    swept = {state.run.backbone for state in plan.states if plan.presence.has(state.run)}
    digests = {
        name: resolve_weights(replace(read_backbone(name), weights=path)).digest
        for name, path in (request.weights or {}).items()
        if name in swept
    }
    for state in compare(needed_runs(sorted({record.spec.seed for record in records})), records):
        record, name = state.record, state.run.backbone
        if state.state != State.DONE or record is None or name not in swept:
            continue
        where = f"{record.spec.dataset}/{record.spec.category} {name} seed {record.spec.seed}"
        if record.spec.device != device:
            return f"{where} on device={record.spec.device}, and this sweep is on {device}: give DEVICE or --device"
        if not _same_weights(record, digests):
            ours = request.weights[name] if request.weights and name in digests else "timm's"
            return f"{where} with the weights {record.weights}, and this sweep has {ours}: give --weights {name}=FILE"
    return None


def _same_weights(record: RunRecord, digests: Mapping[str, str]) -> bool:
    """Tell whether a record has the weights that a sweep would take.

    timm's are not looked into: they may have to be downloaded first, and a file with other bytes has another key.
    """
    name = record.spec.backbone.name
    if name in digests:
        return digests[name] == record.spec.backbone.weights_digest
    return record.weights.partition(":")[0] == read_backbone(name).weights
