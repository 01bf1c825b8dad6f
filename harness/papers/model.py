"""The nouns that published values, verdicts, audit, tables, figures and the page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.papers.prediction import Prediction, RowTest


@dataclass(frozen=True)
class Edition:
    """Whose runs fill a paper's places: the paper's own datasets and backbones, or the mini benchmark's."""

    name: str
    """`paper` or `smoke`."""
    synthetic: bool
    datasets: Mapping[str, str]
    """The paper's dataset (such as mvtec) -> the store's."""
    backbones: Mapping[str, str]
    """The paper's backbone (such as resnet18) -> the store's."""
    protocol: str
    """Only runs that began with this protocol, none of its fields changed, fill a place."""
    declared_seed: int
    """The seed whose run a published digit is compared with."""


@dataclass(frozen=True)
class Place:
    """One category with one model and backbone: what a row of results is about, in the paper's own terms."""

    dataset: str
    category: str
    model: str
    backbone: str


class Quantity(StrEnum):
    """A published number that is no metric of a run."""

    PARAMETERS = "parameters"
    """Of a backbone, in millions."""
    CATEGORIES = "categories"
    """How many categories a mean is over."""


@dataclass(frozen=True)
class PublishedCell:
    """One number as the paper prints it."""

    table: int
    row: str
    column: str
    printed: str
    """Digit by digit, so that 0.9730 keeps its zero."""
    section: str
    """Where in the paper, for example 5.1."""
    metric: str | None
    """The record's metric that it is compared with; None where no run gives such a number."""
    places: tuple[Place, ...]
    """One for a category's row, several for a mean over categories, none for a literature value."""
    quantity: Quantity | None = None
    """What it is, where it is no metric."""
    not_comparable: str = ""
    """Why it cannot be compared with a run; empty where it can."""


@dataclass(frozen=True)
class Measured:
    """What the store has for one place (or one mean of places) and one metric: one value a seed."""

    by_seed: Mapping[int, float]
    """Seed -> value, sorted by seed; for a mean only seeds that every place has."""
    interval: tuple[float, float] | None
    """The 95 % interval at the declared seed, None where there is none or for a mean."""
    keys: tuple[str, ...]
    """Keys of the runs that these numbers come from."""
    missing: tuple[str, ...] = ()
    """What is not there: one text for each place without a run, or with nothing but failed or unfit ones, and why."""
    refused: tuple[str, ...] = ()
    """Runs that are there and fit, but contradict one another, and how; then there are no values."""
    notes: tuple[str, ...] = ()
    """Runs that were left out although others of their place count, and why."""
    half_width: float | None = None
    """Half the width of the 95 % interval at the declared seed; of a mean over N places, whose test images are
    independent, sqrt(sum of squares) / N; None where a part of it is missing. For whiskers; no verdict uses it."""
    steps: tuple[float, float] = (0.0, 0.0)
    """From the mean over the seeds down and up to the next value of the metric's grid: 1/(n+ n-) for image AUROC, to
    the neighbouring attainable values for image F1, 0 for pixel metrics; of a mean over N places their largest / N."""
    declared: float | None = None
    """The value at the declared seed."""

    @property
    def seed_range(self) -> tuple[float, float] | None:
        """Smallest and largest value over the seeds run."""
        return (min(self.by_seed.values()), max(self.by_seed.values())) if self.by_seed else None


class Verdict(StrEnum):
    """How a published number stands against the store; the rules are in `harness.papers.verdict`."""

    MATCH = "match"
    CONSISTENT = "consistent"
    DIFFERS = "differs"
    TOO_FEW_SEEDS = "too few seeds"
    NOT_RUN = "not run"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Judgement:
    """One published number judged."""

    cell: PublishedCell
    measured: Measured
    verdict: Verdict
    reason: str
    """One line: what the verdict rests on, for example `4 of 11 seeds give exactly this`."""
    difference: float | None
    """Reproduced at the declared seed less published; None without such a run, or where the two are not comparable."""
    seeds_exact: tuple[int, ...] = ()
    """Seeds that give exactly the printed digits."""
    prediction: Prediction | None = None
    """Of one more seed; None with too few seeds, or where the two are not comparable."""
    p: float | None = None
    """Of the published number as one more seed's, two-sided; None without a prediction or where no seed differs."""


@dataclass(frozen=True)
class RowJudgement:
    """One published row judged jointly: all its numbers must come from one run, so from one seed."""

    table: int
    row: str
    judgements: tuple[Judgement, ...]
    """Of the row's numbers that a run gives."""
    verdict: Verdict
    reason: str
    test: RowTest | None = None
    """Of the numbers that vary over the seeds; None where it could not be made."""
    most: str | None = None
    """The column that contributes most to the test's statistic."""


class ClaimVerdict(StrEnum):
    """How a sentence of the paper stands after its check."""

    TRUE = "true"
    FALSE = "false"
    NOT_CHECKED = "not checked here"


Checked = tuple[bool | None, str]
"""Whether a claim of the paper holds (None: not checked here), and the numbers that decide it."""


@dataclass(frozen=True)
class Finding:
    """One claim or one arithmetical check of the audit, with its verdict."""

    identifier: str
    """Short and stable, for example `mean-table7-img-auroc`."""
    kind: str
    """`mean`, `attainable`, `consistency`, `claim`."""
    section: str
    statement: str
    """What the paper says, in short (quoted where it matters)."""
    verdict: ClaimVerdict
    evidence: str
    """The numbers that decide it, one or two lines."""
