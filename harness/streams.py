"""Output that cannot be written stops no sweep: a closed pipe or a full disk under a log loses lines, never runs."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TextIO

from harness.errors import RequestError, StoreError, UserError
from harness.interruption import INTERRUPTED, TERMINATED, listen, restore

P = ParamSpec("P")


class _Forgiving:
    """A text stream that drops what comes after its first failure."""

    def __init__(self, stream: TextIO, lost: list[OSError]) -> None:
        self._stream, self._lost = stream, lost
        self._failed = False

    def write(self, text: str) -> int:
        """Write, or drop; returns how many characters were taken either way."""
        if not self._failed:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        if not self._failed:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._lost.append(error)
        # What the stream still holds is written when Python ends: to nowhere, or Python would complain.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unbreakable_output() -> Iterator[list[OSError]]:
    """Standard output and error that never raise; yields a list that takes the first failure of each.

    A letter that the terminal's encoding does not have is written as an escape.
    """
    lost: list[OSError] = []
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before Python started
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 — for as long as it runs
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (_Forgiving(stream, lost) for stream in streams)  # type: ignore[assignment]
    try:
        yield lost
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams


def one_line_errors(main: Callable[P, int]) -> Callable[P, int]:
    """Make a script's main function tell an error that a user can cause in one line, and return its exit status.

    2 where the request or the store is wrong, 1 for anything else: a download, a dataset, a measurement.
    """

    @wraps(main)
    def told(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            return main(*arguments, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, RequestError | StoreError) else 1

    return told


def run_script(main: Callable[[], int]) -> int:
    """Call a script's main function and return its exit status, whatever becomes of its output.

    Whoever closed the pipe (`status.py | head`) has seen enough. Any other failure of the output makes a success a 1.
    """
    before = listen()
    try:
        with unbreakable_output() as lost:
            try:
                status = main()
            except KeyboardInterrupt:
                print("interrupted: what was finished is kept; the same command goes on", file=sys.stderr)
                status = INTERRUPTED
            except SystemExit as stop:
                if stop.code != TERMINATED:
                    raise
                print("terminated", file=sys.stderr)
                status = TERMINATED
        return status_of_output(lost, status)
    finally:
        restore(before)


def status_of_output(lost: Sequence[OSError], status: int) -> int:
    """Say what became of the output, in one line where it was no closed pipe, and return the exit status with that."""
    for error in lost:
        if error.errno != errno.EPIPE:
            print(f"error: the output cannot be written ({error.strerror}); what was done is kept", file=sys.stderr)
            status = status or 1
    return status
