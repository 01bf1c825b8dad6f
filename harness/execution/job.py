"""One job, from its configuration to its records: the only place that knows the whole way."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.cli.interruption import raise_if_interrupted
from harness.config.settings import Job, RunConfig, run_key, run_spec, settings_of
from harness.data.fingerprint import fingerprint
from harness.data.layouts import resolve_split
from harness.device import ran_out
from harness.errors import DataError, RequestError, StoreError, UserError, printable
from harness.execution.monitor import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Display, Monitor, Outcome
from harness.execution.passes import Pass, Prepared, carry_out, plan_runs
from harness.execution.recording import failed_record
from harness.metrics.registry import registered
from harness.models.base import find
from harness.models.weights import Weights, resolve_weights
from harness.store import RunRecord, Store
from harness.store.claims import Claims
from harness.store.fields import not_measured

logger = logging.getLogger(__name__)

AUPRO = "pixel_aupro"
"""The metric that `metrics.aupro_fpr_limit` moves; the other settings of metrics move intervals."""
SHARED_STAGES = ("import", "load", "fit", "test", "masks", "data")
"""An error in one of these stops all runs of a pass; any other may be of one run's own making."""


def prepare(job: Job, monitor: Monitor) -> Prepared:
    """Find the samples and the weights, and compute the runs' specs.

    Raises:
        RequestError: weights that are not there.
        DataError: images or masks that are not as they must be.
    """
    first, started = job.runs[0], datetime.now(UTC)
    with monitor.stage("weights"):
        weights = resolve_weights(first.backbone)
    with monitor.stage("data"):
        split = resolve_split(first.dataset, first.category, first.preprocessing)
        print_of_split = fingerprint(split)
    logger.debug("weights %s (%s), sha256 %s", weights.source, weights.label, weights.digest[:12])
    logger.debug(
        "images at %s: %d training, %d test, masks: %s, fingerprint %s",
        split.root,
        len(split.train),
        len(split.test),
        split.has_masks,
        print_of_split[:12],
    )
    for note in split.notes:
        logger.debug("note: %s", note)
    specs = {run: _spec(run, print_of_split, weights) for run in job.runs}
    return Prepared(split, weights, specs, started)


def plan_job(job: Job, *, foresee: bool = False) -> tuple[Outcome, ...]:
    """Tell what each run of a job would do, without doing it: TO_DO, DONE or CLAIMED, with its key.

    FAILED where the store holds a record of it that cannot be trusted.

    Args:
        foresee: plan the passes of what is to do as well, and raise what they would: too little memory, a full disk.

    Raises:
        UserError: as `prepare`.
    """
    store, claims = Store(job.execution.store), Claims(job.execution.store)
    prepared = prepare(job, Monitor())
    outcomes = []
    to_do = []
    for run, spec in prepared.specs.items():
        try:
            record = None if job.execution.refresh else store.done(spec)
        except StoreError as error:
            outcomes.append(outcome_of(run, spec=spec, status=FAILED, error=str(error)))
            continue
        holder = None if record else claims.holder(run_key(spec))
        status = DONE if record else CLAIMED if holder else TO_DO
        to_do += [run] if status == TO_DO else []
        outcomes.append(
            outcome_of(run, spec=spec, status=status, record=record, holder=str(holder) if holder else None)
        )
    if foresee:
        plan_runs(to_do, prepared.split, prepared.weights, job.execution)
    return tuple(outcomes)


def run_job(job: Job, display: Display | None = None) -> Iterator[Outcome]:
    """Do the runs of one job that the store does not have yet; yield each run's outcome as soon as it has ended.

    A wrong request ends as REFUSED, without a record. Data or numbers that cannot be trusted end as FAILED, with a
    record that names the stage. A run that another process has claimed ends as CLAIMED. Only interruptions are raised.
    """
    with Claims(job.execution.store) as claims:
        yield from _JobUnderWay(job, display, claims).outcomes()


class _JobUnderWay:
    def __init__(self, job: Job, display: Display | None, claims: Claims) -> None:
        self._job, self._claims = job, claims
        self._store = Store(job.execution.store)
        self._monitor = Monitor(display)
        self._started = datetime.now(UTC)
        self._pending = list(job.runs)
        self._prepared: Prepared | None = None
        self._specs: dict[RunConfig, dict[str, Any]] = {}
        self._preparing: dict[str, float] = {}

    def outcomes(self) -> Iterator[Outcome]:
        try:
            self._prepared = prepare(self._job, self._monitor)
            self._specs = dict(self._prepared.specs)
            self._preparing = dict(self._monitor.seconds)
            yield from self._done_before()
            yield from self._too_large()
            for together in self._planned(self._pending):
                ours = []
                for run in together.runs:
                    if elsewhere := self._claim_or_end(run):
                        yield elsewhere
                    else:
                        ours.append(run)
                yield from self._carried_out(ours)
        except Exception as error:
            raise_if_interrupted()
            yield from self._failures(list(self._pending), error)

    def _ended(self, run: RunConfig, status: str, **details: Any) -> Outcome:
        self._pending.remove(run)
        outcome = outcome_of(run, status=status, spec=self._specs.get(run), **details)
        logger.debug("%s (%s) ends as %s", outcome.label, outcome.key, status)
        if outcome.key is not None:
            self._claims.release(outcome.key)
        return outcome

    def _done_before(self) -> Iterator[Outcome]:
        for run in self._job.runs if not self._job.execution.refresh else ():
            try:
                record = self._store.done(self._specs[run])
            except StoreError as error:  # one record that cannot be trusted stops one run
                yield self._ended(run, FAILED, error=str(error))
                continue
            if record:
                yield self._ended(run, DONE, record=record)

    def _too_large(self) -> Iterator[Outcome]:
        """Refuse the runs that take too much memory even alone; the others of the job do not suffer for it."""
        try:
            self._planned(self._pending)
        except RequestError:
            for run in list(self._pending):
                try:
                    self._planned([run])
                except RequestError as error:
                    yield self._ended(run, REFUSED, error=str(error))

    def _claim_or_end(self, run: RunConfig) -> Outcome | None:
        """Claim a run; return None where it is ours, else CLAIMED (by another process) or DONE (stored by now)."""
        label = outcome_of(run, status=CLAIMED).label
        if holder := self._claims.take(run_key(self._specs[run]), label):
            return self._ended(run, CLAIMED, holder=str(holder))
        if not self._job.execution.refresh and (record := self._store.done(self._specs[run])):
            return self._ended(run, DONE, record=record)
        return None

    def _carried_out(self, runs: Sequence[RunConfig]) -> Iterator[Outcome]:
        """Do claimed runs in as few passes as possible; after an error that may be one run's own, run by run."""
        waiting = deque(self._planned(runs))
        while waiting:
            planned = waiting.popleft()
            left = list(planned.runs)
            raise_if_interrupted()  # an exception in a destructor is lost
            try:
                # Another pass's seconds are not this one's, nor is the stage in which it failed.
                self._monitor.seconds, self._monitor.current = dict(self._preparing), None
                assert self._prepared is not None
                for run, record in carry_out(planned, self._prepared, self._job.execution, self._monitor):
                    left.remove(run)
                    yield self._ended(run, OK, record=record)
                continue
            except Exception as error:
                raise_if_interrupted()
                if isinstance(error, UserError) and not isinstance(error, DataError):
                    raise
                failure = error
            if len(planned.runs) > 1 and self._monitor.current not in SHARED_STAGES:
                logger.debug("a pass of %d runs failed: they are tried one by one", len(left), exc_info=failure)
                waiting.extendleft(alone for run in reversed(left) for alone in self._planned([run]))
            else:
                yield from self._failures(left, failure)
            del failure  # its traceback holds all that the pass had in memory

    def _planned(self, runs: Sequence[RunConfig]) -> list[Pass]:
        assert self._prepared is not None
        return plan_runs(runs, self._prepared.split, self._prepared.weights, self._job.execution)

    def _failures(self, runs: Sequence[RunConfig], error: Exception) -> Iterator[Outcome]:
        """Yield how runs end that an error stopped; recorded where the data or the numbers are to blame, or we are."""
        cause, error = error, ran_out(error) or error
        if isinstance(error, UserError):  # of any other the traceback is printed in any case
            logger.debug("%d runs cannot go on, stage %s", len(runs), self._monitor.current, exc_info=cause)
        if isinstance(error, UserError) and not isinstance(error, DataError):
            # A store that fails under a run has no room for its failure either, but the request was right.
            status = FAILED if isinstance(error, StoreError) else REFUSED
            yield from (self._ended(run, status, error=str(error)) for run in runs)
            return
        if not isinstance(error, UserError):
            # Names from data stand in it, too.
            for line in "".join(traceback.format_exception(error)).splitlines():
                print(printable(line), file=sys.stderr)
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        message = f"{self._monitor.current or 'start'}: {' '.join(text.split())}"
        split = self._prepared.split if self._prepared else None
        for run in runs:
            # Without a fingerprint where the split could not be read, and the weights where these were not reached.
            weights = self._prepared.weights if self._prepared else resolve_weights(run.backbone)
            spec = self._specs.setdefault(run, _spec(run, None, weights))
            record = failed_record(run, spec, weights, split, error=error, monitor=self._monitor, started=self._started)
            unrecorded = ""
            try:
                self._store.write(record)
            except UserError as unwritable:
                unrecorded = f" (and the failure could not be recorded: {unwritable})"
            yield self._ended(run, FAILED, error=f"{message}{unrecorded}")


def _spec(run: RunConfig, print_of_split: str | None, weights: Weights) -> dict[str, Any]:
    return run_spec(
        run, fingerprint=print_of_split, weights_digest=weights.digest, versions=find(run.model.name).versions(run)
    )


def _as_asked(record: RunRecord, run: RunConfig) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Return a record's metrics, None for those that are missing, older or made with other `metrics.*`, and a note."""
    values = dict(record.values)
    if record.status != "ok":
        return values, ()
    reasons: dict[str, list[str]] = {}
    for name, metric in registered().items():
        wanted = {"aupro_fpr_limit": run.metrics.aupro_fpr_limit} if name == AUPRO else None
        reason = not_measured(record, name, version=metric.version, settings=wanted)
        if reason is not None and name not in record.metrics_absent:
            values[name] = None
            reasons.setdefault(reason.removeprefix("not measured: "), []).append(name)
    told = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    note = f"not measured in the store's run: {'; '.join(told)}; refresh=true makes it again"
    return values, (note,) if told else ()


def outcome_of(
    run: RunConfig,
    *,
    status: str,
    spec: Mapping[str, Any] | None = None,
    record: RunRecord | None = None,
    error: str | None = None,
    holder: str | None = None,
) -> Outcome:
    """Return a run's end as it travels back to whoever started the sweep.

    Of a run that the store had, a metric counts only as it was asked for: a note names the others.
    """
    metrics, notes = _as_asked(record, run) if record else ({}, ())
    return Outcome(
        dataset=run.dataset.name,
        category=run.category,
        model=run.model.name,
        backbone=run.backbone.name,
        seed=run.seed,
        settings=settings_of(run),
        key=run_key(spec) if spec else None,
        status=status,
        folder=str(Store(Path()).run_folder(spec)) if spec else None,
        metrics=metrics,
        seconds=sum(record.timing.seconds.values()) if record else 0.0,
        error=error,
        notes=(*(record.dataset.notes if record and status != DONE else ()), *notes),
        synthetic=run.dataset.synthetic,
        holder=holder,
    )
