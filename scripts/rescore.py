"""Compute image metrics and their intervals again from each run's scores.csv, and write them into its record.

Pixel metrics do not change: they need the maps, and only a new run (refresh=true) has these.
Exit status: 0 done, 1 a run cannot be trusted and was not changed (each is named), 2 a wrong request.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError, StoreError, printable

if TYPE_CHECKING:
    from harness.store import RunRecord, ScoreTable

MOST_LINES = 20
"""Changed runs that are printed; the others are counted."""


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("store", type=Path, metavar="STORE", help="the store's folder")
    parser.add_argument("--run", nargs="+", metavar="KEY", default=(), help="only these runs (default: all)")
    arguments = parser.parse_args(argv)
    from harness.store import Store, write_runs_csv
    from harness.store.fields import OK, RUNS

    store = Store(arguments.store)
    if not (store.path / RUNS).is_dir():
        raise RequestError(f"{store.path / RUNS}: no such folder; give the one that holds the runs of a store")
    store.check_current()
    contents = store.records()
    if unknown := set(arguments.run) - {record.key for record in contents.records}:
        raise RequestError(f"--run {min(unknown)}: no such run in {store.path}; its runs.csv lists them")
    chosen = [one for one in contents.records if one.status == OK and (not arguments.run or one.key in arguments.run)]
    problems, changes = [*contents.problems], []
    for record in chosen:
        try:
            again = rescored(record, store.scores(record))
            if again != record:
                store.amend(again)
                changes.append(f"{store.folder_of(record)}: {'; '.join(differences(record, again))}")
        except StoreError as error:
            problems.append(str(error))
    write_runs_csv(store.path)
    for line in changes[:MOST_LINES]:
        print(printable(line))
    if len(changes) > MOST_LINES:
        print(f"and {len(changes) - MOST_LINES} more")
    for problem in problems:
        print(printable(problem), file=sys.stderr)
    print(f"{len(chosen)} runs looked at, {len(changes)} changed, {len(problems)} cannot be trusted")
    return 1 if problems else 0


def rescored(record: RunRecord, scores: ScoreTable) -> RunRecord:
    """Return the record with image metrics, intervals and thresholds computed again from its scores."""
    from harness.config.settings import MetricsConfig
    from harness.metrics import evaluate_images
    from harness.store import Interval, MetricValue

    config = MetricsConfig(**record.metrics_settings.model_dump())
    report = evaluate_images(scores.scores, scores.labels, config)
    measured = {name: MetricValue(value=one.value, version=one.version) for name, one in report.metrics.items()}
    changes = {
        "metrics": measured | _of_pixels(record.metrics),
        "metrics_absent": report.absent | _of_pixels(record.metrics_absent),
        "intervals": {name: Interval(**asdict(one)) for name, one in report.intervals.items()}
        | _of_pixels(record.intervals),
        "thresholds": report.thresholds | _of_pixels(record.thresholds),
    }
    return type(record).model_validate({**dict(record), **changes})


def _of_pixels(by_metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in by_metric.items() if not name.startswith("image_")}


def differences(old: RunRecord, new: RunRecord) -> Iterator[str]:
    """Yield what changed, as `image_auroc 0.9 -> 0.91`."""
    from harness.store.fields import flat, shown, varying

    parts = {"metrics", "metrics_absent", "intervals", "thresholds"}
    before, after = (flat(record.model_dump(include=parts)) for record in (old, new))
    for name in varying([before, after]):
        yield f"{name} {shown(before.get(name))} -> {shown(after.get(name))}"


if __name__ == "__main__":
    sys.exit(run_script(main))
