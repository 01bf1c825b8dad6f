"""One table of the paper, as text, whatever it is written as."""

from __future__ import annotations

from dataclasses import dataclass

PAPER_FORM, VERDICTS_FORM = "paper", "verdicts"


@dataclass(frozen=True)
class Table:
    """One table in one form, as text: nothing in it depends on how it is written."""

    number: int
    form: str
    """`paper` or `verdicts`."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """A cell for each column, none of them empty."""
    runs: tuple[str, ...]
    """For each row the keys of the runs behind it, with spaces between them, or `none`."""
    footer: tuple[str, ...]
    """Lines below the table: what the values are, the protocol, the runs' keys, and what is missing and why."""
    numeric: tuple[bool, ...]
    """For each column whether it holds numbers, and so is set to the right."""
    protocol: str
    synthetic: bool

    @property
    def stem(self) -> str:
        """File name without its ending."""
        return f"table{self.number}" if self.form == PAPER_FORM else f"table{self.number}_{self.form}"
