"""List the known datasets, download or verify one, or check a folder of your own images.

Exit status: 0 ok, 1 a download failed or a dataset is not official, 2 a wrong request or folder, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.command import Parser, one_line_errors, run_script, table_lines, write
from harness.errors import RequestError, UserError, printable


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    root = Parser(add_help=False)
    root.add_argument(
        "--root", type=Path, metavar="DATA_ROOT", default=os.environ.get("DATA_ROOT") or None,
        help="the folder that holds mvtec/, visa/ and btad/ (default: the environment variable DATA_ROOT)",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|download|verify|check")
    listing = commands.add_parser("list", parents=[root], help="list the known datasets and what is in DATA_ROOT")
    listing.set_defaults(run=_list)
    get = commands.add_parser("download", parents=[root], help="fetch, check and unpack into DATA_ROOT/DATASET")
    get.set_defaults(run=_download)
    get.add_argument("dataset", metavar="DATASET")
    get.add_argument("--url", help="a mirror of the archive (default: the address that anomalib uses)")
    get.add_argument("--sha256", help="the archive's checksum (default: the one that anomalib uses)")
    get.add_argument("--archive", type=Path, metavar="PATH", help="unpack this local archive instead; it is kept")
    get.add_argument("--keep-archive", action="store_true", help="keep the downloaded archive in DATA_ROOT")
    check = commands.add_parser("verify", parents=[root], help="compare DATA_ROOT/DATASET with the official dataset")
    check.set_defaults(run=_verify)
    check.add_argument("dataset", metavar="DATASET")
    check.add_argument("--category", action="append", default=[], metavar="NAME", help="repeatable; default: all")
    check.add_argument("--decode", action="store_true", help="also decode every image and mask")
    own = commands.add_parser("check", help="show what a run with dataset=folder would read in FOLDER")
    own.set_defaults(run=_check)
    own.add_argument("folder", type=Path, metavar="FOLDER", help="one category, or a folder that holds categories")
    own.add_argument("--white-level", type=float, metavar="N", help="the value of dataset.white_level for the run")
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _list(arguments: argparse.Namespace) -> int:
    from harness.data.catalog import CATALOG
    from harness.data.verify import table

    write(table_lines(*table(CATALOG.values(), arguments.root)))
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from harness.data.download import Request, download
    from harness.data.verify import find_dataset

    info = find_dataset(arguments.dataset)
    options = {name: getattr(arguments, name) for name in ("url", "sha256", "archive", "keep_archive")}
    request = Request(info, _root(arguments), **options)
    done = download(request)
    print(f"{info.name}: {'complete' if done else 'already complete, nothing to do'} ({request.target})")
    print(f"{info.name}: licence {info.licence}, {info.licence_url}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from harness.data.verify import check_dataset, find_dataset, verdict

    info = find_dataset(arguments.dataset)
    status = 0
    for check in check_dataset(info, _root(arguments) / info.name, arguments.category, decode=arguments.decode):
        print(verdict(info, check), flush=True)
        status = 1 if check.problems else status
    return status


def _check(arguments: argparse.Namespace) -> int:
    from harness.config.resolve import read_preprocessing
    from harness.data.preview import categories_in, outside, preview

    folder, white = Path(os.path.abspath(arguments.folder)), arguments.white_level
    if not folder.is_dir():
        raise RequestError(f"{arguments.folder}: no such folder; give the folder that holds the images")
    if white is not None and not 0 < white < float("inf"):
        raise RequestError(f"--white-level {white}: must be above 0")
    status = 0
    categories = categories_in(folder)
    for category in categories:
        try:
            for line in preview(category, read_preprocessing("paper", dataset="folder"), white):
                print(printable(line), flush=True)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
    for note in outside(folder, categories):
        print(f"note: {printable(note)}")
    return status


def _root(arguments: argparse.Namespace) -> Path:
    if arguments.root is None:
        raise RequestError("no DATA_ROOT: give --root PATH, or set the environment variable DATA_ROOT")
    root: Path = arguments.root
    return root


if __name__ == "__main__":
    sys.exit(run_script(main))
