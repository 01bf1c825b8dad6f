"""record.json as text: canonical for its digest, readable in a diff, and one line for whatever is wrong with one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from harness.errors import StoreError
from harness.store.fields import SCHEMA_VERSION
from harness.store.files import read_plain
from harness.store.record import RunRecord

LARGEST = 16 * 2**20
"""Bytes of a record.json; real ones have some thousands."""

REMEDY = "restore it (git checkout), or delete its folder and run again"


def digest_of(data: Mapping[str, Any]) -> str:
    """The sha256 of a record's canonical JSON (sorted keys, no spaces, UTF-8) without its `digest`."""
    content = {key: value for key, value in data.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dump_record(record: RunRecord) -> bytes:
    """A record as it lies in the store: its digest added, keys sorted, a line for each value, a newline at the end."""
    data = record.model_dump()
    if record.schema_version == 1:
        del data["plan"]  # Version 1 had none; a record stays as it was written.
    data["digest"] = digest_of(data)
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load_record(path: Path) -> RunRecord:
    """Read a record and check that it is whole, unedited and of a schema that is understood.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        StoreError: one line that names the file, what is wrong and what to do.
    """
    data = _read(path)
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(f"{path}: is no record of this harness (it has no schema_version); {REMEDY}")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: was written by a newer harness (schema_version {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update the harness"
        )
    stated = data.pop("digest", None)
    try:
        digest = digest_of(data)
    except (ValueError, RecursionError) as error:  # half a character, a number beyond all bounds, no end of nesting
        raise StoreError(f"{path}: holds what no record can hold ({error}); {REMEDY}") from None
    if stated != digest:
        raise StoreError(f"{path}: was edited or damaged after it was written (its digest does not match); {REMEDY}")
    try:
        return RunRecord.model_validate(data)
    except ValidationError as error:
        raise StoreError(f"{path}: {explain(error)}; {REMEDY}") from None


def explain(error: ValidationError) -> str:
    """The first thing that pydantic found, with where it is, on one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_plain(path, LARGEST).decode("utf-8")
        data = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: is not the JSON of a record ({error}); {REMEDY}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path}: is not the JSON of a record (no object); {REMEDY}")
    return data


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says the same key twice: one of the two would be lost in silence."""
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a key stands there twice")
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
