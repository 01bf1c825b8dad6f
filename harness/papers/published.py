"""What a paper published, as its folder results/papers/ID has it: numbers, layout, settings, claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from harness.papers.model import Edition, Place, PublishedCell, Quantity

FOUR = ("image_auroc", "image_f1_strict", "pixel_auroc", "pixel_f1_strict")
"""AUROC and F1 of images and pixels: what some figures show."""
_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)
Text = Annotated[str, Field(min_length=1)]
Stem = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Numbers = Annotated[int, Field(ge=1, strict=True)]
Seed = Annotated[int, Field(ge=0, strict=True)]


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
    stem: Stem
    """File name without its ending."""
    kind: Text
    """The drawing, of `FIGURE_KINDS`."""
    title: Text
    """On one line, with {backbone}, {large} and the paper's datasets for what an edition has in their place."""
    alternative: Text
    """What is drawn, for readers who do not see it."""
    table: int | None = None
    """The table whose numbers it shows."""
    row: str | None = None
    """The one row of that table that it is about."""
    note: str = ""
    """What stands below the drawing; only the kind `methods` has room for it."""


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
    plotted: Annotated[tuple[RowName, ...], Field(min_length=1)]
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
            datasets = {name: stand_in.datasets[name] for name in datasets}
            backbones = {name: stand_in.backbones[name] for name in backbones}
            found["smoke"] = Edition("smoke", True, datasets, backbones, stand_in.protocol, seed)
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
