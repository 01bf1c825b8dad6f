"""Do a sweep's jobs in other processes: by joblib or submitit on this machine, by submitit on SLURM, or by Ray."""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from harness.cli.command import unbreakable_output
from harness.cli.interruption import listen, undisturbed
from harness.config.settings import Device, Job
from harness.device import resolve_device
from harness.errors import RequestError, UserError
from harness.execution.hardware import VISIBLE, take_gpu, visible_gpus
from harness.execution.monitor import Outcome
from harness.leftovers import is_alive
from harness.models.compute import be_verbose

logger = logging.getLogger(__name__)

LOOK_S, SLURM_LOOK_S = 0.1, 2.0

LONGEST_MIN = 7 * 24 * 60
"""submitit ends a local job after five minutes, unless told otherwise; a sweep's job ends when it is done."""

LONGEST_TEXT = 200
"""Characters of a library's message about a lost job."""

FOLDER = ".submitit"
"""Where SLURM's jobs and this process leave their files for one another: in the store, which all of them see."""


class LostJobError(Exception):
    """A job did not come back, most likely since its process was killed; `str(error)` is one line."""


Ended = tuple[Outcome, ...] | Exception
"""How a job's runs ended; or why they cannot: a UserError, or a LostJobError."""


@dataclass(frozen=True)
class LaunchPlan:
    """How a sweep's jobs are launched, as the request and `harness.execution.hardware.divide` say."""

    launcher: str
    device: Device | None = None
    """As asked for: `auto` is decided where a job runs; None where the jobs have several, which stay as they are."""
    at_once: int | None = None
    threads: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    verbose: bool = False


def launch(jobs: Sequence[Job], plan: LaunchPlan) -> Generator[tuple[int, Ended]]:
    """Do jobs in other processes, a few at once; yield the place of each and how it ended, as soon as it has.

    Closing the iterator ends all that still runs. A killed process costs only its own job.

    Raises:
        Exception: whatever a library raises that cannot start a job at all.
    """
    by = {"joblib": _joblib, "submitit_local": _submitit, "submitit_slurm": _submitit, "ray": _ray}
    on_slurm = plan.launcher == "submitit_slurm"  # it divides itself
    at_once = len(jobs) if on_slurm else plan.at_once or len(jobs)
    with by[plan.launcher](jobs, plan) as start:
        waiting, running = deque(range(len(jobs))), dict[int, Any]()
        while waiting or running:
            while waiting and len(running) < at_once:
                place = waiting.popleft()
                running[place] = start(place)
                logger.debug("job %d of %d given to %s", place + 1, len(jobs), plan.launcher)
            for place in [place for place, job in running.items() if job.done()]:
                logger.debug("job %d of %d has ended", place + 1, len(jobs))
                yield place, _result_of(running.pop(place), shown=plan.verbose)
            time.sleep(SLURM_LOOK_S if on_slurm else LOOK_S)


def _result_of(job: Any, *, shown: bool) -> Ended:
    """Return how a job ended.

    Args:
        shown: pass on what it wrote on standard error, where the launcher kept that in a file.
    """
    if shown and hasattr(job, "stderr"):
        print(job.stderr() or "", end="", file=sys.stderr)
    try:
        return job.result()
    except Exception as error:  # each library has its own
        log = (job.stderr() or "").split("\n") if hasattr(job, "stderr") else []
        said = next((line for line in reversed(log) if line.strip()), in_one_line(error))
        return LostJobError(f"its process was killed, or did not start: {said[:LONGEST_TEXT].strip()}")


def run_there(
    job: Job, plan: LaunchPlan, sweep: int | None = None, flag: Path | None = None, visible: str | None = None
) -> Ended:
    """Do one job in a process that a launcher made.

    Args:
        sweep: the sweep's process, where this is on the same machine: the job ends with it.
        flag: a file: the job ends when it is gone.
        visible: the sweep's own GPUs; submitit would show none to its local processes.
    """
    from harness.execution.job import run_job

    if sweep is not None:
        _end_with(sweep, flag)
    if plan.launcher.startswith("submitit"):
        listen()  # SLURM's SIGTERM, which submitit ignores: claims are given back at once
    if visible is not None:
        os.environ[VISIBLE] = visible
    with unbreakable_output():
        be_verbose(plan.verbose)
        try:
            if plan.device != "cpu":
                take_gpu()
            runs = tuple(replace(run, device=resolve_device(plan.device or run.device)) for run in job.runs)
            logger.debug("%d runs on %s, of GPUs %s", len(runs), runs[0].device, os.environ.get(VISIBLE, "all"))
            return tuple(run_job(replace(job, runs=runs)))
        except UserError as error:  # where the job runs, something is not as it is where the sweep was started
            return error
        except Exception as error:
            traceback.print_exc()
            return LostJobError(in_one_line(error))


def in_one_line(error: Exception) -> str:
    """Return what an error says, as one line: our own in full, a library's with its name and no longer than needed."""
    if isinstance(error, LostJobError):
        return str(error)
    return shorten(f"{type(error).__name__}: {error}", LONGEST_TEXT, placeholder=" …")


@cache
def _end_with(sweep: int, flag: Path | None) -> None:
    """Start a thread that ends this process when the sweep's has ended, for whatever reason, or the flag is gone."""

    def watch() -> None:
        while is_alive(sweep) and (flag is None or flag.exists()):
            time.sleep(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _deaf() -> Iterator[None]:
    """Keep the terminal's Ctrl-C from processes and threads that start in here; this process gets it and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


Start = Callable[[int], Any]
"""Starts the job at a place, and returns what has `done` and `result` as a future has."""


@contextmanager
def _joblib(jobs: Sequence[Job], plan: LaunchPlan) -> Iterator[Start]:
    """Use one executor for each process: one that is killed breaks its own, and only the job that it was at is lost."""
    from multiprocessing import resource_tracker

    from joblib.externals.loky import ProcessPoolExecutor

    # Otherwise it warns about what it cleans up after an interrupted sweep.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    resource_tracker.ensure_running()  # whoever needs it first would unblock what `_deaf` blocks
    at_work: dict[Any, Any] = {}

    def start(place: int) -> Any:
        idle = (one for one, job in at_work.items() if job.done() and job.exception() is None)
        with _deaf():
            executor = next(idle, None) or ProcessPoolExecutor(1, env={"OMP_NUM_THREADS": str(plan.threads or 1)})
            at_work[executor] = executor.submit(run_there, jobs[place], plan, os.getpid())
        return at_work[executor]

    try:
        yield start
    finally:
        with undisturbed():
            for executor in at_work:
                executor.shutdown(kill_workers=True)


@contextmanager
def _submitit(jobs: Sequence[Job], plan: LaunchPlan) -> Iterator[Start]:
    """Start one array of jobs on SLURM, which decides when each begins; here, to try that out, a process for each."""
    import submitit

    on_slurm = plan.launcher == "submitit_slurm"
    common = jobs[0].execution.store / FOLDER if on_slurm else Path(tempfile.gettempdir())
    if on_slurm and "%" in str(common):
        raise RequestError(f"store={common.parent}: SLURM reads a % in a path as a job's number; give another store")
    common.mkdir(parents=True, exist_ok=True)
    started: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="vad-harness-", dir=common, ignore_cleanup_errors=True) as folder:
        flag = Path(folder, "flag")
        flag.touch()
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm" if on_slurm else "local")

        def start(place: int) -> Any:
            with _deaf():
                given = os.getpid(), flag, ",".join(visible_gpus())
                job = executor.submit(run_there, jobs[place], plan, *given)
            job._results_timeout_s = 0  # on one disk no result comes late
            started.append(job)
            return job

        try:
            executor.update_parameters(**(_slurm_parameters(plan) if on_slurm else {"timeout_min": LONGEST_MIN}))
            if on_slurm:
                started += executor.map_array(partial(run_there, plan=plan), jobs)
            yield started.__getitem__ if on_slurm else start
        finally:
            flag.unlink(missing_ok=True)
            with undisturbed():
                for job in [job for job in started if not job.done()]:
                    job.cancel(check=False) if on_slurm else job._process.wait()
    with suppress(OSError):
        common.rmdir() if on_slurm else None


def _slurm_parameters(plan: LaunchPlan) -> dict[str, Any]:
    given = {key: value for key, value in plan.slurm.items() if value is not None}
    common = ("cpus_per_task", "gpus_per_node", "mem_gb", "timeout_min")
    named = {key if key in common else f"slurm_{key}": value for key, value in given.items()}
    return {"name": "vad-harness", **named, **({"slurm_array_parallelism": plan.at_once} if plan.at_once else {})}


@contextmanager
def _ray(jobs: Sequence[Job], plan: LaunchPlan) -> Iterator[Start]:
    """Run on the cluster that RAY_ADDRESS names, else on one of this machine alone, which ends with the sweep."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = os.environ.get("RAY_ADDRESS")
    if not cluster:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    n_cpus = (plan.threads or 1) if cluster else 1
    local = {"num_cpus": plan.at_once, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    before = signal.getsignal(signal.SIGTERM)
    # A short name: Ray's sockets lie in it, and the system allows their paths 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        where = {"address": cluster} if cluster else {"address": "local", "_temp_dir": folder, **local}
        ray.init(log_to_driver=plan.verbose, logging_level=logging.ERROR, **where)
        signal.signal(signal.SIGTERM, before)  # Ray's own would leave with another status
        try:
            on_gpu = plan.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
            remote = ray.remote(num_cpus=n_cpus, num_gpus=int(on_gpu), max_retries=0)(run_there)
            # Futures, because Ray itself would answer a signal that comes while Ray waits.
            yield lambda place: remote.remote(jobs[place], plan).future()
        finally:
            with undisturbed():
                ray.shutdown()
