"""The command lines of scripts/: argparse whose complaints are one line, like every other wrong request."""

from __future__ import annotations

import argparse
from typing import NoReturn

from harness.errors import RequestError


class Parser(argparse.ArgumentParser):
    """Raises RequestError where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise RequestError(f"{message}; --help shows what is allowed")
