"""The features of a split, batch by batch in order: decoded and passed through the network ahead of their use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from harness.padim.embedding import FeatureReader, Grid
from harness.padim.pipeline import Pipeline

if TYPE_CHECKING:
    import torch

    from harness.padim.engine import ImageSource, Part

_PARTS: dict[Part, str] = {"train": "training", "test": "test"}


class Upload:
    """Copies batches to a GPU on a stream of its own: out of pinned memory, while the stream that computes goes on."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = device
        self._stream = torch.cuda.Stream(device)

    def __call__(self, images: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to copy; the function that it returns gives the batch to the stream that is current where it is called.

        Neither waits: the GPU does, for a copy that is still under way.
        """
        import torch

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

    On the CPU a worker takes a batch all the way; for a GPU workers decode and copy, beside what the GPU computes
    (`Upload`), and the network runs where the features are used.
    """

    def __init__(self, source: ImageSource, *, batch_size: int, device: str, workers: int, decoded_ahead: int) -> None:
        """Open nothing yet.

        Args:
            batch_size: of the source, to name an image in an error.
            workers: threads.
            decoded_ahead: batches that may wait for the network.
        """
        self.source = source
        self.grid: Grid | None = None
        """What each location reads; known after the first batch."""
        self._batch_size = batch_size
        self._device = device
        self._read: FeatureReader | None = None
        self._pipeline: Pipeline[tuple[Part, int], torch.Tensor, Any] = Pipeline(
            [(part, number) for part in _PARTS for number in range(source.n_batches(part))],
            lambda batch: source.load_batch(*batch),
            workers=workers,
            decoded_ahead=decoded_ahead,
        )

    def __enter__(self) -> FeatureStream:
        self._pipeline.__enter__()
        return self

    def __exit__(self, *stopped: Any) -> None:
        self._pipeline.__exit__(*stopped)

    def begin(self, read: FeatureReader) -> None:
        """Say how features are read: the network is there."""
        self._read = read
        if self._device == "cpu":
            self._pipeline.go_on(lambda batch, images: read(images, self._name(batch, images)))
        else:
            upload = Upload(self._device)
            self._pipeline.go_on(lambda batch, images: (self._name(batch, images), upload(images)))

    def features(self, n_batches: int, advance: Callable[[int], None]) -> Iterator[list[torch.Tensor]]:
        """Yield the features of the next batches, (cells, k, B) float32 for each layer.

        Args:
            advance: called with the number of images of each batch, after it was used.

        Raises:
            DataError: an image that cannot be read, or a NaN or an infinity in the features.
        """
        for made in self._pipeline.take(n_batches):
            layers, grids = made if self._device == "cpu" else self._on_device(*made)
            if self.grid is None:
                self.grid = Grid.of(grids, self._device)
            elif self.grid.shape != grids[0]:
                raise RuntimeError(f"the images changed in size: a grid of {grids[0]} after {self.grid.shape}")
            yield layers
            advance(layers[0].shape[2])

    def _on_device(self, name: str, images: Callable[[], torch.Tensor]) -> Any:
        assert self._read is not None
        return self._read(images(), name)

    def _name(self, batch: tuple[Part, int], images: torch.Tensor) -> str:
        first = batch[1] * self._batch_size + 1
        return f"{_PARTS[batch[0]]} images {first} to {first + len(images) - 1}"
