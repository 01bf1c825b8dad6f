"""A split as anomalib's own dataset and data module, for anomalib's Engine."""

from collections.abc import Sequence

import numpy as np
import torch
from anomalib import TaskType
from anomalib.data import AnomalibDataModule, ImageItem
from anomalib.data.dataclasses.torch import DatasetItem
from anomalib.data.datasets.base import AnomalibDataset
from anomalib.data.utils import ValSplitMode
from pandas import DataFrame, Series
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize
from torchvision.transforms.v2.functional import to_dtype
from torchvision.tv_tensors import Image, Mask

from harness.config.settings import PreprocessingConfig
from harness.data.files import decoding, read_header
from harness.data.loader import lanczos
from harness.data.pixels import read_mask, read_pixels
from harness.data.split import Reading, Sample, Split


class SplitDataset(AnomalibDataset):
    """anomalib's dataset over samples that are paired already: only the table is ours, reading is anomalib's."""

    def __init__(self, split: Split, samples: Sequence[Sample], part: str, preprocessing: PreprocessingConfig) -> None:
        super().__init__()
        self._root, self._reading = split.root, split.reading
        self._by_pillow = preprocessing.resize if preprocessing.interpolation == "lanczos" else None
        self.category = split.category
        table = DataFrame(
            {
                "image_path": [str(split.root / sample.path) for sample in samples],
                "split": part,
                "label": [sample.defect for sample in samples],
                "label_index": [sample.label for sample in samples],
                # As in anomalib's own tables an empty text is no mask; None would become NaN.
                "mask_path": [str(split.root / sample.mask) if sample.mask else "" for sample in samples],
                "name": [sample.path for sample in samples],
                "mask_name": [sample.mask or "" for sample in samples],
            }
        )
        table.attrs["task"] = "segmentation" if split.has_masks else "classification"
        self.samples = table

    def __getitem__(self, index: int) -> DatasetItem:
        """Return anomalib's item; a folder of one's own is read as our own engine reads it, as is what Pillow resizes.

        Raises:
            DataError: the image or its mask cannot be decoded or is too large; names the image.
        """
        row = self.samples.iloc[index]
        if self._reading is not None or self._by_pillow:
            return self._own_item(row, self._reading)
        read_header(self._root, row["name"])
        with decoding(f"{row['name']} or its mask" if row["mask_path"] else row["name"]):
            return super().__getitem__(index)

    def _own_item(self, row: Series, reading: Reading | None) -> DatasetItem:
        pixels = read_pixels(self._root, row["name"], reading)
        if self._by_pillow:
            pixels = lanczos(pixels, self._by_pillow)
        image = torch.from_numpy(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()).permute(2, 0, 1)
        mask = None
        if self.task == TaskType.SEGMENTATION:
            name = row["mask_name"]
            values = read_mask(self._root, name, reading) if name else np.zeros(pixels.shape[:2], bool)
            mask = Mask(torch.from_numpy(values), dtype=torch.uint8)
        shown = to_dtype(Image(image), torch.float32, scale=True)
        if self.augmentations and mask is not None:
            shown, mask = self.augmentations(shown, mask)
        elif self.augmentations:
            shown = self.augmentations(shown)
        return ImageItem(
            image=shown,
            gt_mask=mask,
            gt_label=torch.tensor(row["label_index"]),
            image_path=row["image_path"],
            mask_path=row["mask_path"],
        )


class SplitDataModule(AnomalibDataModule):
    """anomalib's data module over a split: nothing is split, sampled, augmented or downloaded here.

    The images come resized. Training images are shuffled by torch's global generator, as in anomalib's own modules.
    Validation is the test set, since anomalib fits its thresholds and its normalisation there.
    """

    def __init__(self, split: Split, preprocessing: PreprocessingConfig) -> None:
        super().__init__(
            train_batch_size=preprocessing.batch_size,
            eval_batch_size=preprocessing.batch_size,
            num_workers=0,
            val_split_mode=ValSplitMode.SAME_AS_TEST,
        )
        self._split, self._preprocessing = split, preprocessing
        self.category = split.category

    def _setup(self, _stage: str | None = None) -> None:
        self.train_data = SplitDataset(self._split, self._split.train, "train", self._preprocessing)
        self.test_data = SplitDataset(self._split, self._split.test, "test", self._preprocessing)

    def _create_test_split(self) -> None:
        """Leave the test set as the split has it: anomalib would add normal images from the training set."""


def build_transform(preprocessing: PreprocessingConfig) -> Compose:
    """Resize, centre crop and normalise float32 RGB in [0, 1]: what anomalib's PreProcessor is to be given.

    anomalib also resizes in its datasets, so that this resize then finds nothing left to do.
    """
    # What Pillow resizes comes in its final size.
    by_torch = preprocessing.interpolation if preprocessing.interpolation != "lanczos" else "bilinear"
    resize = Resize(
        list(preprocessing.resize), interpolation=InterpolationMode(by_torch), antialias=preprocessing.antialias
    )
    crop = [CenterCrop(list(preprocessing.center_crop))] if preprocessing.center_crop else []
    return Compose([resize, *crop, Normalize(mean=list(preprocessing.mean), std=list(preprocessing.std))])
