"""Where a launcher keeps its files: a folder for each sweep, under the store, gone when all went well."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from harness.leftovers import is_alive, machine

FOLDER = ".hydra"

_MADE = re.compile(r"\d{8}T\d{6}-([0-9a-f]{8})-(\d+)-[0-9a-f]{4}")

KEPT_S = 14 * 24 * 3600.0
"""How long the files of a sweep are kept that did not end well: they may say why, and a cluster may still need them."""


@contextmanager
def scratch_folder(store: Path) -> Iterator[Path]:
    """A name for one sweep's folder, made by whoever needs it. What is old goes, and what killed sweeps left empty.

    The name says which process of which machine it is; see `harness.leftovers`.
    """
    parent = store / FOLDER
    _remove_old(parent)
    scratch = parent / f"{datetime.now():%Y%m%dT%H%M%S}-{machine()}-{os.getpid()}-{secrets.token_hex(2)}"
    try:
        yield scratch
    finally:
        for folder in (scratch, parent):
            with suppress(OSError):
                folder.rmdir()


def discard(scratch: Path) -> None:
    """Take away the files of a sweep that ended well."""
    shutil.rmtree(scratch, ignore_errors=True)


def _remove_old(parent: Path) -> None:
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            with suppress(OSError):
                made = _MADE.fullmatch(entry.name)
                is_ours = made is not None and made[1] == machine()
                if made is not None and is_ours and is_alive(int(made[2])):
                    continue
                if entry.is_dir(follow_symlinks=False) and time.time() - entry.stat().st_mtime > KEPT_S:
                    discard(Path(entry.path))
                elif is_ours:
                    os.rmdir(entry.path)  # only where it is empty
