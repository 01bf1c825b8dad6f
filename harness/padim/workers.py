"""Chunks of locations for single-threaded workers: batches of small matrices are slower on many threads than on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import gcd
from types import TracebackType

CHUNK_BYTES = 8 << 20
"""Of matrices in one chunk: large enough to hide the calls, small enough for its copies not to count."""
GPU_CHUNK_BYTES = 256 << 20
_ALIGNED_FLOATS = 16
"""float32 numbers in a line of the processor's cache, 64 bytes, at the start of one of which torch's arrays begin."""


def same_place(*sizes: int) -> int:
    """Locations after which arrays of so many float32 numbers each begin at the same place of a cache line again.

    On some processors (AMD's) LAPACK's last bits depend on where a matrix begins. In chunks of a multiple of this a
    location's matrices always begin at the same place, wherever the chunks' borders are.

    Args:
        sizes: of the arrays that a location has in a chunk; each kind lies one location after another.
    """
    return _ALIGNED_FLOATS // gcd(_ALIGNED_FLOATS, *sizes)


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Every thread computes alone: torch splits no operation. Yields how many threads torch had, and puts it back.

    torch keeps the number by thread, but also as the default that a thread takes at its first use of torch; so workers
    begun inside have one, too. Numbers then do not depend on the number of threads.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class Workers:
    """Calls a function on ranges of locations: on the CPU in so many threads, in turn on a GPU.

    Measured on two cores: factoring 1568 covariances of 256 features takes 0.95 s on one thread, and several times
    that when each small matrix is split over two.
    """

    def __init__(self, device: str, threads: int) -> None:
        self._device = device
        self._threads = threads if device == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        import torch

        if self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads, "location", initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def for_each_chunk(
        self, function: Callable[[slice], None], n_locations: int, bytes_per_location: int, *, multiple: int = 1
    ) -> None:
        """Call `function(slice)` until all locations are covered; chunks do not depend on the number of threads.

        Args:
            bytes_per_location: of what the function holds; it decides how many locations make a chunk.
            multiple: every chunk begins at a multiple of so many locations, however large that makes it.
        """
        budget = CHUNK_BYTES if self._device == "cpu" else GPU_CHUNK_BYTES
        step = max(1, budget // bytes_per_location // multiple) * multiple
        chunks = [slice(start, min(start + step, n_locations)) for start in range(0, n_locations, step)]
        for _ in self._pool.map(function, chunks) if self._pool else map(function, chunks):
            pass
