"""The nouns that published values, verdicts, audit, tables, figures and the page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.papers.prediction import Prediction, RowTest

MODEL = "padim"
"""The paper's, by its file of configs/model."""
DECLARED_SEED = 42
"""The seed whose run a published digit is compared with: anomalib's README benchmark has it, the paper states none."""

SEEDS = (DECLARED_SEED, *range(10))
"""What a reproduction runs, so that verdicts have seeds to stand on; they share one pass through the backbone."""

EXPERIMENTS = {1: "table1_mvtec", 2: "table2_backbone", 3: "table3_visa", 4: "table4_btad"}
"""Table -> the experiment whose runs fill it; Tables 5 and 6 are means of these."""

PAPER_METRICS: Mapping[str, str] = {
    "Img AUROC": "image_auroc",
    "Img F1": "image_f1_strict",
    "Pix AUROC": "pixel_auroc",
    "Pix F1": "pixel_f1_strict",
}
"""The paper's columns, and the record's metric that each is compared with: its F1 is anomalib's strict one."""


@dataclass(frozen=True)
class Edition:
    """Whose runs fill the paper's places: the paper's own datasets and backbones, or the mini benchmark's."""

    name: str
    """`paper` or `smoke`."""
    synthetic: bool
    datasets: Mapping[str, str]
    """The paper's dataset (mvtec, visa, btad) -> the store's."""
    backbones: Mapping[str, str]
    """The paper's backbone (resnet18, wide_resnet50_2) -> the store's."""
    protocol: str = "paper"
    """Only runs that began with this protocol, none of its fields changed, fill a place."""


PAPER = Edition(
    name="paper",
    synthetic=False,
    datasets={"mvtec": "mvtec", "visa": "visa", "btad": "btad"},
    backbones={"resnet18": "resnet18", "wide_resnet50_2": "wide_resnet50_2"},
)
SMOKE = Edition(
    name="smoke",
    synthetic=True,
    datasets={"mvtec": "mini_mvtec", "visa": "mini_visa", "btad": "mini_btad"},
    backbones={"resnet18": "efficientnet_lite0", "wide_resnet50_2": "efficientnet_lite2"},
)


@dataclass(frozen=True)
class Place:
    """One category with one backbone: what a row of Tables 1 to 4 is about, in the paper's own terms."""

    dataset: str
    """mvtec, visa or btad."""
    category: str
    backbone: str
    """resnet18 or wide_resnet50_2."""


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
    """The record's metric that it is compared with; None for a literature value, a count of parameters, an N."""
    places: tuple[Place, ...]
    """One for a category's row, several for a mean over categories, none for a literature value."""


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

    @property
    def declared(self) -> float | None:
        """The value at the declared seed."""
        return self.by_seed.get(DECLARED_SEED)

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


Outcome = tuple[bool | None, str]
"""Whether a claim of the paper holds (None: not checked here), and the numbers that decide it."""


@dataclass(frozen=True)
class Finding:
    """One claim or one arithmetical check of the audit, with its outcome."""

    identifier: str
    """Short and stable, for example `mean-table1-img-auroc`."""
    kind: str
    """`mean`, `attainable`, `consistency`, `claim`."""
    section: str
    statement: str
    """What the paper says, in short (quoted where it matters)."""
    verdict: ClaimVerdict
    evidence: str
    """The numbers that decide it, one or two lines."""
