"""What a person reads of a reproduction: the plan and its cost before it starts, and the summary at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.data.archive import megabytes
from harness.report.render import Rendered
from harness.reproduce.machine import Machine
from harness.reproduce.outputs import Outputs
from harness.reproduce.plan import Download, Plan
from harness.reproduce.steps import shown
from harness.store.overview import RunState, State
from harness.store.overview_text import Block, Table

STYLES = {"done": "green", "to do": "", "failed": "bold red", "no data": "dim"}


def plan_blocks(plan: Plan, machine: Machine, fetchable: Sequence[Download], *, will_fetch: bool) -> Iterator[Block]:
    """What will happen and what it will cost, in the order to say it."""
    n_done, n_to_do, n_lacking = len(plan.done), len(plan.to_do), len(plan.without_data)
    yield f"Tables 1 to 4 need {len(plan.states)} runs: {n_done} done, {n_to_do} to do, {n_lacking} without images"
    yield _table(plan)
    yield from plan.presence.missing_lines()
    for one in fetchable:
        size, unpacked = megabytes(one.archive_bytes), megabytes(one.unpacked_bytes)
        verb = "is downloaded first" if will_fetch else "--download fetches it"
        yield f"{one.dataset}: {verb} ({size}, about {unpacked} unpacked)"
    yield ""
    if plan.to_do:
        yield from _cost(plan, machine)
    else:
        yield "Nothing is to do but what a sweep finds changed; then tables, figures and page."
    for call in plan.calls:
        yield f"  {shown(call)}"
    yield ""


def _table(plan: Plan) -> Table:
    places: dict[tuple[str, str, str], list[RunState]] = {}
    for state in plan.states:
        places.setdefault((state.run.dataset, state.run.category, state.run.backbone), []).append(state)
    waiting = {state.run.identity for state in plan.to_do}
    rows, styles = [], []
    for place, states in places.items():
        words = Counter(_word(state, is_there=state.run.identity in waiting) for state in states)
        rows.append((*place, str(len(states)), ", ".join(f"{count} {word}" for word, count in words.items())))
        styles.append(STYLES[next(iter(words))] if len(words) == 1 else "")
    return Table(("dataset", "category", "backbone", "seeds", "state"), tuple(rows), tuple(styles))


def _word(state: RunState, *, is_there: bool) -> str:
    if state.state == State.DONE:
        return "done"
    if not is_there:
        return "no data"
    return "failed" if state.state == State.FAILED else "to do"


def _cost(plan: Plan, machine: Machine) -> Iterator[Block]:
    cost = plan.estimate
    yield f"Time: about {duration(cost.seconds)}, one job after another ({cost.source})."
    yield f"Memory: up to about {megabytes(cost.peak_bytes)} a job{_against(cost.peak_bytes, machine.free_memory)}."
    yield f"Disk: about {megabytes(cost.store_bytes)} for the store{_against(cost.store_bytes, machine.free_disk)}."
    if cost.weights_bytes:
        yield f"Network: {megabytes(cost.weights_bytes)} of timm's weights, if they are not in its cache yet."


def _against(needed: int, there: int | None) -> str:
    if there is None:
        return ""
    return f" ({megabytes(there)} free{'' if needed <= there else ', TOO LITTLE'})"


def duration(seconds: float) -> str:
    """A time as rough as an estimate is."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60):d} minutes"
    return f"{seconds / 3600:.1f} hours"


def summary_blocks(
    plan: Plan, before: Plan, rendered: Rendered, outputs: Outputs, *, seconds: float
) -> Iterator[Block]:
    """What there is now, and what is still missing.

    Args:
        plan: made anew, from the store as it is now.
        before: the plan that was carried out.
    """
    new = len(plan.done) - len(before.done)
    yield ""
    yield f"{len(plan.done)} of {len(plan.states)} runs of Tables 1 to 4 are done, {new} of them new; {_clock(seconds)}"
    yield _table(plan)
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


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
