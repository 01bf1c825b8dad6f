"""Ctrl-C and SIGTERM, remembered: what a library does in its own clean-up can put another error in their place.

OmegaConf does: an interruption that comes while it builds a list ends as an error about the list. Taken for an answer,
that would be a refused request or a failed run; so whoever catches errors asks here first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses of a process that ended because it was told to: 128 and the signal's number."""

Answers = Mapping[signal.Signals, Callable[[], BaseException]]
"""What to raise at which signal."""

ANSWERS: Answers = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: lambda: SystemExit(TERMINATED)}

_heard: list[Callable[[], BaseException]] = []
"""The answers to the signals that came."""


def listen(answers: Answers = ANSWERS) -> dict[signal.Signals, object]:
    """From now on raise the answer to a signal, and remember it; returns the handlers until now, for `restore`.

    A signal that is ignored, as Ctrl-C is in a shell's background, goes on being ignored. Signals can be heard in the
    main thread only; elsewhere this does nothing.
    """
    _heard.clear()
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {kind: signal.getsignal(kind) for kind in answers}
    for kind, answer in answers.items():
        if before[kind] is not signal.SIG_IGN:
            signal.signal(kind, _raiser(answer))
    return dict(before)


def _raiser(answer: Callable[[], BaseException]) -> Callable[[int, FrameType | None], None]:
    def hear(_number: int, _frame: FrameType | None) -> None:
        _heard.append(answer)
        raise answer()

    return hear


def restore(before: Mapping[signal.Signals, object]) -> None:
    """Put handlers back that `listen` returned."""
    for kind, handler in before.items():
        signal.signal(kind, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]


def raise_if_asked() -> None:
    """Raise the answer to the last signal that came since `listen`, if one did."""
    if _heard:
        raise _heard[-1]()


@contextmanager
def before_errors() -> Iterator[None]:
    """Let an interruption stand before any error that comes out after it."""
    try:
        yield
    except Exception:
        raise_if_asked()
        raise
