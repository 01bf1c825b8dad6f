"""Errors that a user can cause: one line that names the thing, what is wrong and what to do."""

LONGEST_LINE = 4000
"""Characters of an error, and so of what a hostile file can make of a terminal or a record."""

_HEAD, _TAIL = 3000, 900


def printable(text: str) -> str:
    """Escape control characters and reordering marks: names come from data, and must not steer the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class UserError(Exception):
    """Something outside the harness is not as it must be; `str(error)` is one line made for a terminal.

    What cannot be printed is shown as escapes, and of a line beyond `LONGEST_LINE` the middle is left out. It is shown
    without a traceback. Every other exception that leaves a run is a defect of ours, or of a library.
    """

    def __init__(self, message: str) -> None:
        line = printable(" ".join(message.split()))
        super().__init__(line if len(line) <= LONGEST_LINE else f"{line[:_HEAD]} … {line[-_TAIL:]}")


class RequestError(UserError):
    """The request is wrong (a key, a value, a path, weights of another network): nothing is recorded, exit status 2."""


class DataError(UserError):
    """The images of one category are not usable: that run fails and is recorded, the others go on, exit status 1."""


class OutOfMemoryError(DataError):
    """A run needed more memory than there was, although the plan said that it fits. It is handled like a DataError."""


class StoreError(UserError):
    """The results store cannot be read or written, or holds something that cannot be trusted."""
