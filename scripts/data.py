"""List the datasets that the harness knows, download or verify one, or check a folder of images of your own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.command import Parser, run_script
from harness.errors import RequestError, UserError
from harness.interruption import INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 ok, 1 a download failed or a dataset is not official, 2 a wrong request or folder, 130 interrupted."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        arguments = _parser().parse_args(argv)
        command = {"list": _list, "download": _download, "verify": _verify, "check": _check}[arguments.command]
        return command(arguments)
    except UserError as error:
        from harness.terminal import printable

        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    except KeyboardInterrupt:
        print("interrupted: nothing half-made counts; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    root = Parser(add_help=False)
    root.add_argument(
        "--root",
        type=Path,
        metavar="DATA_ROOT",
        default=Path(os.environ["DATA_ROOT"]) if os.environ.get("DATA_ROOT") else None,
        help="the folder that holds mvtec/, visa/ and btad/ (default: the environment variable DATA_ROOT)",
    )
    parser = Parser(prog="scripts/data.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|download|verify|check")
    commands.add_parser("list", parents=[root], allow_abbrev=False, help="the catalog, and what is in DATA_ROOT")
    get = commands.add_parser(
        "download", parents=[root], allow_abbrev=False, help="fetch, check and unpack into DATA_ROOT/DATASET"
    )
    get.add_argument("dataset", metavar="DATASET")
    get.add_argument("--url", help="a mirror of the archive (default: the address that anomalib uses)")
    get.add_argument("--sha256", help="the archive's checksum (default: the one that anomalib uses)")
    get.add_argument("--archive", type=Path, metavar="PATH", help="unpack this copy of the archive; it is kept")
    get.add_argument("--keep-archive", action="store_true", help="keep the downloaded archive in DATA_ROOT")
    check = commands.add_parser(
        "verify", parents=[root], allow_abbrev=False, help="compare DATA_ROOT/DATASET with the official dataset"
    )
    check.add_argument("dataset", metavar="DATASET")
    check.add_argument("--category", action="append", default=[], metavar="NAME", help="repeatable; default: all")
    check.add_argument("--decode", action="store_true", help="also decode every image and mask")
    own = commands.add_parser(
        "check", allow_abbrev=False, help="what a run with dataset=folder would read of FOLDER, before any run"
    )
    own.add_argument("folder", type=Path, metavar="FOLDER", help="a category, or a folder of categories")
    own.add_argument("--white-level", type=_above_zero, metavar="N", help="dataset.white_level of the run")
    return parser


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _check(arguments: argparse.Namespace) -> int:
    from harness.data.preview import categories_in, outside, preview
    from harness.resolve import read_protocol
    from harness.terminal import printable

    folder = Path(os.path.abspath(arguments.folder))
    if not folder.is_dir():
        raise RequestError(f"{arguments.folder}: no such folder; give the folder that holds the images")
    status = 0
    categories = categories_in(folder)
    for category in categories:
        try:
            for line in preview(category, read_protocol("paper", dataset="folder"), arguments.white_level):
                print(printable(line), flush=True)
        except UserError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            status = 2
    for note in outside(folder, categories):
        print(f"note: {printable(note)}")
    return status


def _list(arguments: argparse.Namespace) -> int:
    from harness.data.catalog import CATALOG
    from harness.data.listing import print_table, rows

    print_table(rows(CATALOG.values(), arguments.root), with_state=arguments.root is not None)
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from harness.data.download import Request, download
    from harness.data.listing import find_dataset

    info = find_dataset(arguments.dataset)
    request = Request(
        info,
        _root(arguments),
        url=arguments.url,
        sha256=arguments.sha256,
        archive=arguments.archive,
        keep_archive=arguments.keep_archive,
    )
    done = download(request)
    print(f"{info.name}: {'complete' if done else 'already complete, nothing to do'} ({request.target})")
    print(f"{info.name}: licence {info.licence}, {info.licence_url}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from harness.data.listing import find_dataset, verdict
    from harness.data.verify import check_dataset

    info = find_dataset(arguments.dataset)
    root = _root(arguments) / info.name
    bad = 0
    for check in check_dataset(info, root, arguments.category, decode=arguments.decode):
        print(verdict(info, check), flush=True)
        bad += bool(check.problems)
    return 1 if bad else 0


def _root(arguments: argparse.Namespace) -> Path:
    if arguments.root is None:
        raise RequestError("no DATA_ROOT: give --root PATH, or set the environment variable DATA_ROOT")
    root: Path = arguments.root
    return root


if __name__ == "__main__":
    sys.exit(run_script(main))
