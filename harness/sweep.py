"""A sweep: every job checked before the first one runs, then launched, then summed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig

from harness.config import DatasetConfig, Job
from harness.data.layouts import validate_request
from harness.errors import DataError
from harness.experiment import expand, to_hydra
from harness.outcome import FAILED, OK, Outcome
from harness.overrides import parse
from harness.resolve import resolve
from harness.store import Store, write_runs_csv
from harness.terminal import make_display, print_notes, print_outcome, print_plan, print_status, print_summary

Compose = Callable[[Sequence[str]], tuple[DictConfig, str]]
Launch = Callable[[Sequence[Sequence[str]]], list[Any]]

_finished: list[Outcome] = []


def finished() -> tuple[Outcome, ...]:
    """How the runs of the last sweep in this process ended: Hydra returns nothing to whoever called it."""
    return tuple(_finished)


def carry_out(arguments: Sequence[str], *, compose: Compose, launch: Launch) -> tuple[Outcome, ...]:
    """Check all jobs that the arguments mean, then launch them; with `dry_run` list their runs instead.

    Args:
        arguments: quoted overrides, as `harness.overrides.quote` makes them.
        compose: gives a job's configuration and the name of its protocol file.
        launch: runs jobs, each a list of overrides, and returns what each job's task returned.

    Raises:
        RequestError: any job is wrong; nothing has run then.
    """
    _finished.clear()
    overrides = [to_hydra(job) for job in expand(parse(arguments)[0])]
    jobs, dry_run = [], False
    for job_overrides in overrides:
        config, protocol_name = compose(job_overrides)
        jobs.append(resolve(config, protocol_name=protocol_name))
        dry_run = dry_run or bool(config.dry_run)
    _check(jobs)
    if dry_run:
        print_plan([outcome for job in jobs for outcome in _plan(job)])
        return ()
    for outcomes in launch(overrides):
        _finished.extend(outcomes)
    for path in dict.fromkeys(job.execution.store for job in jobs):
        write_runs_csv(path)
    print_summary(finished())
    return finished()


def _check(jobs: Sequence[Job]) -> None:
    for dataset in dict.fromkeys(job.runs[0].dataset for job in jobs if job.runs[0].dataset.synthetic):
        draw_where_missing(dataset)
    for dataset, category in dict.fromkeys((job.runs[0].dataset, job.runs[0].category) for job in jobs):
        validate_request(dataset, category)
    for path in dict.fromkeys(job.execution.store for job in jobs):
        Store(path).check_writable()


def draw_where_missing(dataset: DatasetConfig) -> None:
    """Draw a dataset of the mini benchmark, once: later sweeps find it.

    Raises:
        RequestError: its root holds something else, or cannot be written.
    """
    from harness.data.mini.write import is_complete, write_dataset

    if not is_complete(dataset.name, dataset.root):
        print_status(f"drawing {dataset.name} (once)")
        write_dataset(dataset.name, dataset.root)


def _plan(job: Job) -> tuple[Outcome, ...]:
    from harness.run import outcome_of, plan_job

    try:
        return plan_job(job)
    except DataError as error:
        return tuple(outcome_of(run, status=FAILED, error=str(error)) for run in job.runs)


def carry_out_job(config: DictConfig, *, protocol_name: str) -> tuple[Outcome, ...]:
    """One job of a sweep, on whatever machine the launcher put it: a line for each run as it ends."""
    from harness.run import run_job

    job = resolve(config, protocol_name=protocol_name)
    first = job.runs[0]
    outcomes: list[Outcome] = []
    for outcome in run_job(job, make_display(f"{first.dataset.name}/{first.category} {first.backbone.name}")):
        print_outcome(outcome)
        if outcome.status == OK and not any(outcome.notes == earlier.notes for earlier in outcomes):
            print_notes(outcome)
        outcomes.append(outcome)
    return tuple(outcomes)
