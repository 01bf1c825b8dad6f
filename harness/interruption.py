"""Ctrl-C and SIGTERM: answered when an answer is safe, and remembered.

Not while something is imported. torch and triton call Python from C++ meanwhile, and an exception that comes out of
such a call ends the process at once: abort, with claims and temporary files left and a page of tracebacks.

Remembered, since what a library does in its own clean-up can put another error in their place. OmegaConf does: an
interruption that comes while it builds a list ends as an error about the list. Taken for an answer, that would be a
refused request or a failed run; so whoever catches errors asks here first.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
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

AGAIN_S = 0.02
"""How long an interruption waits before it asks again whether an import has ended."""


def listen(answers: Answers = ANSWERS) -> dict[signal.Signals, object]:
    """Raise the answer to a signal from now on, and remember it; return the handlers until now, for `restore`.

    A signal that is ignored, as Ctrl-C is in a shell's background, goes on being ignored. Signals reach the main thread
    only; in any other this does nothing.
    """
    _heard.clear()
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {kind: signal.getsignal(kind) for kind in answers}
    for kind, answer in answers.items():
        if before[kind] is not signal.SIG_IGN:
            signal.signal(kind, _raiser(kind, answer))
    return dict(before)


def _raiser(kind: signal.Signals, answer: Callable[[], BaseException]) -> Callable[[int, FrameType | None], None]:
    def hear(_number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                # Not by `threading`, which takes locks: the interrupted code may hold them.
                _thread.start_new_thread(_send_again, (kind,))
                return
            frame = frame.f_back
        _heard.append(answer)
        raise answer()

    return hear


def _send_again(kind: signal.Signals) -> None:
    time.sleep(AGAIN_S)
    os.kill(os.getpid(), kind)


def restore(before: Mapping[signal.Signals, object]) -> None:
    """Put handlers back that `listen` returned."""
    for kind, handler in before.items():
        signal.signal(kind, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]


def raise_if_asked() -> None:
    """Raise the answer to the last signal that came since `listen`, if one did."""
    if _heard:
        raise _heard[-1]()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore signals in here: whoever asks twice does not keep us from cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in ANSWERS}
    try:
        yield
    finally:
        restore(before)


@contextmanager
def before_errors() -> Iterator[None]:
    """Let an interruption stand before any error that comes out after it."""
    try:
        yield
    except Exception:
        raise_if_asked()
        raise
