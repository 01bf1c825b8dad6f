"""A sweep: check every job, then launch all of them, then print a summary."""

import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from omegaconf import DictConfig

from harness.cli.interruption import raise_if_interrupted, undisturbed
from harness.cli.terminal import differing, make_display, print_outcomes, print_plan, print_status, print_summary
from harness.config.experiment import expand, to_hydra
from harness.config.overrides import Override, parse
from harness.config.resolve import resolve
from harness.config.settings import Job
from harness.data.layouts import validate_request
from harness.errors import DataError, RequestError, StoreError, UserError
from harness.execution.hardware import divide, require, take_gpu, this_machine
from harness.execution.launchers import Ended, LaunchPlan, in_one_line, launch
from harness.execution.monitor import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Outcome
from harness.models.compute import be_verbose
from harness.store import Store, write_runs_csv
from harness.store.claims import Claims

Compose = Callable[[Sequence[str]], tuple[DictConfig, str]]
Launch = Callable[[Sequence[Job], LaunchPlan], Generator[tuple[int, Ended]]]

LOOK_S, SELDOM_S = 0.2, 5.0
"""How often a claim of another sweep is looked at: the first time, and once it takes long."""

logger = logging.getLogger(__name__)

_finished: list[Outcome] = []


def finished() -> tuple[Outcome, ...]:
    """Return how the runs of the last sweep in this process ended: Hydra returns nothing to its caller."""
    return tuple(_finished)


@dataclass(frozen=True)
class Request:
    """All that one command asks for."""

    jobs: tuple[Job, ...]
    plan: LaunchPlan
    dry_run: bool


def prepare(own: list[Override]) -> list[Override]:
    """Expand a request's overrides once, so that what they cannot mean is said at once; then divide the machine.

    Raises:
        RequestError: the request means nothing, or its launcher is not installed.
    """
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    jobs, machine = expand(own), this_machine()
    be_verbose(any(job.get("verbose") for job in jobs))
    request = divide(own, n_jobs=len(jobs), machine=machine, cluster=cluster)
    logger.debug("%d jobs for %s: %s", len(jobs), machine, " ".join(override.hydra() for override in request))
    values = {override.key: override.values for override in request}
    require(values["launcher"][0])
    if values["launcher"] == ("basic",) and "cpu" not in values.get("device", ()):
        take_gpu()
    return request


def requested(arguments: Sequence[str], *, compose: Compose) -> Request:
    """Return the jobs that the arguments mean.

    Args:
        arguments: quoted overrides, as `harness.config.overrides.quote` makes them.
        compose: gives a job's configuration and the name of its protocol file.

    Raises:
        RequestError: any job is wrong.
    """
    composed = [compose(to_hydra(overrides)) for overrides in expand(parse(arguments)[0])]
    jobs = tuple(resolve(config, protocol_name=protocol_name) for config, protocol_name in composed)
    configs = [config for config, _ in composed]
    devices = {config.device for config in configs}
    last = configs[-1]  # what is not the machine's alone is the same in all
    device = devices.pop() if len(devices) == 1 else None
    plan = LaunchPlan(last.launcher, device, last.jobs, last.threads, dict(last.slurm), last.verbose)
    return Request(jobs, plan, any(config.dry_run for config in configs))


def carry_out(request: Request) -> tuple[Outcome, ...]:
    """Check all jobs, then launch them; with `dry_run` list their runs instead.

    Raises:
        RequestError: any job is wrong, and nothing has run.
        StoreError: all has run that could, and runs.csv cannot be written.
    """
    _finished.clear()
    jobs = request.jobs
    _check(jobs)
    if request.dry_run:
        planned = [outcome for job in jobs for outcome in _plan(job, foresee=True)]
        print_plan(planned)
        _finished.extend(outcome for outcome in planned if outcome.status == FAILED)
        return finished()
    stores = dict.fromkeys(job.execution.store for job in jobs)
    try:
        _finished.extend(_carry_out_all(jobs, request.plan))
    finally:
        with undisturbed():
            for path in stores:
                Claims(path).tidy()
    print_summary(finished())
    for path in stores:
        write_runs_csv(path)
    return finished()


def _carry_out_all(jobs: Sequence[Job], plan: LaunchPlan, launch: Launch = launch) -> list[Outcome]:
    """Launch all jobs; then, each time another sweep releases a claim, launch that job again with its failed runs."""
    from harness.execution.job import outcome_of

    keys = differing([outcome_of(run, status=TO_DO) for job in jobs for run in job.runs])
    ended = _launch(jobs, plan, launch, keys)
    while claimed := [i for i, outcomes in enumerate(ended) if any(outcome.status == CLAIMED for outcome in outcomes)]:
        free = _wait_for_any({i: (jobs[i], ended[i]) for i in claimed})
        logger.debug("%d of %d jobs that others were at are free: launched again", len(free), len(claimed))
        for i, again in zip(free, _launch([jobs[i] for i in free], plan, launch, keys), strict=True):
            by_place = {outcome.place_in_job: outcome for outcome in ended[i]}
            by_place |= {new.place_in_job: new for new in again if by_place[new.place_in_job].status not in (OK, DONE)}
            ended[i] = tuple(by_place.values())
    return [outcome for outcomes in ended for outcome in outcomes]


def _wait_for_any(claimed: dict[int, tuple[Job, tuple[Outcome, ...]]]) -> list[int]:
    """Wait until no run of some of these jobs is claimed by anybody any more, and return those jobs."""
    runs = [outcome for _, outcomes in claimed.values() for outcome in outcomes if outcome.status == CLAIMED]
    print_status(f"waiting for {len(runs)} runs of other sweeps: {runs[0].label} ({runs[0].holder})")
    for outcome in runs:
        logger.debug("waiting for %s (%s): %s", outcome.label, outcome.key, outcome.holder)
    pause = LOOK_S
    # The same objects each time: a holder that is silent is known only to who has watched it.
    claims = {job.execution.store: Claims(job.execution.store) for job, _ in claimed.values()}
    while True:
        raise_if_interrupted()
        free = [
            i
            for i, (job, outcomes) in claimed.items()
            if all(claims[job.execution.store].is_free(o.key) for o in outcomes if o.status == CLAIMED and o.key)
        ]
        if free:
            return free
        time.sleep(pause)
        pause = min(2 * pause, SELDOM_S)


def _launch(jobs: Sequence[Job], plan: LaunchPlan, launch: Launch, keys: list[str]) -> list[tuple[Outcome, ...]]:
    """Run jobs one after the other in this process, or in others by the launcher; return the outcomes of each job."""
    if plan.launcher == "basic":
        from harness.execution.job import run_job

        firsts = [job.runs[0] for job in jobs]
        displays = [make_display(f"{run.dataset.name}/{run.category} {run.backbone.name}") for run in firsts]
        return [tuple(print_outcomes(run_job(job, display), keys)) for job, display in zip(jobs, displays, strict=True)]
    ended: dict[int, tuple[Outcome, ...]] = {}

    def has_ended(i: int, how: Ended) -> None:
        ended[i] = tuple(print_outcomes(_lost(jobs[i], how) if isinstance(how, Exception) else how, keys))

    try:
        with closing(launch(jobs, plan)) as results:
            for i, how in results:
                raise_if_interrupted()  # an exception in a destructor is lost
                has_ended(i, how)
    except UserError:
        raise
    except Exception as error:
        raise_if_interrupted()
        if not ended:
            raise RequestError(f"launcher={plan.launcher}: cannot start a job ({in_one_line(error)})") from error
        for i in set(range(len(jobs))) - set(ended):
            has_ended(i, error)
    raise_if_interrupted()
    return [ended[i] for i in range(len(jobs))]


def _lost(job: Job, error: Exception) -> tuple[Outcome, ...]:
    from harness.execution.job import outcome_of

    logger.debug("the job of %s did not come back", outcome_of(job.runs[0], status=FAILED).label, exc_info=error)
    if isinstance(error, UserError):  # where the job ran, something is not as it is here
        return tuple(outcome_of(run, status=REFUSED, error=str(error)) for run in job.runs)
    message = f"its job gave no result ({in_one_line(error)}); run the same command again, perhaps with fewer jobs="
    return tuple(
        outcome if outcome.status in (DONE, CLAIMED, FAILED) else replace(outcome, status=FAILED, error=message)
        for outcome in _plan(job)
    )


def _check(jobs: Sequence[Job]) -> None:
    for dataset in dict.fromkeys(job.runs[0].dataset for job in jobs if job.runs[0].dataset.synthetic):
        from harness.data.mini.write import is_complete, write_dataset

        if not is_complete(dataset.name, dataset.root):
            print_status(f"drawing {dataset.name} (once)")
        write_dataset(dataset.name, dataset.root)
    for dataset, category in dict.fromkeys((job.runs[0].dataset, job.runs[0].category) for job in jobs):
        validate_request(dataset, category)
    for path in dict.fromkeys(job.execution.store for job in jobs):
        try:
            Store(path).check_writable()
        except StoreError as error:
            raise RequestError(str(error)) from error  # from here on it is the store that fails, not the request


def _plan(job: Job, *, foresee: bool = False) -> tuple[Outcome, ...]:
    from harness.execution.job import outcome_of, plan_job

    try:
        return plan_job(job, foresee=foresee)
    except DataError as error:
        return tuple(outcome_of(run, status=FAILED, error=str(error)) for run in job.runs)
