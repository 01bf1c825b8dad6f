"""CSV text that every reader parses back: minimal quoting, \\n between rows, carriage returns in a field quoted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV. None becomes an empty field, a float its shortest exact form.

    A field that begins with `=`, `+`, `-` or `@` stays as it is: these files are data, and a spreadsheet that runs
    formulas from data must be told not to.
    """
    return "".join(f"{_line(row)}\n" for row in [header, *rows])


def _line(row: Sequence[object]) -> str:
    # The csv module quotes only the characters of its own line ending, so it must believe that \r is one.
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(row)
    return buffer.getvalue()[:-2]


def csv_rows(text: str) -> list[list[str]]:
    """The rows of a CSV text, the header included.

    Raises:
        csv.Error: it is no CSV.
    """
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))
