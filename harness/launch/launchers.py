"""Do a sweep's jobs in other processes: by joblib or submitit on this machine, by submitit on SLURM, or by Ray."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.config import Job
from harness.device import resolve_device
from harness.errors import RequestError, UserError
from harness.interruption import listen, undisturbed
from harness.launch.hardware import VISIBLE, take_gpu
from harness.leftovers import is_alive
from harness.outcome import Outcome
from harness.streams import unbreakable_output

LOOK_S, SLURM_LOOK_S = 0.1, 2.0
"""How often processes and clusters are asked whether a job has ended."""

LONGEST_MIN = 7 * 24 * 60
"""submitit ends a local job after five minutes, unless told otherwise; a sweep's job ends when it is done."""

LONGEST_TEXT = 200
"""Characters of what a library says about a job that did not come back."""

FOLDER = ".submitit"
"""Where SLURM's jobs and this process leave their files for one another: in the store, which all of them see."""


class LostJobError(Exception):
    """A job did not come back, most likely since its process was killed; `str(error)` is one line."""


Ended = tuple[Outcome, ...] | Exception
"""How a job's runs ended; or why they cannot: a UserError, or a LostJobError."""


@dataclass(frozen=True)
class Spread:
    """How a sweep's jobs are spread, as the request and `harness.launch.hardware.divide` say."""

    launcher: str
    device: str | None = None
    """As asked for: `auto` is decided where a job runs; None where the jobs have several, which stay as they are."""
    at_once: int | None = None
    threads: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One job, as it travels to another process."""

    job: Job
    spread: Spread
    sweep: int | None = None
    """The sweep's process, where this is on the same machine: the job ends with it."""
    flag: Path | None = None
    """A file: the job ends when it is gone."""
    visible_gpus: str | None = None
    """The sweep's own CUDA_VISIBLE_DEVICES; submitit would show no GPU to its local processes."""


def launch(jobs: Sequence[Job], spread: Spread) -> Generator[tuple[int, Ended]]:
    """Do jobs in other processes; yield the place of each and how it ended, as soon as it has.

    To close the iterator ends all that still runs. A process that is killed costs the job that it was at, and no other.

    Raises:
        Exception: whatever a library raises that cannot start a job at all.
    """
    sweep = os.getpid() if spread.launcher in ("joblib", "submitit_local") else None
    tasks = [Task(job, spread, sweep, visible_gpus=os.environ.get(VISIBLE)) for job in jobs]
    by = {"joblib": _by_joblib, "submitit_local": _by_submitit, "submitit_slurm": _by_submitit, "ray": _by_ray}
    return by[spread.launcher](tasks, spread)


def run_task(task: Task) -> Ended:
    """Do one job in a process that a launcher made."""
    from harness.run import run_job

    if task.sweep is not None:
        _end_with(task.sweep, task.flag)
    launcher, device = task.spread.launcher, task.spread.device
    if launcher.startswith("submitit"):
        listen()  # SLURM's SIGTERM, which submitit ignores: claims are given back at once
    if launcher == "submitit_local":
        os.environ.pop(VISIBLE, None)
        os.environ.update({VISIBLE: task.visible_gpus} if task.visible_gpus is not None else {})
    with unbreakable_output():
        try:
            if device != "cpu":
                take_gpu()
            runs = tuple(replace(run, device=resolve_device(device or run.device)) for run in task.job.runs)
            return tuple(run_job(replace(task.job, runs=runs)))
        except UserError as error:  # where the job runs, something is not as it is where the sweep was started
            return error
        except Exception as error:
            traceback.print_exc()
            return LostJobError(in_one_line(error))


def in_one_line(error: BaseException) -> str:
    """What an error says, as one line: our own in full, a library's with its name and no longer than needed."""
    text = " ".join(str(error).split())
    if isinstance(error, LostJobError):
        return text
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]} …"


def _end_with(sweep: int, flag: Path | None) -> None:
    """From now on this process ends when the sweep's does, however that ends, or when the flag is gone."""

    def watch() -> None:
        while is_alive(sweep) and (flag is None or flag.exists()):
            time.sleep(LOOK_S)
        os._exit(1)

    if all(thread.name != "sweep" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="sweep", daemon=True).start()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes and threads that start in here never hear the terminal's Ctrl-C; this process does, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _by_joblib(tasks: Sequence[Task], spread: Spread) -> Generator[tuple[int, Ended]]:
    """joblib gives up with the first process that is killed.

    What had not begun is then launched again; what was under way comes first, job by job: only the guilty one is lost.
    """
    batches = deque([list(range(len(tasks)))])
    while batches:
        batch = batches.popleft()
        alone = batch[0] if len(batch) == 1 else None
        under_way: list[int] = []
        try:
            yield from _together(tasks, batch, under_way, spread.at_once or 1)
        except BrokenExecutor as error:
            if alone is not None:
                yield alone, LostJobError(f"its process was killed: {in_one_line(error)}")
            else:
                batches.extendleft([batch] if batch else [])
                batches.extendleft([place] for place in under_way)


def _together(
    tasks: Sequence[Task], batch: list[int], under_way: list[int], at_once: int
) -> Iterator[tuple[int, Ended]]:
    """Do a batch's tasks; takes from the batch what begins, and from `under_way` what has ended."""
    from multiprocessing import resource_tracker

    from joblib import Parallel, delayed

    def calls() -> Iterator[Any]:
        while batch:
            under_way.append(batch.pop(0))
            yield delayed(_numbered)(under_way[-1], tasks[under_way[-1]])

    # Of an interrupted sweep joblib would say what it cleans up, and that not all was awaited.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        resource_tracker.ensure_running()  # whoever needs it first would unblock what `_deaf` blocks
        with _deaf():
            # At least two: with one joblib would work in this very process.
            parallel = Parallel(max(2, at_once), return_as="generator_unordered", batch_size=1, pre_dispatch=at_once)
            results = parallel(calls())
        for place, ended in results:
            under_way.remove(place)
            yield place, ended


def _numbered(place: int, task: Task) -> tuple[int, Ended]:
    return place, run_task(task)


def _by_submitit(tasks: Sequence[Task], spread: Spread) -> Generator[tuple[int, Ended]]:
    """On SLURM one array of jobs; here, where it is for tests, a process for each job, a few at once."""
    import submitit

    on_slurm = spread.launcher == "submitit_slurm"
    folder = _shared_folder(tasks[0].job.execution.store) if on_slurm else Path(tempfile.mkdtemp(prefix="vad-harness-"))
    flag = folder / "flag"
    flag.touch()
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm" if on_slurm else "local")
    waiting, lost = deque(range(len(tasks))), False
    running: dict[int, Any] = {}
    try:
        if on_slurm:
            executor.update_parameters(**_slurm_parameters(spread))
            running = dict(enumerate(executor.map_array(run_task, tasks)))
            waiting.clear()
        else:
            executor.update_parameters(timeout_min=LONGEST_MIN)
        while waiting or running:
            while waiting and len(running) < (spread.at_once or 1):
                place = waiting.popleft()
                with _deaf():
                    running[place] = executor.submit(run_task, replace(tasks[place], flag=flag))
            for place in [place for place, job in running.items() if job.done()]:
                ended = _result_of(running.pop(place))
                lost = lost or isinstance(ended, LostJobError)
                yield place, ended
            time.sleep(SLURM_LOOK_S if on_slurm else LOOK_S)
    finally:
        flag.unlink(missing_ok=True)
        with undisturbed():
            for job in running.values():
                job.cancel(check=False) if on_slurm else job._process.wait()
        if not lost:  # else it may say why
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir() if on_slurm else None


def _shared_folder(store: Path) -> Path:
    folder = store / FOLDER / secrets.token_hex(6)
    if "%" in str(folder):
        raise RequestError(f"store={store}: SLURM reads a % in a path as a job's number; give another store")
    folder.mkdir(parents=True)
    return folder


def _slurm_parameters(spread: Spread) -> dict[str, Any]:
    """submitit's names: what every cluster has goes without a prefix."""
    given = {key: value for key, value in spread.slurm.items() if value is not None}
    common = ("cpus_per_task", "gpus_per_node", "mem_gb", "timeout_min")
    named = {key if key in common else f"slurm_{key}": value for key, value in given.items()}
    return {"name": "vad-harness", **named, **({"slurm_array_parallelism": spread.at_once} if spread.at_once else {})}


def _result_of(job: Any) -> Ended:
    try:
        return job.result()
    except Exception:  # submitit has several, some of which say nothing but what is in the log
        return LostJobError(f"its process was killed, or never began; what it said is in {job.paths.stderr}")


def _by_ray(tasks: Sequence[Task], spread: Spread) -> Generator[tuple[int, Ended]]:
    """On the cluster that RAY_ADDRESS names, else on one of this machine alone, which ends with the sweep."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = os.environ.get("RAY_ADDRESS")
    if not cluster:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    n_cpus = (spread.threads or 1) if cluster else 1
    local = {"num_cpus": spread.at_once, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    before = signal.getsignal(signal.SIGTERM)
    # A short name: Ray's sockets lie in it, and the system allows their paths 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        where = {"address": cluster} if cluster else {"address": "local", "_temp_dir": folder, **local}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        signal.signal(signal.SIGTERM, before)  # Ray's own would leave with another status
        try:
            on_gpu = spread.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
            remote = ray.remote(num_cpus=n_cpus, num_gpus=int(on_gpu), max_retries=0)(run_task)
            waiting = deque(range(len(tasks)))
            running: dict[Any, int] = {}
            while waiting or running:
                while waiting and len(running) < (spread.at_once or len(tasks)):
                    place = waiting.popleft()
                    running[remote.remote(tasks[place])] = place
                for reference in ray.wait(list(running), timeout=0)[0]:
                    yield running.pop(reference), _result_by_ray(reference)
                time.sleep(LOOK_S)  # a signal that comes while Ray waits would get an answer of Ray's
        finally:
            with undisturbed():
                ray.shutdown()


def _result_by_ray(reference: Any) -> Ended:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return LostJobError(f"its process was killed, or never began: {in_one_line(error)}")
