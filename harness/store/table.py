"""CSV text that every reader parses back: minimal quoting, \\n between rows, carriage returns in a field quoted."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV. None becomes an empty field, a float its shortest exact form; a text stays as it is."""
    return "".join(f"{_line(row)}\n" for row in [header, *rows])


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula, also after blanks and in full-width letters; no number is.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    starts = text[:1] in ("\t", "\r", "\n") or text.lstrip()[:1] in tuple("=+-@＝＋－＠")
    return bool(text) and starts and not _NUMBER.fullmatch(text)


def no_formula(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if is_formula(text) else text


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
