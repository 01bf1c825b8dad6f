"""Records are read on other machines: absolute paths are found in a text, and hidden."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_START = r"(?:(?:file:)?/+|[A-Za-z]:[\\/]|\\\\)"
"""How an absolute path begins: POSIX, a drive, a Windows share."""

_INSIDE = re.compile(
    r"(?P<url>\b(?!file:)[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"]*)"
    rf"|(?<=')(?P<single>{_START}[^'\n]+)(?=')"
    rf'|(?<=")(?P<double>{_START}[^"\n]+)(?=")'
    # After a word, a dot or a closing bracket a slash is a division, a relative path or part of what is hidden already.
    rf"|(?<![\w.…>)\]}}%~/\\-])(?P<bare>{_START}[^\s'\"<>|,;:)\]/\\][^\s'\"<>|,;:)\]]*)"
)


def is_absolute(text: str) -> bool:
    """Whether a name or a path of one's own data is absolute; a folder may well be called `C:\\x` here."""
    return text.startswith("/")


def has_absolute_path(text: str) -> bool:
    """Whether there is an absolute path anywhere in a text; the address of a web page is none."""
    return any(match["url"] is None for match in _INSIDE.finditer(text))


def hide_paths(text: str, roots: Mapping[str, Path]) -> str:
    """Make a text portable: known folders become `<label>`, of any other absolute path only the last part stays.

    A name that is not valid UTF-8 becomes readable escapes, since JSON holds only Unicode.

    Args:
        roots: label -> folder or file, for example {"dataset.root": Path("/data/mvtec")}.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    labels = {}
    for label, root in roots.items():
        with suppress(OSError):  # a relative one is nowhere once the working folder was removed
            labels[str(root.absolute())] = label
    for path in sorted(labels, reverse=True):  # a folder comes after what lies in it
        if len(path) > 1:
            label = labels[path]
            whole = rf"(?<![\w.\-/\\]){re.escape(path)}(?![^\s/\\'\":,;)\]])"
            text = re.sub(whole, f"<{label}>".replace("\\", "/"), text)
    return _INSIDE.sub(_last_part, text)


def _last_part(match: re.Match[str]) -> str:
    if match["url"] is not None:
        return match["url"]
    parts = [part for part in re.split(r"[/\\]+", match[0]) if part]
    return "/".join(["<path>", *parts[-1:]])  # of a root alone there is no last part
