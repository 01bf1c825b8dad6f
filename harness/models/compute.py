"""How torch computes here: exactly, every operation on one thread and several beside one another, without chatter."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from harness.errors import printable

CHUNK_BYTES = 8 * 2**20
"""Of matrices in one chunk of locations: large enough to hide the calls, small enough for its copies not to count."""
GPU_CHUNK_BYTES = 256 * 2**20


def exact_arithmetic(device: str) -> None:
    """Make a GPU use deterministic algorithms, full float32 instead of TF32, and no autotuning; the CPU needs nothing.

    Call this before anything else multiplies matrices on the GPU: cuBLAS reads its setting once per process.
    """
    if device == "cpu":
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling fresh tensors with NaN would cost a pass over memory each; nothing here reads them unwritten.
    fresh: Any = torch.utils.deterministic
    fresh.fill_uninitialized_memory = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def one_thread() -> Iterator[int]:
    """Run every operation on one thread; yield how many threads torch had, and put that back.

    Threads begun inside have one thread, too, so numbers do not depend on the number of threads; and oneMKL's batched
    inverse fails from 192 features on with more.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class Workers(ThreadPoolExecutor):
    """Calls a function on ranges of locations: on the CPU in so many threads, in turn on a GPU.

    Each thread computes alone: batches of small matrices are several times slower when each is split.
    """

    def __init__(self, device: str, threads: int) -> None:
        import torch

        self._chunk_bytes = CHUNK_BYTES if device == "cpu" else GPU_CHUNK_BYTES
        super().__init__(threads if device == "cpu" else 1, "location", torch.set_num_threads, (1,))

    def for_each_chunk(self, function: Callable[[slice], None], n_locations: int, bytes_per_location: int) -> None:
        """Call `function(slice)` until all locations are covered; chunks do not depend on the number of threads."""
        step = max(1, self._chunk_bytes // bytes_per_location)
        chunks = [slice(start, min(start + step, n_locations)) for start in range(0, n_locations, step)]
        for _ in self.map(function, chunks):
            pass


class _Lines(logging.Handler):
    """Writes on standard error, whatever that is by then; names from data cannot steer the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record at once, its traceback included: other threads and processes write, too."""
        try:
            print("\n".join(map(printable, self.format(record).splitlines())), file=sys.stderr)
        except Exception:
            self.handleError(record)


_LINES = _Lines()
_LINES.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s: %(message)s"))
_SHOWN = {"harness": logging.DEBUG, "anomalib": logging.INFO, "timm": logging.INFO}
"""Loggers that say nothing unless asked. Lightning's write by themselves where `silence` lets them."""


def be_verbose(wanted: bool) -> None:
    """Show what the harness's loggers, Lightning, anomalib and timm say in this process, or hide it again."""
    for name, level in _SHOWN.items():
        logger = logging.getLogger(name)
        if wanted:
            logger.addHandler(_LINES)
            logger.setLevel(level)
        elif _LINES in logger.handlers:
            logger.removeHandler(_LINES)
            logger.setLevel(logging.NOTSET)


@contextmanager
def silence() -> Iterator[None]:
    """Hide warnings, and all that loggers say but errors, unless `be_verbose` was called.

    Lightning says much, and none of it is about our run.
    """
    if _LINES in logging.getLogger("harness").handlers:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
