"""Files that a report consists of, each written whole, and one line for what a file system refuses."""

from __future__ import annotations

from pathlib import Path

from harness.errors import RequestError
from harness.store.files import write_atomically


def write_output(path: Path, data: bytes) -> Path:
    """Write one file of the report, its folder too.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(f"{path}: cannot be written ({reason}); give a folder that can be") from error
    return path
