"""What must hold, and what was measured: for the terminal, as JSON, and as the tables of docs/benchmarks.md."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import sections as s
from benchmarks.measure import Measurement, middle
from harness.errors import RequestError
from harness.paths import PROJECT
from harness.report.output import write_output
from harness.store.provenance import environment

DOCUMENT = PROJECT / "docs" / "benchmarks.md"
KEPT = PROJECT / "results" / "bench"
"""Where the committed results are, of which the document is made."""
_MARKED = re.compile(r"(<!-- bench:(?P<name>[a-z]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)

WORK, PEAK = "work_seconds", "peak_rss_bytes"


@dataclass(frozen=True)
class Results:
    """One section: its measurements, on what, and where."""

    section: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    finished: str
    """UTC date."""
    measurements: tuple[Measurement, ...]


class Bound(NamedTuple):
    """How large or small the median of a quantity must be: of one contestant, or divided by that of another.

    Without a contestant it is the worst prediction of a peak of memory.
    """

    text: str
    section: str
    limit: float
    unit: str
    above: str
    below: str = ""
    quantity: str = "seconds"
    at_most: bool = True

    def value(self, measured: Sequence[Measurement]) -> float | None:
        """Compute the quantity; None where it was not measured."""
        top, bottom = middle(measured, self.above, self.quantity), middle(measured, self.below, self.quantity)
        if self.below:
            return top / bottom if top is not None and bottom else None
        if self.above:
            return top / 2**30 if top is not None and self.quantity == PEAK else top
        pairs = [(one.numbers.get("predicted_rss_bytes"), one.peak_rss_bytes) for one in measured]
        return max((abs(predicted / peak - 1) for predicted, peak in pairs if predicted), default=None)


BOUNDS = (
    Bound("ours against the floor, imports excluded", "core", 1.35, "×", s.OURS_WARM, s.FLOOR, WORK),
    Bound("anomalib's Engine without pictures against ours", "core", 2.5, "×", s.ENGINE, s.OURS, at_most=False),
    Bound("ten seeds against one, AUROC and F1", "core", 1.6, "×", s.OURS_10, s.OURS),
    Bound("ten seeds against one, with AUPRO and intervals", "core", 2.2, "×", s.OURS_10_FULL, s.OURS_FULL),
    Bound("a grid of 5 epsilons x 2 blurs x 11 seeds against one run", "grid", 8.0, "×", s.GRID, s.OURS),
    Bound("peak memory, 1000 training images against 200", "scaling", 1.1, "×", s.TRAIN_1000, s.TRAIN_200, PEAK),
    Bound("peak memory, Wide-ResNet-50-2, 256 features", "scaling", 4.0, " GiB", s.WIDE_256, "", PEAK),
    Bound("peak memory, Wide-ResNet-50-2, 550 features", "scaling", 8.0, " GiB", s.WIDE_550, "", PEAK),
    Bound("predicted peak memory, relative error", "scaling", 0.25, "", ""),
    Bound("AUROC and F1 of 40 million pixels, anomalib's time against ours", "metrics", 5.0, "×",
          s.RANKING_ANOMALIB, s.RANKING, WORK, at_most=False),
    Bound("AUPRO of 40 million pixels, anomalib's time against ours", "metrics", 1.0, "×",
          s.AUPRO_ANOMALIB, s.AUPRO, WORK, at_most=False),
    Bound("tables, figures and page from the store", "tools", 10.0, " s", s.RENDER),
    Bound("the refusal of a wrong request", "tools", 2.0, " s", s.REFUSAL),
)  # fmt: skip


def bound_rows(results: Mapping[str, Results]) -> list[tuple[str, str, str, str]]:
    """Give (what, bound, measured, `held` or `MISSED`) for each bound whose section was measured."""
    rows = []
    for bound in BOUNDS:
        if bound.section in results:
            value = bound.value(results[bound.section].measurements)
            holds = value is not None and (value <= bound.limit if bound.at_most else value >= bound.limit)
            limit = f"at {'most' if bound.at_most else 'least'} {bound.limit:.2f}{bound.unit}"
            measured = "nothing" if value is None else f"{value:.2f}{bound.unit}"
            rows.append((bound.text, limit, measured, "held" if holds else "MISSED"))
    return rows


def results_now(section: str, measured: s.Section) -> Results:
    """Add when and where it was measured: the record's environment, and the cores and memory that there are."""
    machine = environment(threads=None, device=None).model_dump()
    machine["cores"] = len(os.sched_getaffinity(0))
    machine["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Results(section, measured[0], machine, datetime.now(UTC).strftime("%Y-%m-%d"), measured[1])


def write_results(results: Results, folder: Path) -> None:
    """Write FOLDER/<section>.json; the same results give the same bytes.

    Raises:
        RequestError: it cannot be written.
    """
    write_output(folder / f"{results.section}.json", (json.dumps(asdict(results), indent=1) + "\n").encode())


def read_results(folder: Path) -> dict[str, Results]:
    """Read every section that lies in a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text("utf-8"))
        measured = tuple(Measurement(**one) for one in data.pop("measurements"))
        found[path.stem] = Results(**data, measurements=measured)
    return found


def page(text: str, results: Mapping[str, Results]) -> str:
    """Write every part of a document between `<!-- bench:NAME -->` and `<!-- /bench -->` again.

    Raises:
        RequestError: nothing is known of a part.
    """
    parts = {name: _section(results[name]) if name in results else "Not measured yet." for name in s.SECTIONS}
    parts["bounds"] = _table(("what", "bound", "measured", ""), bound_rows(results))

    def part(match: re.Match[str]) -> str:
        if match["name"] not in parts:
            raise RequestError(f"there is no part bench:{match['name']}; there are {', '.join(parts)}")
        return f"{match[1]}{parts[match['name']]}\n{match[3]}"

    return _MARKED.sub(part, text)


def write_page() -> None:
    """Write the tables of docs/benchmarks.md again, from results/bench."""
    write_output(DOCUMENT, page(DOCUMENT.read_text("utf-8"), read_results(KEPT)).encode())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _section(results: Results) -> str:
    """Put the conditions in words, and a row for each contestant; columns that are empty are left out."""
    measured = results.measurements
    rows = []
    for name in dict.fromkeys(one.name for one in measured):
        seconds = [one.seconds for one in measured if one.name == name]
        extent = f" ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else ""
        work = middle(measured, name, WORK)
        sizes = (middle(measured, name, one) for one in ("peak_rss_bytes", "predicted_rss_bytes"))
        mib = ["" if size is None else f"{size / 2**20:.0f}" for size in sizes]
        rows.append([name, f"{middle(measured, name):.2f}{extent}", "" if work is None else f"{work:.2f}", *mib])
    header = ["", "seconds", "work alone, s", "peak, MiB", "predicted peak, MiB"]
    kept = [0, *(column for column in range(1, len(header)) if any(row[column] for row in rows))]
    table = _table([header[column] for column in kept], [[row[column] for column in kept] for row in rows])
    settings, where = results.settings, results.machine
    words = f"Repeats: {settings['repeats']}. "
    if "images" in settings:
        words = f"{settings['images']}, {settings['n_train']} training and {settings['n_test']} test images. {words}"
    git, packages = where["git"] or {"commit": "unknown", "dirty": False}, where["packages"]
    return (
        f"{words}{where['device']}, {where['cores']} cores, {where['memory_bytes'] / 2**30:.0f} GiB; Python "
        f"{where['python']}, torch {packages.get('torch', '?')}, anomalib {packages.get('anomalib', '?')}; "
        f"commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}; {results.finished}.\n\n{table}"
    )
