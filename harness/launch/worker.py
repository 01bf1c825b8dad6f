"""A job in a process that a launcher made: told to stop, it gives its claims back and goes without a word."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from harness.interruption import before_errors, listen, restore

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LOOK_S = 1.0
"""How often a process looks whether the sweep that made it still lives."""

_watching = threading.Event()


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


def end_with_parent() -> None:
    """From now on this process ends when its parent does, however that ends, as if it were told to stop.

    joblib's processes would work on for a sweep that was killed, and then wait for more with all that they have loaded.
    """
    if not _watching.is_set():
        _watching.set()
        threading.Thread(target=_watch, args=(os.getppid(),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
