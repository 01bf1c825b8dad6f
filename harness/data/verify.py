"""A dataset on a disk against what is officially in it: counts, masks, and whether each image decodes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from harness.config.settings import DatasetConfig
from harness.data.archive import megabytes
from harness.data.catalog import CATALOG, Counts, DatasetInfo
from harness.data.files import decoding, read_header
from harness.data.layouts import resolve_split
from harness.data.pixels import in_threads
from harness.data.split import Split
from harness.errors import DataError, RequestError, UserError, printable


@dataclass(frozen=True)
class CategoryCheck:
    """What was found of one category."""

    category: str
    official: Counts
    problems: tuple[str, ...]
    n_masks: int = 0
    missing: bool = False


def find_dataset(name: str) -> DatasetInfo:
    """Return the catalog's entry.

    Raises:
        RequestError: there is none of that name.
    """
    info = CATALOG.get(name)
    if info is None:
        raise RequestError(f"dataset {name}: unknown; there are {', '.join(CATALOG)}")
    return info


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


def verdict(info: DatasetInfo, check: CategoryCheck) -> str:
    """Return one line about one verified category."""
    label = f"{info.name}/{check.category:<{max(map(len, info.categories))}}"
    if check.problems:
        return printable(f"{label}  {'; '.join(check.problems)}")
    counts = check.official
    return printable(
        f"{label}  ok  {counts.train} train, {counts.test_normal} normal and {counts.test_anomalous} defective test "
        f"images, {check.n_masks} masks"
    )


def table(
    datasets: Iterable[DatasetInfo], data_root: Path | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a header, and a row for each dataset and category; with `data_root` also what is there of it."""
    rows = []
    for info in datasets:
        there: dict[str, str] = {}
        if data_root:
            checks = (check_category(info, data_root / info.name, name) for name in info.categories)
            there = {check.category: state(check) for check in checks}
        complete = list(there.values()).count("ok")
        summary = "ok" if complete == len(there) else f"{complete} of {len(there)} categories"
        size = info.archive.size if info.archive else None
        archive = "drawn by the harness" if info.archive is None else megabytes(size) if size else "size unknown"
        total = Counts(*map(sum, zip(*info.categories.values(), strict=True)))
        rows.append((info.name, "", *_cells(total), info.licence, archive, summary))
        for name, counts in info.categories.items():
            rows.append(("", name, *_cells(counts), "", "", printable(there.get(name, ""))))
    header = ("dataset", "category", "train", "normal", "defective", "licence", "archive", "there")
    n_columns = len(header) if data_root else len(header) - 1
    return header[:n_columns], [row[:n_columns] for row in rows]


def state(check: CategoryCheck) -> str:
    """Return `ok`, `missing`, or what differs first."""
    return "ok" if not check.problems else "missing" if check.missing else check.problems[0]


def _cells(counts: Counts) -> tuple[str, str, str]:
    return f"{counts.train:>5}", f"{counts.test_normal:>6}", f"{counts.test_anomalous:>9}"


def _broken(split: Split, name: str) -> str:
    try:
        read_header(split.root, name)
        with decoding(name), Image.open(split.root / name) as image:
            image.load()
    except DataError as error:
        return str(error)
    return ""
