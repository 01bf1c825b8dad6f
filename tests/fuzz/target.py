"""What every decoder keeps to, whatever it is given: a value or one plain line, within bounds of time and memory."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import LONGEST_LINE, UserError

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
"""Each target goes on with fresh cases until its time is up; else few cases, the same in every run."""
SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
"""Of each target, where `LONG`."""

_COMMON: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", derandomize=True, **_COMMON)
settings.register_profile("long", print_blob=True, **_COMMON)
PROFILE = settings.get_profile("long" if LONG else "ci")

CASES: Counter[str] = Counter()
"""Cases that were decoded, by target."""
REFUSED: Counter[str] = Counter()
"""Those of them that ended in a line."""


def fuzz(cases: int, **strategies: st.SearchStrategy) -> Callable[[Callable], Callable]:
    """Run a test over so many drawn cases; in the long profile over many times that, until its time is up."""
    return lambda test: settings(PROFILE, max_examples=max(cases, 300) if LONG else cases)(given(**strategies)(test))


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
    name = os.environ.get("PYTEST_CURRENT_TEST", "?").split(" ")[0]
    CASES[name] += 1
    before, start = _fresh_peak(), time.process_time()
    try:
        value = decode(*arguments)
    except refusals as error:
        REFUSED[name] += 1
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
