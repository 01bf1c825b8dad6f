"""One hash that stands for a split's images, masks, labels and roles; sha256 of files, remembered between calls."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from harness.data.files import refuse_special
from harness.data.split import Split
from harness.errors import DataError
from harness.store.files import write_atomically

RACY_NS = 2_000_000_000
"""A file is remembered only when it was at least this old as it was hashed. Within a clock tick (2 s on FAT) a file can
change again without changing its times, as git found with its index."""
_FORMAT = "split-1"
"""Part of what is hashed: raise it when the rows of `fingerprint` change."""
_VERSION = 3
_THREADS = 8


class Digest(NamedTuple):
    """A file's size in bytes, and its sha256 in hex."""

    size: int
    sha256: str


def fingerprint(split: Split) -> str:
    """Return sha256, in hex, over each sample's role, relative path, label, defect type, files' sizes and contents.

    It also covers how files are read, if not as by anomalib. It does not depend on the root, on times or on file order.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    samples = [("train", sample) for sample in split.train] + [("test", sample) for sample in split.test]
    names = [sample.path for _, sample in samples] + [sample.mask for _, sample in samples if sample.mask is not None]
    content = dict(zip(names, digest_files(split.root, names), strict=True))
    rows = []
    for role, sample in samples:
        row: list[str | int | None] = [role, sample.path, sample.label, sample.defect, sample.mask]
        for name in (sample.path, sample.mask):
            row += [content[name].size, content[name].sha256] if name is not None else [None, None]
        rows.append(row)
    rows.sort(key=lambda row: (str(row[0]), str(row[1])))
    unusual = [split.reading.unusual] if split.reading and split.reading.unusual else []
    text = json.dumps([_FORMAT, rows, *unusual], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(root: Path, names: Sequence[str]) -> list[Digest]:
    """Return size and sha256 of `root/name` for each name, in order; hash only what the cache does not know.

    A cache that cannot be read or written is no error: the files are hashed without it.

    Raises:
        DataError: a file is missing, cannot be read, or changes while it is read.
    """
    paths = [Path(os.path.abspath(root / name)) for name in names]
    known = {folder: _load(folder) for folder in {path.parent for path in paths}}
    changed: set[Path] = set()

    def digest(path: Path, name: str) -> Digest:
        try:
            stamp = _stamp(refuse_special(path, name))
            match known[path.parent].get(path.name):
                case [*remembered, str(sha256)] if remembered == stamp:
                    return Digest(stamp[0], sha256)
            start = time.time_ns()
            with path.open("rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                after = _stamp(os.fstat(file.fileno()))
        except OSError as error:
            raise DataError(
                f"{name}: cannot be read ({error.strerror}); restore it, or remove what refers to it"
            ) from error
        if after != stamp:
            raise DataError(f"{name}: changed while it was read; wait until the copy is complete and run again")
        if start - max(stamp[1:3]) > RACY_NS:
            known[path.parent][path.name] = [*stamp, sha256]
            changed.add(path.parent)
        return Digest(stamp[0], sha256)

    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(digest, paths, names))
    for folder in changed:
        _save(folder, known[folder])
    return digests


def _stamp(status: os.stat_result) -> list[int]:
    """Return what tells whether a file has changed: size, mtime_ns, ctime_ns, inode, device."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _cache_file(folder: Path) -> Path:
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return user_cache_path("vad-harness", appauthor=False) / f"digests-v{_VERSION}" / f"{key}.json"


def _load(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        stored = json.loads(_cache_file(folder).read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
    return {}


def _save(folder: Path, entries: dict[str, Any]) -> None:
    with suppress(OSError):
        target = _cache_file(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, json.dumps(entries).encode())
