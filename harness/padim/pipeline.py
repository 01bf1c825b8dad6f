"""Batches decoded and passed through the network by single-threaded workers, ahead of whoever needs them, in order.

A worker takes a whole batch through each step by itself. Two such workers pass a third more images than one network
pass on two threads, nothing waits for anything else, and a batch's numbers do not depend on how many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, RLock, Thread
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Decoded = TypeVar("Decoded")
Result = TypeVar("Result")


class Pipeline(Generic[Item, Decoded, Result]):
    """Two steps for each item: `decode`, which begins at once, and `process`, given later by `go_on`.

    So decoding overlaps with whatever must happen before the second step can (importing and loading the network).
    Workers prefer the second step, whose results are awaited, and decode where no result is missing.
    """

    def __init__(
        self, items: Sequence[Item], decode: Callable[[Item], Decoded], *, workers: int, decoded_ahead: int
    ) -> None:
        """Say what to do; entering the context begins it.

        Args:
            workers: threads, at least 1.
            decoded_ahead: items that may be decoded and not yet processed, at least 1. As many results as there are
                workers may be ready and not yet taken.
        """
        self._items = items
        self._decode = decode
        self._process: Callable[[Item, Decoded], Result] | None = None
        self._decoded_ahead = max(1, decoded_ahead)
        self._results_ahead = workers
        # Entered by itself: a Condition enters its lock in Python, where an interruption would leave it locked.
        self._lock = RLock()
        self._state = Condition(self._lock)
        self._begun = 0
        """Items whose decoding has begun."""
        self._decoding = 0
        self._waiting: deque[tuple[int, Decoded]] = deque()
        self._done: dict[int, Result | BaseException] = {}
        self._taken = 0
        self._closed = False
        self._threads = [Thread(target=self._work, name=f"batch-{n}", daemon=True) for n in range(workers)]

    def __enter__(self) -> Pipeline[Item, Decoded, Result]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._state.notify_all()
        for thread in self._threads:
            thread.join()
        self._process = None  # it holds the network, and mostly whoever holds this pipeline

    def go_on(self, process: Callable[[Item, Decoded], Result]) -> None:
        """Begin the second step, for the items decoded so far and all to come."""
        with self._lock:
            self._process = process
            self._state.notify_all()

    def take(self, n: int) -> Iterator[Result]:
        """Yield the results of the next `n` items, in order; an exception comes at its item's turn."""
        for _ in range(n):
            with self._lock:
                self._state.wait_for(lambda: self._taken in self._done)
                result = self._done.pop(self._taken)
                self._taken += 1
                self._state.notify_all()
            if isinstance(result, BaseException):
                raise result
            yield result

    def _work(self) -> None:
        import torch

        torch.set_num_threads(1)
        while (task := self._next_task()) is not None:
            number, waited = task
            item = self._items[number]
            try:
                if waited:
                    assert self._process is not None
                    result: Result | BaseException = self._process(item, waited[0])
                else:
                    ready = self._decode(item)
                    with self._lock:
                        self._decoding -= 1
                        self._insert(number, ready)
                        self._state.notify_all()
                    continue
            except BaseException as error:  # Whatever it is, it is raised where the result is awaited.
                result = error
            with self._lock:
                self._decoding -= not waited
                self._done[number] = result
                self._state.notify_all()

    def _insert(self, number: int, ready: Decoded) -> None:
        """Keep the decoded items in order: the next result awaited is then always the first to be made."""
        place = sum(1 for other, _ in self._waiting if other < number)
        self._waiting.insert(place, (number, ready))

    def _next_task(self) -> tuple[int, tuple[Decoded] | tuple[()]] | None:
        """Wait for something to do: an item's number, with what was decoded, or with nothing for decoding it."""
        with self._lock:
            while not self._closed:
                if self._process and self._waiting and self._waiting[0][0] < self._taken + self._results_ahead:
                    number, decoded = self._waiting.popleft()
                    return number, (decoded,)
                if self._begun < len(self._items) and len(self._waiting) + self._decoding < self._decoded_ahead:
                    self._begun += 1
                    self._decoding += 1
                    return self._begun - 1, ()
                self._state.wait()
            return None
