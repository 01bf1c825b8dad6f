"""What a person sees: a progress bar while a run runs, one line when it has ended, a table after a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from harness.config import preprocessing
from harness.errors import printable
from harness.monitor import Display
from harness.outcome import CLAIMED, DONE, FAILED, OK, REFUSED, Outcome
from harness.telling import but_for_the_seed, setting, short_name, varying

COLUMNS = {
    "image_auroc": "image\nAUROC",
    "image_f1_max": "image\nF1-max",
    "image_f1_adaptive": "image\nF1 adapt.",
    "pixel_auroc": "pixel\nAUROC",
    "pixel_f1_max": "pixel\nF1-max",
    "pixel_f1_adaptive": "pixel\nF1 adapt.",
    "pixel_aupro": "AUPRO",
}
"""Metrics of the summary table, in its order."""

LONGEST_TABLE = 40
"""Rows beyond which only the table over seeds is shown, where there is one; each run has had its line by then."""

PLAIN_WIDTH = 150
"""Columns of a table that goes to a file or a pipe, where nobody can be asked for a width."""

STYLES = {OK: "green", DONE: "dim", FAILED: "bold red", REFUSED: "bold red", CLAIMED: "yellow"}


def console(*, stderr: bool = False) -> Console:
    """A console that is plain and wide where the output is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=True)


class ProgressDisplay(Display):
    """A bar with stage and rate on a terminal's standard error; gone when the stage ends."""

    def __init__(self, label: str) -> None:
        self._label = printable(label)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def begin(self, stage: str, total: int | None) -> None:
        """Show the stage; without a total the bar only moves."""
        counted = (MofNCompleteColumn(), _Rate()) if total is not None else ()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            *counted,
            TimeElapsedColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(f"{self._label}  {stage}", total=total)
        self._progress.start()

    def advance(self, n: int) -> None:
        """Move the bar by `n` images."""
        if self._progress:
            self._progress.advance(self._task, n)

    def end(self) -> None:
        """Take the bar away."""
        if self._progress:
            self._progress.stop()
        self._progress = None


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")


def make_display(label: str) -> Display | None:
    """A progress bar where standard error is a terminal, else nothing."""
    return ProgressDisplay(label) if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else None


def print_outcome(outcome: Outcome, differing: Sequence[str] = ()) -> None:
    """One line for one run, as soon as it has ended.

    Args:
        differing: the settings in which the sweep's runs differ, by `harness.telling.varying`.
    """
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
        detail = f"{numbers}  {outcome.seconds:.1f} s  {_seen(outcome)}  {outcome.folder}"
    else:
        detail = outcome.error or ""
    synthetic = "SYNTHETIC " if outcome.synthetic else ""
    which = "".join(f"  {short_name(key)} {setting(outcome, key)}" for key in differing)
    line = Text.assemble(
        (f"{outcome.status:<8}", STYLES[outcome.status]), printable(f"{synthetic}{outcome.label}{which}  {detail}")
    )
    console().print(line, soft_wrap=True)


def print_outcomes(outcomes: Iterable[Outcome], differing: Sequence[str]) -> list[Outcome]:
    """A line for each run of one job as it comes, and once what its data or engine calls for; returns them."""
    ended: list[Outcome] = []
    for outcome in outcomes:
        print_outcome(outcome, differing)
        if outcome.status == OK and not any(outcome.notes == earlier.notes for earlier in ended):
            print_notes(outcome)
        ended.append(outcome)
    return ended


def print_status(text: str) -> None:
    """What takes a moment before the first run, on standard error of a terminal."""
    if sys.stderr.isatty():
        console(stderr=True).print(Text(printable(text)))


def _seen(outcome: Outcome) -> str:
    """Return what the network sees of an image, in words."""
    return preprocessing(outcome.settings["protocol.resize"], outcome.settings["protocol.center_crop"])


def print_notes(outcome: Outcome) -> None:
    """Print the notes on a run's data and engine to standard error, but for what its own line says."""
    for note in outcome.notes:
        if note == _seen(outcome):
            continue
        console(stderr=True).print(
            Text(printable(f"note: {outcome.dataset}/{outcome.category}: {note}")), soft_wrap=True
        )


def print_summary(outcomes: Sequence[Outcome]) -> None:
    """A table of all runs, where there are several, then the ones that failed, each on a line."""
    out = console()
    plain = not sys.stdout.isatty()
    seeds = seed_table(outcomes, plain=plain)
    if len(outcomes) > 1 and (len(outcomes) <= LONGEST_TABLE or not seeds.row_count):
        out.print(summary_table(outcomes, plain=plain))
    if seeds.row_count:
        out.print(seeds)
    bad = [outcome for outcome in outcomes if outcome.status in (FAILED, REFUSED)]
    if bad and len(outcomes) > 1:
        kinds = {FAILED: "failed", REFUSED: "were refused"}
        how = " or ".join(text for status, text in kinds.items() if any(one.status == status for one in bad))
        out.print(f"{len(bad)} of {len(outcomes)} runs {how}:")
    if bad:
        errors, differing = console(stderr=True), varying(outcomes)
        for outcome in bad if len(outcomes) > 1 else []:
            which = "".join(f" {key}={setting(outcome, key)}" for key in differing)
            errors.print(Text(printable(f"  {outcome.label}{which}: {outcome.error}")), soft_wrap=True)


def summary_table(outcomes: Sequence[Outcome], *, plain: bool) -> Table:
    """One row per run; a metric that a run does not have is a dash."""
    synthetic = any(outcome.synthetic for outcome in outcomes)
    table = Table(
        title="SYNTHETIC: drawn images, not a benchmark result" if synthetic else None,
        **_look(plain=plain),
    )
    differing = varying(outcomes)
    for name in ("dataset", "category", "backbone", *map(short_name, differing), "seed", "state"):
        table.add_column(name, justify="right" if name in ("seed", "features") else "left", no_wrap=True)
    _add_metrics(table, outcomes)
    for outcome in outcomes:
        values = [outcome.metrics.get(name) for name in COLUMNS]
        names = [escape(printable(text)) for text in (outcome.dataset, outcome.category, outcome.backbone)]
        numbers = ["-" if value is None else f"{value:.4f}" for value in values]
        state = f"[{STYLES[outcome.status]}]{outcome.status}[/]" if not plain else outcome.status
        settings = [escape(printable(setting(outcome, key))) for key in differing]
        table.add_row(*names, *settings, str(outcome.seed), state, *numbers)
    return table


def seed_table(outcomes: Sequence[Outcome], *, plain: bool) -> Table:
    """Mean, lowest and highest value of each metric over seeds of runs that differ in nothing else.

    No rows where no run has several.
    """
    groups: dict[Hashable, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(but_for_the_seed(outcome), []).append(outcome)
    differing = [key for key in varying(outcomes) if key != "n_features"]
    table = Table(title="Over seeds", **_look(plain=plain))
    for name in ("dataset", "category", "backbone", "features", *map(short_name, differing), "seeds", ""):
        table.add_column(name, no_wrap=True)
    _add_metrics(table, outcomes)
    for members in groups.values():
        first = members[0]
        place = [first.dataset, first.category, first.backbone, str(first.n_features)]
        place += [setting(first, key) for key in differing]
        scored = [member for member in members if member.metrics]
        if len({member.seed for member in scored}) > 1:
            labels = [*(escape(printable(text)) for text in place), str(len(scored))]
            for statistic, function in _STATISTICS.items():
                table.add_row(*labels, statistic, *(_over(function, scored, name) for name in COLUMNS))
                labels = [""] * len(labels)
    return table


def _add_metrics(table: Table, outcomes: Sequence[Outcome]) -> None:
    limits = {outcome.settings.get("metrics.aupro_fpr_limit") for outcome in outcomes}
    limit = limits.pop() if len(limits) == 1 else None
    for name, heading in COLUMNS.items():
        at = f"\n@{limit:g}" if name == "pixel_aupro" and limit is not None else ""
        table.add_column(f"{heading}{at}", justify="right", no_wrap=True)


_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "lowest": min, "highest": max}


def _over(function: Callable[[Sequence[float]], float], outcomes: Sequence[Outcome], metric: str) -> str:
    values = [value for outcome in outcomes if (value := outcome.metrics[metric]) is not None]
    return f"{function(values):.4f}" if values else "-"


def _look(*, plain: bool) -> dict[str, Any]:
    return {"box": None if plain else SIMPLE_HEAD, "header_style": "" if plain else "bold", "pad_edge": False}


def print_plan(outcomes: Sequence[Outcome]) -> None:
    """The runs that a request means, their keys, and which are done."""
    out = console()
    differing = [key for key in varying(outcomes) if key != "n_features"]
    for outcome in outcomes:
        settings = [f"{short_name(key)} {setting(outcome, key)}" for key in differing]
        detail = outcome.error or ", ".join([f"n_features {outcome.n_features}", *settings])
        if outcome.holder:
            detail += f", another sweep runs it ({outcome.holder})"
        out.print(
            Text(printable(f"{outcome.key or '-':<12}  {outcome.status:<7}  {outcome.label}  {detail}")), soft_wrap=True
        )
    done = sum(outcome.status == DONE for outcome in outcomes)
    claimed = sum(outcome.status == CLAIMED for outcome in outcomes)
    failed = sum(outcome.status == FAILED for outcome in outcomes)
    others = "".join(f", {n} {what}" for n, what in ((claimed, "claimed"), (failed, "cannot be done")) if n)
    to_do = len(outcomes) - done - claimed - failed
    out.print(f"{len(outcomes)} runs, {done} done{others}, {to_do} to do; nothing was run (dry_run=true)")
