"""A job in a process that a launcher made: told to stop, it gives its claims back and goes without a word."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from harness.interruption import before_errors, listen, restore
from harness.leftovers import is_alive, machine

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LOOK_S = 1.0
"""How often a process looks whether the sweep that made it still lives."""

_watching = threading.Event()

_SWEEP = "VAD_HARNESS_SWEEP"
"""The sweep's process, in the environment that its launcher's processes inherit."""


_DIFFERING = "VAD_HARNESS_DIFFERING"
"""Settings that tell the sweep's runs apart, in the same environment."""


class _Stop(BaseException):
    """A signal that ends the process; no handler for errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def as_worker() -> Iterator[None]:
    """End the process on SIGINT and SIGTERM once the work inside has been left by its own way out.

    Launchers answer these signals with tracebacks (joblib), not at all (submitit), or by killing what still works.
    """
    before = listen({kind: partial(_Stop, kind) for kind in _SIGNALS})
    try:
        with before_errors():
            yield
    except _Stop as stop:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + stop.number)
    finally:
        restore(before)


def stay_silent_between_jobs() -> None:
    """Give Ctrl-C no answer here from now on, but for what `as_worker` gives within a job.

    Python's own would be a traceback of each process that waits for a job; the sweep ends them.
    """
    can_answer = threading.current_thread() is threading.main_thread()
    if can_answer and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _nothing)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Be the answer to a signal."""


def this_is_the_sweep(differing: Sequence[str] = ()) -> None:
    """Let the processes that this one starts know whose they are, and which settings tell the sweep's runs apart."""
    os.environ[_SWEEP] = _own_name()
    os.environ[_DIFFERING] = ",".join(differing)


def differing_in_sweep() -> list[str]:
    """The settings that tell the runs apart of the sweep that this process belongs to."""
    return [key for key in os.environ.get(_DIFFERING, "").split(",") if key]


def is_sweep() -> bool:
    """Whether this process is the sweep itself, and no launcher's."""
    return os.environ.get(_SWEEP) == _own_name()


def _own_name() -> str:
    return f"{machine()}-{os.getpid()}"


def end_with_sweep() -> None:
    """From now on this process ends when the sweep does, however that ends, as if it were told to stop.

    Launchers' processes would work on for a sweep that was killed; joblib's would then wait for more with all that they
    have loaded.
    """
    if not _watching.is_set():
        _watching.set()
        threading.Thread(
            target=_watch, args=(int(os.environ[_SWEEP].partition("-")[2]),), name="sweep", daemon=True
        ).start()


def _watch(sweep: int) -> None:
    while is_alive(sweep):
        time.sleep(LOOK_S)
    while True:  # between two jobs a launcher may not listen
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LOOK_S)
