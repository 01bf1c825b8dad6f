"""A split as anomalib's own dataset and data module, for anomalib's Engine."""

from __future__ import annotations

from collections.abc import Sequence

from anomalib.data import AnomalibDataModule
from anomalib.data.dataclasses.torch import DatasetItem
from anomalib.data.datasets.base import AnomalibDataset
from anomalib.data.utils import ValSplitMode
from pandas import DataFrame

from harness.config import ProtocolConfig
from harness.data.files import decoding, read_header
from harness.data.split import Sample, Split


class SplitDataset(AnomalibDataset):
    """anomalib's dataset over samples that are paired already: only the table is ours, reading is anomalib's."""

    def __init__(self, split: Split, samples: Sequence[Sample], part: str) -> None:
        super().__init__()
        self._root = split.root
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
            }
        )
        table.attrs["task"] = "segmentation" if split.has_masks else "classification"
        self.samples = table

    def __getitem__(self, index: int) -> DatasetItem:
        """anomalib's item.

        Raises:
            DataError: the image or its mask cannot be decoded or is too large; names the image.
        """
        row = self.samples.iloc[index]
        read_header(self._root, row["name"])
        with decoding(f"{row['name']} or its mask" if row["mask_path"] else row["name"]):
            return super().__getitem__(index)


class SplitDataModule(AnomalibDataModule):
    """anomalib's data module over a split: nothing is split, sampled, augmented or downloaded here.

    The images come resized, as the PreProcessor of the Engine's model asks for. Validation is the test set, since
    anomalib fits its thresholds and its normalisation there.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__(
            train_batch_size=batch_size,
            eval_batch_size=batch_size,
            num_workers=0,
            val_split_mode=ValSplitMode.SAME_AS_TEST,
        )
        self._split = split
        self.category = split.category

    def _setup(self, _stage: str | None = None) -> None:
        self.train_data = SplitDataset(self._split, self._split.train, "train")
        self.test_data = SplitDataset(self._split, self._split.test, "test")

    def _create_test_split(self) -> None:
        """The test set is what the split says: anomalib would draw normal images from the training set into it."""


def datamodule(split: Split, protocol: ProtocolConfig) -> SplitDataModule:
    """The data module for a run of anomalib's Engine.

    Its loader shuffles the training images with torch's global generator, as anomalib's own modules do. Test batches
    come in the split's order.
    """
    return SplitDataModule(split, protocol.batch_size)
