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


class FeatureStream:
    """First all training batches, then all test batches; entering the context begins to decode.

    On the CPU a worker takes a batch all the way; for a GPU workers only decode, into memory that is copied while the
    GPU computes, and the network runs where the features are used.
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
            self._pipeline.go_on(lambda batch, images: (self._name(batch, images), images.pin_memory()))

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

    def _on_device(self, name: str, images: torch.Tensor) -> Any:
        assert self._read is not None
        return self._read(images.to(self._device, non_blocking=True), name)

    def _name(self, batch: tuple[Part, int], images: torch.Tensor) -> str:
        first = batch[1] * self._batch_size + 1
        return f"{_PARTS[batch[0]]} images {first} to {first + len(images) - 1}"
