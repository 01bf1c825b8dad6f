"""What a person reads about datasets: the catalog as a table with what is on the disk, a verification by lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.data.archive import megabytes
from harness.data.catalog import CATALOG, Counts, DatasetInfo
from harness.data.verify import CategoryCheck, check_category
from harness.errors import RequestError


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


class Row(NamedTuple):
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
        there = dict.fromkeys(info.categories, "")
        if data_root:
            there = {name: state(check_category(info, data_root / info.name, name)) for name in there}
        complete = list(there.values()).count("ok")
        summary = "ok" if complete == len(there) else f"{complete} of {len(there)} categories"
        each = info.categories.values()
        total = Counts(
            sum(c.train for c in each), sum(c.test_normal for c in each), sum(c.test_anomalous for c in each)
        )
        yield Row(info.name, "", total, info.licence, _archive(info), summary if data_root else "")
        yield from (Row("", name, info.categories[name], there=text) for name, text in there.items())


def state(check: CategoryCheck) -> str:
    """`ok`, `missing`, or what differs first."""
    return "ok" if not check.problems else "missing" if check.missing else check.problems[0]


def print_table(lines: Iterable[Row], *, with_state: bool) -> None:
    """Print the rows on standard output, plainly where that is no terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from harness.terminal import console, printable

    plain = not sys.stdout.isatty()
    table = Table(box=None if plain else SIMPLE_HEAD, header_style="" if plain else "bold", pad_edge=False)
    for name in ("dataset", "category"):
        table.add_column(name, no_wrap=True)
    for name in ("train", "normal", "defective"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("licence", "archive", *(["there"] if with_state else [])):
        table.add_column(name, overflow="fold")
    for row in lines:
        counts = map(str, (row.counts.train, row.counts.test_normal, row.counts.test_anomalous))
        texts = [row.dataset, row.category, *counts, row.licence, row.archive, *([row.there] if with_state else [])]
        table.add_row(*(Text(printable(text)) for text in texts))
    console().print(table)


def _archive(info: DatasetInfo) -> str:
    if info.archive is None:
        return "drawn by the harness"
    return "size unknown" if info.archive.size is None else megabytes(info.archive.size)
