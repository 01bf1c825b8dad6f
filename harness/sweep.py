"""A sweep: every job checked before the first one runs, then launched, then summed up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig

from harness.config import DatasetConfig, Job, RunConfig
from harness.data.layouts import validate_request
from harness.errors import DataError, RequestError, StoreError, UserError
from harness.experiment import expand, to_hydra
from harness.interruption import heard, kept_from_children, raise_if_asked
from harness.launch.gpus import take_gpu
from harness.launch.lost import in_one_line, was_killed
from harness.launch.worker import (
    as_worker,
    differing_in_sweep,
    end_with_sweep,
    is_sweep,
    stay_silent_between_jobs,
    this_is_the_sweep,
)
from harness.monitor import Display
from harness.outcome import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.overrides import parse
from harness.resolve import resolve
from harness.store import Store, write_runs_csv
from harness.store.claims import Claims
from harness.streams import unbreakable_output
from harness.telling import varying
from harness.terminal import make_display, print_outcome, print_outcomes, print_plan, print_status, print_summary

Compose = Callable[[Sequence[str]], tuple[DictConfig, str]]
Launch = Callable[[Sequence[Sequence[str]]], list[Any]]

SILENT = ("submitit_slurm", "ray")
"""Launchers whose jobs cannot be heard: the sweep says at its end how each run has ended."""

ON_THIS_MACHINE = ("joblib", "submitit_local")
"""Launchers whose processes must not outlive the sweep."""

LOOK_S, SELDOM_S = 0.2, 5.0
"""How often a claim of another sweep is looked at: the first time, and once it takes long."""

_finished: list[Outcome] = []


def finished() -> tuple[Outcome, ...]:
    """How the runs of the last sweep in this process ended: Hydra returns nothing to whoever called it."""
    return tuple(_finished)


def carry_out(arguments: Sequence[str], *, compose: Compose, launch: Launch) -> tuple[Outcome, ...]:
    """Check all jobs that the arguments mean, then launch them; with `dry_run` list their runs instead.

    Args:
        arguments: quoted overrides, as `harness.overrides.quote` makes them.
        compose: gives a job's configuration and the name of its protocol file.
        launch: runs jobs, each a list of overrides, and returns what each job's task returned, or its exception.

    Raises:
        RequestError: any job is wrong; nothing has run then.
        StoreError: all has run that could, and runs.csv cannot be written.
    """
    _finished.clear()
    overrides = [to_hydra(job) for job in expand(parse(arguments)[0])]
    jobs, dry_run = [], False
    for job_overrides in overrides:
        config, protocol_name = compose(job_overrides)
        jobs.append(resolve(config, protocol_name=protocol_name))
        dry_run = dry_run or bool(config.dry_run)
    jobs, overrides = _distinct(jobs, overrides)
    _check(jobs)
    if dry_run:
        planned = [outcome for job in jobs for outcome in _plan(job, foresee=True)]
        print_plan(planned)
        _finished.extend(outcome for outcome in planned if outcome.status == FAILED)
        return finished()
    stores = dict.fromkeys(job.execution.store for job in jobs)
    this_is_the_sweep(_differing(jobs))
    try:
        _finished.extend(_carry_out_all(jobs, overrides, launch, launcher=str(config.launcher)))
    finally:
        for path in stores:
            Claims(path).tidy()
    print_summary(finished())
    for path in stores:
        write_runs_csv(path)
    return finished()


def _carry_out_all(
    jobs: Sequence[Job], overrides: Sequence[Sequence[str]], launch: Launch, *, launcher: str
) -> list[Outcome]:
    """Launch all jobs; then again those with runs that other sweeps had claimed, once these have let go of them."""

    def launched(indices: Sequence[int]) -> list[tuple[Outcome, ...]]:
        ended = _launch([jobs[i] for i in indices], [overrides[i] for i in indices], launch, launcher=launcher)
        for outcomes in ended if launcher in SILENT else ():
            print_outcomes(outcomes, differing_in_sweep())
        return ended

    ended = launched(range(len(jobs)))
    while claimed := [i for i, outcomes in enumerate(ended) if any(outcome.status == CLAIMED for outcome in outcomes)]:
        free = _wait_for_any({i: (jobs[i], ended[i]) for i in claimed})
        for i, again in zip(free, launched(free), strict=True):
            by_place = {outcome.place_in_job: outcome for outcome in ended[i]}
            by_place |= {new.place_in_job: new for new in again if by_place[new.place_in_job].status not in (OK, DONE)}
            ended[i] = tuple(by_place.values())
    return [outcome for outcomes in ended for outcome in outcomes]


def _wait_for_any(claimed: dict[int, tuple[Job, tuple[Outcome, ...]]]) -> list[int]:
    """Wait until no run of some of these jobs is claimed by anybody any more, and return those jobs."""
    runs = [outcome for _, outcomes in claimed.values() for outcome in outcomes if outcome.status == CLAIMED]
    print_status(f"waiting for {len(runs)} runs that others are at: {runs[0].label} ({runs[0].holder})")
    pause = LOOK_S
    # The same objects each time: a holder that is silent is known only to who has watched it.
    claims = {job.execution.store: Claims(job.execution.store) for job, _ in claimed.values()}
    while True:
        raise_if_asked()
        free = [
            i
            for i, (job, outcomes) in claimed.items()
            if all(claims[job.execution.store].is_free(o.key) for o in outcomes if o.status == CLAIMED and o.key)
        ]
        if free:
            return free
        time.sleep(pause)
        pause = min(2 * pause, SELDOM_S)


def _launch(
    jobs: Sequence[Job], overrides: Sequence[Sequence[str]], launch: Launch, *, launcher: str
) -> list[tuple[Outcome, ...]]:
    """Each job's outcomes: here, one job after the other, or by the launcher in processes of their own.

    A job that kills such a process is lost, and takes no other with it. Where a launcher gives up with its first lost
    process, as joblib does, what had not begun is launched again; what was under way comes last, job by job, so that
    only the guilty one is lost.
    """
    if launcher == "basic":  # Hydra's own launcher would compose each configuration once more
        return [_run(job, make_display(_label(job))) for job in jobs]
    ended: dict[int, tuple[Outcome, ...]] = {}
    batches = deque([list(range(len(jobs)))])
    tried_again = False
    while batches:
        batch = batches.popleft()
        raise_if_asked()  # an exception in a destructor is lost
        try:
            with kept_from_children() if launcher == "joblib" else nullcontext():
                returned = launch([overrides[i] for i in batch])
        except UserError:
            raise
        except Exception as error:
            begun, others = ([batch[place] for place in places] for places in _begun([jobs[i] for i in batch]))
            if len(batch) > 1 and begun:
                batches.extendleft([others] if others else [])
                batches.extend([i] for i in begun)
                continue
            if len(batch) > 1 and was_killed(error):  # before anything was claimed: once more, then one by one
                batches.extendleft([[i] for i in reversed(batch)] if tried_again else [batch])
                tried_again = True
                continue
            returned = [error] * len(batch)
        for i, result in zip(batch, returned, strict=True):
            ended[i] = _lost(jobs[i], result) if isinstance(result, Exception) else tuple(result)
            if isinstance(result, Exception) and launcher not in SILENT:
                _print_lost(ended[i])
    raise_if_asked()
    return [ended[i] for i in range(len(jobs))]


def _print_lost(outcomes: Sequence[Outcome]) -> None:
    """A line for each run of a lost job but for those that ended well before, which have had theirs."""
    for outcome in outcomes:
        if outcome.status != DONE:
            print_outcome(outcome, differing_in_sweep())


def _begun(jobs: Sequence[Job]) -> tuple[list[int], list[int]]:
    """Places of the jobs that somebody, alive or not, has claimed and not ended, and of all others."""
    places: tuple[list[int], list[int]] = [], []
    for place, job in enumerate(jobs):
        claims = Claims(job.execution.store)
        keys = [outcome.key for outcome in _plan(job) if outcome.status in (TO_DO, CLAIMED)]
        places[not any(key is not None and claims.is_there(key) for key in keys)].append(place)
    return places


def _lost(job: Job, error: Exception) -> tuple[Outcome, ...]:
    """How the runs of a job stand that did not come back."""
    from harness.run import outcome_of

    if isinstance(error, UserError):  # where the job ran, something is not as it is here
        return tuple(outcome_of(run, status=REFUSED, error=str(error)) for run in job.runs)
    message = f"its job did not come back ({in_one_line(error)}); run the same command again, perhaps with fewer jobs="
    return tuple(
        outcome if outcome.status in (DONE, CLAIMED, FAILED) else replace(outcome, status=FAILED, error=message)
        for outcome in _plan(job)
    )


def _distinct(jobs: Sequence[Job], overrides: Sequence[list[str]]) -> tuple[list[Job], list[list[str]]]:
    """Without the jobs whose every run is in an earlier one: device=auto,cpu names one thing twice where no GPU is."""
    seen: set[tuple[Any, RunConfig]] = set()
    kept = []
    for job, own in zip(jobs, overrides, strict=True):
        runs = {(job.execution.store, run) for run in job.runs}
        if not runs <= seen:
            kept.append((job, own))
        seen |= runs
    return [job for job, _ in kept], [own for _, own in kept]


def _differing(jobs: Sequence[Job]) -> list[str]:
    from harness.run import outcome_of

    return varying([outcome_of(run, status=TO_DO) for job in jobs for run in job.runs])


def _check(jobs: Sequence[Job]) -> None:
    for dataset in dict.fromkeys(job.runs[0].dataset for job in jobs if job.runs[0].dataset.synthetic):
        draw_where_missing(dataset)
    for dataset, category in dict.fromkeys((job.runs[0].dataset, job.runs[0].category) for job in jobs):
        validate_request(dataset, category)
    for path in dict.fromkeys(job.execution.store for job in jobs):
        try:
            Store(path).check_writable()
        except StoreError as error:
            raise RequestError(str(error)) from error  # from here on it is the store that fails, not the request


def draw_where_missing(dataset: DatasetConfig) -> None:
    """Draw a dataset of the mini benchmark, once: later sweeps find it.

    Raises:
        RequestError: its root holds something else, or cannot be written.
    """
    from harness.data.mini.write import is_complete, write_dataset

    if not is_complete(dataset.name, dataset.root):
        print_status(f"drawing {dataset.name} (once)")
    write_dataset(dataset.name, dataset.root)


def _plan(job: Job, *, foresee: bool = False) -> tuple[Outcome, ...]:
    from harness.run import outcome_of, plan_job

    try:
        return plan_job(job, foresee=foresee)
    except DataError as error:
        return tuple(outcome_of(run, status=FAILED, error=str(error)) for run in job.runs)


def carry_out_job(config: DictConfig, *, protocol_name: str) -> tuple[Outcome, ...]:
    """One job of a sweep, in whatever process a launcher put it: a line for each run as it ends."""
    if is_sweep():  # joblib works here where one job at a time is asked for
        with heard():
            if config.device != "cpu":
                take_gpu()
            job = resolve(config, protocol_name=protocol_name)
            return _run(job, make_display(_label(job)))
    if config.launcher == "joblib":
        stay_silent_between_jobs()
    with as_worker(), heard() if config.launcher == "joblib" else nullcontext(), unbreakable_output():
        if config.launcher in ON_THIS_MACHINE:
            end_with_sweep()
        if config.device != "cpu":
            take_gpu()
        return _run(resolve(config, protocol_name=protocol_name), None)


def _label(job: Job) -> str:
    first = job.runs[0]
    return f"{first.dataset.name}/{first.category} {first.backbone.name}"


def _run(job: Job, display: Display | None) -> tuple[Outcome, ...]:
    from harness.run import run_job

    return tuple(print_outcomes(run_job(job, display), differing_in_sweep()))


def task(config: DictConfig) -> tuple[Outcome, ...]:
    """Hydra's task function: one job; it never exits. It lives in a module that every launcher can import."""
    from hydra.core.hydra_config import HydraConfig

    return carry_out_job(config, protocol_name=str(HydraConfig.get().runtime.choices["protocol"]))
