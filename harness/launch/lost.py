"""Jobs whose process came to an end before the job did."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

LONGEST = 120
"""Characters of what a launcher says about it."""


class LostJobError(Exception):
    """A job's process was killed, or never began; `str(error)` is one line."""


_OF_RAY = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError")


def was_killed(error: BaseException) -> bool:
    """Whether a launcher gave up because a process was killed, and not because it could not begin at all."""
    return isinstance(error, LostJobError | BrokenExecutor) or type(error).__name__ in _OF_RAY


def in_one_line(error: BaseException) -> str:
    """What an error says, as one line: our own in full, a launcher's with its name and no longer than needed."""
    text = " ".join(str(error).split())
    if isinstance(error, LostJobError):
        return text
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} …"
