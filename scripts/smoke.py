"""Run the whole pipeline where there is neither a dataset nor a GPU: ten runs on drawn images, tables, figures, page.

Without --data-root the mini benchmark runs and its numbers are held against the golden ones. With --data-root the same
runs on at most --limit images of each real category that is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.__main__ import main as harness
from harness.command import Parser, one_line_errors, run_script
from harness.errors import RequestError
from harness.keys import PROJECT
from harness.smoke import begin_empty, check_golden, draw_everything, real_request, update_golden
from harness.store import Store


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 if all ran and the numbers are as they were, 1 if not, 2 on a wrong request."""
    parser = Parser(allow_abbrev=False, prog="scripts/smoke.py", description=__doc__)
    parser.add_argument(
        "--store", type=Path, help="default: smoke/ or, with --data-root, smoke-real/; these begin empty each time"
    )
    parser.add_argument("--data-root", type=Path, help="a folder with mvtec, visa or btad in it: real images instead")
    parser.add_argument("--limit", type=int, default=8, help="images of each split of a real category (default: 8)")
    parser.add_argument("--update-golden", action="store_true", help="keep these numbers as the golden ones")
    arguments = parser.parse_args(argv)
    if arguments.data_root:
        if arguments.limit < 1:
            raise RequestError(f"--limit {arguments.limit}: must be at least 1")
        store = arguments.store or begin_empty(PROJECT / "smoke-real")
        return harness([*real_request(arguments.data_root, arguments.limit), f"store={store}"])
    store = arguments.store or begin_empty(PROJECT / "smoke")
    status = harness(["experiment=smoke", f"store={store}"])
    if status != 0:
        return status
    if arguments.update_golden:
        print(update_golden(Store(store)))
        return 0
    lines = check_golden(Store(store))
    print(draw_everything(store))
    for line in lines:
        print(f"moved: {line}", file=sys.stderr)
    print("golden: every number is as it was" if not lines else f"golden: {len(lines)} numbers moved")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
