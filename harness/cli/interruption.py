"""Ctrl-C and SIGTERM: delayed while something is imported, and remembered.

An exception while torch or triton call Python from C++ would end the process at once, with claims and files left. And a
library may replace our exception by its own, as OmegaConf does; so code that catches errors first calls
`raise_if_interrupted`.
"""

import _thread
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses of a process that ended because it was told to: 128 and the signal's number."""

_KINDS = (signal.SIGINT, signal.SIGTERM)

_heard: list[int] = []


def listen() -> None:
    """Raise KeyboardInterrupt or SystemExit at a signal from now on, and remember it; to be called in the main thread.

    A signal that is ignored, as Ctrl-C is in a shell's background, goes on being ignored.
    """
    _heard.clear()
    for kind in _KINDS:
        if signal.getsignal(kind) is not signal.SIG_IGN:
            signal.signal(kind, _hear)


def _hear(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            # Not by `threading`, which takes locks: the interrupted code may hold them.
            _thread.start_new_thread(_send_again, (number,))
            return
        frame = frame.f_back
    _heard.append(number)
    raise_if_interrupted()


def _send_again(number: int) -> None:
    time.sleep(0.02)
    os.kill(os.getpid(), number)


def raise_if_interrupted() -> None:
    """Raise the answer to the last signal that came since `listen`, if one did."""
    if _heard:
        raise KeyboardInterrupt if _heard[-1] == signal.SIGINT else SystemExit(TERMINATED)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore signals in here, so that a second one does not keep us from cleaning up."""
    before = {kind: signal.signal(kind, signal.SIG_IGN) for kind in _KINDS}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
