"""The command lines of scripts/: argparse whose complaints are one line, like every other wrong request."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from harness.errors import RequestError
from harness.keys import KEYS


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and leave; takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise RequestError(f"{message}; --help shows what is allowed")


def seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds such as `42` or `0,1,2`, each once.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = [KEYS["seed"].check(int(part)) for part in re.split(r"[,\s]+", text.strip(" []"))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds such as 42 or 0,1,2") from None
    return tuple(dict.fromkeys(found))
