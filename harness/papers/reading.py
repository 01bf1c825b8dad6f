"""Read a paper's folder and check its files: a wrong one is refused in one line with the file and the line number."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.config.keys import group_options, suggest
from harness.data.catalog import CATALOG
from harness.errors import RequestError
from harness.metrics.registry import registered
from harness.papers.model import Place, PublishedCell, Quantity
from harness.papers.published import FILES, FOUR, FigureEntry, PaperFile, Published, PublishedTable, Row, TablesFile
from harness.paths import PROJECT

PAPERS = PROJECT / "results" / "papers"

PARAMETERS = PROJECT / "results" / "parameters.csv"

VALUES = ("table", "row", "dataset", "category", "model", "backbone", "level", "metric", "printed", "where")
"""Columns that values.csv must have; `not_comparable` may follow. `category` lists the categories of a mean."""

_ABOUT = ("dataset", "category", "model", "backbone")

_PRINTED = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,24}(e-[0-9]{1,2})?)?")

FIGURE_KINDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "pipeline": ((), "a paper whose only model is padim"),
    "categories": (FOUR, "a table with rows of one category, all of one dataset, model and backbone"),
    "backbones": ((), "a table whose rows are of one category, each of another backbone"),
    "datasets": ((), "a table whose rows are of one model and backbone, each of another dataset"),
    "methods": (("image_auroc", "pixel_auroc"), "a table with a row of runs"),
    "radar": (FOUR, "a table whose rows are of one model and backbone, each of another dataset"),
    "overlays": ((), "a table and a row of one category"),
    "overlays_one_scale": ((), "a table and a row of one category"),
}
"""What a figure's `kind` may be -> the metrics that its table must have, and what else it needs."""


def paper_ids() -> list[str]:
    """List the papers of results/papers, by name."""
    return sorted(path.parent.name for path in PAPERS.glob("*/paper.toml"))


def load_published(paper: str | None = None, folder: Path | None = None) -> Published:
    """Read a paper's folder.

    Args:
        paper: its name below results/papers; None for the one that says `default = true`.
        folder: read this one instead.

    Raises:
        RequestError: there is no such paper, or one of its files is wrong; with the file and the line.
    """
    if folder is None:
        known = paper_ids()
        if paper is None:
            chosen = [name for name in known if _parsed(PAPERS / name / "paper.toml").get("default") is True]
            if len(chosen) != 1:
                raise RequestError(f"{PAPERS}: {len(chosen)} papers say default = true; name one: {', '.join(known)}")
            paper = chosen[0]
        if paper not in known:
            raise RequestError(f"paper {paper}: is not there{suggest(paper, known)}; allowed: {', '.join(known)}")
        folder = PAPERS / paper
    return _load(folder)


@cache
def _load(folder: Path) -> Published:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", folder.name):
        raise RequestError(f"{folder}: name the folder with letters, digits and underscores, a letter first")
    files = {name: _toml(folder / f"{name}.toml", kind) for name, kind in FILES.items()}
    tables: TablesFile = files["tables"]
    cells = _cells(folder / "values.csv", tables)
    facts = folder / "facts.toml"
    published = Published(
        id=folder.name,
        folder=folder,
        about=files["paper"],
        tables=tables.tables,
        columns=tables.columns,
        cells=cells,
        figures=files["figures"].figures,
        claims=files["claims"].claims,
        references=files["references"],
        facts=_parsed(facts) if facts.is_file() else {},
    )
    _check_paper(published)
    for head, names in (
        ("claims", [claim.id for claim in published.claims]),
        ("references", [str(entry.number) for entry in published.references.references]),
    ):
        twice = next((index for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise RequestError(f"{find_line(folder / f'{head}.toml', head, twice)}: {names[twice]} stands twice")
    _check_tables(published)
    _check_figures(published)
    return published


def own_module(paper: str) -> ModuleType | None:
    """Import the module with the checks of one paper alone, `harness.papers.ID`; None where there is none."""
    try:
        return importlib.import_module(f"harness.papers.{paper}")
    except ModuleNotFoundError as error:
        if error.name != f"harness.papers.{paper}":
            raise
        return None


def schemas() -> dict[str, str]:
    """Return the JSON schema of each TOML file, for editors: file name -> text."""
    return {
        f"{name}.schema.json": json.dumps(TypeAdapter(kind).json_schema(), indent=2) + "\n"
        for name, kind in FILES.items()
    }


class _Parameters(dict[str, int]):
    def __missing__(self, backbone: str) -> int:
        raise RequestError(f"{PARAMETERS}: has no line for {backbone}; count it with scripts/parameters.py")


@cache
def load_parameters() -> Mapping[str, int]:
    """Read each backbone's parameters up to the last layer that models read, counted once on the network."""
    with open(PARAMETERS, encoding="utf-8", newline="") as file:
        return _Parameters({line["backbone"]: int(line["parameters"]) for line in csv.DictReader(file)})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise RequestError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError(f"{path}: is no TOML ({error})") from error


def _toml(path: Path, kind: Any) -> Any:
    """Read a TOML file into its model; one that is not there is an empty one, where the model allows that."""
    there = path.is_file() or kind in (PaperFile, TablesFile)
    try:
        return TypeAdapter(kind).validate_python(_parsed(path) if there else {})
    except ValidationError as error:
        # A mistyped name is one unknown key and one missing key: the unknown one is what must be changed.
        first = min(error.errors(), key=lambda one: one["type"] == "missing")
        names = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{path}, line {_line(_read(path), first['loc'])}: {names}: {first['msg']}") from error


def _line(text: str, place: tuple[int | str, ...]) -> int:
    """Find the line of a TOML file that a place of its content is about, or that of the entry which holds it."""
    lines, at = text.splitlines(), 0
    for name, index in pairwise(place):
        if isinstance(name, str) and isinstance(index, int):
            heads = [number for number, line in enumerate(lines) if line.strip() == f"[[{name}]]"]
            if index < len(heads):
                at = heads[index]
            else:  # rows, one on each line of an array
                opened = next((number for number in range(at, len(lines)) if lines[number].startswith(f"{name} =")), at)
                at = min(opened + 1 + index, len(lines) - 1)
    last = str(place[-1]) if place else ""
    within = (number for number in range(at, len(lines)) if re.search(rf"\b{re.escape(last)}\b *=", lines[number]))
    return (next(within, at) if last and not isinstance(place[-1], int) else at) + 1


def find_line(path: Path, head: str, index: int, text: str = "") -> str:
    """Name a file and the first line with a text of the entry [[head]] of this index."""
    lines = _read(path).splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip() == f"[[{head}]]"]
    start = heads[index] if index < len(heads) else 0
    return f"{path}, line {next((n for n in range(start, len(lines)) if text in lines[n]), start) + 1}"


def _cells(path: Path, tables: TablesFile) -> tuple[PublishedCell, ...]:
    lines = csv.DictReader(io.StringIO(_read(path), newline=""), strict=True)
    names = {name: column for column, name in tables.columns.items()}
    known = {"metric": [*registered(), *Quantity], "backbone": group_options("backbone")}
    cells: list[PublishedCell] = []
    rows: dict[tuple[int, str], tuple[str, ...]] = {}
    laid_out = {(table.number, row.name) for table in tables.tables for row in table.rows}
    try:
        if not set(VALUES) <= set(lines.fieldnames or ()):
            raise ValueError(f"needs the columns {', '.join(VALUES)}")
        for line in lines:
            cell = _cell(line, names, known)
            row, about = (cell.table, cell.row), tuple(line[name] for name in _ABOUT)
            if row not in laid_out:
                raise ValueError(f"tables.toml has no row {cell.row!r} in table {cell.table}")
            if rows.setdefault(row, about) != about:
                raise ValueError(f"all numbers of a row share {', '.join(_ABOUT)}; here {about}, above {rows[row]}")
            if any(row == (other.table, other.row) and cell.column == other.column for other in cells):
                raise ValueError(f"{cell.column} of this row stands twice")
            if row != next(reversed(rows)):
                raise ValueError("the lines of a row must follow one another")
            cells.append(cell)
        if not any(cell.places for cell in cells):
            raise ValueError("no line names categories, so no run can be compared with this paper")
    except (ValueError, csv.Error) as error:
        raise RequestError(f"{path}, line {max(lines.reader.line_num, 1)}: {error}") from error
    return tuple(cells)


def _cell(line: Mapping[str, str], columns: Mapping[str, str], known: Mapping[str, list[str]]) -> PublishedCell:
    """Make one number of a line of values.csv; a ValueError says what is wrong with it."""
    if None in line or None in line.values():
        raise ValueError("has more or fewer cells than line 1; put a text with commas between quotes")
    if any("\n" in text for text in line.values()):
        raise ValueError("a quoted text goes over several lines")
    name = "_".join(filter(None, (line["level"], line["metric"])))
    why = line.get("not_comparable") or ""
    if not why:  # what is not compared may be a metric that the harness does not have
        _require(name, known["metric"])
    if line["backbone"]:
        _require(line["backbone"], known["backbone"])
    if name not in columns:
        raise ValueError(f"tables.toml has no column for {name}")
    printed = line["printed"]
    if not re.fullmatch("[0-9]{1,4}", line["table"]) or not _PRINTED.fullmatch(printed):
        raise ValueError(f"table {line['table']!r} and printed {printed!r} must be numbers such as 1 and 0.953")
    quantity = Quantity(name) if name in set(Quantity) else None
    if quantity is None and not why and float(printed) > 1:
        raise ValueError(f"printed {printed} is above 1; write a share, for example 0.953 for 95.3 %")
    dataset, categories = line["dataset"], line["category"].split()
    _require(dataset, [name for name, info in CATALOG.items() if info.archive is not None])
    official = CATALOG[dataset].categories
    for category in categories:
        if category not in official:
            raise ValueError(f"{dataset} has no category {category}{suggest(category, official)}")
    if len(set(categories)) < len(categories):
        raise ValueError(f"category {line['category']!r} names one twice")
    if categories:
        _require(line["model"], group_options("model"))
        _require(line["backbone"], known["backbone"])
    elif quantity or not why:
        raise ValueError("needs categories; a number that no run gives says why under not_comparable")
    return PublishedCell(
        table=int(line["table"]),
        row=line["row"],
        column=columns[name],
        printed=printed,
        section=line["where"],
        metric=None if quantity or why else name,
        places=tuple(Place(dataset, category, line["model"], line["backbone"]) for category in categories),
        quantity=quantity,
        not_comparable=why,
    )


def _require(word: str, allowed: Iterable[str]) -> None:
    if word not in allowed:
        raise ValueError(f"{word or repr(word)} is not known{suggest(word, allowed)}; allowed: {', '.join(allowed)}")


def _check_paper(published: Published) -> None:
    """Refuse a protocol, a stand-in or a search in paper.toml that names what is not there."""
    about, path = published.about, published.folder / "paper.toml"
    places = {place for cell in published.cells for place in cell.places}
    try:
        _require(about.protocol, group_options("protocol"))
        if about.declared_seed not in about.seeds:
            raise ValueError(f"seeds lack the declared seed {about.declared_seed}")
        if about.smoke is not None:
            _require(about.smoke.protocol, group_options("protocol"))
            drawn = [name for name, info in CATALOG.items() if info.archive is None]
            for what, used, named, allowed in (
                ("datasets", {place.dataset for place in places}, about.smoke.datasets, drawn),
                ("backbones", {place.backbone for place in places}, about.smoke.backbones, group_options("backbone")),
            ):
                for word in named.values():
                    _require(word, allowed)
                if set(named) != used or len(set(named.values())) < len(named):
                    raise ValueError(f"smoke: {what} must name one for each of {', '.join(sorted(used))}")
        search = about.search
        if search is not None:
            _require(search.experiment, group_options("experiment"))
            if search.place not in places:
                raise ValueError("search: values.csv has no row of this dataset, category, model and backbone")
            for column in (search.line.x, search.line.y):
                _require(column, published.metrics)
            for name in (*search.ranked_by, *search.plotted):
                if not set(published.metrics) <= {cell.column for cell in published.row(name.table, name.row)}:
                    raise ValueError(f"search: table {name.table} has no row {name.row!r} with all of the metrics")
    except ValueError as error:
        text = re.split(r"[ :]", str(error))[0].strip("'")
        raise RequestError(f"{find_line(path, '', 0, text)}: {error}") from error


def _check_tables(published: Published) -> None:
    """Refuse tables that name something twice, or name what is not there, and rows that do not fit."""
    path = published.folder / "tables.toml"
    for column, name in published.columns.items():
        compared = any(cell.metric == name for cell in published.cells)
        if (compared and name not in registered()) or list(published.columns.values()).count(name) > 1:
            where = find_line(path, "", 0, column)
            raise RequestError(f"{where}: [columns]: {name} is no metric, or has two columns")
    numbers = [table.number for table in published.tables]
    for index, table in enumerate(published.tables):
        faults = [("number", f"two tables have the number {table.number}")] if numbers.count(table.number) > 1 else []
        for what, names in (("rows", table.names), ("columns", table.columns)):
            faults += [(name, f"two {what} have the name {name!r}") for name in names if names.count(name) > 1]
        if table.experiment is not None and table.experiment not in group_options("experiment"):
            faults.append((table.experiment, f"configs/experiment has no {table.experiment}"))
        faults += [
            (column, f"[columns] has no metric for the column {column!r}")
            for column in table.value_columns
            if column not in published.columns
        ]
        faults += [(row.name, fault) for row in table.rows if (fault := _row_fault(published, table, row))]
        for text, fault in faults:
            raise RequestError(f"{find_line(path, 'tables', index, text)}: {fault}")


def _row_fault(published: Published, table: PublishedTable, row: Row) -> str:
    """Say what is wrong with a row of a table; empty where nothing is."""
    cells, values = published.row(table.number, row.name), table.value_columns
    if not cells:
        return f"values.csv has no number of row {row.name!r}"
    fault = ""
    texts = [column for column in table.columns if column not in values][1:]
    if set(row.texts) != set(texts):
        fault = f"row {row.name!r}: texts must be of the same columns in each row, here: {', '.join(texts) or 'none'}"
    # A count may stand in the row's name.
    if {cell.column for cell in cells if cell.column in values or not cell.quantity} != set(values):
        fault = f"row {row.name!r}: values.csv must have one number for each of {', '.join(values)}"
    others = {
        place
        for cell in published.cells
        if cell.table == table.number and cell.row != row.name
        for place in cell.places
    }
    several = sum(one.mean for one in table.rows) > 1  # such as a mean of textures beside that of all
    if row.mean and not (set(cells[0].places) <= others if several else set(cells[0].places) == others):
        fault = f"row {row.name!r}: values.csv must give a mean the categories and backbone of the table's other rows"
    if row.repeats is not None:
        origin = published.row(row.repeats.table, row.repeats.row)
        columns = {cell.column for cell in cells if cell.metric} - {cell.column for cell in origin}
        if not origin or origin == cells or columns or origin[0].places != cells[0].places:
            fault = f"row {row.name!r}: there is no row {row.repeats.row!r} to repeat that has its columns and runs"
    if row.shown is not None and not fault:
        shown = _braces_fault(row.shown, ("backbone", "parameters", "kept"))
        fault = shown if cells[0].places else f"row {row.name!r}: shown is for rows of runs"
    return fault


def _check_figures(published: Published) -> None:
    """Refuse a figure whose stem, kind, title, table or row does not fit."""
    path, edition = published.folder / "figures.toml", published.editions["paper"]
    names = ["backbone", *["large"][: len(edition.backbones) - 1], *edition.datasets]
    for index, figure in enumerate(published.figures):
        fault = _braces_fault(figure.title, names) or _figure_fault(figure, published)
        if sum(figure.stem == other.stem for other in published.figures) > 1:
            fault = "two figures have this stem"
        if fault:
            where = find_line(path, "figures", index, f'"{figure.stem}"')
            raise RequestError(f"{where}: figure {figure.stem}: {fault}")


def _figure_fault(figure: FigureEntry, published: Published) -> str:
    """Say why a figure cannot be drawn of its table; empty where it can."""
    kind, number = figure.kind, figure.table
    if kind not in FIGURE_KINDS:
        return f"kind {kind} is not there{suggest(kind, FIGURE_KINDS)}; allowed: {', '.join(FIGURE_KINDS)}"
    if number is not None and number not in {table.number for table in published.tables}:
        return f"there is no table {number}"
    metrics, needed = FIGURE_KINDS[kind]
    cells = [cell for cell in published.cells if cell.table == number and figure.row in (None, cell.row)]
    rows = {cell.row: cell.places for cell in cells}
    first = [places[0] for places in rows.values() if places]
    single = {(at[0].dataset, at[0].model, at[0].backbone) for at in rows.values() if len(at) == 1}
    fits = {
        "pipeline": {place.model for cell in published.cells for place in cell.places} == {"padim"},
        "categories": figure.row is None and len(single) == 1,
        "backbones": len({place.backbone for place in first}) == len(rows) > 1
        and len({(place.dataset, place.category, place.model) for at in rows.values() for place in at}) == 1,
        "datasets": len({place.dataset for place in first}) == len(rows) > 0
        and len({(place.model, place.backbone) for place in first}) == 1,
        "methods": bool(first),
        "overlays": figure.row is not None and len(rows) == len(single) == 1,
    }
    same = {"radar": "datasets", "overlays_one_scale": "overlays"}
    if fits[same.get(kind, kind)] and set(metrics) <= {published.columns[cell.column] for cell in cells}:
        return ""
    return f"the kind {kind} needs {needed}{' and the metrics ' if metrics else ''}{', '.join(metrics)}"


def _braces_fault(text: str, names: Sequence[str]) -> str:
    try:
        text.format(**dict.fromkeys(names, ""))
    except (LookupError, ValueError, AttributeError) as error:
        return f"{text!r}: wrong braces ({error}); allowed: {', '.join(f'{{{name}}}' for name in names)}"
    return ""
