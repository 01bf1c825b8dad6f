"""Work done in threads ahead of whoever needs it, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int) -> Iterator[R]:
    """Yield `function(item)` for each item, in order, computed by `workers` threads.

    At most `ahead` results are computed or under way beyond the one being used, so memory does not grow with the number
    of items. An exception comes at its item's turn, whatever other items did. Closing the iterator early drops what has
    not begun.

    Args:
        workers: at least 1.
        ahead: at least 1.
    """
    remaining = iter(items)
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            pending.extend(pool.submit(function, item) for item in islice(remaining, ahead))
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
