"""Whether what a store holds and what a sweep would add can fill one table: one device, and one set of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.padim.weights import resolve_weights
from harness.reproduce.plan import Plan, Request, needed_runs
from harness.resolve import read_backbone
from harness.store.overview import State, compare

if TYPE_CHECKING:
    from harness.store.record import RunRecord


def contradiction(request: Request, plan: Plan, records: Sequence[RunRecord], *, device: str) -> str | None:
    """Why the sweeps of a plan would make runs that stand in no table together with the store's; None where they fit.

    Args:
        device: that the request's means here, `cpu` or `cuda`.

    Raises:
        RequestError: a file of weights that is not there.
    """
    swept = {state.run.backbone for state in plan.states if plan.is_there(state)}
    digests = {name: _digest(name, path) for name, path in (request.weights or {}).items() if name in swept}
    for record in _counting(records):
        name = record.spec.backbone.name
        if name not in swept:
            continue
        where = f"{record.spec.dataset}/{record.spec.category} {name} seed {record.spec.seed}"
        if record.spec.device != device:
            return f"{where} on device={record.spec.device}, and this sweep is on {device}: give DEVICE or --device"
        if not _same_weights(record, digests):
            ours = request.weights[name] if request.weights and name in digests else "timm's"
            return f"{where} with the weights {record.weights}, and this sweep has {ours}: give --weights {name}=FILE"
    return None


def _same_weights(record: RunRecord, digests: Mapping[str, str]) -> bool:
    """Timm's are not looked into: they may have to be downloaded first, and a file with other bytes has another key."""
    name = record.spec.backbone.name
    if name in digests:
        return digests[name] == record.spec.backbone.weights_digest
    return record.weights.partition(":")[0] == read_backbone(name).weights


def _digest(backbone: str, path: str) -> str:
    return resolve_weights(replace(read_backbone(backbone), weights=path)).digest


def _counting(records: Sequence[RunRecord]) -> Iterable[RunRecord]:
    """The records that fill a place of Tables 1 to 4, at whatever seed."""
    seeds = sorted({record.spec.seed for record in records})
    states = compare(needed_runs(seeds), records)
    return [state.record for state in states if state.state == State.DONE and state.record is not None]
