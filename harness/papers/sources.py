"""Everybody's published numbers for one cell beside ours, and what explains a difference between two protocols."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cli.command import table_lines
from harness.config.keys import default_option, group_options, protocol_settings, suggest
from harness.errors import RequestError
from harness.papers.arithmetic import places, rounded
from harness.papers.model import Judgement, Place
from harness.papers.published import Published
from harness.papers.reading import load_published, paper_ids
from harness.papers.selection import measure
from harness.papers.verdict import judge_all, shown_p
from harness.store.fields import settings_of, shown

if TYPE_CHECKING:
    from harness.store import RunRecord

BEGIN = "<!-- numbers: written by `python -m harness.papers numbers --write docs/published-numbers.md` -->"
END = "<!-- end of numbers -->"
LONGEST = 6
"""Places of a published number that are shown; values.csv has all of them."""
REFERENCES = "references"
"""The folder of a store with the store of runs that were made with other papers' protocols."""


@dataclass(frozen=True)
class Cell:
    """What a published number is about."""

    place: Place
    metric: str
    """By the registry's name, or the source's own where the harness has no such metric."""


@dataclass(frozen=True)
class SourceNumber:
    """One source's number for a cell, judged against the runs with its protocol."""

    source: Published
    judgement: Judgement


def all_papers() -> list[Published]:
    """Read every paper of results/papers, by name."""
    return [load_published(name) for name in paper_ids()]


def numbers_by_cell(papers: Iterable[Published], records: Sequence[RunRecord]) -> dict[Cell, list[SourceNumber]]:
    """Judge every published number of one category; those of one cell stand together, in the papers' order.

    Args:
        records: of the stores at hand; a number takes runs that were made with its source's protocol only.
    """
    found: dict[Cell, list[SourceNumber]] = defaultdict(list)
    for paper in papers:
        edition = paper.editions["paper"]
        for one in judge_all(paper, measure(records, edition, published=paper), edition):
            repeats = paper.table(one.cell.table).row(one.cell.row).repeats
            if len(one.cell.places) == 1 and one.cell.quantity is None and repeats is None:
                metric = paper.columns[one.cell.column]
                found[Cell(one.cell.places[0], metric)].append(SourceNumber(paper, one))
    return dict(found)


def differing_settings(protocol: str, other: str, place: Place) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two protocols differ for a place's model and backbone: key -> (one's, other's)."""
    ours, theirs = (protocol_settings(name, model=place.model, backbone=place.backbone) for name in (protocol, other))
    return {key: (ours.get(key), theirs.get(key)) for key in ours if ours.get(key) != theirs.get(key)}


def in_words(protocol: str, place: Place) -> str:
    """Say in what a protocol differs from the default one, as a request has it; `as protocol=NAME` where in nothing."""
    usual = default_option("protocol")
    unlike = differing_settings(usual, protocol, place)
    return (
        " ".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, (_, value) in unlike.items())
        or f"as protocol={usual}"
    )


def explain(
    protocol: str, other: str, place: Place, records: Iterable[RunRecord]
) -> dict[str, dict[str, tuple[float, int]]]:
    """Tell how much each setting in which two protocols differ moves each metric, where runs change it alone.

    Returns:
        Key of a request -> metric -> (mean difference over the common seeds, number of them); a key without such runs
        has no metrics. What several settings do together is not their sum.
    """
    base = protocol_settings(protocol, model=place.model, backbone=place.backbone)
    runs = [one for one in records if _is_at(one, place)]
    before = _by_seed(runs, base)
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for key, (_, value) in differing_settings(protocol, other, place).items():
        after = _by_seed(runs, {**base, key: value})
        common = sorted(before.keys() & after.keys())
        found[key] = {}
        for metric in dict.fromkeys(name for seed in common for name in before[seed].metrics):
            pairs = [(before[seed].values.get(metric), after[seed].values.get(metric)) for seed in common]
            gaps = [late - early for early, late in pairs if early is not None and late is not None]
            if gaps:
                found[key][metric] = math.fsum(gaps) / len(gaps), len(gaps)
    return found


def explanation_lines(protocol: str, other: str, place: Place, records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield for a terminal what `explain` found.

    Raises:
        RequestError: there is no such protocol.
    """
    known = group_options("protocol")
    for name in (protocol, other):
        if name not in known:
            raise RequestError(f"protocol {name}: is not there{suggest(name, known)}; allowed: {', '.join(known)}")
    unlike = differing_settings(protocol, other, place)
    yield f"{place.dataset}/{place.category} {place.model}-{place.backbone}: from protocol={protocol} to {other}"
    for key, moved in explain(protocol, other, place, records).items():
        before, after = unlike[key]
        n = max((count for _, count in moved.values()), default=0)
        seeds = f"alone, mean over {n} seeds" if moved else "no runs change it alone"
        yield f"  {key}: {shown(before)} -> {shown(after)} ({seeds})"
        yield from (f"    {metric:16} {gap:+.4f}" for metric, (gap, _) in moved.items())
    yield ""


def _is_at(record: RunRecord, place: Place) -> bool:
    is_whole = record.status == "ok" and record.dataset.limit is None
    return is_whole and record.spec.engine == "streaming" and place_of(record) == place


def _by_seed(runs: Iterable[RunRecord], wanted: Mapping[str, Any]) -> dict[int, RunRecord]:
    """Return the runs with exactly these settings, by seed; of several the first."""
    found: dict[int, RunRecord] = {}
    for record in runs:
        own = settings_of(record)
        if all(own.get(key) == value for key, value in wanted.items()):
            found.setdefault(record.spec.seed, record)
    return found


def place_of(record: RunRecord) -> Place:
    """Return what a run is about."""
    spec = record.spec
    return Place(spec.dataset, spec.category, str(spec.model["name"]), spec.backbone.name)


def compared_by_several(cells: Mapping[Cell, Sequence[SourceNumber]]) -> dict[Cell, list[SourceNumber]]:
    """Return the numbers that may be compared, of cells where at least two sources have one."""
    kept = {cell: [one for one in found if one.judgement.cell.metric is not None] for cell, found in cells.items()}
    return {cell: found for cell, found in kept.items() if len({one.source.id for one in found}) > 1}


def rows_of(cells: Mapping[Cell, Sequence[SourceNumber]]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each number: cell, metric, source, published, ours, one more seed, p, verdict, protocol."""
    for cell, numbers in cells.items():
        place = cell.place
        where = f"{place.dataset}/{place.category} {place.model}-{place.backbone}"
        yield from ((where, cell.metric, one.source.id, *_row(one), _protocol(one, place)) for one in numbers)


def cell_lines(cells: Mapping[Cell, Sequence[SourceNumber]]) -> Iterator[str]:
    """Yield for a terminal: each cell, and below it every source's number beside ours, its protocol and the verdict."""
    for cell, numbers in cells.items():
        place = cell.place
        yield f"{place.dataset}/{place.category} {place.model}-{place.backbone}, {cell.metric}"
        rows, told = [], []
        for one in numbers:
            printed, ours, span, p, verdict = _row(one)
            word, _, why = verdict.partition(": ")
            rows.append((one.source.id, printed, ours, span, word))
            told.append(f"    {one.source.id}: {why or _protocol(one, place)}{f'; p = {p}' if p else ''}")
        yield from table_lines(("source", "published", "ours", "one more seed", "verdict"), rows)
        yield from dict.fromkeys(told)
        yield ""


def _protocol(one: SourceNumber, place: Place) -> str:
    return "" if one.judgement.cell.not_comparable else in_words(one.source.about.protocol, place)


def _row(one: SourceNumber) -> tuple[str, ...]:
    judgement, printed = one.judgement, one.judgement.cell.printed
    digits, value, prediction = min(places(printed), 4), judgement.measured.declared, judgement.prediction
    span = f"{rounded(prediction.low, digits)} to {rounded(prediction.high, digits)}" if prediction else ""
    ours = "" if value is None or judgement.cell.not_comparable else rounded(value, digits)
    why = judgement.cell.not_comparable
    verdict = f"{judgement.verdict}: {why}" if why else str(judgement.verdict)
    told = printed if places(printed) <= LONGEST else rounded(float(printed), LONGEST)
    return told, ours, span, "" if judgement.p is None else shown_p(judgement.p), verdict


def numbers_markdown(papers: Sequence[Published], records: Sequence[RunRecord]) -> str:
    """Write the sources, what was measured with their protocols, and how far they differ among themselves."""
    cells = numbers_by_cell(papers, records)
    parts = ["## The sources", "", *_sources(papers), "", "## Measured with their protocols", "", *_measured(cells)]
    parts += ["", "## How far the sources differ", "", *_disagreement(cells)]
    return "\n".join(parts)


def _sources(papers: Sequence[Published]) -> Iterator[str]:
    yield "| source | state | licence | numbers | comparable | protocol | seed |"
    yield "|---|---|---|---:|---:|---|---:|"
    for paper in papers:
        about, comparable = paper.about, sum(cell.metric is not None for cell in paper.cells)
        title = f"[{about.title}]({about.link})" if about.link else about.title
        row = (f"`{paper.id}`: {title}", about.identifier or "–", about.licence or "not stated")
        how = f"{about.protocol} | {about.declared_seed}" if comparable else "– | –"
        yield f"| {' | '.join(row)} | {len(paper.cells)} | {comparable} | {how} |"
    for paper in papers:
        if paper.about.cautions:
            yield f"\n**`{paper.id}`: read this first.**\n"
        yield from (f"- {caution.effect}: {caution.says}" for caution in paper.about.cautions)


def _measured(cells: Mapping[Cell, Sequence[SourceNumber]]) -> Iterator[str]:
    yield "| source | cell | metric | published | ours | one more seed | p | verdict |"
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for cell, numbers in cells.items():
        place = cell.place
        for one in numbers:
            if one.judgement.measured.by_seed:
                where = f"{place.dataset}/{place.category}, {place.model}, {place.backbone}"
                yield f"| `{one.source.id}` | {where} | {cell.metric} | {' | '.join(_row(one))} |"


def _disagreement(cells: Mapping[Cell, Sequence[SourceNumber]]) -> Iterator[str]:
    yield "The smallest and the largest of the numbers that may be compared, where at least two sources have one."
    yield "No single number of this field is more exact than this range.\n"
    yield "| cell | metric | numbers | smallest | largest | range |"
    yield "|---|---|---:|---:|---:|---:|"
    several = compared_by_several(cells)
    for cell, numbers in sorted(several.items(), key=lambda item: (str(item[0].place), item[0].metric)):
        printed = sorted((one.judgement.cell.printed for one in numbers), key=float)
        place, gap = cell.place, float(printed[-1]) - float(printed[0])
        where = f"{place.dataset}/{place.category}, {place.model}, {place.backbone}"
        yield f"| {where} | {cell.metric} | {len(printed)} | {printed[0]} | {printed[-1]} | {gap:.4f} |"
