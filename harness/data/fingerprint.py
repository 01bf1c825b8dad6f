"""One hash that stands for a split's images, masks, labels and roles; sha256 of files, remembered between calls.

The cache has one small JSON file for each folder of images, so that processes working on different categories do not
meet, and two that do meet only repeat work: the file is replaced whole, and every entry states a fact about one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from harness.data.files import refuse_special
from harness.data.split import Split
from harness.errors import DataError
from harness.leftovers import is_abandoned, temporary_name

RACY_NS = 2_000_000_000
"""A file is remembered only when it was at least this old as it was hashed. Within a clock tick (2 s on FAT) a file can
change again without changing its times, as git found with its index."""
_FORMAT = "split-1"
"""Part of what is hashed: raise it when the rows of `fingerprint` change."""
_VERSION = 2
_THREADS = 8


@dataclass(frozen=True)
class Digest:
    """A file's content."""

    size: int
    """Bytes."""
    sha256: str
    """Hex."""


_Stamp = tuple[int, ...]
"""Size, mtime_ns, ctime_ns, inode, device. The ctime catches a file replaced by one of the same size and a copied
mtime; inode and device catch a link or a folder in the path that leads elsewhere now, to a file of the same tick."""
_Entries = dict[str, tuple[_Stamp, str]]
"""Stamp and sha256 by file name."""


def fingerprint(split: Split) -> str:
    """sha256, in hex, over each sample's role, relative path, label, defect type, and the sizes and contents of files.

    Files that are read otherwise than anomalib reads them are named with how. It does not depend on where the root
    lies, on times, or on the order in which the disk lists files. Contents are hashed once and remembered.

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
    """Size and sha256 of `root/name` for each name, in order; hashes only what the cache does not know.

    A cache that cannot be read, trusted or written is done without.

    Raises:
        DataError: a file is missing, cannot be read, or changes while it is read.
    """
    paths = [Path(os.path.abspath(root / name)) for name in names]
    known: dict[Path, _Entries] = {folder: _load(folder) for folder in {path.parent for path in paths}}
    stamps = [_stamp(path, name) for path, name in zip(paths, names, strict=True)]
    digests: list[str | None] = []
    for path, stamp in zip(paths, stamps, strict=True):
        entry = known[path.parent].get(path.name)
        digests.append(entry[1] if entry and entry[0] == stamp else None)

    missing = [index for index, digest in enumerate(digests) if digest is None]
    changed: set[Path] = set()
    with ThreadPoolExecutor(_THREADS) as pool:
        for index, (stamp, digest, settled) in zip(
            missing, pool.map(lambda index: _hash(paths[index], names[index]), missing), strict=True
        ):
            stamps[index], digests[index] = stamp, digest
            if settled:
                known[paths[index].parent][paths[index].name] = (stamp, digest)
                changed.add(paths[index].parent)
    for folder in changed:
        _save(folder, known[folder])
    return [Digest(stamp[0], digest) for stamp, digest in zip(stamps, digests, strict=True) if digest is not None]


def _stamp(path: Path, name: str) -> _Stamp:
    try:
        return _stamp_of(refuse_special(path, name))
    except OSError as error:
        raise _unreadable(name, error) from error


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _hash(path: Path, name: str) -> tuple[_Stamp, str, bool]:
    """Stamp, sha256, and whether the file is old enough to be remembered."""
    start = time.time_ns()
    try:
        with path.open("rb") as file:
            before = _stamp_of(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = _stamp_of(os.fstat(file.fileno()))
    except OSError as error:
        raise _unreadable(name, error) from error
    if before != after:
        raise DataError(f"{name}: changed while it was read; wait until the copy is complete and run again")
    return after, digest, start - max(after[1:3]) > RACY_NS


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: cannot be read ({error.strerror}); restore it, or remove what refers to it")


def _cache_file(folder: Path) -> Path:
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return user_cache_path("vad-harness", appauthor=False) / f"digests-v{_VERSION}" / f"{key}.json"


def _load(folder: Path) -> _Entries:
    try:
        stored = json.loads(_cache_file(folder).read_text(encoding="utf-8"))
        if stored["folder"] != str(folder):
            return {}
        return {
            str(name): (tuple(int(part) for part in stamp), str(digest))
            for name, (*stamp, digest) in stored["files"].items()
        }
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _save(folder: Path, entries: _Entries) -> None:
    files = {name: [*stamp, digest] for name, (stamp, digest) in sorted(entries.items())}
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        target = _cache_file(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent)
        temporary = target.with_name(temporary_name(target.name))
        try:
            temporary.write_text(json.dumps({"folder": str(folder), "files": files}), encoding="utf-8")
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _remove_leftovers(cache: Path) -> None:
    """Remove what killed processes left in the cache."""
    for path in cache.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if is_abandoned(path):
                path.unlink()
