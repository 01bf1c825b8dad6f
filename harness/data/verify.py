"""A dataset on a disk against what is officially in it: counts, masks, and whether each image decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from harness.config import DatasetConfig
from harness.data.catalog import Counts, DatasetInfo
from harness.data.files import decoding, read_header
from harness.data.layouts import resolve_split
from harness.data.pixels import in_threads
from harness.data.split import Split
from harness.errors import DataError, RequestError, UserError


@dataclass(frozen=True)
class CategoryCheck:
    """What was found of one category."""

    category: str
    official: Counts
    problems: tuple[str, ...]
    """What differs, a line each; none where all is as it must be."""
    n_masks: int = 0
    missing: bool = False
    """There is no folder of that name at all."""


def check_category(info: DatasetInfo, root: Path, category: str, *, decode: bool = False) -> CategoryCheck:
    """Count and pair one category's images and masks; with `decode` also decode every one of them.

    Args:
        root: the dataset's root, which holds the category folders or the folder that the archive wraps them in.
    """
    official = info.categories[category]
    folder = info.archive.folder if info.archive else ""
    if not any((top / category).is_dir() for top in (root, root / folder)):
        return CategoryCheck(category, official, (f"missing: there is no folder {category}",), missing=True)
    try:
        split = resolve_split(DatasetConfig(name=info.name, layout=info.layout, root=root), category)
    except UserError as error:
        return CategoryCheck(category, official, (str(error),))
    found = Counts(len(split.train), split.n_test_normal, split.n_test_anomalous)
    problems = [
        f"{there} {what} images, officially {wanted}"
        for what, there, wanted in zip(("training", "normal test", "defective test"), found, official, strict=True)
        if there != wanted
    ]
    if official.test_anomalous and not split.has_masks:
        problems.append("no ground-truth masks")
    names = [name for sample in (*split.train, *split.test) for name in (sample.path, sample.mask) if name]
    # VisA's images are counted in its csv, and may be missing all the same; so may the target of a link.
    broken = [f"{name}: no such file" for name in names if not (split.root / name).is_file()]
    if decode and not broken:
        broken = [problem for problem in in_threads(lambda name: _broken(split, name), names) if problem]
    if broken:
        problems.append(broken[0] + (f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""))
    n_masks = sum(sample.mask is not None for sample in split.test)
    return CategoryCheck(category, official, tuple(problems), n_masks)


def check_dataset(
    info: DatasetInfo, root: Path, categories: Sequence[str] = (), *, decode: bool = False
) -> Iterator[CategoryCheck]:
    """Check these categories, or all, in the catalog's order.

    Raises:
        RequestError: an unknown category, or no folder `root`; before the first check.
    """
    for category in categories:
        if category not in info.categories:
            raise RequestError(
                f"category={category}: not a category of {info.title}; there are {', '.join(info.categories)}"
            )
    if not root.is_dir():
        raise RequestError(f"{root}: no such folder; give the folder that holds {info.name}/ as DATA_ROOT")
    wanted = categories or info.categories
    return (check_category(info, root, category, decode=decode) for category in info.categories if category in wanted)


def _broken(split: Split, name: str) -> str:
    """Say what is wrong with a file that cannot be decoded; empty where nothing is."""
    try:
        read_header(split.root, name)
        with decoding(name), Image.open(split.root / name) as image:
            image.load()
    except DataError as error:
        return str(error)
    return ""
