"""One hash that stands for a split's images, masks, labels and roles."""

from __future__ import annotations

import hashlib
import json

from harness.data.digests import digest_files
from harness.data.split import Split

_FORMAT = "split-1"
"""Part of what is hashed: raise it when the rows below change."""


def fingerprint(split: Split) -> str:
    """sha256, in hex, over each sample's role, relative path, label, defect type, and the sizes and contents of files.

    It does not depend on where the root lies, on times, or on the order in which the disk lists files. Contents are
    hashed once and remembered (`harness.data.digests`).

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
    text = json.dumps([_FORMAT, rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
