"""What a person reads about datasets: the catalog as a table with what is on the disk, a verification by lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.archive import megabytes
from harness.data.catalog import CATALOG, Counts, DatasetInfo
from harness.data.verify import CategoryCheck, check_category
from harness.errors import RequestError

if TYPE_CHECKING:
    from rich.table import Table


def find_dataset(name: str) -> DatasetInfo:
    """The catalog's entry.

    Raises:
        RequestError: there is none of that name.
    """
    info = CATALOG.get(name)
    if info is None:
        raise RequestError(f"dataset {name}: unknown; there are {', '.join(CATALOG)}")
    return info


def verdict(info: DatasetInfo, check: CategoryCheck) -> str:
    """One line about one verified category."""
    from harness.terminal import printable

    label = f"{info.name}/{check.category:<{max(map(len, info.categories))}}"
    if check.problems:
        return printable(f"{label}  {'; '.join(check.problems)}")
    counts = check.official
    return printable(
        f"{label}  ok  {counts.train} train, {counts.test_normal} normal and {counts.test_anomalous} defective test "
        f"images, {check.n_masks} masks"
    )


@dataclass(frozen=True)
class Row:
    """One line of the table: a dataset, or one of its categories."""

    dataset: str
    category: str
    """Empty in a dataset's own line."""
    counts: Counts
    licence: str = ""
    archive: str = ""
    there: str = ""


def rows(datasets: Iterable[DatasetInfo], data_root: Path | None = None) -> Iterator[Row]:
    """A line for each dataset, with its totals, and one for each of its categories; with `data_root` what is there."""
    for info in datasets:
        checks = (
            {category: check_category(info, data_root / info.name, category) for category in info.categories}
            if data_root
            else {}
        )
        yield Row(
            info.name, "", _total(info.categories.values()), info.licence, _archive(info), _summary(checks.values())
        )
        for category, counts in info.categories.items():
            yield Row("", category, counts, there=state(checks[category]) if checks else "")


def state(check: CategoryCheck) -> str:
    """`ok`, `missing`, or what differs first."""
    return "ok" if not check.problems else "missing" if check.missing else check.problems[0]


def print_table(lines: Iterable[Row], *, with_state: bool) -> None:
    """Print the rows on standard output, plainly where that is no terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from harness.terminal import console

    plain = not sys.stdout.isatty()
    table = Table(box=None if plain else SIMPLE_HEAD, header_style="" if plain else "bold", pad_edge=False)
    for name in ("dataset", "category"):
        table.add_column(name, no_wrap=True)
    for name in ("train", "normal", "defective"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("licence", "archive", *(["there"] if with_state else [])):
        table.add_column(name, overflow="fold")
    for row in lines:
        _add(table, row, with_state)
    console().print(table)


def _add(table: Table, row: Row, with_state: bool) -> None:
    from rich.text import Text

    from harness.terminal import printable

    counts = (str(n) for n in (row.counts.train, row.counts.test_normal, row.counts.test_anomalous))
    texts = [row.dataset, row.category, *counts, row.licence, row.archive]
    if with_state:
        texts.append(row.there)
    table.add_row(*(Text(printable(text)) for text in texts))


def _total(counts: Iterable[Counts]) -> Counts:
    each = list(counts)
    return Counts(sum(c.train for c in each), sum(c.test_normal for c in each), sum(c.test_anomalous for c in each))


def _archive(info: DatasetInfo) -> str:
    if info.archive is None:
        return "drawn by the harness"
    return "size unknown" if info.archive.size is None else megabytes(info.archive.size)


def _summary(checks: Iterable[CategoryCheck]) -> str:
    each = list(checks)
    if not each:
        return ""
    complete = sum(not check.problems for check in each)
    return "ok" if complete == len(each) else f"{complete} of {len(each)} categories"
