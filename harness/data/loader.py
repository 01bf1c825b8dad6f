"""A split's images as normalised batches, and its masks: pixel by pixel what anomalib's datasets and PreProcessor give.

The steps are torch's alone, bit for bit torchvision's, which takes seconds to import. `pixels` reads the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from harness.config.settings import PreprocessingConfig
from harness.data.pixels import in_threads, read_mask, read_pixels, shrink_mask
from harness.data.split import Sample, Split

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule
    from torchvision.transforms.v2 import Compose

Part = Literal["train", "test"]

LARGE_PIXELS = 8_000_000
"""Of an image above which it is resized a part at a time."""
_ROWS_AT_ONCE = 256


class SplitSource:
    """A split's images in batches of `preprocessing.batch_size`: where an engine gets its images from."""

    def __init__(self, split: Split, preprocessing: PreprocessingConfig) -> None:
        self.split = split
        self.preprocessing = preprocessing
        self.n_train = len(split.train)
        self.n_test = len(split.test)

    @cached_property
    def transform(self) -> Compose:
        """The resize, centre crop and normalisation by torchvision, for anomalib's PreProcessor."""
        from harness.data.datamodule import build_transform

        return build_transform(self.preprocessing)

    def n_batches(self, part: Part) -> int:
        """Return how many batches that part has."""
        return -(-len(self._samples(part)) // self.preprocessing.batch_size)

    def load_batch(self, part: Part, number: int) -> torch.Tensor:
        """Read batch `number` of that part in the split's order: (B, 3, H, W) float32, normalised, on the CPU.

        It is decoded in the calling thread, and is the same for any number of threads. Safe to call from several.

        Raises:
            DataError: an image is missing, cannot be decoded or is too large; names the batch's first such image.
        """
        size = self.preprocessing.batch_size
        samples = self._samples(part)[number * size : (number + 1) * size]
        batch = torch.empty((len(samples), 3, *self.preprocessing.input_size))
        for row, sample in zip(batch, samples, strict=True):
            normalise(self._shrunk(sample), self.preprocessing, out=row)
        return batch

    def pixels(self, samples: Sequence[Sample]) -> np.ndarray:
        """Read images as the network sees them, before they are normalised: (k, H, W, 3) uint8 RGB.

        Raises:
            DataError: as `load_batch`.
        """
        images = np.zeros((len(samples), *self.preprocessing.input_size, 3), np.uint8)
        for image, sample in zip(images, samples, strict=True):
            # Bicubic overshoots [0, 1], and a cast would wrap around.
            values = self._shrunk(sample).permute(1, 2, 0).numpy().clip(0, 1)
            image[:] = (values * 255).round()
        return images

    def datamodule(self) -> AnomalibDataModule:
        """Return the same split for anomalib's own Engine; see `harness.data.datamodule`."""
        from harness.data.datamodule import SplitDataModule

        return SplitDataModule(self.split, self.preprocessing)

    def _samples(self, part: Part) -> tuple[Sample, ...]:
        return self.split.train if part == "train" else self.split.test

    def _shrunk(self, sample: Sample) -> torch.Tensor:
        """Read an image, resized and cropped: (3, H, W) float32 in [0, 1]."""
        return shrink(read_pixels(self.split.root, sample.path, self.split.reading), self.preprocessing).expand(
            3, -1, -1
        )


def load_masks(split: Split, preprocessing: PreprocessingConfig) -> np.ndarray:
    """Read the ground truth of every test image as the network sees it: resized by nearest neighbour, then cropped.

    Returns:
        (n_test, H, W) uint8 in {0, 1}; zeros for normal images and where there is no mask.

    Raises:
        DataError: a mask is missing or cannot be decoded; names it.
    """

    def read(sample: Sample) -> np.ndarray:
        if sample.mask is None:
            return np.zeros(preprocessing.input_size, np.uint8)
        return shrink_mask(read_mask(split.root, sample.mask, split.reading), preprocessing).astype(np.uint8)

    return np.stack(in_threads(read, split.test))


def labels(split: Split) -> np.ndarray:
    """Return (n_test,) int64: 0 for normal, 1 for defective test images, in the split's order."""
    return np.array([sample.label for sample in split.test], np.int64)


def shrink(pixels: np.ndarray, preprocessing: PreprocessingConfig) -> torch.Tensor:
    """Resize and crop one image.

    Args:
        pixels: (h, w, 3) uint8 RGB, or (h, w, 1) grey.

    Returns:
        (3 or 1, H, W) float32, H and W being the input size; in [0, 1], but for bicubic's overshoot. A view of
        the resized image. Without antialiasing always 3: torch's kernels for one channel differ from those for three
        in the last bit on some processors.
    """
    if preprocessing.interpolation == "lanczos":
        return center_crop(_floats(lanczos(pixels, preprocessing.resize))[0], preprocessing.center_crop)
    if not preprocessing.antialias:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()
    size = list(preprocessing.resize)
    if preprocessing.antialias and pixels.shape[0] * pixels.shape[1] > LARGE_PIXELS:
        # First rows, some at a time, then columns, as torch itself does it: the same bits, in far less memory.
        rows = (pixels[top : top + _ROWS_AT_ONCE] for top in range(0, len(pixels), _ROWS_AT_ONCE))
        bands = [_resized(_floats(some), [len(some), size[1]], preprocessing) for some in rows]
        image = torch.cat(bands, dim=2).contiguous(memory_format=torch.channels_last)
    else:
        image = _floats(pixels)
    if list(image.shape[2:]) != size:
        image = _resized(image, size, preprocessing)
    return center_crop(image[0], preprocessing.center_crop)


def lanczos(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image, (h, w, 3 or 1) uint8, to (height, width) as Pillow does: on 8-bit values, with antialiasing."""
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    resized = np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))
    return resized.reshape(*size, pixels.shape[-1])


def _floats(pixels: np.ndarray) -> torch.Tensor:
    """Turn pixels into (1, channels, h, w) float32 in [0, 1]."""
    height, width, channels = pixels.shape
    # The channels stay innermost, as in the file. torchvision does the same, stride of the batch included: which of
    # torch's kernels runs depends on it.
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(torch.float32).mul_(1 / 255)
    return image.as_strided(image.shape, (height * width * channels, 1, width * channels, channels))


def _resized(image: torch.Tensor, size: list[int], preprocessing: PreprocessingConfig) -> torch.Tensor:
    return interpolate(
        image, size=size, mode=preprocessing.interpolation, align_corners=False, antialias=preprocessing.antialias
    )


def normalise(image: torch.Tensor, preprocessing: PreprocessingConfig, out: torch.Tensor) -> None:
    """Subtract the means from an image, (3 or 1, H, W) float32, and divide by the deviations, into `out`."""
    mean, std = (
        torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    torch.sub(image, mean, out=out)
    out.div_(std)


def center_crop(image: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Cut out the middle of an image, (..., h, w); zeros where the crop, (height, width), reaches beyond it.

    An odd difference is split as torchvision splits it: half a pixel goes to the even side.
    """
    if size is None:
        return image
    missing = [max(wanted - there, 0) for wanted, there in zip(size, image.shape[-2:], strict=True)]
    if any(missing):
        image = pad(image, [part for lack in reversed(missing) for part in (lack // 2, (lack + 1) // 2)])
    top, left = (round((there - wanted) / 2) for wanted, there in zip(size, image.shape[-2:], strict=True))
    return image[..., top : top + size[0], left : left + size[1]]
