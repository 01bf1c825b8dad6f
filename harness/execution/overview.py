"""The store compared with experiments: which expected runs are done, failed or missing, and what they gave."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Any

from harness.cli.command import table_lines
from harness.config import keys
from harness.config.experiment import IN_ONE_JOB, expand, load_experiment
from harness.config.overrides import Override
from harness.errors import RequestError
from harness.models import base as models
from harness.paths import CONFIGS
from harness.store.claims import Claims
from harness.store.fields import OK, settings_of, shown, varying
from harness.store.record import RunRecord
from harness.store.store import Store

Identity = tuple[Any, ...]
"""Dataset, category, backbone, seed: what a person calls a run."""


class State(StrEnum):
    """Where an expected run stands; of several records the first of these that fits counts."""

    DONE = "done"
    FAILED = "failed"
    OTHER = "other settings"
    """The store has this run, but made in another way than the experiment asks for."""
    MISSING = "missing"


OPTIONAL = ("settings", "smoke", "reference")
"""How the names of experiments begin that nobody misses where none of their runs was made."""

LONGEST_DETAIL = 160
"""Characters of an error that a row shows; its record has all of it."""


@dataclass(frozen=True)
class ExpectedRun:
    """A run that an experiment asks for."""

    dataset: str
    category: str
    backbone: str
    seed: int
    demands: Mapping[str, Any]
    """Key of a request -> value that a record must have to count: protocol, its settings, engine ..."""

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
    record: RunRecord | None


def survey(
    records: Sequence[RunRecord], names: Sequence[str] = (), seeds: Sequence[int] = ()
) -> dict[str, tuple[RunState, ...]]:
    """Compare a store's records with experiments of configs/experiment; return the state of each one's runs by title.

    Without `names` these are all, except optional ones without any run; a store of only drawn images is compared only
    with experiments of which it has runs.

    Args:
        seeds: that are expected, in place of each experiment's own. Others that the store has are shown as well.

    Raises:
        RequestError: there is no such experiment, or a file does not say what an experiment must.
    """
    known = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
    for name in names:
        if name not in known:
            hint = keys.suggest(name, known)
            raise RequestError(f"experiment {name}: does not exist{hint}; allowed: {', '.join(known)}")
    drawn = bool(records) and all(record.synthetic for record in records)
    found = {}
    for name in dict.fromkeys(names or known):
        runs = expected_runs(name, seeds)
        states = compare(runs + further_seeds(runs, records), records)
        needed = names or not (drawn or name.startswith(OPTIONAL))
        if needed or any(one.state != State.MISSING for one in states):
            found[f"{load_experiment(name).title} ({name})"] = states
    return found


def further_seeds(runs: Sequence[ExpectedRun], records: Iterable[RunRecord]) -> tuple[ExpectedRun, ...]:
    """Return runs that nobody asked for but the store has: as expected but for the seed, by seed within each run."""
    by_place: dict[Identity, list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.spec.seed):
        by_place[identity_of(record)[:3]].append(record)
    known = {(run.identity, repr(run.demands)) for run in runs}
    found: dict[Any, ExpectedRun] = {}
    for run in runs:
        for record in by_place[run.identity[:3]]:
            other = replace(run, seed=record.spec.seed)
            what = (other.identity, repr(other.demands))
            if what not in known and record.status == OK and not differences(other, record):
                found[what] = other
    return tuple(found.values())


def expected_runs(experiment: str, seeds: Sequence[int] = ()) -> tuple[ExpectedRun, ...]:
    """Return the runs that `python -m harness experiment=NAME` would do, in its order.

    Args:
        seeds: as if `seeds=[...]` were given as well; empty for the experiment's own.

    Raises:
        RequestError: the experiment's file, or a protocol that it names, is not there or not right.
    """
    runs = []
    own_seeds = [Override("seeds", (list(seeds),))] if seeds else []
    for job in expand([Override("experiment", (experiment,)), *own_seeds]):
        axes = {key: value if key in IN_ONE_JOB and isinstance(value, list) else [value] for key, value in job.items()}
        for values in product(*axes.values()):
            choice = dict(zip(axes, values, strict=True))
            where = {key: choice.pop(key) for key in ("dataset", "category", "backbone")}
            runs.append(ExpectedRun(**where, seed=choice.pop("seeds"), demands=_demands(where["backbone"], choice)))
    return tuple(runs)


def _demands(backbone: str, choice: dict[str, Any]) -> dict[str, Any]:
    """Return what a record must say: the request's defaults, under the protocol's fields, under the grid's own."""
    name = choice.get("protocol") or keys.default_option("protocol")
    model = choice.pop("model", None) or keys.default_option("model")
    demands = {"protocol": name, "model": model, "engine": models.find(model).engines[0], "dataset.limit": None}
    demands |= {f"model.{key}": value for key, value in models.find(model).arguments.items()}
    return demands | dict(keys.protocol_settings(name, model=model, backbone=backbone)) | choice


def identity_of(record: RunRecord) -> Identity:
    """Return what a person calls a record's run."""
    return record.spec.dataset, record.spec.category, record.spec.backbone.name, record.spec.seed


def compare(runs: Sequence[ExpectedRun], records: Iterable[RunRecord]) -> tuple[RunState, ...]:
    """Return the state of each expected run."""
    by_identity: dict[Identity, list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.finished, record.key)):
        by_identity[identity_of(record)].append(record)
    demands: dict[Identity, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        demands[run.identity].append(run.demands)
    names = list(dict.fromkeys(key for alike in demands.values() for key in varying(alike)))
    if "protocol" in names:
        names = ["protocol"]  # its fields need not be named as well
    states = []
    for run in runs:
        variant = " ".join(f"{key.rpartition('.')[2]}={shown(run.demands.get(key))}" for key in names)
        states.append(RunState(run, variant, *_state(run, by_identity[run.identity])))
    return tuple(states)


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
        return State.OTHER, f"the store's run has {', '.join(unlike)}", record
    return State.MISSING, "", None


def differences(run: ExpectedRun, record: RunRecord) -> list[str]:
    """Return in what a record is not what was expected, as `key=value` of the record; empty where it fits.

    What a record does not say of itself by the key of a request cannot be compared.
    """
    facts = settings_of(record)
    unlike = [key for key, value in run.demands.items() if value not in (facts.get(key, value), "auto")]
    if "protocol" in unlike:
        unlike = [key for key in unlike if not key.startswith(("preprocessing.", "model."))]
    return [f"{key}={shown(facts[key])}" for key in unlike]


def lines_about(store: Store, names: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[str]:
    """Yield what there is to say about a store, in the order to say it; the arguments are those of `survey`.

    Raises:
        RequestError: as `survey`.
        StoreError: the store is no folder, or cannot be listed.
    """
    contents = store.records()
    experiments = survey(contents.records, names, seeds)
    if not store.path.is_dir():
        yield f"{store.path} does not exist yet, so everything is missing"
    for title, runs in experiments.items():
        counts = Counter(run.state for run in runs)
        parts = [f"{counts[state]} {state}" for state in State if counts[state]]
        yield title
        header = ("dataset", "category", "backbone", "seed", "variant", "state", "detail")
        yield from table_lines(header, [_cells(run) for run in runs])
        yield f"{_plural(len(runs), 'run')} expected: {', '.join(parts) or 'none'}"
        yield ""
    for holder in Claims(store.path).living():
        yield f"running now: {holder.label or holder.key} ({holder})"
    expected = {one.run.identity for runs in experiments.values() for one in runs}
    unexpected = sum(identity_of(record) not in expected for record in contents.records)
    if unexpected:
        yield f"{_plural(unexpected, 'other record')} in {store.path}, expected by none of these experiments"
    for problem in contents.problems:
        yield f"not counted: {problem}"


def _cells(one: RunState) -> tuple[str, ...]:
    detail = one.detail if len(one.detail) <= LONGEST_DETAIL else f"{one.detail[:LONGEST_DETAIL]} …"
    return (*map(str, one.run.identity), one.variant, str(one.state), detail)


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
