"""submitit's local executor with what it lacks: a few processes for many jobs, lines as they end, an end on Ctrl-C."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from harness.interruption import raise_if_asked, restore
from harness.launch.gpus import VISIBLE
from harness.launch.lost import LostJobError
from harness.launch.scratch import discard
from harness.launch.worker import differing_in_sweep
from harness.store.files import write_atomically

_CLOSED = "closed"
LOOK_S = 0.1
GRACE_S = 20.0
"""How long an interrupted job has to give its claims back, then it is killed."""


@dataclass(frozen=True)
class JobSetup:
    """What Hydra tells a launcher, and a job's process needs."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig


def run_jobs(
    setup: JobSetup,
    job_overrides: Sequence[Sequence[str]],
    *,
    first: int,
    folder: str | None,
    array_parallelism: int,
    timeout_min: int,
) -> list[JobReturn]:
    """Run jobs in a few processes, each of which takes the next job when it has ended one: they import once.

    Args:
        setup: what Hydra told the launcher.
        job_overrides: of each job.
        first: the first job's number.
        folder: where submitit keeps its files, with `%j` for a process's own name; None for the sweep's own folder.
        array_parallelism: how many processes.
        timeout_min: minutes after which submitit ends a process.

    Returns:
        How each job ended; status FAILED with a LostJobError where its process came to an end before it did.
    """
    import submitit

    scratch = Path(str(setup.config.hydra.sweep.dir))
    # submitit reads any %j, %t or %A of a path, and would put its files where none of ours are.
    place = scratch if "%" not in str(scratch) else Path(tempfile.mkdtemp(prefix="vad-harness-"))
    folder = folder or f"{place}/%j"
    executor = submitit.AutoExecutor(folder=folder, cluster="local")
    executor.update_parameters(timeout_min=timeout_min)
    queue = Queue(scratch / f"queue-{secrets.token_hex(4)}", len(job_overrides))
    queue.folder.mkdir(parents=True)
    work = Work(setup, [list(overrides) for overrides in job_overrides], first, queue, os.environ.get(VISIBLE))
    workers: list[Any] = []
    ended: dict[int, JobReturn] = {}
    try:
        working = 1
        while working:
            raise_if_asked()  # an exception in a destructor is lost
            working = sum(not worker.done() for worker in workers)  # before looking: what the last one left counts
            # A process that was killed has a successor, as long as there is something to do and each has begun a job.
            wanted = min(array_parallelism, len(job_overrides)) if queue.n_left() else 0
            if working < wanted and len(workers) < array_parallelism + queue.n_taken():
                with _deaf_to_interruptions():
                    workers.append(executor.submit(_work, work))
                working += 1
            for index in range(len(job_overrides)):
                if index not in ended and (returned := queue.result(index)) is not None:
                    ended[index] = returned
                    _show(returned)
            time.sleep(LOOK_S if working else 0)
    except BaseException:
        with _undisturbed():
            queue.close()
            _cancel([worker._process for worker in workers])
            discard(scratch)
            discard(place)
        raise
    logs = [str(worker.paths.stderr) for worker in workers if _was_killed(worker)]
    if place != scratch and not logs:
        discard(place)
    lost = LostJobError(f"its process was killed or crashed; what it said is in {' or '.join(logs) or folder}")
    return [ended.get(index) or _failed(lost) for index in range(len(job_overrides))]


@dataclass(frozen=True)
class Queue:
    """Jobs that several processes take in turn: a file for each that is taken, and one for each that has ended."""

    folder: Path
    n_jobs: int

    def take(self) -> int | None:
        """The next job that nobody has taken; None where there is none, or the queue is closed."""
        for index in range(self.n_jobs if not (self.folder / _CLOSED).exists() else 0):
            with suppress(FileExistsError):
                (self.folder / f"{index}.taken").touch(exist_ok=False)
                return index
        return None

    def close(self) -> None:
        """From now on there is nothing to take."""
        with suppress(OSError):
            (self.folder / _CLOSED).touch()

    def n_taken(self) -> int:
        """How many jobs have been taken."""
        return sum(1 for _ in self.folder.glob("*.taken"))

    def n_left(self) -> int:
        """How many jobs nobody has taken."""
        return self.n_jobs - self.n_taken()

    def put(self, index: int, returned: JobReturn) -> None:
        """Say how a job ended."""
        import cloudpickle

        write_atomically(self.folder / f"{index}.ended", cloudpickle.dumps(returned))

    def result(self, index: int) -> JobReturn | None:
        """How a job ended; None while it has not."""
        try:
            returned = pickle.loads((self.folder / f"{index}.ended").read_bytes())
        except FileNotFoundError:
            return None
        assert isinstance(returned, JobReturn)
        return returned


@dataclass(frozen=True)
class Work:
    """What a process is given: all jobs, of which it takes some."""

    setup: JobSetup
    job_overrides: list[list[str]]
    first: int
    queue: Queue
    visible_gpus: str | None
    """As the sweep's own CUDA_VISIBLE_DEVICES says; submitit would show none to its processes."""
    singletons: dict[Any, Any] = field(default_factory=Singleton.get_state)


def _work(work: Work) -> None:
    """One process: job after job."""
    os.environ.pop(VISIBLE, None)
    if work.visible_gpus is not None:
        os.environ[VISIBLE] = work.visible_gpus
    Singleton.set_state(work.singletons)
    setup_globals()
    while (index := work.queue.take()) is not None:
        work.queue.put(index, _run_here(work.setup, work.job_overrides[index], work.first + index))


def _run_here(setup: JobSetup, overrides: list[str], number: int) -> JobReturn:
    config = setup.hydra_context.config_loader.load_sweep_config(setup.config, overrides)
    with open_dict(config.hydra.job):
        config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
    return run_job(
        hydra_context=setup.hydra_context,
        task_function=setup.task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


@contextmanager
def _deaf_to_interruptions() -> Iterator[None]:
    """Processes started in here do not hear the terminal's Ctrl-C: we do, and end them ourselves, with no traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not leave processes behind."""
    before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore(before)


def _was_killed(worker: Any) -> bool:
    """Whether a process ended before its time."""
    try:
        worker.results()
    except Exception:  # submitit has several, some of which say nothing but what is in the log
        return True
    return False


def _failed(error: Exception) -> JobReturn:
    returned = JobReturn()
    returned.status = JobStatus.FAILED
    returned.return_value = error
    return returned


def _show(returned: JobReturn) -> None:
    """A line for each run, as the job itself would print it: what it prints goes into a file of submitit's."""
    from harness.terminal import print_outcomes

    print_outcomes(returned.return_value if returned.status == JobStatus.COMPLETED else (), differing_in_sweep())


def _cancel(processes: Sequence[Any]) -> None:
    """End the processes of jobs that still run, and wait until they are gone."""
    deadline = time.monotonic() + GRACE_S
    while (alive := [process for process in processes if process.poll() is None]) and time.monotonic() < deadline:
        for process in alive:  # again and again: while a job's process is being set up, submitit ignores the signal
            process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    for process in alive:
        for child in _children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
