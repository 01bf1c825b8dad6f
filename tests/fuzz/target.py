"""What every decoder keeps to, whatever it is given: a value or one plain line, within bounds of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import LONGEST_LINE, UserError

PROFILE = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def fuzz(cases: int, **strategies: st.SearchStrategy) -> Callable[[Callable], Callable]:
    """Run a test over so many drawn cases, the same in every run."""
    return lambda test: settings(PROFILE, max_examples=cases)(given(**strategies)(test))


def answer(
    decode: Callable[..., Any],
    *arguments: Any,
    refusals: tuple[type[Exception], ...] = (UserError,),
    seconds: float = 5.0,
    mebibytes: int = 256,
) -> Any:
    """What a decoder returns; None where it refuses, which must be in one plain line. Anything else it raises is ours.

    Args:
        seconds: the processor's, at most.
        mebibytes: by how much this process may grow meanwhile, at most.
    """
    before, start = _fresh_peak(), time.process_time()
    try:
        value = decode(*arguments)
    except refusals as error:
        value = None
        check_line(str(error))
    spent, grown = time.process_time() - start, (_peak() - before) / 2**20
    assert spent < seconds, f"{spent:.1f} s"
    assert grown < mebibytes, f"{grown:.0f} MiB"
    return value


def check_line(line: str) -> None:
    """One line that says something, and nothing in it that steers a terminal."""
    assert line
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE


def _fresh_peak() -> int:
    """Forget this process's highest memory so far; bytes that it holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
