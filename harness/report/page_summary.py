"""What a reader wants first: how many numbers reproduce, which do not, what was not run, and what the audit found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.papers.model import ClaimVerdict, Edition, Finding, Judgement, RowJudgement, Verdict
from harness.papers.prediction import LEAST_SEEDS
from harness.papers.verdict import caveats, shown_p
from harness.report.page_grid import BADGES, NOTHING, Cell, Grid, anchor, cell, grid
from harness.report.words import Judged

MEANINGS: Mapping[Verdict, str] = {
    Verdict.MATCH: "the run with the declared seed gives every printed digit",
    Verdict.CONSISTENT: "inside the 95 % prediction interval for one more seed",
    Verdict.DIFFERS: "outside that interval: more than the seed differs",
    Verdict.TOO_FEW_SEEDS: f"a prediction needs {LEAST_SEEDS} seeds",
    Verdict.NOT_RUN: "the store has no run for it",
    Verdict.NOT_COMPARABLE: "no run could be set against it; its reason stands beside it",
}

AUDIT_KINDS: Mapping[str, str] = {
    "mean": "Means recomputed from their rows",
    "attainable": "Values that the number of images allows",
    "consistency": "Numbers that must fit one another",
    "claim": "Claims of the text",
}
"""Kind of a finding -> the heading of its section."""


@dataclass(frozen=True)
class Tile:
    """One verdict with how many numbers have it."""

    name: str
    badge: str
    count: int
    start: int
    """How many numbers have a verdict before it: where its part of the bar begins."""
    meaning: str


@dataclass(frozen=True)
class Summary:
    """The top of the page."""

    headline: str
    tiles: tuple[Tile, ...]
    n_numbers: int
    by_table: Grid
    rows: Grid | None
    """The joint verdicts of the rows that were run; None where no row was."""
    caveats: tuple[str, ...]
    """What the verdicts assume, and what they do not say; empty where nothing is compared."""
    not_run: tuple[str, ...]
    """What has no run, and why, each once."""
    refused: tuple[str, ...]
    """Runs that contradict one another, and so fill nothing."""
    false_claims: tuple[Finding, ...]
    n_findings: int
    n_ok: int
    n_failed: int


def summarise(judged: Judged, row_judgements: Sequence[RowJudgement], findings: Sequence[Finding]) -> Summary:
    """Make the summary of one edition. Only numbers that a run could give are counted, literature values are not."""
    edition, records = judged.edition, judged.records
    numbers = [judgement for judgement in judged.judgements if judgement.cell.metric is not None]
    counts = Counter(judgement.verdict for judgement in numbers)
    measured = [judgement.measured for judgement in numbers]
    starts = accumulate((counts[v] for v in Verdict), initial=0)
    return Summary(
        headline=_headline(counts, len(numbers), edition),
        tiles=tuple(
            Tile(v.value, BADGES[v], counts[v], start, MEANINGS[v]) for v, start in zip(Verdict, starts, strict=False)
        ),
        n_numbers=len(numbers),
        by_table=_by_table(numbers),
        rows=_row_table(row_judgements),
        caveats=() if edition.synthetic else caveats(judged.published),
        not_run=tuple(dict.fromkeys(text for one in measured for text in one.missing)),
        refused=tuple(dict.fromkeys(text for one in measured for text in one.refused)),
        false_claims=tuple(finding for finding in findings if finding.verdict == ClaimVerdict.FALSE),
        n_findings=len(findings),
        n_ok=sum(record.status == "ok" for record in records),
        n_failed=sum(record.status != "ok" for record in records),
    )


def audit_parts(findings: Sequence[Finding]) -> list[tuple[str, Grid]]:
    """Return a heading and a table for each kind of finding, in the order in which kinds first appear."""
    columns = ("Verdict", "Section", "The paper says", "Evidence", "Finding")
    parts = []
    for kind in dict.fromkeys(finding.kind for finding in findings):
        alike = [finding for finding in findings if finding.kind == kind]
        counts = Counter(finding.verdict for finding in alike)
        told = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in ClaimVerdict if counts[verdict])
        rows = [
            (
                cell(finding.verdict.value),
                *map(Cell, (finding.section, finding.statement, finding.evidence)),
                Cell(finding.identifier, identifier=finding_id(finding)),
            )
            for finding in alike
        ]
        title = AUDIT_KINDS[kind]
        parts.append((title, grid(anchor("audit", kind), f"{title}: {told}", columns, rows, row_headers=False)))
    return parts


def finding_id(finding: Finding) -> str:
    """Return the id of a finding on the page."""
    return anchor("finding", finding.identifier)


def _headline(counts: Mapping[Verdict, int], n: int, edition: Edition) -> str:
    if edition.synthetic:
        return (
            f"SYNTHETIC: drawn images stand in for the paper’s photographs, so none of its {n} numbers can be "
            "compared. What this page shows is that the whole pipeline runs."
        )
    run = n - counts[Verdict.NOT_RUN] - counts[Verdict.NOT_COMPARABLE]
    if not run:
        return f"None of the {n} published numbers that a run can give has been run yet."
    good = counts[Verdict.MATCH] + counts[Verdict.CONSISTENT]
    parts = [
        f"{good} {_are(good)} reproduced ({counts[Verdict.MATCH]} at the declared seed, {counts[Verdict.CONSISTENT]} "
        "consistent with one more seed)"
    ]
    if off := counts[Verdict.DIFFERS]:
        parts.append(f"{off} {'differs' if off == 1 else 'differ'}")
    if few := counts[Verdict.TOO_FEW_SEEDS]:
        parts.append(f"{few} {'has' if few == 1 else 'have'} too few seeds")
    return (
        f"Of the {n} published numbers that a run can give, {run} {'was' if run == 1 else 'were'} run. "
        f"Of these, {', '.join(parts)}."
    )


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _by_table(numbers: Sequence[Judgement]) -> Grid:
    tables = sorted({judgement.cell.table for judgement in numbers})
    rows = []
    parts: list[tuple[Cell, Sequence[int]]] = [(Cell(f"Table {n}", n, href=f"#table-{n}"), [n]) for n in tables]
    for name, those in [*parts, (Cell("All tables", 99), tables)]:
        counts = Counter(judgement.verdict for judgement in numbers if judgement.cell.table in those)
        cells = (Cell(str(counts[verdict]), counts[verdict]) for verdict in Verdict)
        rows.append((name, *cells, cell(str(counts.total()))))
    caption = "Verdicts by table (numbers that a run can give)"
    columns = ("Table", *(verdict.value.capitalize() for verdict in Verdict), "Numbers")
    return grid("verdicts-by-table", caption, columns, rows)


def _row_table(rows: Sequence[RowJudgement]) -> Grid | None:
    run = [row for row in rows if row.verdict not in (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE)]
    if not run:
        return None
    return grid(
        "rows-jointly",
        "Published rows judged as a whole: AUROC and F1 of one row must come from one run",
        ("Row", "Verdict", "p", "Most of it from", "Why"),
        [_row_cells(row) for row in run],
    )


def _row_cells(row: RowJudgement) -> tuple[Cell, ...]:
    p = Cell(shown_p(row.test.p), row.test.p) if row.test else Cell(NOTHING)
    name = Cell(f"Table {row.table}, {row.row}")
    return name, cell(row.verdict.value), p, Cell(row.most or NOTHING), Cell(row.reason)
