"""A reproduction as it runs: the plan said, one sweep after the other, then tables, figures and page."""

from __future__ import annotations

import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from harness.__main__ import main as harness
from harness.cli.command import table_lines
from harness.cli.interruption import INTERRUPTED, TERMINATED
from harness.data.archive import megabytes
from harness.data.catalog import CATALOG
from harness.data.download import Request as DownloadRequest
from harness.data.download import download
from harness.device import resolve_device
from harness.errors import RequestError, UserError
from harness.execution.hardware import take_gpu
from harness.execution.overview import RunState, State
from harness.report.output import outputs_of
from harness.report.render import Rendered, render
from harness.reproduce.plan import (
    Place,
    Request,
    Todo,
    after_download,
    contradiction,
    downloads,
    look,
    make_plan,
    needed_categories,
    place_of,
)
from harness.store import Store

Say = Callable[[str], None]
Show = Callable[[Iterable[str]], None]


def reproduce(request: Request, *, download: bool, dry_run: bool, show: Show, say: Say) -> int:
    """Say what will be done, do it, and say what there is now.

    Args:
        download: fetch first the datasets that are not there.
        dry_run: stop after the plan; nothing is written.
        show: prints what is for standard output.
        say: prints a line on standard error.

    Returns:
        0 all that could be run is there, 1 a run or a download failed, 2 a sweep, or a run of it, was refused; at once,
        the status of a sweep that was interrupted.

    Raises:
        UserError: the request is wrong, or tables, figures or page cannot be written.
    """
    if not request.paper.experiments:
        raise RequestError(
            f"paper {request.paper.id}: its tables.toml names no experiment, so no run makes its numbers"
        )
    started = time.monotonic()
    if not download and not request.data_root.is_dir():
        raise RequestError(
            f"{request.data_root}: no such folder; give one with mvtec, visa or btad in it, or --download"
        )
    if not dry_run:
        Store(request.store).check_writable()
    presence = look(request.data_root, needed_categories(request.paper))
    wanted = downloads(presence)
    if not presence.there and not download:
        names = ", ".join(dict.fromkeys(dataset for dataset, _ in presence.missing))
        raise RequestError(f"{request.data_root}: holds none of {names}; give another --data-root, or --download")
    records = Store(request.store).records().records
    plan = make_plan(request, after_download(presence, wanted) if download else presence, records)
    show(plan_blocks(plan, wanted, will_fetch=download))
    if request.launcher == "basic" and request.device != "cpu":
        take_gpu()  # before the device is looked for, which makes the choice of a GPU final
    if unlike := contradiction(request, plan, records, device=resolve_device(request.device)):
        raise RequestError(
            f"{request.store}: holds {unlike}, or another store (STORE or --store); runs of two kinds fill no table"
        )
    if dry_run:
        return 0
    statuses = [0]
    if download and wanted:
        statuses.append(fetch(wanted, request, say))
        plan = make_plan(request, look(request.data_root, needed_categories(request.paper)), records)
    for call in plan.calls:
        statuses.append(harness(call))
        if statuses[-1] in (INTERRUPTED, TERMINATED):
            return statuses[-1]
    outputs = outputs_of(request.store)
    edition = request.paper.editions["paper"]
    rendered = render(
        request.store, request.paper, edition, tables=outputs.tables, figures=outputs.figures, report=outputs.report
    )
    for line in rendered.warnings:
        say(line)
    after = make_plan(request, plan.presence, Store(request.store).records().records)
    show(summary_blocks(after, plan, request, rendered, time.monotonic() - started))
    return max(statuses)


def fetch(wanted: Sequence[str], request: Request, say: Say) -> int:
    """Download datasets, one after the other; if one fails, say so and go on with the others.

    Returns:
        0 all are there, 1 one is not.
    """
    status = 0
    for name in wanted:
        info = CATALOG[name]
        say(f"{info.title}: licence {info.licence}, {info.licence_url}")
        try:
            download(DownloadRequest(info, request.data_root))
        except UserError as error:
            say(f"{name}: {error}")
            status = 1
    return status


def plan_blocks(plan: Todo, fetchable: Sequence[str], *, will_fetch: bool) -> Iterator[str]:
    """Yield what will happen, in the order to say it."""
    n, n_done, n_to_do = len(plan.states), len(plan.done), len(plan.to_do)
    yield f"The paper's tables need {n} runs: {n_done} done, {n_to_do} to do, {n - n_done - n_to_do} without images"
    yield from _table(plan)
    yield from plan.presence.missing_lines()
    for name in fetchable:
        archive = CATALOG[name].archive
        size = megabytes(archive.size) if archive and archive.size else "size unknown"
        yield f"{name}: {'is downloaded first' if will_fetch else '--download fetches it'} ({size})"
    yield ""
    if not plan.to_do:
        yield "Nothing is to do but what a sweep finds changed; then tables, figures and page."
    for call in plan.calls:
        yield f"  {shlex.join(['.venv/bin/python', '-m', 'harness', *call])}"
    yield ""


def _table(plan: Todo) -> Iterator[str]:
    places: dict[Place, Counter[str]] = defaultdict(Counter)
    for state in plan.states:
        places[place_of(state.run)][_word(state, is_there=plan.presence.has(state.run))] += 1
    rows = []
    for place, words in places.items():
        told = ", ".join(f"{count} {word}" for word, count in words.items())
        rows.append((*place, str(words.total()), told))
    return table_lines(("dataset", "category", "backbone", "seeds", "state"), rows)


def _word(state: RunState, *, is_there: bool) -> str:
    if state.state == State.DONE:
        return "done"
    if not is_there:
        return "no data"
    return "failed" if state.state == State.FAILED else "to do"


def summary_blocks(plan: Todo, before: Todo, request: Request, rendered: Rendered, seconds: float) -> Iterator[str]:
    """Yield what there is now, and what is still missing.

    Args:
        plan: made again, from the store as it is now.
        before: the plan that was carried out.
        seconds: that it took.
    """
    outputs = outputs_of(request.store)
    new = len(plan.done) - len(before.done)
    yield ""
    clock = f"{timedelta(seconds=round(seconds))} h"
    yield f"{len(plan.done)} of {len(plan.states)} runs of the paper's tables are done, {new} of them new; {clock}"
    yield from _table(plan)
    for state in plan.states:
        if state.state == State.FAILED:
            run = state.run
            yield f"failed: {run.dataset}/{run.category} {run.backbone} seed {run.seed}: {state.detail}"
    yield from plan.presence.missing_lines()
    yield f"{len(rendered.files)} files written; {rendered.summary}"
    yield from (f"  {path}" for path in (outputs.tables, outputs.figures, outputs.report))
    left = len(plan.to_do)
    if left:
        yield f"{left} {'run is' if left == 1 else 'runs are'} left; the same command goes on"
