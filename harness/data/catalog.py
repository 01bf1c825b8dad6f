"""The datasets the harness knows, read from configs/dataset: titles, licences, archives, and official counts."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from harness.data.mini.counts import COUNTS as MINI_COUNTS
from harness.errors import RequestError
from harness.paths import CONFIGS


class Counts(NamedTuple):
    """How many images a category has."""

    train: int
    test_normal: int
    test_anomalous: int


@dataclass(frozen=True)
class Archive:
    """The file a dataset is published as; address and checksum are the ones anomalib uses."""

    url: str
    sha256: str
    folder: str = ""
    """The folder inside the archive that holds the category folders; empty where they lie at its top."""
    size: int | None = None
    """Bytes, as its server announced them; None where nobody said."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a report has to say about a dataset, and what a download and a verification need."""

    name: str
    title: str
    layout: str
    """The folder layout, one of `harness.data.layouts.LAYOUTS`."""
    licence: str
    licence_url: str
    citation: str
    categories: dict[str, Counts]
    """Official counts by category, in the order of the dataset's paper."""
    homepage: str = ""
    archive: Archive | None = None
    """None for a dataset that the harness draws itself."""


def _read(path: Path) -> DatasetInfo | None:
    """Read what configs/dataset/NAME.yaml says about a dataset; None where it says nothing."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    about = content.get("about")
    if about is None:
        return None
    if content.get("synthetic"):
        about["categories"] = MINI_COUNTS[content["name"]]
    try:
        return DatasetInfo(name=content["name"], layout=content["layout"], **about)
    except (ValidationError, KeyError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": error.args, "msg": "is missing"}
        where = ".".join(map(str, reason["loc"]))
        raise RequestError(f"configs/dataset/{path.name}: about.{where}: {reason['msg']}") from None


_FOUND = (info for info in map(_read, sorted((CONFIGS / "dataset").glob("*.yaml"))) if info)
CATALOG: Mapping[str, DatasetInfo] = {info.name: info for info in sorted(_FOUND, key=lambda info: info.archive is None)}
"""By name. A dataset that is not here is taken as it is found, without official counts."""
