"""The models of record.json: what a run leaves, validated when made and when read. Schema versions 1 and 2."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.config import run_key
from harness.store.fields import FAILED, IMAGE_METRICS, METRICS, OK, PIXEL_METRICS
from harness.store.portable import has_absolute_path, is_absolute


def _utc(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return text


def _readable(text: object) -> object:
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


Text = Annotated[str, Field(min_length=1)]
FreeText = Annotated[str, BeforeValidator(_readable), Field(min_length=1)]
"""May name a file whose name is no UTF-8: Python shows it as lone surrogates, JSON holds it as readable escapes."""
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in hexadecimal."""
Timestamp = Annotated[str, AfterValidator(_utc)]
"""UTC to the second, as 2026-11-23T16:42:00Z."""
Number = int | float
"""Keeps 0 apart from 0.0: they are the same number, but not the same key."""
Size = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""(height, width) in pixels."""
PerChannel = Annotated[list[Number], Field(min_length=3, max_length=3)]


class _Model(BaseModel):
    """Frozen; nothing is converted, nothing unknown is let in, and no number is NaN or infinite."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class BackboneSpec(_Model):
    """The network and its weights, as the key covers them."""

    name: Text
    architecture: Text
    layers: list[Text]
    weights_digest: Text


class ProtocolSpec(_Model):
    """The fields of `harness.config.ProtocolConfig`."""

    resize: Size
    interpolation: Text
    antialias: bool
    center_crop: Size | None
    mean: PerChannel
    std: PerChannel
    batch_size: Positive
    epsilon: Number
    blur_sigma: Number
    index_sampler: Text


class MetricsSpec(_Model):
    """The version of the metrics, and how intervals were drawn."""

    version: int
    aupro_fpr_limit: Number
    confidence: Number
    bootstrap_samples: Count
    bootstrap_seed: int


class Spec(_Model):
    """All that the key covers, exactly as `harness.config.run_spec` builds it."""

    dataset: Text
    category: Text
    fingerprint: Text | None
    """None only for a run that failed before its split had one."""
    backbone: BackboneSpec
    n_features: Positive
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    protocol: ProtocolSpec
    engine: Text
    device: Text
    inexact: list[str]
    metrics: MetricsSpec
    index_versions: dict[str, str] | None


class DatasetInfo(_Model):
    """What was looked at. Counts are of images; they are None where a run failed before they were known."""

    name: Text
    title: Text
    licence: Text | None
    """None where nobody stated one (images of one's own)."""
    fingerprint: Text | None
    limit: Positive | None
    """`dataset.limit`: a run on a part of the category, which no table may take for the whole."""
    n_train: Count | None
    n_test_normal: Count | None
    n_test_anomalous: Count | None
    has_masks: bool | None
    notes: list[FreeText]
    """What a reader should know, for example counts that differ from the official ones."""


class Metrics(_Model):
    """The seven metrics, each in [0, 1]; None where `metrics_absent` says why."""

    image_auroc: Share | None
    image_f1_max: Share | None
    image_f1_adaptive: Share | None
    pixel_auroc: Share | None
    pixel_f1_max: Share | None
    pixel_f1_adaptive: Share | None
    pixel_aupro: Share | None


class Interval(_Model):
    """A confidence interval, at the level that `spec.metrics.confidence` states."""

    low: Share
    high: Share
    method: Text

    @model_validator(mode="after")
    def _in_order(self) -> Interval:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Timing(_Model):
    """Wall-clock cost."""

    seconds: dict[str, Amount]
    """By stage; stages do not overlap."""
    images_per_second: Amount | None


class Memory(_Model):
    """Peaks of the process, which runs that share a backbone pass share too."""

    peak_rss_bytes: Count
    peak_device_bytes: Count | None
    """None on the CPU."""


class PassPlan(_Model):
    """How the backbone pass was carried out that the run was part of; new in schema version 2."""

    memory_budget_gib: Amount
    predicted_rss_bytes: Count
    """The peak that was expected; `memory` holds the one that was measured."""
    predicted_device_bytes: Count | None
    runs_together: Positive
    """Runs that shared the pass."""
    moments: Positive
    """Sets of sums kept: one for each run, or fewer where sharing them was cheaper."""
    workers: Positive
    judges: Positive
    test_batches_at_once: Positive


class Git(_Model):
    """The harness's own checkout."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]
    dirty: bool
    """Something that can move a number differed from the commit, or was not in it."""


class Environment(_Model):
    """Where and with what the run was made; no host and no user name."""

    git: Git | None
    """None where the harness does not run from a git checkout."""
    harness: Text
    """Version of the harness."""
    python: Text
    packages: dict[str, str]
    """Distribution -> version, of those that can move a number."""
    cpu: Text
    device: Text
    """Name of the device that computed: the graphics card's, or the processor's."""
    threads: Positive | None
    platform: Text


class Failure(_Model):
    """Why a run failed."""

    type: Text
    """The exception's class."""
    message: FreeText
    """One line."""
    stage: Text | None
    """The stage it came in; None before the first."""


class RunRecord(_Model):
    """One run. `harness.store.build` makes one, `harness.store.codec` writes and reads it."""

    schema_version: Literal[1, 2] = 2
    key: str
    status: Literal["ok", "failed"]
    synthetic: bool
    """The images were drawn by the harness."""
    weights: Text
    """Where the backbone's weights came from (timm, file, package, random) and their name: a label, outside the key."""
    protocol_name: Text
    """Which file of configs/protocol the run started from: a label, outside the key."""
    spec: Spec
    dataset: DatasetInfo
    metrics: Metrics | None
    """None exactly where the run failed."""
    metrics_absent: dict[str, Text]
    """Metric -> why it is None; empty for a failed run, whose `error` says it."""
    intervals: dict[str, Interval]
    """By metric; a second method stands beside it as `<metric>_<method>`."""
    thresholds: dict[str, float]
    """Raw score at which a metric with a threshold took its value."""
    timing: Timing
    memory: Memory | None
    plan: PassPlan | None = None
    """None where the run failed, and in records of schema version 1."""
    environment: Environment
    engine_metrics: dict[str, float | None]
    """What the `reference` engine itself printed, by its names (None for a NaN); empty for any other engine."""
    indices_sha256: Digest | None
    """Of the kept channels' indices."""
    scores_sha256: Digest | None
    """Of scores.csv, so that a record and the scores of another run never pass for one."""
    started: Timestamp
    finished: Timestamp
    error: Failure | None

    @property
    def values(self) -> dict[str, float | None]:
        """The seven metrics by name; all None where the run failed."""
        return {name: getattr(self.metrics, name, None) for name in METRICS}

    @model_validator(mode="after")
    def _key_is_the_specs(self) -> RunRecord:
        expected = run_key(self.spec.model_dump())
        if self.key != expected:
            raise ValueError(f"key {self.key} does not belong to the spec, whose key is {expected}")
        if self.dataset.name != self.spec.dataset or self.dataset.fingerprint != self.spec.fingerprint:
            raise ValueError("dataset and spec differ in name or fingerprint")
        return self

    @model_validator(mode="after")
    def _status_is_consistent(self) -> RunRecord:
        if self.status == FAILED:
            if self.error is None:
                raise ValueError("a failed record needs an error")
            if self.metrics is not None or self.metrics_absent or self.intervals or self.thresholds:
                raise ValueError("a failed record has no metrics, intervals or thresholds")
            return self
        if self.error is not None:
            raise ValueError("an ok record has no error")
        if self.schema_version == 1 and self.plan:
            raise ValueError("records of schema version 1 have no plan")
        missing = [name for name in ("metrics", "memory", "indices_sha256", "scores_sha256") if not getattr(self, name)]
        counts = self.dataset.model_dump(exclude={"licence", "limit"})
        missing += [f"dataset.{name}" for name, value in counts.items() if value is None]
        if missing:
            raise ValueError(f"an ok record needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _metrics_are_consistent(self) -> RunRecord:
        if self.engine_metrics and self.spec.engine != "reference":
            raise ValueError("engine_metrics belong to the reference engine")
        if self.status != OK:
            return self
        absent = {name for name, value in self.values.items() if value is None}
        if absent != set(self.metrics_absent):
            names = ", ".join(sorted(absent ^ set(self.metrics_absent)))
            raise ValueError(f"a metric is either a number or has a reason in metrics_absent, but not: {names}")
        if not self.dataset.has_masks and not absent.issuperset(PIXEL_METRICS):
            raise ValueError("there are pixel metrics without masks")
        present = [name for name in METRICS if name not in absent]
        for name in self.intervals:
            if not any(name == metric or name.startswith(f"{metric}_") for metric in present):
                raise ValueError(f"interval {name} belongs to no metric that has a value")
        return self

    @model_validator(mode="after")
    def _is_portable(self) -> RunRecord:
        data = self.model_dump()
        for text in _texts(data.pop("spec")):
            if is_absolute(text):
                raise ValueError(f"spec holds an absolute path: {text}")
        for text in _texts(data):
            if has_absolute_path(text):
                raise ValueError(f"the record holds an absolute path: {text}")
        return self


def _texts(value: object) -> list[str]:
    """Every string in JSON data, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


assert set(Metrics.model_fields) == {*IMAGE_METRICS, *PIXEL_METRICS}
