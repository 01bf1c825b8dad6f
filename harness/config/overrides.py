"""The command line, made safe for Hydra and checked before anything else: one line for whatever is wrong."""

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.core.override_parser.types import Quote, QuotedString, RangeSweep, Sweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.cli.command import Parser
from harness.config.keys import GROUPS, KEYS, check_value, renamed, suggest
from harness.config.settings import WEIGHT_WORDS
from harness.errors import RequestError

FLAGS = (("--help", "-h"), ("--hydra-help",), ("--version",), ("--multirun", "-m"))

MOST_RUNS = 10_000
"""Of one command: the paper with ten seeds has some hundreds."""

OURS = {
    "hydra/sweeper": "the harness has its own sweeper; several values with commas make a sweep",
    "hydra.mode": "a single run is a sweep of one run",
    "hydra/launcher": "give launcher=NAME",
    "hydra.launcher": "give jobs=N, slurm.partition=NAME and the like, or RAY_ADDRESS in the environment",
}
"""Hydra's settings on which the harness rests, and why."""


@dataclass(frozen=True)
class Override:
    """One key of the command line with its values: more than one is a sweep."""

    key: str
    values: tuple[Any, ...]

    def hydra(self) -> str:
        """Return an argument that Hydra reads back to the same values."""
        return f"{self.key}={','.join(render(value) for value in self.values)}"


def render(value: Any) -> str:
    """Write a value in Hydra's grammar, every string quoted; a `${` in it stays what it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return QuotedString(text=_escape_interpolation(value), quote=Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(render(item) for item in value)}]"
    return repr(value)


def _escape_interpolation(text: str) -> str:
    """Escape `${`: OmegaConf reads `\\${` as a plain `${`, once the backslashes before it are doubled."""
    parts = text.split("${")
    escaped = [part + "\\" * (len(part) - len(part.rstrip("\\"))) + "\\" for part in parts[:-1]]
    return "${".join([*escaped, parts[-1]])


def split_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the command line into Hydra's flags, each by its long name and with its value, and overrides.

    Raises:
        RequestError: a flag that there is not, one without its value or with a wrong one, or flags that do not go
            together.
    """
    parser = Parser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    for names in FLAGS:
        parser.add_argument(*names, action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    given = vars(parser.parse_intermixed_args(argv))
    overrides, shown = given.pop("overrides"), given.pop("cfg")
    if shown and given["multirun"]:
        raise RequestError("--cfg: shows one configuration and runs nothing; leave -m out")
    flags = [names[0] for names, is_given in zip(FLAGS, given.values(), strict=True) if is_given]
    return flags + (["--cfg", shown] if shown else []), overrides


def quote(argument: str) -> str:
    """Quote what Hydra's grammar would break or turn into a number: paths whole, categories each.

    Paths become absolute, since a launcher may work in another folder.

    Raises:
        RequestError: the argument is no `key=value`, or its key does not exist.
    """
    key, value = _split(argument)
    if key == "category":
        return f"{key}={','.join(_quote_category(part) for part in _split_commas(value))}"
    if key in KEYS and KEYS[key].option.path:
        if not value:
            raise RequestError(f"{key}=: is empty; allowed: {KEYS[key].allowed}")
        text = _unquote_path(value)
        if key != "backbone.weights" or text not in WEIGHT_WORDS:
            text = os.path.abspath(_expand_home(text))
        return f"{key}={render(text)}"
    return argument


def parse(arguments: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Check quoted arguments; return the harness's own overrides, and Hydra's as they came.

    Raises:
        RequestError: a value that does not fit its key, a key given twice, both `seed` and `seeds`, or more than
            MOST_RUNS runs.
    """
    own: list[Override] = []
    hydra: list[str] = []
    for argument in arguments:
        key, _ = _split(argument)
        if reason := OURS.get("hydra.launcher" if key.startswith("hydra.launcher.") else key):
            raise RequestError(f"{argument}: {key} cannot be changed here: {reason}")
        if key.startswith(("hydra.", "hydra/")):
            hydra.append(argument)
            continue
        if any(override.key == key for override in own):
            raise RequestError(f"{argument}: {key} is given twice; give it once")
        own.append(Override(key, _values(key, argument)))
    n_runs = math.prod(
        sum(len(value) if isinstance(value, list) and override.key == "seeds" else 1 for value in override.values)
        for override in own
    )
    if n_runs > MOST_RUNS:
        raise RequestError(f"{' '.join(arguments)}: means {n_runs} runs, and at most {MOST_RUNS} are allowed; split it")
    given = {override.key for override in own}
    if {"seed", "seeds"} <= given:
        raise RequestError("seed and seeds are both given; give one of them (seed=42 means seeds=[42])")
    return own, hydra


def _split(argument: str) -> tuple[str, str]:
    key, separator, value = argument.partition("=")
    if key.startswith(("+", "~")):
        raise RequestError(f"{argument}: keys cannot be added or removed (+, ++, ~); allowed: {', '.join(KEYS)}")
    if key.startswith(("hydra.", "hydra/")) and separator:
        return key, value
    if not separator:
        hint = f"; give {argument}=VALUE" if argument in KEYS else suggest(argument, KEYS)
        raise RequestError(f"{argument}: is not key=value{hint}; allowed keys: {', '.join(KEYS)}")
    if key not in KEYS and (new := renamed(key)):
        raise RequestError(f"{argument}: {key} is called {new} now; give {new}={value}")
    if key not in KEYS:
        raise RequestError(f"{argument}: no such key{suggest(key, KEYS)}; allowed: {', '.join(KEYS)}")
    return key, value


def _split_commas(value: str) -> list[str]:
    parts, quote_mark = [""], ""
    for char in value:
        if char == "," and not quote_mark:
            parts.append("")
            continue
        if char in "'\"":
            quote_mark = "" if char == quote_mark else quote_mark or char
        parts[-1] += char
    return parts


def _quote_category(part: str) -> str:
    text = part.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].replace("\\" + part.strip()[0], part.strip()[0])
    if not text:
        raise RequestError(f"category={part}: is empty; allowed: {KEYS['category'].allowed}")
    return render(text)


def _unquote_path(value: str) -> str:
    """Take off the quotes that Hydra's documentation tells users to set, unless the path really has them."""
    quoted = len(value) > 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted and not os.path.lexists(value) else value


def _expand_home(text: str) -> str:
    """Replace the `~` of `~/data` by the home folder, unless a folder of that very name lies here."""
    return text if os.path.lexists(text) else str(Path(text).expanduser()) if text.startswith("~/") else text


def _values(key: str, argument: str) -> tuple[Any, ...]:
    try:
        parsed: HydraOverride = OverridesParser.create().parse_override(argument)
        raw = _swept(parsed) if isinstance(parsed.value(), Sweep) else [parsed.value()]
    except (HydraException, OmegaConfBaseException, ValueError, TypeError, ArithmeticError, RecursionError):
        raise _refusal(key, argument.partition("=")[2]) from None
    if len(raw) > MOST_RUNS:
        raise RequestError(f"{argument}: is more than {MOST_RUNS} values; split it into several commands")
    values = []
    for item in raw:
        try:
            values.append(check_value(key, _plain(item)))
        except ValueError:
            raise _refusal(key, _plain(item)) from None
    if not values:
        raise _refusal(key, "")
    return tuple(values)


def _swept(parsed: HydraOverride) -> list[Any]:
    """Return a sweep's values; of a range no more than are needed to see that there are too many."""
    value = parsed.value()
    if isinstance(value, RangeSweep):
        some = list(itertools.islice(value.range(), MOST_RUNS + 1))
        if len(some) > MOST_RUNS:
            return some
    return list(parsed.sweep_iterator())


def _refusal(key: str, value: Any) -> RequestError:
    shown = value if isinstance(value, str) else render(value)
    what = f"no such {key}" if key in GROUPS else "is not allowed"
    options = KEYS[key].allowed.split(", ")
    return RequestError(f"{key}={shown}: {what}{suggest(shown, options)}; allowed: {KEYS[key].allowed}")


def _plain(value: Any) -> Any:
    """Turn Hydra's parsed value into plain Python, with strings freed of quotes and escapes."""
    if isinstance(value, QuotedString):
        value = value.text
    if isinstance(value, str):
        return _unescape_interpolation(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        raise ValueError
    return value


def _unescape_interpolation(text: str) -> str:
    parts = text.split("${")
    plain = [part[:-1] for part in parts[:-1]]  # the backslash that _escape_interpolation put there
    plain = [part[: len(part) - (len(part) - len(part.rstrip("\\"))) // 2] for part in plain]
    return "${".join([*plain, parts[-1]])
