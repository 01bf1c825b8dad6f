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
    found: Counts | None
    """None where the category cannot be read as a whole."""
    n_masks: int
    problems: tuple[str, ...]
    """What differs, a line each; none where all is as it must be."""
    missing: bool = False
    """There is no folder of that name at all."""


def check_category(info: DatasetInfo, root: Path, category: str, *, decode: bool = False) -> CategoryCheck:
    """Count and pair one category's images and masks; with `decode` also decode every one of them.

    Args:
        root: the dataset's root, which holds the category folders or the folder that the archive wraps them in.
    """
    official = info.categories[category]
    if not any((folder / category).is_dir() for folder in _roots(info, root)):
        return CategoryCheck(category, official, None, 0, (f"missing: there is no folder {category}",), missing=True)
    try:
        split = resolve_split(DatasetConfig(name=info.name, layout=info.layout, root=root), category)
    except UserError as error:
        return CategoryCheck(category, official, None, 0, (str(error),))
    found = Counts(len(split.train), split.n_test_normal, split.n_test_anomalous)
    problems = [
        f"{there} {what} images, officially {wanted}"
        for what, there, wanted in (
            ("training", found.train, official.train),
            ("normal test", found.test_normal, official.test_normal),
            ("defective test", found.test_anomalous, official.test_anomalous),
        )
        if there != wanted
    ]
    if official.test_anomalous and not split.has_masks:
        problems.append("no ground-truth masks")
    problems += _absent(split) or (_broken(split) if decode else [])
    n_masks = sum(sample.mask is not None for sample in split.test)
    return CategoryCheck(category, official, found, n_masks, tuple(problems))


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


def _roots(info: DatasetInfo, root: Path) -> tuple[Path, ...]:
    return (root, root / info.archive.folder) if info.archive and info.archive.folder else (root,)


def _names(split: Split) -> list[str]:
    return [name for sample in (*split.train, *split.test) for name in (sample.path, sample.mask) if name]


def _absent(split: Split) -> list[str]:
    """VisA's images are counted in its csv, and may be missing all the same; so may the target of a link."""
    absent = [name for name in _names(split) if not (split.root / name).is_file()]
    return [f"{absent[0]}: no such file{_and_more(absent)}"] if absent else []


def _and_more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more like it)" if len(names) > 1 else ""


def _broken(split: Split) -> list[str]:
    def decode(name: str) -> str | None:
        try:
            read_header(split.root, name)
            with decoding(name), Image.open(split.root / name) as image:
                image.load()
        except DataError as error:
            return str(error)
        return None

    broken = [problem for problem in in_threads(decode, _names(split)) if problem]
    return [f"{broken[0]}{_and_more(broken)}"] if broken else []
