"""What a paper published, read from its folder results/papers/ID and checked: numbers, layout, settings, claims.

A file that is wrong is refused in one line with the file and the line number.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from harness.config.keys import group_options, suggest
from harness.data.catalog import CATALOG
from harness.errors import RequestError
from harness.metrics.registry import registered
from harness.papers.model import Edition, Place, PublishedCell, Quantity
from harness.paths import PROJECT

PAPERS = PROJECT / "results" / "papers"
PARAMETERS = PROJECT / "results" / "parameters.csv"
VALUES = ("table", "row", "dataset", "category", "model", "backbone", "level", "metric", "printed", "where")
"""Columns that values.csv must have; `not_comparable` may follow. `category` lists the categories of a mean."""

_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)
_PRINTED = re.compile(r"\d+(\.\d+)?(e-\d+)?")

Text = Annotated[str, Field(min_length=1)]
Numbers = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class RowName:
    """A row of a table."""

    table: Numbers
    row: Text


@dataclass(frozen=True, config=_STRICT)
class Row:
    """A row as the paper lays it out; its numbers are in values.csv."""

    name: Text
    """As printed; unique within its table."""
    texts: dict[str, str] = field(default_factory=dict)
    """Column -> what stands in a column that holds no numbers."""
    mean: bool = False
    """It is the mean of the table's other rows."""
    repeats: RowName | None = None
    """The row whose numbers it prints again."""
    shown: str | None = None
    """Its name in reproduced tables, with {backbone}, {parameters} (in millions) and {kept} (features)."""


@dataclass(frozen=True, config=_STRICT)
class PublishedTable:
    """One table as the paper lays it out; its numbers are in `Published.cells`."""

    number: Numbers
    section: Text
    title: Text
    """The caption, without `Table n.`."""
    columns: Annotated[tuple[Text, ...], Field(min_length=2)]
    """As printed, from the column of row names on."""
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    notes: tuple[Text, ...] = ()
    """What the paper says below the table."""
    notes_below: bool = False
    """The notes also stand below the reproduced table, not only below the verdicts."""
    experiment: str | None = None
    """The file of configs/experiment that makes its runs; None where they are the runs of other tables."""
    literature: bool = False
    """It is about other people's methods: its dataset keeps its name where drawn images stand in."""

    @property
    def names(self) -> tuple[str, ...]:
        """The rows' names as printed."""
        return tuple(row.name for row in self.rows)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The printed columns that hold numbers."""
        words = {column for row in self.rows for column in row.texts}
        return tuple(column for column in self.columns[1:] if column not in words)

    def row(self, name: str) -> Row:
        """Return the row of this name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True, config=_STRICT)
class TablesFile:
    """tables.toml."""

    columns: dict[Text, Text]
    """Printed column -> metric, as `level_metric` of values.csv, or `parameters` or `categories`."""
    tables: Annotated[tuple[PublishedTable, ...], Field(min_length=1)]


@dataclass(frozen=True, config=_STRICT)
class FigureEntry:
    """One of the paper's figures."""

    number: Numbers
    stem: Text
    """File name without its ending."""
    kind: Text
    """The drawing, of `harness.report.figures.DRAWINGS`."""
    title: Text
    """On one line, with {backbone}, {large} and the paper's datasets for what an edition has in their place."""
    alternative: Text
    """What is drawn, for readers who do not see it."""
    table: int | None = None
    """The table whose numbers it shows."""
    row: str | None = None
    """The one row of that table that it is about."""


@dataclass(frozen=True, config=_STRICT)
class FiguresFile:
    """figures.toml."""

    figures: tuple[FigureEntry, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Setting:
    """A setting that the paper states, or leaves open although it moves a number."""

    name: Text
    section: Text
    says: Text
    """The paper's words; for what it leaves open, what is missing."""
    value: str | None = None
    """None where the paper states none."""
    field: str | None = None
    """The key of a request that holds it."""
    choice: str | None = None
    """What the harness does where the paper states nothing, or where it does something else; and why."""


@dataclass(frozen=True, config=_STRICT)
class Caution:
    """What a reader must know before comparing with this paper's numbers."""

    id: Text
    effect: Literal["note", "bound", "not comparable"]
    """`bound`: the number is a lower or upper bound only. `not comparable`: values.csv says so beside each number."""
    says: Text


@dataclass(frozen=True, config=_STRICT)
class Smoke:
    """What stands in for the paper's datasets and backbones where images are drawn."""

    protocol: Text
    datasets: dict[Text, Text]
    backbones: dict[Text, Text]


@dataclass(frozen=True, config=_STRICT)
class Axes:
    """Two printed columns."""

    x: Text
    y: Text


@dataclass(frozen=True, config=_STRICT)
class Search:
    """Settings that were searched for the printed numbers of one place."""

    store: Text
    """The store with these runs, below results/."""
    experiment: Text
    """Of configs/experiment, that made them."""
    dataset: Text
    category: Text
    model: Text
    backbone: Text
    tried: Numbers
    """How many settings."""
    line: Axes
    """The metric of y is fitted to that of x, a line for each preprocessing."""
    ranked_by: tuple[RowName, ...]
    """The published rows that settings are ranked by."""
    plotted: tuple[RowName, ...]
    """The published rows that are held against the lines."""

    @property
    def place(self) -> Place:
        """Whose runs these are."""
        return Place(self.dataset, self.category, self.model, self.backbone)


@dataclass(frozen=True, config=_STRICT)
class PaperFile:
    """paper.toml."""

    title: Text
    authors: Annotated[tuple[Text, ...], Field(min_length=1)]
    protocol: Text
    """Of configs/protocol."""
    declared_seed: Seed
    """The seed whose run a printed digit is compared with."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    """What a reproduction runs."""
    year: int | None = None
    identifier: str = ""
    """DOI or arXiv number."""
    link: str = ""
    licence: str = ""
    default: bool = False
    """Commands that name no paper take this one."""
    metrics_section: str = ""
    """Where the paper says how metrics are computed."""
    smoke: Smoke | None = None
    search: Search | None = None
    settings: tuple[Setting, ...] = ()
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Claim:
    """A sentence of the paper that can be checked."""

    id: Text
    section: Text
    says: Text
    check: Text
    """A function of `harness.papers.checks`, or of the module `harness.papers.ID`."""
    arguments: Annotated[dict[str, Any], Field(alias="with")] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class ClaimsFile:
    """claims.toml."""

    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Reference:
    """An entry of the reference list."""

    number: Numbers
    printed: Text
    """Authors as printed."""
    title: Text
    year: int
    subjects: tuple[Text, ...]
    """Methods, datasets and tools that a citation of it can mean."""


@dataclass(frozen=True, config=_STRICT)
class Citation:
    """A place of the prose that names what it cites."""

    section: Text
    subject: Text
    number: Numbers


@dataclass(frozen=True, config=_STRICT)
class ReferencesFile:
    """references.toml."""

    references: tuple[Reference, ...] = ()
    citations: tuple[Citation, ...] = ()


FILES: Mapping[str, Any] = {
    "paper": PaperFile,
    "tables": TablesFile,
    "figures": FiguresFile,
    "claims": ClaimsFile,
    "references": ReferencesFile,
}
"""File of a paper's folder, without .toml -> its model. The first two must be there."""


@plain_dataclass(frozen=True, eq=False)
class Published:
    """Everything that one paper published and that a run, a reader or the audit compares with."""

    id: str
    """The folder's name."""
    folder: Path
    about: PaperFile
    tables: tuple[PublishedTable, ...]
    columns: Mapping[str, str]
    """Printed column -> the metric's name, or a `Quantity`."""
    cells: tuple[PublishedCell, ...]
    """By table and row, then in the order of values.csv."""
    figures: tuple[FigureEntry, ...]
    claims: tuple[Claim, ...]
    references: ReferencesFile
    facts: Mapping[str, Any]
    """Of facts.toml: public facts with their sources, for this paper's own checks."""

    @cached_property
    def metrics(self) -> Mapping[str, str]:
        """Return printed column -> the record's metric, of columns that a run can give."""
        return {column: name for column, name in self.columns.items() if name not in set(Quantity)}

    @cached_property
    def editions(self) -> Mapping[str, Edition]:
        """Return `paper` and, where the paper has a stand-in on drawn images, `smoke`."""
        seed, stand_in = self.about.declared_seed, self.about.smoke
        places = [place for cell in self.cells for place in cell.places]
        datasets = {place.dataset: place.dataset for place in places}
        backbones = {place.backbone: place.backbone for place in places}
        found = {"paper": Edition("paper", False, datasets, backbones, self.about.protocol, seed)}
        if stand_in is not None:
            found["smoke"] = Edition("smoke", True, stand_in.datasets, stand_in.backbones, stand_in.protocol, seed)
        return found

    @cached_property
    def experiments(self) -> Mapping[int, str]:
        """Return table -> the experiment that makes its runs."""
        return {table.number: table.experiment for table in self.tables if table.experiment is not None}

    @cached_property
    def subjects(self) -> Mapping[int, tuple[str, ...]]:
        """Return number in the reference list -> what a citation of it can mean."""
        return {entry.number: entry.subjects for entry in self.references.references}

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Return number in the reference list -> authors as printed there."""
        return {entry.number: entry.printed for entry in self.references.references}

    @cached_property
    def citations(self) -> tuple[tuple[str, str, int], ...]:
        """Return (section, what is named, cited number) of every citation in the prose that names what it cites."""
        return tuple((entry.section, entry.subject, entry.number) for entry in self.references.citations)

    @cached_property
    def _by_name(self) -> Mapping[tuple[int, str, str], PublishedCell]:
        return {(cell.table, cell.row, cell.column): cell for cell in self.cells}

    def table(self, number: int) -> PublishedTable:
        """Return the table of this number."""
        return next(table for table in self.tables if table.number == number)

    def cell(self, table: int, row: str, column: str) -> PublishedCell:
        """Return the number in one place of one table."""
        return self._by_name[table, row, column]

    def row(self, table: int, row: str) -> tuple[PublishedCell, ...]:
        """Return the numbers of one row."""
        return tuple(cell for cell in self.cells if (cell.table, cell.row) == (table, row))

    def places(self, table: int, row: str) -> tuple[Place, ...]:
        """Return the runs that fill a row: none for a literature value, several for a mean."""
        return next(cell.places for cell in self.cells if (cell.table, cell.row) == (table, row))

    def is_mean(self, cell: PublishedCell) -> bool:
        """Tell whether a number stands in a row of means."""
        return self.table(cell.table).row(cell.row).mean


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
            chosen = [name for name in known if tomllib.loads(_read(PAPERS / name / "paper.toml")).get("default")]
            if len(chosen) != 1:
                raise RequestError(f"{PAPERS}: {len(chosen)} papers say default = true; name one: {', '.join(known)}")
            paper = chosen[0]
        if paper not in known:
            raise RequestError(f"paper {paper}: is not there{suggest(paper, known)}; allowed: {', '.join(known)}")
        folder = PAPERS / paper
    return _load(folder)


@cache
def _load(folder: Path) -> Published:
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
        facts=tomllib.loads(_read(facts)) if facts.is_file() else {},
    )
    _check_layout(folder, published)
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


@cache
def load_parameters() -> Mapping[str, int]:
    """Read each backbone's parameters up to the last layer that models read, counted once on the network."""
    with open(PARAMETERS, encoding="utf-8", newline="") as file:
        return {line["backbone"]: int(line["parameters"]) for line in csv.DictReader(file)}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise RequestError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _toml(path: Path, kind: Any) -> Any:
    """Read a TOML file into its model; one that is not there is an empty one, where the model allows that."""
    text = _read(path) if path.is_file() or kind in (PaperFile, TablesFile) else ""
    try:
        return TypeAdapter(kind).validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path}: is no TOML ({error})") from error
    except ValidationError as error:
        # A mistyped name is one unknown key and one missing key: the unknown one is what must be changed.
        first = min(error.errors(), key=lambda one: one["type"] == "missing")
        names = [str(part) for part in first["loc"]]
        raise RequestError(f"{path}, line {_line(text, first['loc'])}: {'.'.join(names)}: {first['msg']}") from error


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


def find_line(path: Path, text: str) -> str:
    """Name a file and the first line that holds a text."""
    lines = _read(path).splitlines()
    return f"{path}, line {next((number for number, line in enumerate(lines, 1) if text in line), 1)}"


def _cells(path: Path, tables: TablesFile) -> tuple[PublishedCell, ...]:
    lines = csv.DictReader(_read(path).splitlines())
    if not set(VALUES) <= set(lines.fieldnames or ()):
        raise RequestError(f"{path}, line 1: needs the columns {', '.join(VALUES)}")
    columns = {name: column for column, name in tables.columns.items()}
    names = [(table.number, row.name) for table in tables.tables for row in table.rows]
    rows = {name: place for place, name in enumerate(names)}
    known = {"metric": [*registered(), *Quantity], "backbone": group_options("backbone")}
    cells, seen = [], set()
    for line in lines:
        try:
            cell = _cell(line, columns, known)
            if (cell.table, cell.row) not in rows:
                raise ValueError(f"tables.toml has no row {cell.row!r} in table {cell.table}")
            if (cell.table, cell.row, cell.column) in seen:
                raise ValueError(f"{cell.column} of this row stands twice")
        except ValueError as error:
            raise RequestError(f"{path}, line {lines.line_num}: {error}") from error
        seen.add((cell.table, cell.row, cell.column))
        cells.append(cell)
    return tuple(sorted(cells, key=lambda cell: rows[cell.table, cell.row]))  # the numbers of a row stand together


def _cell(line: Mapping[str, str], columns: Mapping[str, str], known: Mapping[str, list[str]]) -> PublishedCell:
    """Make one number of a line of values.csv; a ValueError says what is wrong with it."""
    name = "_".join(filter(None, (line["level"], line["metric"])))
    why = line.get("not_comparable") or ""
    words = [] if why else [(name, known["metric"])]  # what is not compared may be a metric that the harness lacks
    words += [(line["backbone"], known["backbone"])] if line["backbone"] else []
    for word, allowed in words:
        if word not in allowed:
            raise ValueError(f"{word} is not known{suggest(word, allowed)}; allowed: {', '.join(allowed)}")
    if name not in columns:
        raise ValueError(f"tables.toml has no column for {name}")
    if not line["table"].isdigit() or not _PRINTED.fullmatch(line["printed"]):
        raise ValueError(f"table {line['table']!r} and printed {line['printed']!r} must be numbers")
    dataset, categories = line["dataset"], line["category"].split()
    if dataset not in CATALOG:
        raise ValueError(f"{dataset} is not known{suggest(dataset, CATALOG)}; allowed: {', '.join(CATALOG)}")
    official = CATALOG[dataset].categories
    for category in categories:
        if category not in official:
            raise ValueError(f"{dataset} has no category {category}{suggest(category, official)}")
    quantity = Quantity(name) if name in set(Quantity) else None
    return PublishedCell(
        table=int(line["table"]),
        row=line["row"],
        column=columns[name],
        printed=line["printed"],
        section=line["where"],
        metric=None if quantity or why else name,
        places=tuple(Place(dataset, category, line["model"], line["backbone"]) for category in categories),
        quantity=quantity,
        not_comparable=why,
    )


def _check_layout(folder: Path, published: Published) -> None:
    """Refuse rows without numbers, and names of tables, rows, columns, experiments and checks that are not there."""
    tables, filled = folder / "tables.toml", {(cell.table, cell.row) for cell in published.cells}
    experiments = group_options("experiment")
    for table in published.tables:
        for row in table.rows:
            if (table.number, row.name) not in filled:
                raise RequestError(f"{find_line(tables, row.name)}: values.csv has no number of row {row.name!r}")
            if row.repeats is not None and (row.repeats.table, row.repeats.row) not in filled:
                raise RequestError(f"{find_line(tables, row.name)}: there is no row {row.repeats.row!r} to repeat")
        if table.experiment is not None and table.experiment not in experiments:
            raise RequestError(f"{find_line(tables, table.experiment)}: configs/experiment has no {table.experiment}")
        for column in table.value_columns:
            if column not in published.columns:
                raise RequestError(f"{find_line(tables, column)}: [columns] has no metric for the column {column!r}")
    numbers = {table.number for table in published.tables}
    for figure in published.figures:
        if figure.table is not None and figure.table not in numbers:
            raise RequestError(f"{find_line(folder / 'figures.toml', figure.stem)}: there is no table {figure.table}")
