"""The store held against experiments: which expected runs are done, failed or missing, and what they gave."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from harness import keys
from harness.errors import RequestError
from harness.experiment import FOLDED, expand, load_experiment
from harness.overrides import Override
from harness.store.claims import Claims, Holder
from harness.store.fields import OK
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.store.record import RunRecord

Identity = tuple[str, str, str, int]
"""Dataset, category, backbone, seed: what a person calls a run."""


class State(StrEnum):
    """Where an expected run stands; of several records the first of these that fits counts."""

    DONE = "done"
    FAILED = "failed"
    OTHER = "other protocol"
    """The store has this run, but made in another way than the experiment asks for."""
    MISSING = "missing"


@dataclass(frozen=True)
class ExpectedRun:
    """A run that an experiment asks for."""

    dataset: str
    category: str
    backbone: str
    seed: int
    demands: Mapping[str, Any]
    """Key of a request -> value that a record must have to count: protocol, its fields, n_features, engine ..."""

    @property
    def identity(self) -> Identity:
        """What records are looked up by; no key, since without the images there is no fingerprint."""
        return self.dataset, self.category, self.backbone, self.seed


@dataclass(frozen=True)
class RunState:
    """An expected run and what the store has of it."""

    run: ExpectedRun
    variant: str
    """What tells this run from others of the same experiment with the same identity; mostly empty."""
    state: State
    detail: str
    """Why it is not done, or what a reader should know."""
    record: RunRecord | None
    """The newest of the records that `state` speaks of."""


@dataclass(frozen=True)
class Overview:
    """One experiment against the store."""

    name: str
    title: str
    runs: tuple[RunState, ...]

    @property
    def totals(self) -> dict[State, int]:
        """Number of runs in each state."""
        return dict(Counter(run.state for run in self.runs))


@dataclass(frozen=True)
class Survey:
    """The store against several experiments."""

    exists: bool
    """The store's folder is there."""
    overviews: tuple[Overview, ...]
    unexpected: int
    """Valid records of dataset, category, backbone and seed that none of the experiments asks for."""
    problems: tuple[str, ...]
    """A line for each file that is no valid record."""
    claims: tuple[Holder, ...] = ()
    """Runs that some process is at now, and which."""


def survey(store: Store, names: Sequence[str] = (), seeds: Sequence[int] = ()) -> Survey:
    """Hold a store against experiments of configs/experiment, by default all of them.

    Args:
        seeds: that are expected, in place of each experiment's own. Others that the store has are shown as well.

    Raises:
        RequestError: there is no such experiment, or a file does not say what an experiment must.
        StoreError: the store is no folder, or cannot be listed.
    """
    known = sorted(path.stem for path in (keys.CONFIGS / "experiment").glob("*.yaml"))
    for name in names:
        if name not in known:
            hint = keys.suggest(name, known)
            raise RequestError(f"experiment {name}: is not there{hint}; allowed: {', '.join(known)}")
    contents = store.records()
    overviews = []
    for name in dict.fromkeys(names or known):
        experiment = load_experiment(name)
        runs = expected_runs(name, seeds)
        runs += further_seeds(runs, contents.records)
        overviews.append(Overview(name, experiment.title, compare(runs, contents.records)))
    if not names:
        overviews = _worth_showing(overviews, contents.records)
    expected = {state.run.identity for overview in overviews for state in overview.runs}
    unexpected = sum(_identity(record) not in expected for record in contents.records)
    claims = Claims(store.path).living()
    return Survey(store.path.is_dir(), tuple(overviews), unexpected, contents.problems, claims)


OPTIONAL = ("settings", "smoke")
"""How the names of experiments begin that nobody misses where none of their runs was made."""


def _worth_showing(overviews: Sequence[Overview], records: Sequence[RunRecord]) -> list[Overview]:
    """Where nobody said which: all, but for optional ones of which the store has nothing.

    A store of nothing but drawn images is held only against what it has something of.
    """
    drawn = bool(records) and all(record.synthetic for record in records)
    return [
        overview
        for overview in overviews
        if not (drawn or overview.name.startswith(OPTIONAL)) or set(overview.totals) != {State.MISSING}
    ]


def further_seeds(runs: Sequence[ExpectedRun], records: Iterable[RunRecord]) -> tuple[ExpectedRun, ...]:
    """Runs that nobody asked for but the store has: as expected but for the seed, sorted by seed within each run."""
    by_place: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.spec.seed):
        by_place[_identity(record)[:3]].append(record)
    known = {(run.identity, repr(run.demands)) for run in runs}
    found: dict[tuple[Identity, str], ExpectedRun] = {}
    for run in runs:
        for record in by_place[run.identity[:3]]:
            other = replace(run, seed=record.spec.seed)
            what = (other.identity, repr(other.demands))
            if what not in known and record.status == OK and not differences(other, record):
                found[what] = other
    return tuple(found.values())


def expected_runs(experiment: str, seeds: Sequence[int] = ()) -> tuple[ExpectedRun, ...]:
    """The runs that `python -m harness experiment=NAME` would do, in its order.

    Args:
        seeds: as if `seeds=[...]` were given as well; empty for the experiment's own.

    Raises:
        RequestError: the experiment's file, or a protocol that it names, is not there or not right.
    """
    runs = []
    own_seeds = [Override("seeds", (list(seeds),))] if seeds else []
    for job in expand([Override("experiment", (experiment,)), *own_seeds]):
        axes = {key: value if key in FOLDED and isinstance(value, list) else [value] for key, value in job.items()}
        for values in product(*axes.values()):
            choice = dict(zip(axes, values, strict=True))
            where = {key: choice.pop(key) for key in ("dataset", "category", "backbone")}
            runs.append(ExpectedRun(**where, seed=choice.pop("seeds"), demands=_demands(where["backbone"], choice)))
    return tuple(runs)


def _demands(backbone: str, choice: dict[str, Any]) -> dict[str, Any]:
    """What a record must say: the request's defaults, under the protocol's fields, under the grid's own."""
    chosen = _read(keys.CONFIGS / "config.yaml")["defaults"]
    default = next(entry["protocol"] for entry in chosen if isinstance(entry, dict) and "protocol" in entry)
    name = choice.get("protocol", default)
    protocol = dict(_read(keys.CONFIGS / "protocol" / f"{name}.yaml"))
    n_features = protocol.pop("n_features").get(backbone)
    demands: dict[str, Any] = {"protocol": name, "n_features": n_features, "inexact": None}
    usual = {key: value for key, value in keys.DEFAULTS.items() if key.startswith("metrics.")}
    demands |= usual | {key: keys.DEFAULTS[key] for key in ("engine", "dataset.limit")}
    demands |= {f"protocol.{key}": value for key, value in protocol.items()}
    demands |= {key: value for key, value in choice.items() if value is not None or key != "n_features"}
    return demands


@cache
def _read(path: Path) -> Mapping[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _facts(record: RunRecord) -> dict[str, Any]:
    """What a record says of itself, by the keys of a request; what has no key here cannot be compared."""
    spec = record.spec
    facts: dict[str, Any] = {"protocol": record.protocol_name, "n_features": spec.n_features, "engine": spec.engine}
    facts |= {"device": spec.device, "inexact": ",".join(spec.inexact) or None, "dataset.limit": record.dataset.limit}
    facts |= {f"protocol.{name}": value for name, value in spec.protocol.model_dump().items()}
    return facts | {f"metrics.{name}": value for name, value in spec.metrics.model_dump().items()}


def _identity(record: RunRecord) -> Identity:
    return record.spec.dataset, record.spec.category, record.spec.backbone.name, record.spec.seed


def compare(runs: Sequence[ExpectedRun], records: Iterable[RunRecord]) -> tuple[RunState, ...]:
    """The state of each expected run."""
    by_identity: dict[Identity, list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.finished, record.key)):
        by_identity[_identity(record)].append(record)
    varying = _varying(runs)
    states = []
    for run in runs:
        variant = " ".join(f"{key.removeprefix('protocol.')}={run.demands.get(key)}" for key in varying)
        states.append(RunState(run, variant, *_state(run, by_identity[run.identity])))
    return tuple(states)


def _varying(runs: Sequence[ExpectedRun]) -> tuple[str, ...]:
    """The demands that tell apart runs of the same identity."""
    groups: dict[Identity, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run.identity].append(run.demands)
    varying = {
        key: None
        for demands in groups.values()
        for key in demands[0]
        if any(other.get(key) != demands[0][key] for other in demands[1:])
    }
    # With the protocol's name its fields need not be named as well.
    return ("protocol",) if "protocol" in varying else tuple(varying)


def _state(run: ExpectedRun, candidates: Sequence[RunRecord]) -> tuple[State, str, RunRecord | None]:
    differing = [(record, differences(run, record)) for record in candidates]
    fitting = [record for record, unlike in differing if not unlike]
    done = [record for record in fitting if record.status == OK]
    if done:
        several = f"{len(done)} records fit; the newest counts" if len(done) > 1 else ""
        return State.DONE, "; ".join(filter(None, ["SYNTHETIC" if done[-1].synthetic else "", several])), done[-1]
    if fitting:
        error = fitting[-1].error
        assert error is not None
        where = f" (in {error.stage})" if error.stage else ""
        return State.FAILED, f"{error.type}: {error.message}{where}", fitting[-1]
    others = [(record, unlike) for record, unlike in differing if record.status == OK]
    if others:
        record, unlike = min(reversed(others), key=lambda other: len(other[1]))  # the nearest, the newest among equals
        return State.OTHER, f"the store has it with {', '.join(unlike)}", record
    return State.MISSING, "", None


def differences(run: ExpectedRun, record: RunRecord) -> list[str]:
    """In what a record is not what was expected, as `key=value` of the record; empty where it fits."""
    facts = _facts(record)
    unlike = [key for key, value in run.demands.items() if key in facts and value not in (facts[key], "auto")]
    if "protocol" in unlike:
        unlike = [key for key in unlike if not key.startswith("protocol.")]
    return [f"{key}={facts[key]}" for key in unlike]
