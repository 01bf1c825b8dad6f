"""One measured process: how long, how much processor, how much memory, and how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.keys import PROJECT

LAUNCHER = Path(__file__).with_name("launcher.py")
TIMEOUT_S = 3600.0
_KEPT_LINES = 5
"""Of what a failed process said."""


class BenchError(UserError):
    """A measurement that cannot be trusted: a process failed, or two sides gave different numbers. Exit status 1."""


@dataclass(frozen=True)
class Taken:
    """What one process took."""

    seconds: float
    """Wall-clock, from before the fork to after its end: interpreter and imports included."""
    cpu_seconds: float
    """User and system time, of the processes that it started and waited for too."""
    peak_rss_bytes: int
    """Of the largest single process among it and those that it started: not their sum."""
    status: int
    output: str
    """stdout, as text."""
    complaints: str
    """stderr, as text."""


def take(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Taken:
    """Run a command to its end, in the project's folder, and say what it took.

    Args:
        command: program and arguments.
        environment: variables beside this process's own.
        timeout_s: it is killed then, and its status is -9.

    Raises:
        BenchError: there is no such program.
        KeyboardInterrupt: Ctrl-C, which reached the command too.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = Path(folder, "taken.json")
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(out), str(timeout_s), *command]
        with subprocess.Popen(
            launcher,
            cwd=PROJECT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                said = process.communicate()
            except BaseException:
                process.terminate()  # which ends the command too
                raise
        taken = json.loads(out.read_text(encoding="utf-8"))
    output, complaints = (text.decode(errors="replace") for text in said)
    if taken["status"] == 127:
        raise BenchError(f"{command[0]}: cannot be started ({complaints.strip()[-200:]})")
    return Taken(**taken, output=output, complaints=complaints)


def succeed(taken: Taken, name: str, *, status: int = 0) -> Taken:
    """The same, if it ended as it must.

    Raises:
        BenchError: another exit status; with the last lines of what it said.
    """
    if taken.status != status:
        said = " | ".join((taken.complaints or taken.output).strip().splitlines()[-_KEPT_LINES:])
        raise BenchError(f"{name}: ended with status {taken.status}, not {status}: {said or 'without a word'}")
    return taken
