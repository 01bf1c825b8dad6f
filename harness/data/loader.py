"""A split's images as normalised batches, and its masks: pixel by pixel what anomalib's datasets and PreProcessor give.

Files are read by anomalib's own `read_image` and `read_mask`, that is by Pillow's `convert("RGB")` and `convert("L")`:

- grey, bilevel and palette images become RGB; transparency (RGBA, LA, palette) is dropped, the colours under it stay;
- CMYK is converted without a colour profile; embedded profiles are ignored;
- an EXIF rotation is ignored: the pixels are taken as they are stored, and so must the mask be;
- 16-bit grey (and 32-bit integer and float) is *clipped* at 255, not scaled: an image that uses all 16 bits becomes
  almost white (the split's notes say so); 16-bit RGB keeps its upper byte;
- of several frames or pages the first is used;
- in a mask every grey value above 0 is defective. A coloured mask goes through luminance first, where a very dark blue
  or red rounds to 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from anomalib.data.utils import read_image, read_mask
from torchvision.transforms.v2 import Compose

from harness.config import ProtocolConfig
from harness.data.files import decoding, read_header
from harness.data.prefetch import ordered_map
from harness.data.split import Sample, Split
from harness.data.transforms import build_crop, build_resize, build_transform

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

_MASK_WORKERS = 2

# How transparency is treated is documented above; Pillow would say it anew in every run.
warnings.filterwarnings("ignore", message="Palette images with Transparency", category=UserWarning)


class SplitSource:
    """A split's images in batches of `protocol.batch_size`, decoded ahead of the consumer.

    It is a `harness.padim.engine.ImageSource`. The batches are the same, bit for bit, whatever the number of workers,
    and in every pass.
    """

    transform: Compose
    """Resize, centre crop and normalise, for anomalib's PreProcessor."""

    def __init__(self, split: Split, protocol: ProtocolConfig, *, workers: int = 2) -> None:
        """Open nothing yet.

        Args:
            workers: threads that decode and resize, at least 1; Pillow and torch release the interpreter's lock.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.split = split
        self.protocol = protocol
        self.n_train = len(split.train)
        self.n_test = len(split.test)
        self.transform = build_transform(protocol)
        self._resize = build_resize(protocol)
        self._workers = workers

    def train_batches(self) -> Iterator[torch.Tensor]:
        """Normalised training images, (B, 3, H, W) float32 on the CPU, in the split's order.

        Raises:
            DataError: an image is missing, cannot be decoded or is too large; names it. It comes at the image's turn.
        """
        return self._batches(self.split.train)

    def test_batches(self) -> Iterator[torch.Tensor]:
        """Normalised test images, (B, 3, H, W) float32 on the CPU, in the split's order.

        Raises:
            DataError: as `train_batches`.
        """
        return self._batches(self.split.test)

    def pixels(self, samples: Sequence[Sample]) -> np.ndarray:
        """(k, H, W, 3) uint8 RGB: the images as the network sees them, before they are normalised.

        Raises:
            DataError: as `train_batches`.
        """
        shrink = Compose([build_resize(self.protocol), *build_crop(self.protocol)])
        images = [shrink(self._read(sample)) for sample in samples]
        stacked = (
            np.stack([image.numpy() for image in images]) if images else np.zeros((0, 3, *self.protocol.input_size))
        )
        # Bicubic overshoots [0, 1], and a cast would wrap around.
        return (stacked.transpose(0, 2, 3, 1).clip(0, 1) * 255).round().astype(np.uint8)

    def datamodule(self) -> AnomalibDataModule:
        """The same split for anomalib's own Engine; see `harness.data.datamodule`."""
        from harness.data.datamodule import datamodule

        return datamodule(self.split, self.protocol)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[torch.Tensor]:
        size = self.protocol.batch_size
        images = ordered_map(self._read, samples, workers=self._workers, ahead=2 * size)
        batch: list[torch.Tensor] = []
        for image in images:
            batch.append(image)
            if len(batch) == size:
                yield self.transform(torch.stack(batch))
                batch = []
        if batch:
            yield self.transform(torch.stack(batch))

    def _read(self, sample: Sample) -> torch.Tensor:
        """(3, h, w) float32 in [0, 1], resized."""
        read_header(self.split.root, sample.path)
        with decoding(sample.path):
            image = read_image(self.split.root / sample.path, as_tensor=True)
        return self._resize(image)


def load_masks(split: Split, protocol: ProtocolConfig) -> np.ndarray:
    """The ground truth of every test image, as the network sees the image: resized by nearest neighbour, then cropped.

    Returns:
        (n_test, H, W) uint8 in {0, 1}; zeros for normal images.

    Raises:
        DataError: a mask is missing or cannot be decoded; names it.
        ValueError: the split has no masks.
    """
    if not split.has_masks:
        raise ValueError(f"{split.category} has no masks")
    shrink = Compose([build_resize(protocol), *build_crop(protocol)])

    def read(item: tuple[int, str]) -> tuple[int, np.ndarray]:
        index, name = item
        read_header(split.root, name)
        with decoding(name):
            mask = read_mask(split.root / name, as_tensor=True)
        return index, shrink(mask).numpy()

    masks = np.zeros((len(split.test), *protocol.input_size), np.uint8)
    named = [(index, sample.mask) for index, sample in enumerate(split.test) if sample.mask is not None]
    for index, mask in ordered_map(read, named, workers=_MASK_WORKERS, ahead=2 * _MASK_WORKERS):
        masks[index] = mask
    return masks


def labels(split: Split) -> np.ndarray:
    """(n_test,) int64: 0 for normal, 1 for defective test images, in the split's order."""
    return np.array([sample.label for sample in split.test], np.int64)
