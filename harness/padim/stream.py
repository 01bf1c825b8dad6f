"""What runs in threads: batches decoded and passed through the network ahead of their use, and chunks of locations.

Every thread computes alone: two of them pass a third more images than one network pass on two threads, batches of small
matrices are several times slower when each is split, and numbers do not depend on how many threads there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from harness.padim.embedding import FeatureReader, Grid
from harness.padim.plan import CHUNK_BYTES, GPU_CHUNK_BYTES

if TYPE_CHECKING:
    from harness.padim.engine import ImageSource, Part

_PARTS: dict[Part, str] = {"train": "training", "test": "test"}


class Workers:
    """Calls a function on ranges of locations: on the CPU in so many threads, in turn on a GPU."""

    def __init__(self, device: str, threads: int) -> None:
        self._chunk_bytes = CHUNK_BYTES if device == "cpu" else GPU_CHUNK_BYTES
        self._pool = ThreadPoolExecutor(
            threads if device == "cpu" else 1, "location", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *stopped: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def for_each_chunk(self, function: Callable[[slice], None], n_locations: int, bytes_per_location: int) -> None:
        """Call `function(slice)` until all locations are covered; chunks do not depend on the number of threads.

        Args:
            bytes_per_location: of what the function holds; it decides how many locations make a chunk.
        """
        step = max(1, self._chunk_bytes // bytes_per_location)
        chunks = [slice(start, min(start + step, n_locations)) for start in range(0, n_locations, step)]
        for _ in self._pool.map(function, chunks):
            pass


class Upload:
    """Copies batches to a GPU on a stream of its own: out of pinned memory, while the stream that computes goes on."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def __call__(self, images: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to copy; the function that it returns gives the batch to the stream that is current where it is called.

        Neither waits: the GPU does, for a copy that is still under way.
        """
        pinned = images.pin_memory()
        with torch.cuda.stream(self._stream):
            copied = pinned.to(self._device, non_blocking=True)
            there = torch.cuda.Event()
            there.record(self._stream)

        def take() -> torch.Tensor:
            current = torch.cuda.current_stream(copied.device)
            current.wait_event(there)
            copied.record_stream(current)  # else its memory could be given away while it is read
            return copied

        return take


class FeatureStream:
    """First all training batches, then all test batches; entering the context begins to decode.

    So decoding overlaps with whatever must happen before the network is there. On the CPU a worker then passes a batch
    through it; for a GPU workers copy (`Upload`), and the network runs where the features are used.
    """

    def __init__(self, source: ImageSource, *, batch_size: int, device: str, workers: int, decoded_ahead: int) -> None:
        """Open nothing yet.

        Args:
            batch_size: of the source, to name an image in an error.
            workers: threads; as many batches may be passed and not yet used.
            decoded_ahead: further batches that may be decoded and wait for the network.
        """
        self.source = source
        self.grid: Grid | None = None
        """What each location reads; known after the first batch."""
        self._batch_size = batch_size
        self._device = device
        self._workers, self._ahead = workers, decoded_ahead
        self._batches = iter([(part, number) for part in _PARTS for number in range(source.n_batches(part))])
        self._decoded: deque[Future[tuple[str, torch.Tensor]]] = deque()
        self._passed: deque[Future[Any]] = deque()
        self._read: FeatureReader | None = None
        self._upload: Upload | None = None
        self._pool = ThreadPoolExecutor(workers, "batch", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> FeatureStream:
        self._go_on()
        return self

    def __exit__(self, *stopped: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._decoded.clear()
        self._passed.clear()
        self._read = None

    def begin(self, read: FeatureReader) -> None:
        """Say how features are read: the network is there."""
        self._read = read
        self._upload = None if self._device == "cpu" else Upload(self._device)
        self._go_on()

    def features(self, n_batches: int, advance: Callable[[int], None]) -> Iterator[list[torch.Tensor]]:
        """Yield the features of the next batches, (cells, k, B) float32 for each layer.

        Args:
            advance: called with the number of images of each batch, after it was used.

        Raises:
            DataError: an image that cannot be read, or a NaN or an infinity in the features.
        """
        for _ in range(n_batches):
            made = self._passed.popleft().result()
            self._go_on()
            layers, grids = made()
            if self.grid is None:
                self.grid = Grid.of(grids, self._device)
            elif self.grid.shape != grids[0]:
                raise RuntimeError(f"the images changed in size: a grid of {grids[0]} after {self.grid.shape}")
            yield layers
            advance(layers[0].shape[2])

    def _go_on(self) -> None:
        """Give the workers what may be done by now.

        They take it in this order, so a batch that waits for its decoding waits for one that has begun.
        """
        while len(self._decoded) + len(self._passed) < self._workers + self._ahead:
            if (batch := next(self._batches, None)) is None:
                break
            self._decoded.append(self._pool.submit(self._decode, *batch))
        while self._read and self._decoded and len(self._passed) < self._workers:
            self._passed.append(self._pool.submit(self._pass, self._decoded.popleft()))

    def _decode(self, part: Part, number: int) -> tuple[str, torch.Tensor]:
        images = self.source.load_batch(part, number)
        first = number * self._batch_size + 1
        return f"{_PARTS[part]} images {first} to {first + len(images) - 1}", images

    def _pass(self, decoded: Future[tuple[str, torch.Tensor]]) -> Callable[[], Any]:
        """Return a function that gives the features, from the CPU's network, or by running a GPU's."""
        what, images = decoded.result()
        read = self._read
        assert read is not None
        if self._upload is None:
            features = read(images, what)
            return lambda: features
        there = self._upload(images)
        return lambda: read(there(), what)
