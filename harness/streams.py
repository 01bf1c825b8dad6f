"""Output that cannot be written stops no sweep: a closed pipe or a full disk under a log loses lines, never runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


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
    """Standard output and error that never raise; yields a list that takes the first failure of each."""
    lost: list[OSError] = []
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Forgiving(stream, lost) for stream in streams)  # type: ignore[assignment]
    try:
        yield lost
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams
