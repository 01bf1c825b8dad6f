"""One job, from its configuration to its records: the only place that knows the whole way."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import Job, RunConfig, run_key, run_spec
from harness.data.fingerprint import fingerprint
from harness.data.layouts import resolve_split
from harness.errors import DataError, UserError
from harness.examples import gather_examples
from harness.metrics import VERSION as METRICS_VERSION
from harness.monitor import Display, Monitor
from harness.outcome import DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.padim.backbone import Weights, resolve_weights
from harness.padim.indices import index_versions
from harness.recording import Costs, failed_record, ok_record
from harness.store import ScoreTable, Store

if TYPE_CHECKING:
    import numpy as np

    from harness.data.loader import SplitSource
    from harness.data.split import Split
    from harness.padim.engine import Engine, Scores
    from harness.store import RunRecord

ENGINE_STAGES = ("fit", "factor", "score")
"""Where an engine spends its time; images a second are counted over these."""


COVARIANCE_BUDGET = 4 * 2**30
"""Bytes of covariances held at once, unless a single run needs more: 34 seeds of 100 features on a 56x56 grid."""


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
    """What each run of a job would do, without doing it: TO_DO or DONE, with its key.

    Raises:
        UserError: as `prepare`.
    """
    store = Store(job.execution.store)
    prepared = prepare(job, Monitor())
    return tuple(
        outcome_of(run, spec=spec, status=DONE if store.done(spec) else TO_DO)
        for run, spec in zip(job.runs, prepared.specs, strict=True)
    )


def run_job(job: Job, display: Display | None = None) -> Iterator[Outcome]:
    """Do the runs of one job that the store does not have yet, and yield how each ended, as soon as it has.

    A wrong request (weights of another network) ends as REFUSED and leaves no record. Data or numbers that cannot be
    trusted end as FAILED, with a record that says in which stage. Only an interruption is raised.
    """
    monitor = Monitor(display)
    started = datetime.now(UTC)
    store = Store(job.execution.store)
    pending = list(job.runs)
    prepared: Prepared | None = None
    try:
        prepared = prepare(job, monitor)
        specs = dict(zip(job.runs, prepared.specs, strict=True))
        for run in job.runs:
            if record := store.done(specs[run]):
                pending.remove(run)
                yield outcome_of(run, spec=specs[run], status=DONE, record=record)
        for together in passes(pending):
            for run, outcome in _run_pending(together, prepared, job, monitor, started):
                pending.remove(run)
                yield outcome
    except Exception as error:
        yield from _failures(pending, prepared, error, store=store, monitor=monitor, started=started)


def passes(runs: Sequence[RunConfig], budget: int = COVARIANCE_BUDGET) -> list[tuple[RunConfig, ...]]:
    """Part runs, in their order, into groups whose covariances fit into the budget; each group is one backbone pass.

    A run that does not fit by itself is a group by itself: its numbers are the same in any company.
    """
    groups: list[list[RunConfig]] = []
    held = 0
    for run in runs:
        height, width = run.protocol.input_size
        stride = run.backbone.reductions[0]
        needed = -(-height // stride) * -(-width // stride) * run.n_features**2 * 4
        if not groups or held + needed > budget:
            groups.append([])
            held = 0
        groups[-1].append(run)
        held += needed
    return [tuple(group) for group in groups]


def _run_pending(
    runs: tuple[RunConfig, ...], prepared: Prepared, job: Job, monitor: Monitor, started: datetime
) -> Iterator[tuple[RunConfig, Outcome]]:
    """Score all pending runs in one pass, then judge and store them one by one."""
    # Libraries tell their own authors about deprecations; a user of this harness can do nothing with them.
    warnings.filterwarnings("ignore", category=FutureWarning)
    with monitor.stage("import"):
        import torch

        from harness.data.loader import SplitSource, labels, load_masks
        from harness.metrics import evaluate

        engine = _engine(runs[0].engine)
    if job.execution.threads:
        torch.set_num_threads(job.execution.threads)
    split, first = prepared.split, runs[0]
    source = SplitSource(split, first.protocol, workers=job.execution.workers)
    scores = _score(engine, source, runs, prepared.weights, monitor)
    masks = None
    if split.has_masks:
        with monitor.stage("masks"):
            masks = load_masks(split, first.protocol)
    truth = labels(split)
    with monitor.stage("examples"):
        examples = gather_examples(source, truth, masks)
    store = Store(job.execution.store)
    costs = Costs.so_far(monitor, n_images=source.n_train + source.n_test, engine_stages=ENGINE_STAGES)
    for run, spec, scored in zip(runs, _specs_of(runs, prepared, job), scores, strict=True):
        own = Monitor()
        with monitor.stage("metrics"), own.stage("metrics"):
            report = evaluate(scored.image_scores, truth, scored.anomaly_maps, masks, config=run.metrics)
        with monitor.stage("write"):
            table = _table(split, truth, scored)
            record = ok_record(
                run,
                spec,
                weights=prepared.weights,
                split=split,
                scored=scored,
                report=report,
                costs=costs.plus(own),
                scores_sha256=table.sha256,
                threads=torch.get_num_threads(),
                started=started,
            )
            store.write(record, table, examples.arrays(scored.anomaly_maps))
        yield run, outcome_of(run, spec=spec, status=OK, record=record)


def _score(
    engine: Engine, source: SplitSource, runs: Sequence[RunConfig], weights: Weights, monitor: Monitor
) -> tuple[Scores, ...]:
    from harness.padim.engine import Variant

    variants = tuple(Variant(run.seed, run.n_features, run.protocol.index_sampler) for run in runs)
    return engine(
        source,
        backbone=runs[0].backbone,
        weights=weights,
        protocol=runs[0].protocol,
        variants=variants,
        device=runs[0].device,
        monitor=monitor,
    )


def _engine(name: str) -> Engine:
    if name == "reference":
        from harness.padim.reference import run_reference

        return run_reference
    from harness.padim.streaming import run_streaming

    return run_streaming


def _spec(run: RunConfig, print_of_split: str | None, weights: Weights) -> dict[str, Any]:
    return run_spec(
        run,
        fingerprint=print_of_split,
        weights_digest=weights.digest,
        metrics_version=METRICS_VERSION,
        index_versions=index_versions(run.protocol.index_sampler),
    )


def _specs_of(runs: Sequence[RunConfig], prepared: Prepared, job: Job) -> list[dict[str, Any]]:
    specs = dict(zip(job.runs, prepared.specs, strict=True))
    return [specs[run] for run in runs]


def _table(split: Split, truth: np.ndarray, scored: Scores) -> ScoreTable:
    return ScoreTable(tuple(sample.path for sample in split.test), truth, scored.image_scores)


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
        yield from (outcome_of(run, status=REFUSED, error=str(error)) for run in runs)
        return
    if not isinstance(error, UserError):
        traceback.print_exception(error, file=sys.stderr)
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
        try:
            store.write(record)
        except UserError as unwritable:
            message = f"{message} (and the failure could not be recorded: {unwritable})"
        yield outcome_of(run, spec=spec, status=FAILED, error=message)


def outcome_of(
    run: RunConfig,
    *,
    status: str,
    spec: Mapping[str, Any] | None = None,
    record: RunRecord | None = None,
    error: str | None = None,
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
    )
