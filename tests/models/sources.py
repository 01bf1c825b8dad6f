"""Image sources and configurations for the engines' tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from harness.config.resolve import read_backbone, read_preprocessing
from harness.config.settings import DatasetConfig, PreprocessingConfig
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource
from harness.execution.monitor import Monitor
from harness.models.base import Task
from harness.models.padim.engine import Variant, Work
from harness.models.padim.plan import plan_pass
from harness.models.weights import resolve_weights

RESNET18 = replace(read_backbone("resnet18"), weights="random")
WIDE_RESNET50 = replace(read_backbone("wide_resnet50_2"), weights="random")
LITE0 = replace(read_backbone("efficientnet_lite0"), weights="package")
PREPROCESSING = replace(
    read_preprocessing("anomalib_v2", dataset="mvtec"), resize=(72, 72), center_crop=(64, 64), batch_size=5
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


def run(
    engine,
    source,
    draws,
    *,
    backbone=RESNET18,
    preprocessing=PREPROCESSING,
    epsilon=0.01001,
    blur_sigma=4,
    device="cpu",
    monitor=None,
    **changes,
):
    """All scores of an engine's run, as anomalib 2.x has epsilon and blur; `changes` are of its plan."""
    task = Task(backbone, preprocessing, source.n_train, source.n_test, None, device, 2, 2)
    plan = plan_pass(task, [draw.n_features for draw in draws], 2**40)
    variants = tuple(Variant(draw, epsilon, blur_sigma) for draw in draws)
    work = Work(backbone, resolve_weights(backbone), preprocessing, variants, device, replace(plan, **changes))
    return tuple(engine(source, work, monitor or Monitor()))


def spread(ours, theirs) -> float:
    """The largest relative difference of two arrays."""
    return float(np.abs(ours / theirs - 1).max())


def folder_source(root: Path, preprocessing: PreprocessingConfig = PREPROCESSING) -> SplitSource:
    """The category `bottle` below `root`, in MVTec AD's layout."""
    return SplitSource(resolve_split(DatasetConfig("mvtec", "mvtec", root), "bottle"), preprocessing)
