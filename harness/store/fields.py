"""What records and stores are made of, by name, and where a run lies; readers need not load the records' models."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.config.settings import KEY_LENGTH, run_key
from harness.errors import StoreError
from harness.metrics.registry import registered

SCHEMA_VERSION = 3

METRICS = tuple(registered())
"""Those that a run is measured by today; a record may have others, or lack some."""

OK, FAILED = "ok", "failed"

RECORD, SCORES, EXAMPLES = "record.json", "scores.csv", "examples.npz"
"""The files of a run's folder; without the first the others do not count."""

RUNS, RUNS_CSV = "runs", "runs.csv"
"""What lies in a store's own folder."""

REMEDY = "restore it (git checkout), or move its folder out of the store and run again"
"""What to do about a record that cannot be trusted."""

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._ -]{0,78}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices: a store is committed, and must unpack there too."""

_RUN = re.compile(rf"seed\d+-([0-9a-f]{{{KEY_LENGTH}}})")


def component(name: str) -> str:
    """Return a folder's name for a dataset, a category or a backbone.

    A plain name (ASCII letters, digits, `_ - .` and spaces, at most 80) stays as it is. Any other becomes what is left
    of it, `~`, and eight hex digits of its sha256; `~` is in no plain name, so the two kinds never meet.
    """
    if _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", ascii_only).strip("_-")[:60] or "name"
    return f"{readable}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def run_path(spec: Mapping[str, Any]) -> PurePosixPath:
    """Return a run's folder, relative to the store; no two specs share one.

    It is `runs/<dataset>/<category>/<model>-<backbone>/seed<seed>-<key>`.

    Raises:
        StoreError: a name in the spec is not valid Unicode, so that it has no key.
    """
    names = (spec["dataset"], spec["category"], f"{spec['model']['name']}-{spec['backbone']['name']}")
    try:
        key = run_key(spec)
    except UnicodeEncodeError:
        shown = "/".join(ascii(name)[1:-1] for name in names)
        raise StoreError(f"{shown}: a name is not valid UTF-8; rename the folder it comes from") from None
    return PurePosixPath(RUNS, *map(component, names), f"seed{spec['seed']:d}-{key}")


def old_run_path(spec: Mapping[str, Any], key: str) -> PurePosixPath:
    """Return where a run lay in stores of schema 1 and 2: under its old key, in a folder without the model's name."""
    names = (spec["dataset"], spec["category"], spec["backbone"]["name"])
    return PurePosixPath(RUNS, *map(component, names), f"seed{spec['seed']:d}-{key}")


def key_of_folder(name: str) -> str | None:
    """Return the key in the name of a run's folder; None where it is no such name."""
    match = _RUN.fullmatch(name)
    return match[1] if match else None
