"""Run the whole pipeline without dataset or GPU: ten runs on drawn images, then tables, figures and page.

Without --data-root the mini benchmark runs, and its numbers are compared with results/golden/smoke.json. With
--data-root the same models run on at most --limit images of each real category that is there.
Exit status: 0 all runs are ok and the numbers agree, 1 a run failed or a number differs, 2 a wrong request.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.__main__ import main as harness
from harness.cli.command import Parser, one_line_errors, run_script
from harness.errors import RequestError, StoreError
from harness.paths import PROJECT
from harness.smoke import GOLDEN, deviations, load_golden, real_request, to_golden
from harness.store import Store


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--store", type=Path, help="default: smoke/, or smoke-real/ with --data-root; emptied first")
    parser.add_argument("--data-root", type=Path, help="use real images: a folder with mvtec, visa or btad in it")
    parser.add_argument("--limit", type=int, default=8, help="training and test images of a real category (default: 8)")
    parser.add_argument("--update-golden", action="store_true", help="store these numbers as the expected ones")
    arguments = parser.parse_args(argv)
    if arguments.limit < 1:
        raise RequestError(f"--limit {arguments.limit}: must be at least 1")
    root = arguments.data_root
    request = real_request(root, arguments.limit) if root else ["experiment=smoke"]
    store = arguments.store or PROJECT / ("smoke-real" if root else "smoke")
    if not arguments.store:  # code is not in a run's key, so the runs of an earlier smoke would count as done
        shutil.rmtree(store, ignore_errors=True)
    status = harness([*request, f"store={store}"])
    if status != 0 or root:
        return status
    contents = Store(store).records()
    if contents.problems:
        raise StoreError(contents.problems[0])
    if arguments.update_golden:
        GOLDEN.write_text(json.dumps(to_golden(contents.records), indent=2) + "\n")
        print(GOLDEN)
        return 0
    moved = deviations(contents.records, load_golden())
    from harness.papers.reading import load_published
    from harness.report.render import find_edition, render

    places = {"tables": store / "tables", "figures": store / "figures", "report": store / "report.html"}
    published = load_published()
    rendered = render(store, published, find_edition(published, "smoke"), **places)
    print(f"{len(rendered.files)} files in {store}: tables/, figures/, report.html; {rendered.summary}")
    for line in moved:
        print(f"moved: {line}", file=sys.stderr)
    print(f"golden: {len(moved)} numbers moved" if moved else "golden: every number is as it was")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
