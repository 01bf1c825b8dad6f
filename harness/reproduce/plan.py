"""The plan of a reproduction: which runs the paper's tables need, which are done, and what the rest costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.data.catalog import CATALOG
from harness.experiment import expand
from harness.overrides import Override
from harness.report.page_commands import EXPERIMENTS
from harness.reproduce.costs import Costs, Pace, Work, processor_seconds
from harness.reproduce.jobs import job_passes
from harness.reproduce.presence import Category, Presence
from harness.store.overview import ExpectedRun, RunState, State, compare, expected_runs

if TYPE_CHECKING:
    from harness.store.record import RunRecord


@dataclass(frozen=True)
class Request:
    """What a reproduction is asked for."""

    data_root: Path
    store: Path
    seeds: tuple[int, ...]
    device: str = "auto"
    launcher: str = "basic"
    """One of `harness.keys.LAUNCHERS`."""
    weights: Mapping[str, str] | None = None
    """Backbone -> a file of weights, where timm's cannot or shall not be downloaded."""


@dataclass(frozen=True)
class Call:
    """One sweep, as arguments of `python -m harness`."""

    arguments: tuple[str, ...]
    n_runs: int


@dataclass(frozen=True)
class Estimate:
    """What is still to be done will cost about this."""

    seconds: float
    peak_bytes: int
    """Of the largest job's process, as it will plan it; a launcher that runs several at once needs it several times."""
    store_bytes: int
    weights_bytes: int
    """To download, where timm's weights are not in its cache yet."""
    source: str


@dataclass(frozen=True)
class Plan:
    """What will happen."""

    states: tuple[RunState, ...]
    """Every run that Tables 1 to 4 need, once."""
    presence: Presence
    calls: tuple[Call, ...]
    estimate: Estimate

    @property
    def done(self) -> tuple[RunState, ...]:
        """Runs that the store has; whether of these very images and weights, the sweep itself finds out."""
        return tuple(state for state in self.states if state.state == State.DONE)

    @property
    def to_do(self) -> tuple[RunState, ...]:
        """Runs that are not done, and whose images are there."""
        return tuple(state for state in self.states if state.state != State.DONE and self.is_there(state))

    @property
    def without_data(self) -> tuple[RunState, ...]:
        """Runs that are not done, and whose images are not there."""
        return tuple(state for state in self.states if state.state != State.DONE and not self.is_there(state))

    def is_there(self, state: RunState) -> bool:
        """Whether a run's images are there."""
        return (state.run.dataset, state.run.category) in self.presence.there


def needed_runs(seeds: Sequence[int]) -> tuple[ExpectedRun, ...]:
    """Every run of the experiments of Tables 1 to 4 at these seeds, each once."""
    runs = {
        (run.dataset, run.category, run.backbone, seed): replace(run, seed=seed)
        for name in EXPERIMENTS.values()
        for run in _runs_of(name)
        for seed in seeds
    }
    return tuple(runs.values())


def needed_categories() -> tuple[Category, ...]:
    """Dataset and category of everything that Tables 1 to 4 need."""
    return tuple(dict.fromkeys((run.dataset, run.category) for run in needed_runs([0])))


def make_plan(
    request: Request,
    presence: Presence,
    records: Iterable[RunRecord],
    costs: Costs,
    pace: Pace,
    *,
    device: str,
    n_cores: int,
) -> Plan:
    """Put together what is needed, what is there and what is done.

    Args:
        device: that the request's means here, `cpu` or `cuda`.
        n_cores: that a job may use.
    """
    states = compare(needed_runs(request.seeds), records)
    plan = Plan(states, presence, _calls(request, presence, states), Estimate(0, 0, 0, 0, pace.source))
    return replace(plan, estimate=_estimate(plan, request, costs, pace, device=device, n_cores=n_cores))


_runs_of = cache(expected_runs)


def _calls(request: Request, presence: Presence, states: Sequence[RunState]) -> tuple[Call, ...]:
    """As few sweeps as can be: one for each backbone with weights of its own, one for all others."""
    wanted = {
        (state.run.dataset, state.run.category, state.run.backbone)
        for state in states
        if (state.run.dataset, state.run.category) in presence.there
    }
    weights = request.weights or {}
    groups: dict[str | None, set[tuple[str, str, str]]] = defaultdict(set)
    for place in wanted:
        groups[weights.get(place[2])].add(place)
    order = list(dict.fromkeys(weights.get(state.run.backbone) for state in states))
    return tuple(_call(request, part, path) for path in order if groups[path] for part in _expressible(groups[path]))


def _expressible(places: set[tuple[str, str, str]]) -> list[set[tuple[str, str, str]]]:
    """The places as one request, where its product of datasets, categories and backbones is no more than they."""
    jobs = expand([Override(key, values) for key, values in _filters(places).items()])
    if {(job["dataset"], job["category"], job["backbone"]) for job in jobs} == places:
        return [places]
    datasets = sorted({dataset for dataset, _, _ in places})
    return [{place for place in places if place[0] == dataset} for dataset in datasets]


def _filters(places: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """The experiments that hold some places, and what narrows them to these, in the experiments' order."""
    columns = [set(column) for column in zip(*places, strict=True)]
    names = [
        name
        for name in EXPERIMENTS.values()
        if any((run.dataset, run.category, run.backbone) in places for run in _runs_of(name))
    ]
    runs = [run for name in names for run in _runs_of(name)]
    return {
        "experiment": tuple(names),
        "dataset": tuple(dict.fromkeys(run.dataset for run in runs if run.dataset in columns[0])),
        "category": tuple(dict.fromkeys(run.category for run in runs if run.category in columns[1])),
        "backbone": tuple(dict.fromkeys(run.backbone for run in runs if run.backbone in columns[2])),
    }


def _call(request: Request, places: set[tuple[str, str, str]], weights: str | None) -> Call:
    arguments = [f"{key}={','.join(values)}" for key, values in _filters(places).items()]
    arguments += [f"backbone.weights={weights}"] if weights else []
    arguments += [f"data_root={request.data_root}", f"seeds=[{','.join(map(str, request.seeds))}]"]
    arguments += [f"device={request.device}", f"store={request.store}"]
    arguments += [f"launcher={request.launcher}"] if request.launcher != "basic" else []
    return Call(tuple(arguments), len(places) * len(request.seeds))


def _estimate(plan: Plan, request: Request, costs: Costs, pace: Pace, *, device: str, n_cores: int) -> Estimate:
    jobs: dict[tuple[str, str, str], list[ExpectedRun]] = defaultdict(list)
    for state in plan.to_do:
        jobs[state.run.dataset, state.run.category, state.run.backbone].append(state.run)
    processor, peak = 0.0, 0
    for (dataset, category, backbone), runs in jobs.items():
        weights_bytes = costs.backbone[backbone].weights_bytes
        passes = job_passes(runs, device=device, n_cores=n_cores, weights_bytes=weights_bytes)
        counts = CATALOG[dataset].categories[category]
        work = Work(
            backbone=backbone,
            n_train=counts.train,
            n_test=counts.test_normal + counts.test_anomalous,
            n_seeds=len(runs),
            n_passes=len(passes),
            kind=plan.presence.there[dataset, category],
        )
        processor += processor_seconds(work, costs)
        peak = max(peak, *(one.host_bytes for one in passes))
    from_timm = {backbone for _, _, backbone in jobs} - set(request.weights or {})
    return Estimate(
        seconds=pace.factor * processor,
        peak_bytes=peak,
        store_bytes=len(plan.to_do) * costs.store_bytes,
        weights_bytes=sum(costs.backbone[name].weights_bytes for name in from_timm),
        source=pace.source,
    )


@dataclass(frozen=True)
class Download:
    """A dataset that could be fetched."""

    dataset: str
    archive_bytes: int
    unpacked_bytes: int
    """About."""


def downloads(presence: Presence, costs: Costs) -> tuple[Download, ...]:
    """The datasets that are missing as a whole and have an archive; what is there in part a download leaves alone."""
    found = []
    partly = {dataset for dataset, _ in presence.there}
    for dataset in dict.fromkeys(dataset for dataset, _ in presence.missing):
        archive = CATALOG[dataset].archive
        if archive is not None and dataset not in partly:
            size = archive.size or 0
            ratio = costs.unpacked_ratio.get(PurePosixPath(urlsplit(archive.url).path).suffix, 1.0)
            found.append(Download(dataset, size, math.ceil(size * ratio)))
    return tuple(found)


def after_download(presence: Presence, fetched: Iterable[Download]) -> Presence:
    """What will be there once these datasets have come."""
    names = {one.dataset for one in fetched}
    come = {where: None for where in presence.missing if where[0] in names}
    left = {where: why for where, why in presence.missing.items() if where[0] not in names}
    return Presence({**presence.there, **come}, left)
