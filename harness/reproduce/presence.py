"""What of the paper's images lies under DATA_ROOT: by the same rule by which a sweep takes or refuses them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.config import DatasetConfig
from harness.data.catalog import CATALOG
from harness.data.files import IMAGE_EXTENSIONS, is_junk, read_header
from harness.data.layouts import validate_request
from harness.errors import DataError, RequestError

Category = tuple[str, str]
"""Dataset and category."""


_MASKS = ("ground_truth", "Masks")
"""Folders of the official layouts whose images are no images of parts."""


@dataclass(frozen=True)
class ImageKind:
    """What decoding one of a category's images costs depends on."""

    megapixels: float
    suffix: str
    """Lower case, with its dot."""


@dataclass(frozen=True)
class Presence:
    """Which of some categories are there."""

    there: Mapping[Category, ImageKind | None]
    """With its first image's kind; None where that could not be read, which is for the run to say."""
    missing: Mapping[Category, str]
    """With the reason, one line."""

    def missing_lines(self) -> list[str]:
        """One line for each dataset that is not there, or not whole."""
        lines = []
        for dataset in dict.fromkeys(dataset for dataset, _ in self.missing):
            lost = {category: why for (name, category), why in self.missing.items() if name == dataset}
            partly = any(name == dataset for name, _ in self.there)
            what = f"{dataset}/{', '.join(lost)}" if partly else dataset
            lines.append(f"{what}: not there ({next(iter(lost.values()))}); what needs it is not run")
        return lines


def look(data_root: Path, categories: Iterable[Category]) -> Presence:
    """Look for categories below `data_root`/<dataset>: names and folders only, and the header of one image of each."""
    there: dict[Category, ImageKind | None] = {}
    missing: dict[Category, str] = {}
    for dataset, category in dict.fromkeys(categories):
        info = CATALOG[dataset]
        root = data_root / dataset
        try:
            validate_request(DatasetConfig(name=dataset, layout=info.layout, root=root), category)
        except RequestError as error:
            missing[dataset, category] = str(error).split(";")[0]
            continue
        wrapped = [root / info.archive.folder] if info.archive and info.archive.folder else []
        there[dataset, category] = _first_image([folder / category for folder in (root, *wrapped)])
    return Presence(there, missing)


def _first_image(folders: Iterable[Path]) -> ImageKind | None:
    for folder in folders:
        for where, subfolders, names in os.walk(folder):
            subfolders[:] = sorted(name for name in subfolders if not is_junk(name) and name not in _MASKS)
            for name in sorted(names):
                suffix = PurePosixPath(name).suffix.lower()
                if suffix in IMAGE_EXTENSIONS and not is_junk(name):
                    return _kind(Path(where), name, suffix)
    return None


def _kind(folder: Path, name: str, suffix: str) -> ImageKind | None:
    try:
        header = read_header(folder, name)
    except DataError:
        return None
    return ImageKind(header.width * header.height / 1e6, suffix)
