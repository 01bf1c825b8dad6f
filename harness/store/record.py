"""record.json: its models, its bytes, and how a record is made and read. Older schemas: `harness.store.older`."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
    with_config,
)
from pydantic_core import from_json
from typing_extensions import TypedDict

from harness.config.settings import run_key
from harness.errors import StoreError
from harness.metrics.registry import registered
from harness.paths import PROJECT
from harness.store.fields import METRICS, OK, REMEDY, SCHEMA_VERSION
from harness.store.files import read_plain
from harness.store.older import to_current

LARGEST = 16 * 2**20
"""Bytes of a record.json; real ones have some thousands."""
LONGEST_MESSAGE = 2000
"""Characters of an error's message that a record keeps."""


def _readable(text: object) -> object:
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


Text = Annotated[str, Field(min_length=1)]
FreeText = Annotated[str, BeforeValidator(_readable), Field(min_length=1)]
"""May name a file whose name is no UTF-8: Python shows it as lone surrogates, JSON holds it as readable escapes."""
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
MetricName = Annotated[str, Field(pattern=r"^(image|pixel)_[A-Za-z0-9_]+$", max_length=80)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
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


class PreprocessingSpec(_Model):
    """How files become what the network sees."""

    resize: Size
    interpolation: Text
    antialias: bool
    center_crop: Size | None
    mean: PerChannel
    std: PerChannel
    batch_size: Positive


def _named(model: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if not (isinstance(model.get("name"), str) and model["name"]):
        raise ValueError("a model needs a name")
    return model


class Spec(_Model):
    """All that the key covers, exactly as `harness.config.settings.run_spec` builds it."""

    dataset: Text
    category: Text
    fingerprint: Text | None
    """None only for a run that failed before its split had one."""
    preprocessing: PreprocessingSpec
    model: Annotated[dict[str, JsonValue], AfterValidator(_named)]
    """`name`, and whatever settings that model has."""
    backbone: BackboneSpec
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    engine: Text
    device: Text
    versions: dict[str, str] | None
    """Of the packages that the numbers of this model depend on; None where they depend on none."""


class MetricsSettings(_Model):
    """What AUPRO was limited to, and how intervals were drawn; outside the key."""

    aupro_fpr_limit: Number
    confidence: Number
    bootstrap_samples: Count
    bootstrap_seed: int


class DatasetInfo(_Model):
    """What was looked at. Counts are of images; they are None where a run failed before they were known."""

    name: Text
    title: Text
    licence: Text | None
    fingerprint: Text | None
    limit: Positive | None
    """`dataset.limit`: a run on a part of the category, which no table may take for the whole."""
    n_train: Count | None
    n_test_normal: Count | None
    n_test_anomalous: Count | None
    has_masks: bool | None
    notes: list[FreeText]
    """What a reader should know, for example counts that differ from the official ones."""


class MetricValue(_Model):
    """A metric that was measured."""

    value: float
    version: Count
    """Of the metric's definition, by which a value counts or is too old."""


class Interval(_Model):
    """A confidence interval, at the level that `metrics_settings.confidence` states."""

    low: float
    high: float
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


class PassPlan(_Model):
    """How the pass was carried out that the run was part of; what a model has none of is None."""

    memory_budget_gib: Amount
    predicted_rss_bytes: Count | None
    """The peak that was expected, where the model can say; `memory` holds the one that was measured."""
    predicted_device_bytes: Count | None
    runs_together: Positive
    moments: Positive | None = None
    """Sets of sums kept: one for each run, or fewer where sharing them was cheaper."""
    workers: Positive | None = None
    judges: Positive
    test_batches_at_once: Positive | None = None


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
    message: FreeText
    stage: Text | None
    """The stage it came in; None before the first."""


@with_config(ConfigDict(strict=True, extra="forbid"))
class UpgradedFrom(TypedDict):
    """Which older record a record was made from: the same numbers under another key."""

    schema: Literal[1, 2]
    key: Key


class RunRecord(_Model):
    """One run. `new_record` makes one, `dump_record` and `load_record` write and read it."""

    schema_version: Literal[3] = 3
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
    metrics: dict[MetricName, MetricValue] = {}
    """Those that were measured; empty where the run failed."""
    metrics_absent: dict[MetricName, Text] = {}
    """Metric -> why it was not measured; empty for a failed run, whose `error` says it."""
    metrics_settings: MetricsSettings
    intervals: dict[str, Interval] = {}
    """By metric; a second method stands beside it as `<metric>_<method>`."""
    thresholds: dict[str, float] = {}
    """Raw score at which a metric with a threshold took its value."""
    timing: Timing
    memory: Memory | None = None
    plan: PassPlan | None = None
    """None where the run failed, and where the record was of schema version 1."""
    environment: Environment
    engine_metrics: dict[str, float | None] = {}
    """What the `reference` engine itself printed, by its names (None for a NaN); empty for any other engine."""
    indices_sha256: Digest | None = None
    """Of the kept channels' indices; None for a model that draws none."""
    scores_sha256: Digest | None = None
    """Of scores.csv, so that a record and the scores of another run never pass for one."""
    started: Timestamp
    finished: Timestamp
    error: Failure | None = None
    upgraded_from: UpgradedFrom | None = None

    @property
    def values(self) -> dict[str, float | None]:
        """Each metric by name: the known ones first, None for what was not measured."""
        names = dict.fromkeys((*METRICS, *self.metrics_absent, *self.metrics))
        return {name: self.metrics[name].value if name in self.metrics else None for name in names}

    @model_validator(mode="after")
    def _is_consistent(self) -> RunRecord:
        expected = run_key(self.spec.model_dump())
        if self.key != expected:
            raise ValueError(f"key {self.key} does not belong to the spec, whose key is {expected}")
        if self.dataset.name != self.spec.dataset or self.dataset.fingerprint != self.spec.fingerprint:
            raise ValueError("dataset and spec differ in name or fingerprint")
        if self.engine_metrics and self.spec.engine != "reference":
            raise ValueError("engine_metrics belong to the reference engine")
        if self.status == OK:
            self._check_ok()
        elif self.error is None:
            raise ValueError("a failed record needs an error")
        elif self.metrics or self.metrics_absent or self.intervals or self.thresholds:
            raise ValueError("a failed record has no metrics, intervals or thresholds")
        return self

    def _check_ok(self) -> None:
        if self.error is not None:
            raise ValueError("an ok record has no error")
        missing = [name for name in ("memory", "scores_sha256") if not getattr(self, name)]
        missing += [] if self.metrics or self.metrics_absent else ["metrics"]
        counts = self.dataset.model_dump(exclude={"licence", "limit"})
        missing += [f"dataset.{name}" for name, value in counts.items() if value is None]
        if missing:
            raise ValueError(f"an ok record needs {', '.join(missing)}")
        if twice := sorted(set(self.metrics) & set(self.metrics_absent)):
            raise ValueError(f"a metric is either a number or has a reason in metrics_absent, not both: {twice[0]}")
        if not self.dataset.has_masks and any(name.startswith("pixel_") for name in self.metrics):
            raise ValueError("there are pixel metrics without masks")
        for name, metric in registered().items():
            value = self.values[name]
            if value is not None and not metric.low <= value <= metric.high:
                raise ValueError(f"metrics.{name} is {value}, not in [{metric.low:g}, {metric.high:g}]")
        for name in self.intervals:
            if not any(name == metric or name.startswith(f"{metric}_") for metric in self.metrics):
                raise ValueError(f"interval {name} belongs to no metric that has a value")


def new_record(
    *,
    spec: Mapping[str, Any],
    dataset: DatasetInfo,
    started: datetime,
    finished: datetime,
    engine_metrics: Mapping[str, float] | None = None,
    error: Failure | None = None,
    hide: Mapping[str, Path] | None = None,
    **parts: Any,
) -> RunRecord:
    """Make a record: `failed` where there is an error, else `ok`.

    Args:
        spec: as `harness.config.settings.run_spec` builds it.
        engine_metrics: what the reference engine printed; a NaN or an infinity is kept as None.
        hide: label -> folder or file whose absolute path becomes `<label>` in notes and in the error's message.
        parts: further fields of `RunRecord`.

    Raises:
        pydantic.ValidationError: the parts do not go together: a defect of whoever made them.
    """
    roots = hide or {}
    told = {name: value if math.isfinite(value) else None for name, value in (engine_metrics or {}).items()}
    return RunRecord(
        key=run_key(spec),
        status="failed" if error else "ok",
        spec=Spec(**spec),
        dataset=dataset.model_copy(update={"notes": [hide_paths(note, roots) for note in dataset.notes]}),
        started=started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        finished=finished.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        engine_metrics=told,
        error=error and error.model_copy(update={"message": hide_paths(error.message, roots)}),
        **parts,
    )


def failure_of(error: BaseException, stage: str | None) -> Failure:
    """Return an exception as a record keeps it; `new_record` takes the machine's paths out of its message."""
    message = " ".join(str(error).split()) or type(error).__name__
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]} …"
    return Failure(type=type(error).__name__, message=message, stage=stage)


def hide_paths(text: str, roots: Mapping[str, Path]) -> str:
    """Return a text without this machine's paths: these folders, home, Python's and the harness's become `<label>`."""
    found = {}
    for label, root in {"home": Path("~"), "python": Path(sys.prefix), "harness": PROJECT, **roots}.items():
        with suppress(OSError, RuntimeError):  # the working folder was removed, or nobody has this home
            found[str(root.expanduser().absolute())] = label
    for path in sorted(found, key=len, reverse=True):  # a folder comes after what lies in it
        if len(path) > 1:
            text = re.sub(rf"(?<![\w.\-/]){re.escape(path)}(?![\w-])", f"<{found[path]}>", text)
    return text


def digest_of(data: Mapping[str, Any]) -> str:
    """Return the sha256 of a record's canonical JSON (sorted keys, no spaces, UTF-8) without its `digest`."""
    content = {key: value for key, value in data.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dump_record(record: RunRecord) -> bytes:
    """Return a record as it lies in the store: with its digest, keys sorted, a line for each value."""
    data = record.model_dump()
    data["digest"] = digest_of(data)
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load_record(path: Path) -> RunRecord:
    """Read a record and check that it is whole, unedited and of a schema that is understood.

    One of an older schema is returned as today's, with its old key in `upgraded_from`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        StoreError: one line that names the file, what is wrong and what to do.
    """
    try:
        return _parsed(read_plain(path, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise StoreError(f"{path}: {where}{': ' if where else ''}{what}; {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: {error}") from None


def _parsed(content: bytes) -> RunRecord:
    try:
        data = from_json(content, allow_inf_nan=False)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if type(version) is not int or version < 1:
            raise ValueError("it has no schema_version")
    except ValueError as error:
        raise ValueError(f"is not the JSON of a record ({error}); {REMEDY}") from None
    if version > SCHEMA_VERSION:
        known = f"schema_version {version}, this one knows {SCHEMA_VERSION}"
        raise ValueError(f"was written by a newer harness ({known}); update the harness")
    stated = data.pop("digest", None)
    if stated != digest_of(data):
        raise ValueError(f"was edited or damaged after it was written (its digest does not match); {REMEDY}")
    return RunRecord.model_validate(data if version == SCHEMA_VERSION else to_current(data))
