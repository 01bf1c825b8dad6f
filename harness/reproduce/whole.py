"""The whole reproduction, step after step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from harness.device import resolve_device
from harness.errors import RequestError
from harness.reproduce.costs import find_pace, load_costs
from harness.reproduce.kinds import contradiction
from harness.reproduce.machine import Machine, this_machine
from harness.reproduce.outputs import outputs_of
from harness.reproduce.plan import Plan, Request, after_download, downloads, make_plan, needed_categories
from harness.reproduce.presence import Presence, look
from harness.reproduce.steps import Say, fetch, render_all, run_sweep
from harness.reproduce.text import plan_blocks, summary_blocks
from harness.store import Store
from harness.store.overview_text import Block

Show = Callable[[Iterable[Block]], None]


def reproduce(request: Request, *, download: bool, dry_run: bool, show: Show, say: Say) -> int:
    """Say what will be done, do it, and say what there is now.

    Args:
        download: fetch first the datasets that are not there.
        dry_run: stop after the plan; nothing is written.
        show: prints what is for standard output.
        say: prints a line on standard error.

    Returns:
        0 all that could be run is there, 1 a run or a download failed, 2 a sweep, or a run of it, was refused.

    Raises:
        UserError: the request is wrong, or tables, figures or page cannot be written.
    """
    started = time.monotonic()
    _check(request, download=download, dry_run=dry_run)
    machine = this_machine(request.store)
    presence = look(request.data_root, needed_categories())
    wanted = downloads(presence, load_costs())
    if not presence.there and not download:
        names = ", ".join(dict.fromkeys(dataset for dataset, _ in presence.missing))
        raise RequestError(f"{request.data_root}: holds none of {names}; give another --data-root, or --download")
    plan = _plan(request, after_download(presence, wanted) if download else presence, machine)
    show(plan_blocks(plan, machine, wanted, will_fetch=download))
    records = Store(request.store).records().records
    if unlike := contradiction(request, plan, records, device=resolve_device(request.device)):
        raise RequestError(
            f"{request.store}: holds {unlike}, or another store (STORE or --store); runs of two kinds fill no table"
        )
    if dry_run:
        return 0
    statuses = [0]
    if download and wanted:
        statuses.append(fetch(wanted, request, say))
        plan = _plan(request, look(request.data_root, needed_categories()), machine)
    statuses += [run_sweep(call, say) for call in plan.calls]
    rendered = render_all(request)
    for line in rendered.warnings:
        say(line)
    after = _plan(request, plan.presence, machine)
    show(summary_blocks(after, plan, rendered, outputs_of(request.store), seconds=time.monotonic() - started))
    return max(statuses)


def _check(request: Request, *, download: bool, dry_run: bool) -> None:
    if not download and not request.data_root.is_dir():
        raise RequestError(
            f"{request.data_root}: no such folder; give one with mvtec, visa or btad in it, or --download"
        )
    if not dry_run:
        Store(request.store).check_writable()


def _plan(request: Request, presence: Presence, machine: Machine) -> Plan:
    """The plan for the store as it is now."""
    records = Store(request.store).records().records
    costs = load_costs()
    device = resolve_device(request.device)
    pace = find_pace(records, costs, device=device, cpu=machine.cpu, n_cores=machine.n_cores)
    return make_plan(request, presence, records, costs, pace, device=device, n_cores=machine.n_cores)
