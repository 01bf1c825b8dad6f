"""What every command has in common: errors in one line, exit statuses, and output whose failure stops no sweep."""

import argparse
import errno
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TextIO

from harness.cli.interruption import INTERRUPTED, TERMINATED, listen
from harness.errors import RequestError, StoreError, UserError, printable

P = ParamSpec("P")

logger = logging.getLogger(__name__)


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and leave; takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise RequestError(f"{message}; --help shows what is allowed")


def seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds such as `42`, `0,1,2` or `42,0-9`, each once.

    Raises:
        ArgumentTypeError: it is none.
    """
    from harness.config.keys import KEYS

    try:
        parts = re.split(r"[,\s]+", text.strip(" []"))
        found = [KEYS["seed"].check(seed) for part in parts for seed in _range_of(part)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of seeds such as 42 or 0,1,2 or 0-9") from None
    return tuple(dict.fromkeys(found))


def _range_of(text: str) -> range:
    """Return the numbers of `7`, or of `0-9` both ends included, at most 1000."""
    ends = re.fullmatch(r"(\d+)-(\d+)", text)
    first, last = (int(ends[1]), int(ends[2])) if ends else (int(text),) * 2
    if not 0 <= last - first < 1000:
        raise ValueError(text)
    return range(first, last + 1)


class _Forgiving:
    """A text stream that drops what comes after its first failure."""

    def __init__(self, stream: TextIO, lost: list[OSError]) -> None:
        self._stream, self._lost = stream, lost

    def write(self, text: str) -> int:
        """Write, or drop; return how many characters were taken either way."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        self._try(self._stream.flush)

    def _try(self, do: Callable[..., object], *arguments: str) -> None:
        try:
            do(*arguments)
        except OSError as error:
            self._lost.append(error)
            # From here on, and what the stream still holds, to nowhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unbreakable_output() -> Iterator[list[OSError]]:
    """Make standard output and error never raise; yield a list that takes the first failure of each."""
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

    The status is 2 where the request or the store is wrong, 1 for anything else: a download, a dataset, a measurement.
    """

    @wraps(main)
    def told(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            return main(*arguments, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, RequestError | StoreError) else 1

    return told


def run_script(
    main: Callable[[], int], *, when_stopped: str = ": finished work is kept; the same command continues"
) -> int:
    """Call a main function and return the exit status, whatever becomes of its output and whoever interrupts it.

    A closed pipe (`status.py | head`) is no failure; any other failure of the output turns status 0 into 1.
    """
    try:
        listen()
        with unbreakable_output() as lost:
            try:
                status = main()
            except (KeyboardInterrupt, SystemExit) as stop:
                status = _stopped(stop, when_stopped)
        return _status_of_output(lost, status)
    except (KeyboardInterrupt, SystemExit) as stop:  # before the work or after it, or a second one while it ends
        return _stopped(stop, when_stopped)


def _stopped(stop: KeyboardInterrupt | SystemExit, hint: str) -> int:
    logger.debug("stopped here", exc_info=stop)
    status = INTERRUPTED if isinstance(stop, KeyboardInterrupt) else int(stop.code or 0)
    if status in (INTERRUPTED, TERMINATED):
        print(f"{'interrupted' if status == INTERRUPTED else 'terminated'}{hint}", file=sys.stderr)
    return status


def _status_of_output(lost: list[OSError], status: int) -> int:
    for error in lost:
        if error.errno != errno.EPIPE:
            print(f"error: the output cannot be written ({error.strerror}); what was done is kept", file=sys.stderr)
            status = status or 1
    return status


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table with aligned columns, without those in which no row has anything."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    cells = [[printable(row[i]) for i in kept] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(padded)}".rstrip()


def write(lines: Iterable[str]) -> None:
    """Print lines, in which no name from data can steer the terminal."""
    for line in lines:
        print(printable(line))
