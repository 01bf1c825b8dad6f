"""One job, from its configuration to its records: the only place that knows the whole way."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import Job, RunConfig, run_key, run_spec
from harness.data.fingerprint import fingerprint
from harness.data.layouts import resolve_split
from harness.errors import DataError, StoreError, UserError, printable
from harness.interruption import raise_if_asked
from harness.metrics import VERSION as METRICS_VERSION
from harness.monitor import Display, Monitor
from harness.outcome import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.padim.backbone import Weights, resolve_weights
from harness.padim.indices import index_versions
from harness.passes import carry_out, plan_runs
from harness.recording import Costs, failed_record
from harness.store import Store
from harness.store.claims import Claims

if TYPE_CHECKING:
    from harness.data.split import Split
    from harness.store import RunRecord


@dataclass(frozen=True)
class Prepared:
    """What is known of a job before any image is decoded: enough for its runs' keys."""

    split: Split
    fingerprint: str
    weights: Weights
    specs: tuple[dict[str, Any], ...]
    """One for each run of the job, in its order."""


def prepare(job: Job, monitor: Monitor) -> Prepared:
    """Find the samples and the weights, and compute the runs' specs.

    Raises:
        RequestError: weights that are not there.
        DataError: images or masks that are not as they must be.
    """
    first = job.runs[0]
    with monitor.stage("weights"):
        weights = resolve_weights(first.backbone)
    with monitor.stage("data"):
        split = resolve_split(first.dataset, first.category)
        print_of_split = fingerprint(split)
    return Prepared(split, print_of_split, weights, tuple(_spec(run, print_of_split, weights) for run in job.runs))


def plan_job(job: Job) -> tuple[Outcome, ...]:
    """What each run of a job would do, without doing it: TO_DO, DONE or CLAIMED, with its key.

    Raises:
        UserError: as `prepare`.
    """
    store, claims = Store(job.execution.store), Claims(job.execution.store)
    prepared = prepare(job, Monitor())
    outcomes = []
    for run, spec in zip(job.runs, prepared.specs, strict=True):
        record = store.done(spec)
        holder = None if record else claims.holder(run_key(spec))
        status = DONE if record else CLAIMED if holder else TO_DO
        outcomes.append(
            outcome_of(run, spec=spec, status=status, record=record, holder=str(holder) if holder else None)
        )
    return tuple(outcomes)


def run_job(job: Job, display: Display | None = None) -> Iterator[Outcome]:
    """Do the runs of one job that the store does not have yet, and yield how each ended, as soon as it has.

    A wrong request (weights of another network) ends as REFUSED and leaves no record. Data or numbers that cannot be
    trusted end as FAILED, with a record that says in which stage. A run that another process has claimed ends as
    CLAIMED, and is that process's to do; each other one is claimed until it has ended. Only an interruption is raised.
    """
    with Claims(job.execution.store) as claims:
        yield from _run_unclaimed(job, display, claims)


def _run_unclaimed(job: Job, display: Display | None, claims: Claims) -> Iterator[Outcome]:
    monitor = Monitor(display)
    started = datetime.now(UTC)
    store = Store(job.execution.store)
    pending = list(job.runs)
    prepared: Prepared | None = None
    try:
        prepared = prepare(job, monitor)
        specs = dict(zip(job.runs, prepared.specs, strict=True))
        preparing = dict(monitor.seconds)
        for run in job.runs:
            try:
                record = store.done(specs[run])
            except StoreError as error:  # one record that cannot be trusted stops one run
                pending.remove(run)
                yield outcome_of(run, spec=specs[run], status=FAILED, error=str(error))
                continue
            if record:
                pending.remove(run)
                yield outcome_of(run, spec=specs[run], status=DONE, record=record)
        for together in plan_runs(pending, prepared.split, prepared.weights, job.execution):
            ours = []
            for run in together.runs:
                if elsewhere := _elsewhere(run, specs[run], store, claims):
                    pending.remove(run)
                    yield elsewhere
                else:
                    ours.append(run)
            for planned in plan_runs(ours, prepared.split, prepared.weights, job.execution):
                raise_if_asked()  # an exception in a destructor is lost
                monitor.seconds = dict(preparing)  # Another pass's seconds are not this one's.
                for run, record in carry_out(
                    planned,
                    [specs[run] for run in planned.runs],
                    split=prepared.split,
                    weights=prepared.weights,
                    execution=job.execution,
                    monitor=monitor,
                    started=started,
                ):
                    pending.remove(run)
                    claims.release(run_key(specs[run]))
                    yield outcome_of(run, spec=specs[run], status=OK, record=record)
    except Exception as error:
        raise_if_asked()
        yield from _failures(pending, prepared, error, store=store, monitor=monitor, started=started)


def _elsewhere(run: RunConfig, spec: Mapping[str, Any], store: Store, claims: Claims) -> Outcome | None:
    """How a run stands that another process has claimed, or has ended since we looked; None once it is ours to do."""
    key = run_key(spec)
    if holder := claims.take(key, f"{run.dataset.name}/{run.category} {run.backbone.name} seed {run.seed}"):
        return outcome_of(run, spec=spec, status=CLAIMED, holder=str(holder))
    if record := store.done(spec):
        claims.release(key)
        return outcome_of(run, spec=spec, status=DONE, record=record)
    return None


def _spec(run: RunConfig, print_of_split: str | None, weights: Weights) -> dict[str, Any]:
    return run_spec(
        run,
        fingerprint=print_of_split,
        weights_digest=weights.digest,
        metrics_version=METRICS_VERSION,
        index_versions=index_versions(run.protocol.index_sampler),
    )


def _failures(
    runs: Sequence[RunConfig],
    prepared: Prepared | None,
    error: Exception,
    *,
    store: Store,
    monitor: Monitor,
    started: datetime,
) -> Iterator[Outcome]:
    """How each run ends that an error stopped; recorded where the data or the numbers are to blame, or we are."""
    if isinstance(error, UserError) and not isinstance(error, DataError):
        # A store that fails under a run has no room for its failure either, but the request was right.
        status = FAILED if isinstance(error, StoreError) else REFUSED
        yield from (outcome_of(run, status=status, error=str(error)) for run in runs)
        return
    if not isinstance(error, UserError):
        # Names from data stand in it, too.
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    message = f"{monitor.current or 'start'}: {' '.join(text.split())}"
    split = prepared.split if prepared else None
    for run in runs:
        # The run has no fingerprint where its split could not be read, and no weights where these were not reached.
        weights = prepared.weights if prepared else resolve_weights(run.backbone)
        spec = _spec(run, prepared.fingerprint if prepared else None, weights)
        record = failed_record(
            run,
            spec,
            weights=weights,
            split=split,
            error=error,
            stage=monitor.current,
            costs=Costs.so_far(monitor),
            started=started,
        )
        unrecorded = ""
        try:
            store.write(record)
        except UserError as unwritable:
            unrecorded = f" (and the failure could not be recorded: {unwritable})"
        yield outcome_of(run, spec=spec, status=FAILED, error=f"{message}{unrecorded}")


def outcome_of(
    run: RunConfig,
    *,
    status: str,
    spec: Mapping[str, Any] | None = None,
    record: RunRecord | None = None,
    error: str | None = None,
    holder: str | None = None,
) -> Outcome:
    """A run's end as it travels back to whoever started the sweep."""
    return Outcome(
        dataset=run.dataset.name,
        category=run.category,
        backbone=run.backbone.name,
        seed=run.seed,
        n_features=run.n_features,
        key=run_key(spec) if spec else None,
        status=status,
        folder=str(Store(Path()).run_folder(spec)) if spec else None,
        metrics=record.values if record else {},
        seconds=sum(record.timing.seconds.values()) if record else 0.0,
        error=error,
        notes=tuple(record.dataset.notes) if record else (),
        synthetic=run.dataset.synthetic,
        holder=holder,
    )
