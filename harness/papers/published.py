"""What the paper published, read from results/paper: every number as printed, its tables' layout, and its settings."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from harness.papers.model import PAPER_METRICS, Place, PublishedCell
from harness.paths import PROJECT

FOLDER = PROJECT / "results" / "paper"
PARAMETERS = FOLDER / "parameters.csv"

MEAN = "Mean"
"""The row of a table's means over its categories."""

PARAMS, N_CATEGORIES = "Params (M)", "N cats"
"""Columns of numbers that no run gives. The first the paper prints inside Table 2's row names."""


@dataclass(frozen=True)
class PublishedTable:
    """One of Tables 1 to 6 as the paper lays it out; its numbers are in `Published.cells`."""

    number: int
    section: str
    title: str
    """The caption, without `Table n.`."""
    columns: tuple[str, ...]
    """As printed, from the column of row names on."""
    rows: tuple[str, ...]
    """Row names as printed; unique within a table."""
    notes: tuple[str, ...]
    """What the paper says below the table."""
    texts: Mapping[tuple[str, str], str]
    """(row, column) -> what stands in a column that holds no numbers (Backbone, Paradigm, Reference)."""
    places: Mapping[str, tuple[Place, ...]]
    """Row -> the runs that fill it: none for a literature value, several for a mean."""

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The printed columns that hold numbers."""
        words = {column for _, column in self.texts}
        return tuple(column for column in self.columns[1:] if column not in words)


@dataclass(frozen=True)
class Setting:
    """A setting that the paper states, or leaves open although it moves a number."""

    name: str
    section: str
    says: str
    """The paper's words; for what it leaves open, what is missing."""
    value: str | None = None
    """None where the paper states none."""
    field: str | None = None
    """The key of a request that holds it."""
    choice: str | None = None
    """What the harness does where the paper states nothing, or otherwise than it states; and why."""


@dataclass(frozen=True)
class Published:
    """Everything that the paper published and that a run, a reader or the audit compares with."""

    tables: tuple[PublishedTable, ...]
    """1 to 6."""
    cells: tuple[PublishedCell, ...]
    """By table, row and column in the order of values.csv."""
    settings: tuple[Setting, ...]

    @cached_property
    def _by_name(self) -> Mapping[tuple[int, str, str], PublishedCell]:
        return {(cell.table, cell.row, cell.column): cell for cell in self.cells}

    def table(self, number: int) -> PublishedTable:
        """Return one of Tables 1 to 6."""
        return self.tables[number - 1]

    def cell(self, table: int, row: str, column: str) -> PublishedCell:
        """Return the number in one place of one table."""
        return self._by_name[table, row, column]

    def row(self, table: int, row: str) -> tuple[PublishedCell, ...]:
        """Return the numbers of one row."""
        return tuple(cell for cell in self.cells if (cell.table, cell.row) == (table, row))


@dataclass(frozen=True)
class Context:
    """What the paper's claims are held against."""

    published: Published
    facts: Mapping[str, Any]
    """results/paper/facts.toml: public facts with their sources."""
    subjects: Mapping[int, tuple[str, ...]]
    """Number in the reference list -> what a citation of it can mean."""
    names: Mapping[int, str]
    """Number in the reference list -> authors as printed there."""
    citations: tuple[tuple[str, str, int], ...]
    """(section, what is named, cited number) of every citation in the prose that names what it cites."""
    parameters: Mapping[str, int]
    """Backbone -> parameters up to the last layer read, counted on the network itself."""


def load_published() -> Published:
    """Read results/paper."""
    tables = tuple(_table(entry) for entry in read_toml(FOLDER / "tables.toml")["tables"])
    with open(FOLDER / "values.csv", encoding="utf-8", newline="") as file:
        cells = tuple(_cell(line, tables[int(line["table"]) - 1]) for line in csv.DictReader(file))
    settings = tuple(Setting(**entry) for entry in read_toml(FOLDER / "settings.toml")["settings"])
    return Published(tables=tables, cells=cells, settings=settings)


def load_context(published: Published) -> Context:
    """Read facts.toml, references.toml and the counted parameters."""
    references = read_toml(FOLDER / "references.toml")
    listed = references["references"]
    return Context(
        published=published,
        facts=read_toml(FOLDER / "facts.toml"),
        subjects={entry["number"]: tuple(entry["subjects"]) for entry in listed},
        names={entry["number"]: entry["printed"] for entry in listed},
        citations=tuple((entry["section"], entry["subject"], entry["number"]) for entry in references["citations"]),
        parameters=load_parameters(),
    )


@cache
def load_parameters() -> Mapping[str, int]:
    """Read each backbone's parameters up to the last layer that PaDiM reads, counted once on the network."""
    with open(PARAMETERS, encoding="utf-8", newline="") as file:
        return {line["backbone"]: int(line["parameters"]) for line in csv.DictReader(file)}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of results/paper."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _table(entry: Mapping[str, Any]) -> PublishedTable:
    rows = entry["rows"]
    return PublishedTable(
        number=entry["number"],
        section=entry["section"],
        title=entry["title"],
        columns=tuple(entry["columns"]),
        rows=tuple(row["name"] for row in rows),
        notes=tuple(entry["notes"]),
        texts={(row["name"], column): text for row in rows for column, text in row["texts"].items()},
        places={row["name"]: tuple(Place(*place.split("/")) for place in row["places"]) for row in rows},
    )


def _cell(line: Mapping[str, str], table: PublishedTable) -> PublishedCell:
    row, column = line["row"], line["column"]
    places = table.places[row]
    return PublishedCell(
        table=table.number,
        row=row,
        column=column,
        printed=line["printed"],
        section=line["section"],
        metric=PAPER_METRICS.get(column) if places else None,
        places=places,
    )
