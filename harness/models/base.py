"""What a model is to the harness, and where each is found.

A model is a file configs/model/NAME.yaml and, unless anomalib has it, a module `harness.models.NAME` with a `MODEL`.
Nothing here imports torch.
"""

from __future__ import annotations

import gc
import importlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from harness.config.settings import BackboneConfig, ModelConfig, PreprocessingConfig, RunConfig
from harness.errors import DataError, RequestError
from harness.paths import CONFIGS

if TYPE_CHECKING:
    import torch

    from harness.data.loader import SplitSource
    from harness.execution.monitor import Monitor
    from harness.models.weights import Weights

GIB = 2**30
FLOAT = 4
"""Bytes of a float32."""
_METRIC_BYTES = 11
"""By pixel of all anomaly maps, while their metrics are computed."""
_STEM_CHANNELS = 96
"""Of the widest layer at half the input's resolution, before the first that is read: 64 in ResNets, 96 in Lites."""


@dataclass(frozen=True)
class Task:
    """What a pass over a category's images has to do, as far as its memory depends on it."""

    backbone: BackboneConfig
    preprocessing: PreprocessingConfig
    n_train: int
    n_test: int
    weights_bytes: int | None
    device: str
    threads: int
    decoders: int
    image_bytes: tuple[int, ...] = ()
    """Of each image while it is read and resized, the largest first; empty where that is not known."""

    @property
    def cells(self) -> list[int]:
        """Cells of each layer's grid, the finest first."""
        height, width = self.preprocessing.input_size
        return [-(-height // stride) * -(-width // stride) for stride in self.backbone.reductions]

    @property
    def pixels(self) -> int:
        """Pixels of one image, as the network sees it."""
        return prod(self.preprocessing.input_size)

    @property
    def maps_bytes(self) -> int:
        """Bytes of one run's anomaly maps."""
        return self.n_test * self.pixels * FLOAT

    @property
    def network_bytes(self) -> int:
        """Bytes of the network's weights."""
        return 100 * 2**20 if self.weights_bytes is None else self.weights_bytes

    @property
    def layer_bytes(self) -> int:
        """Bytes of one image in the network's largest layer."""
        height, width = self.preprocessing.input_size
        stem = _STEM_CHANNELS * -(-height // 2) * -(-width // 2)
        return FLOAT * max(stem, *(n * cells for n, cells in zip(self.backbone.channels, self.cells, strict=True)))

    def judging_bytes(self, judges: int) -> int:
        """Return bytes of so many runs' maps while their metrics are computed beside one another, and of the masks."""
        return self.n_test * self.pixels * (judges * (FLOAT + _METRIC_BYTES) + 1)


@dataclass(frozen=True)
class ModelPlan:
    """How one pass over the images is carried out, and what that is expected to take."""

    judges: int = 1
    """Runs whose metrics are computed beside one another."""
    host_bytes: int | None = None
    """Predicted peak of resident memory; None where the model predicts nothing."""
    device_bytes: int | None = None
    """Predicted peak of a GPU's memory; None on the CPU, or where the model predicts nothing."""

    def details(self) -> dict[str, int]:
        """Return what a model of its own has to say, by the names of `harness.store.record.PassPlan`."""
        return {}


@dataclass(frozen=True)
class Scores:
    """What a model gives for one run: raw, never normalised or clamped."""

    image_scores: np.ndarray
    """(n_test,) float64: the model's own score of each image; any finite value, higher is more anomalous."""
    anomaly_maps: np.ndarray | None
    """(n_test, H, W) float32 at the network's input size; None for a model without maps."""
    indices_sha256: str | None = None
    """sha256 of what the model drew (PaDiM: the kept channels, as little-endian int64, in the order drawn)."""
    own_metrics: Mapping[str, float] = field(default_factory=dict)
    """`engine=reference` with PaDiM only: what anomalib's own evaluator printed, by anomalib's names."""
    notes: tuple[str, ...] = ()
    """What a reader of the record should know, for example a setting that the engine cannot take."""
    without_maps: str | None = None
    """Why there are no maps, for the record's `metrics_absent`; None where there are."""


class Detector(ABC):
    """One model that learns one category, then scores it: all that a simple model has to be."""

    @abstractmethod
    def fit(self, batches: Iterable[torch.Tensor]) -> None:
        """Learn from the training images: batches (B, 3, H, W) float32, preprocessed, on the run's device."""

    @abstractmethod
    def score(self, batch: torch.Tensor) -> tuple[np.ndarray | None, np.ndarray]:
        """Return raw anomaly maps, (B, H, W) float32 or None, and image scores, (B,) float64, of one batch."""

    def release(self) -> None:
        """Give memory back before the next run begins; called once, at the end."""
        gc.collect()  # networks often refer to themselves in circles


class Model:
    """A kind of model: its settings, what runs can share, and how runs are scored."""

    settings: type[ModelConfig] = ModelConfig
    """Its fields with `harness.config.settings.Option` are the model's keys; an option that `folds` shares a pass."""
    engines: tuple[str, ...] = ("streaming",)
    """What `engine` may be, the model's own first."""
    arguments: Mapping[str, Any] = {}
    """Further keys and their defaults, of a model whose own code declares its settings; `takes` names that code."""
    takes: str = ""
    lower: tuple[str, ...] = ()
    """Its own keys of which lower values take less memory."""

    def configure(self, **values: Any) -> ModelConfig:
        """Make the settings of values as YAML has them.

        Raises:
            pydantic.ValidationError: a value does not fit, or there is one too many or too few.
        """
        return self.settings(**values)

    def check(self, run: RunConfig) -> None:
        """Refuse what does not go together, before anything runs.

        Raises:
            RequestError: one line.
        """
        return

    def versions(self, run: RunConfig) -> Mapping[str, str] | None:
        """Return the versions of libraries that enter the key, by distribution; None where no number depends on one."""
        return None

    def plan(
        self, task: Task, runs: Sequence[RunConfig], budget: int, device_memory: int | None
    ) -> list[tuple[slice, ModelPlan]]:
        """Divide runs, in their order, into passes; here each has its own, and its memory is not predicted.

        Args:
            budget: bytes that a process may take.
            device_memory: bytes of the GPU's memory that are free; None on the CPU.
        """
        return [(slice(number, number + 1), ModelPlan()) for number in range(len(runs))]

    def detector(self, run: RunConfig, weights: Weights) -> Detector:
        """Return an empty model for one run; torch, NumPy and Python draw from the run's seed by then."""
        raise NotImplementedError

    def scores(
        self, source: SplitSource, runs: Sequence[RunConfig], weights: Weights, plan: ModelPlan, monitor: Monitor
    ) -> Generator[Scores]:
        """Fit and score the runs of one pass; yield the scores of each, in their order.

        What is not asked for may not be computed. Stages: `load`, `fit`, `test`.

        Raises:
            DataError: numbers that cannot be trusted.
        """
        from lightning import seed_everything

        from harness.models.compute import exact_arithmetic, silence

        for run in runs:
            exact_arithmetic(run.device)
            with monitor.stage("load"), silence():
                seed_everything(run.seed, verbose=False)
                detector = self.detector(run, weights)
            with monitor.stage("fit", source.n_train) as advance:
                detector.fit(_batches(source, "train", run.device, advance))
            maps, scores = [], []
            with monitor.stage("test", source.n_test) as advance:
                for batch in _batches(source, "test", run.device, advance):
                    of_maps, of_images = detector.score(batch)
                    maps.append(of_maps)
                    scores.append(np.asarray(of_images, np.float64))
            detector.release()
            yield Scores(np.concatenate(scores), joined(maps))


def _batches(source: SplitSource, part: Any, device: str, advance: Any) -> Iterator[torch.Tensor]:
    for number in range(source.n_batches(part)):
        batch = source.load_batch(part, number)
        yield batch.to(device)
        advance(len(batch))


def joined(maps: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join the maps of all batches, (n_test, H, W) float32; None for a model without maps.

    Raises:
        DataError: some batches have maps and others have none.
    """
    there = [of_batch for of_batch in maps if of_batch is not None]
    if there and len(there) < len(maps):
        raise DataError("the model gave anomaly maps for a part of the test images only")
    return np.concatenate(there).astype(np.float32, copy=False) if there else None


@cache
def find(name: str) -> Model:
    """Return a model by the name of its file: one of anomalib's where the file has a `class`, else its own module's.

    Raises:
        RequestError: there is no such module, or it has no `MODEL`.
    """
    values = yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    if "class" in values:
        from harness.models.anomalib import AnomalibModel

        return AnomalibModel(name, values)
    try:
        return importlib.import_module(f"harness.models.{name}").MODEL
    except (ModuleNotFoundError, AttributeError) as error:
        raise RequestError(
            f"configs/model/{name}.yaml: has no `class` of anomalib, and harness/models/{name}.py no MODEL ({error})"
        ) from None
