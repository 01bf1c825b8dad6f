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

_waiting: set[signal.Signals] = set()
"""Signals that came in an import, and come again."""


def listen(answers: Answers = ANSWERS) -> dict[signal.Signals, object]:
    """From now on raise the answer to a signal, and remember it; returns the handlers until now, for `restore`.

    A signal that comes while something is imported is answered once that has ended.
    A signal that is ignored, as Ctrl-C is in a shell's background, goes on being ignored. Signals can be heard in the
    main thread only; elsewhere this does nothing.
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
        if _imports(frame):
            _let_wait(kind)
            return
        _heard.append(answer)
        raise answer()

    return hear


def _imports(frame: FrameType | None) -> bool:
    """Whether what is interrupted is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _let_wait(kind: signal.Signals) -> None:
    """Send this process a signal again in a moment."""

    def send() -> None:
        time.sleep(AGAIN_S)
        if kind in _waiting:
            _waiting.discard(kind)
            os.kill(os.getpid(), kind)

    if kind not in _waiting:
        _waiting.add(kind)
        # Not by `threading`, which takes locks: the interrupted code may hold them.
        _thread.start_new_thread(send, ())


def restore(before: Mapping[signal.Signals, object]) -> None:
    """Put handlers back that `listen` returned; what waits for the end of an import does not come any more."""
    _waiting.clear()
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
