"""Measured sections as text: a summary for the terminal, and the tables of docs/benchmarks.md between their markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.bench.bounds import BOUNDS, Bound, Sections
from harness.bench.results import Results, read_results
from harness.errors import RequestError

FIGURE = "benchmarks.svg"
NOT_MEASURED = "Not measured yet."
_MARKED = re.compile(r"(<!-- bench:(?P<name>[a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_WORDS = {
    "imports": "imports of both sides, and nothing else",
    "floor": "floor: every image decoded, resized, passed once",
    "ours": "ours, one seed",
    "ours-warm": "ours, one seed, everything imported before",
    "ours-10": "ours, ten seeds",
    "ours-full": "ours, one seed, with AUPRO and intervals",
    "ours-10-full": "ours, ten seeds, with AUPRO and intervals",
    "anomalib-lean": "anomalib's Engine, lean, one seed",
    "anomalib-lean-full": "anomalib's Engine, lean, one seed, with AUPRO",
    "anomalib": "anomalib's Engine as it comes, one seed",
    "wide-256": "ours, 256 features",
    "wide-550": "ours, 550 features",
    "render": "tables, figures and page from the store",
    "refuse-key": "refusing an unknown key",
    "refuse-category": "refusing an unknown category",
    "refuse-features": "refusing too many features",
}
_WHAT = {"auroc_f1": "AUROC and F1", "aupro": "AUPRO"}


def summary(results: Results) -> str:
    """Medians, ranges and bounds of one section, for a terminal."""
    rows = [[words(name), *_taken(results, name)] for name in results.names]
    lines = [*_aligned([["", "seconds (range)", "work alone", "peak MiB"], *rows]), ""]
    if limit := results.settings.get("limit"):  # what must hold, holds for the whole
        return "\n".join([*lines, f"at most {limit} images: no bound is for this"])
    sections = {results.section: results}
    lines += [_bound_line(bound, sections) for bound in BOUNDS if bound.section == results.section]
    return "\n".join(lines)


def words(name: str) -> str:
    """A contestant in words."""
    if name in _WORDS:
        return _WORDS[name]
    if match := re.fullmatch(r"workers-(\d+)", name):
        return f"anomalib's Engine, lean, {match[1]} decoding processes"
    if match := re.fullmatch(r"(ours|anomalib|anomalib-lean)-(auroc_f1|aupro|)-?(\d+M?)", name):
        who = {"ours": "ours", "anomalib": "anomalib", "anomalib-lean": "anomalib's Engine, lean"}[match[1]]
        if match[2]:
            size = f"{match[3][:-1]} million pixels" if match[3].endswith("M") else f"{match[3]} drawn images"
            return f"{_WHAT[match[2]]} of {size}, {who}"
        return f"{who}, {match[3]} training images"
    return name


def _taken(results: Results, name: str) -> list[str]:
    seconds = results.values(name)
    middle, work, peak = (results.median(name, q) for q in ("seconds", "work_seconds", "peak_rss_bytes"))
    extent = f" ({min(seconds):.2f} to {max(seconds):.2f})" if len(seconds) > 1 else ""
    return [
        f"{middle:.2f}{extent}",
        "" if work is None else f"{work:.2f}",
        "" if peak is None else f"{peak / 2**20:.0f}",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _bound_line(bound: Bound, sections: Sections) -> str:
    _, limit, value, verdict = _bound_row(bound, sections)
    return f"{bound.text}: {value} ({limit}): {verdict}"


def _bound_row(bound: Bound, sections: Sections) -> list[str]:
    value, holds = bound.value(sections), bound.holds(sections)
    if value is None:
        return [bound.text, _limit(bound), "", "not measured"]
    return [bound.text, _limit(bound), _number(value, bound.unit), "holds" if holds else "**does not hold**"]


def _limit(bound: Bound) -> str:
    return f"{'at most' if bound.at_most else 'at least'} {_number(bound.limit, bound.unit)}"


def _number(value: float, unit: str) -> str:
    if unit == "off":
        return f"{100 * value:.0f} %"
    return f"{value:.2f}{'×' if unit == 'times' else ' ' + unit}"


def rewrite(text: str, sections: Sections) -> str:
    """The document with every marked part made anew.

    A part is what stands between `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raises:
        RequestError: a marked part has a name that nothing is known of.
    """
    parts = {
        "bounds": _bounds(sections),
        **{name: _section(sections.get(name)) for name in ("core", "workers", "scaling", "wide", "metrics", "tools")},
        "gpu": _gpu(sections.get("gpu")),
        "figure": f"![Where each second goes]({FIGURE})" if "core" in sections else NOT_MEASURED,
    }

    def part(match: re.Match[str]) -> str:
        if match["name"] not in parts:
            raise RequestError(f"docs: there is no part bench:{match['name']}; there are {', '.join(parts)}")
        return f"{match[1]}{parts[match['name']]}\n{match[3]}"

    return _MARKED.sub(part, text)


def write_document(document: Path, folder: Path) -> list[Path]:
    """Make the tables of a document and the figure beside it from the results in a folder; returns what was written.

    Raises:
        RequestError: results that cannot be read, or a file that cannot be written.
    """
    from harness.bench.figure import figure_bytes
    from harness.report.output import write_output

    sections = read_results(folder)
    text = rewrite(document.read_text(encoding="utf-8"), sections)
    written = [write_output(document, text.encode())]
    if "core" in sections:
        written.append(write_output(document.with_name(FIGURE), figure_bytes(sections["core"])))
    return written


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _bounds(sections: Sections) -> str:
    return _table(("what", "bound", "measured", ""), (_bound_row(bound, sections) for bound in BOUNDS))


def _section(results: Results | None) -> str:
    if results is None:
        return NOT_MEASURED
    header = ["", "seconds, median (range)", "work alone, s", "peak memory, MiB"]
    rows = [[words(name), *_taken(results, name)] for name in results.names]
    extra = {name: results.median(name, "extra_bytes") for name in results.names}
    if any(value is not None for value in extra.values()):
        header.append("extra memory, MiB")
        rows = [[*row, _mib(extra[name])] for name, row in zip(results.names, rows, strict=True)]
    predicted = {name: results.median(name, "predicted_rss_bytes") for name in results.names}
    if any(value is not None for value in predicted.values()):
        header.append("predicted peak, MiB")
        rows = [[*row, _mib(predicted[name])] for name, row in zip(results.names, rows, strict=True)]
    return f"{_conditions(results)}\n\n{_table(header, rows)}"


def _mib(value: float | None) -> str:
    return "" if value is None else f"{value / 2**20:.0f}"


def _conditions(results: Results) -> str:
    """On what, where and when a section was measured."""
    settings, machine = results.settings, results.machine
    words = []
    if "dataset" in settings:
        drawn = ", SYNTHETIC" if settings["synthetic"] else ""
        n_features = settings["n_features"]
        kept = " and ".join(map(str, n_features)) if isinstance(n_features, list) else n_features
        n_train = settings["n_train"]
        sizes = f"{settings['sizes'][0]} to {settings['sizes'][-1]}" if "sizes" in settings else n_train
        words.append(
            f"{settings['dataset']}{drawn}, {sizes} training and {settings['n_test']} test images; "
            f"{settings['backbone']} ({settings['weights']}), {kept} features"
        )
    commit = (
        machine["git"]["commit"][:10] + (" with changes" if machine["git"]["dirty"] else "") if machine["git"] else "?"
    )
    words.append(f"{_count(settings['repeats'], 'repeat')}, interleaved")
    words.append(
        f"{machine['device']}, {_count(machine['cores'], 'core')}, {machine['memory_bytes'] / 2**30:.0f} GiB; "
        f"Python {machine['python']}, torch {machine['packages'].get('torch', '?')}, "
        f"anomalib {machine['packages'].get('anomalib', '?')}; commit {commit}; {results.finished[:10]}"
    )
    return f"{'. '.join(words)}."


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _gpu(results: Results | None) -> str:
    from harness.bench.gpu_report import gpu_markdown

    return NOT_MEASURED if results is None else f"{_conditions(results)}\n\n{gpu_markdown(results)}"


def stale(document: Path, folder: Path) -> list[str]:
    """A line for each of document and figure that is not what the results in a folder give."""
    from harness.bench.figure import figure_bytes

    sections: Mapping[str, Results] = read_results(folder)
    text = document.read_text(encoding="utf-8")
    lines = [] if rewrite(text, sections) == text else [f"{document.name}: its tables are not those of the results"]
    figure = document.with_name(FIGURE)
    kept = figure.read_bytes() if figure.is_file() else None
    if kept != (figure_bytes(sections["core"]) if "core" in sections else None):
        lines.append(f"{figure.name}: is not what the results give")
    return lines
