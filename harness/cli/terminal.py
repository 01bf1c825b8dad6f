"""What a person sees: a progress bar while a run runs, one line when it has ended, a table after a sweep."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.config.settings import preprocessing_in_words
from harness.errors import printable
from harness.execution.monitor import CLAIMED, DONE, FAILED, OK, REFUSED, TO_DO, Display, Outcome
from harness.metrics.registry import registered
from harness.store.fields import shown, varying

COLUMNS = {name: metric.label.replace(" ", "\n", 1) for name, metric in registered().items()}
"""Metrics of the summary table, in its order. Where they do not fit, the last go first; AUROC always stays."""

LONGEST_TABLE = 40
"""Rows beyond which only the table over seeds is shown, where there is one; each run has had its line by then."""

PLAIN_WIDTH = 150
"""Columns of a table that goes to a file or a pipe, where nobody can be asked for a width."""

STYLES = {OK: "green", DONE: "dim", FAILED: "bold red", REFUSED: "bold red", CLAIMED: "yellow"}


def console(*, stderr: bool = False) -> Console:
    """Return a console that is plain and wide where the output is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=True)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")


def make_display(label: str) -> Display | None:
    """Return a progress bar where standard error is a terminal, else nothing."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None

    @contextmanager
    def show(stage: str, total: int | None) -> Iterator[Callable[[int], None]]:
        counted = (MofNCompleteColumn(), _Rate()) if total is not None else ()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), *counted)
        with Progress(*columns, TimeElapsedColumn(), console=console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{printable(label)}  {stage}", total=total)
            yield lambda n: progress.advance(task, n)

    return show


def differing(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the settings that tell apart runs of one dataset, category and backbone, but for the seed.

    Where runs use different protocol files, `protocol` stands for the settings in which these files differ.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        what = outcome.dataset, outcome.category, outcome.model, outcome.backbone, str(outcome.settings["protocol"])
        groups.setdefault(what, []).append(outcome.settings)
    found = {key for group in groups.values() for key in varying(group)}
    if len({what[:4] for what in groups}) < len(groups):
        found.add("protocol")
    return [key for key in dict.fromkeys(key for one in outcomes for key in one.settings) if key in found]


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def print_outcome(outcome: Outcome, keys: Sequence[str] = ()) -> None:
    """Print one line for one run, as soon as it has ended, with these of its settings."""
    if outcome.status == DONE:
        detail = f"already in the store, nothing to do ({outcome.folder})"
    elif outcome.status == CLAIMED:
        detail = f"another sweep runs it ({outcome.holder}); this sweep looks again when its other runs have ended"
    elif outcome.status == OK:
        numbers = "  ".join(
            f"{name.replace('_auroc', '')} AUROC {value:.4f}"
            for name, value in outcome.metrics.items()
            if name.endswith("_auroc") and value is not None
        )
        detail = f"{numbers or 'no metrics'}  {outcome.seconds:.1f} s  {_seen(outcome)}  {outcome.folder}"
    else:
        detail = outcome.error or ""
    synthetic = "SYNTHETIC " if outcome.synthetic else ""
    which = "".join(f"  {_short(key)} {shown(outcome.settings.get(key))}" for key in keys)
    line = Text.assemble(
        (f"{outcome.status:<8}", STYLES[outcome.status]), printable(f"{synthetic}{outcome.label}{which}  {detail}")
    )
    console().print(line, soft_wrap=True)


def print_outcomes(outcomes: Iterable[Outcome], keys: Sequence[str]) -> list[Outcome]:
    """Print a line for each run of one job as it comes, and once what its data or engine calls for; return them."""
    ended: list[Outcome] = []
    for outcome in outcomes:
        print_outcome(outcome, keys)
        if outcome.status in (OK, DONE) and not any(outcome.notes == earlier.notes for earlier in ended):
            for note in outcome.notes:
                if note != _seen(outcome):  # which its own line says
                    _print_error(f"note: {outcome.dataset}/{outcome.category}: {note}")
        ended.append(outcome)
    return ended


def print_status(text: str) -> None:
    """Print what takes a moment before the first run, on standard error of a terminal."""
    if sys.stderr.isatty():
        _print_error(text)


def _print_error(text: str) -> None:
    console(stderr=True).print(Text(printable(text)), soft_wrap=True)


def _seen(outcome: Outcome) -> str:
    return preprocessing_in_words(
        outcome.settings["preprocessing.resize"], outcome.settings["preprocessing.center_crop"]
    )


def print_summary(outcomes: Sequence[Outcome]) -> None:
    """Print a table of all runs, where there are several, then the ones that failed, each on a line."""
    if len(outcomes) < 2:
        return
    out = console()
    has_seeds = bool(seed_table(outcomes).row_count)
    if len(outcomes) <= LONGEST_TABLE or not has_seeds:
        _print_fitting(out, summary_table, outcomes)
    if has_seeds:
        _print_fitting(out, seed_table, outcomes)
    bad = [outcome for outcome in outcomes if outcome.status in (FAILED, REFUSED)]
    if bad:
        kinds = {FAILED: "failed", REFUSED: "were refused"}
        how = " or ".join(text for status, text in kinds.items() if any(one.status == status for one in bad))
        out.print(f"{len(bad)} of {len(outcomes)} runs {how}:")
    keys = differing(outcomes)
    for outcome in bad:
        which = "".join(f" {key}={shown(outcome.settings.get(key))}" for key in keys)
        _print_error(f"  {outcome.label}{which}: {outcome.error}")


def _print_fitting(out: Console, make: Callable[..., Table], outcomes: Sequence[Outcome]) -> None:
    """Print a table with as many metrics as the width holds, and name the others below it."""
    metrics = list(COLUMNS)
    left_out: list[str] = []
    wide = out.options.update(width=10_000)
    for name in [name for name in reversed(COLUMNS) if not name.endswith("_auroc")]:
        if out.measure(make(outcomes, metrics), options=wide).maximum <= out.width:
            break
        metrics.remove(name)
        left_out.insert(0, COLUMNS[name].replace("\n", " "))
    out.print(make(outcomes, metrics))
    if left_out:
        out.print(f"left out, as the output is too narrow: {', '.join(left_out)} (runs.csv has all)", soft_wrap=True)


def summary_table(outcomes: Sequence[Outcome], metrics: Sequence[str] = tuple(COLUMNS)) -> Table:
    """Make a table with one row per run; a metric that a run does not have is a dash."""
    synthetic = any(outcome.synthetic for outcome in outcomes)
    title = "SYNTHETIC: drawn images, not a benchmark result" if synthetic else None
    table = Table(title=title, box=None, pad_edge=False)
    keys = differing(outcomes)
    _add_columns(table, [*map(_short, keys), "seed", "state"], outcomes, metrics)
    for outcome in outcomes:
        state = f"[{STYLES[outcome.status]}]{outcome.status}[/]"
        numbers = (_number(outcome.metrics.get(name)) for name in metrics)
        table.add_row(*_labels(outcome, keys), str(outcome.seed), state, *numbers)
    return table


def seed_table(outcomes: Sequence[Outcome], metrics: Sequence[str] = tuple(COLUMNS)) -> Table:
    """Make a table of each metric's mean, lowest and highest value over seeds of runs that differ in nothing else."""
    groups: dict[Hashable, list[Outcome]] = {}
    for outcome in outcomes:
        what = outcome.dataset, outcome.category, outcome.model, outcome.backbone, *map(str, outcome.settings.items())
        groups.setdefault(what, []).append(outcome)
    keys = differing(outcomes)
    table = Table(title="Over seeds", box=None, pad_edge=False)
    _add_columns(table, [*map(_short, keys), "seeds", ""], outcomes, metrics)
    for members in groups.values():
        scored = [member for member in members if member.metrics]
        if len({member.seed for member in scored}) > 1:
            labels = [*_labels(scored[0], keys), str(len(scored))]
            for statistic, function in _STATISTICS.items():
                table.add_row(*labels, statistic, *(_over(function, scored, name) for name in metrics))
                labels = [""] * len(labels)
    return table


def _add_columns(table: Table, names: Sequence[str], outcomes: Sequence[Outcome], metrics: Sequence[str]) -> None:
    for name in ("dataset", "category", "model", "backbone", *names):
        table.add_column(name, justify="right" if name == "seed" else "left", no_wrap=True)
    limits = {outcome.settings.get("metrics.aupro_fpr_limit") for outcome in outcomes}
    limit = limits.pop() if len(limits) == 1 else None
    for name in metrics:
        at = f"\n@{limit:g}" if name == "pixel_aupro" and limit is not None else ""
        table.add_column(f"{COLUMNS[name]}{at}", justify="right", no_wrap=True, min_width=len("0.1234"))


def _labels(outcome: Outcome, keys: Sequence[str]) -> list[str]:
    settings = outcome.settings
    what = outcome.dataset, outcome.category, outcome.model, outcome.backbone
    texts = (*what, *(shown(settings.get(key)) for key in keys))
    return [escape(printable(text)) for text in texts]


_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "lowest": min, "highest": max}


def _over(function: Callable[[Sequence[float]], float], outcomes: Sequence[Outcome], metric: str) -> str:
    values = [value for outcome in outcomes if (value := outcome.metrics.get(metric)) is not None]
    return _number(function(values) if values else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def print_plan(outcomes: Sequence[Outcome]) -> None:
    """Print the runs that a request means, their keys, and which are done."""
    out = console()
    keys = differing(outcomes)
    for outcome in outcomes:
        detail = outcome.error or ", ".join(f"{key} {shown(outcome.settings.get(key))}" for key in keys)
        if outcome.holder:
            detail += f", another sweep runs it ({outcome.holder})"
        line = f"{outcome.key or '-':<12}  {outcome.status:<7}  {outcome.label}  {detail}"
        out.print(Text(printable(line)), soft_wrap=True)
    number = Counter(outcome.status for outcome in outcomes)
    others = {"claimed": number[CLAIMED], "cannot be done": number[FAILED]}
    told = "".join(f", {n} {what}" for what, n in others.items() if n)
    out.print(f"{len(outcomes)} runs, {number[DONE]} done{told}, {number[TO_DO]} to do; nothing was run (dry_run=true)")
