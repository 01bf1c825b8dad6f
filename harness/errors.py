"""Errors that a user can cause: one line that names the thing, what is wrong and what to do."""


class UserError(Exception):
    """Something outside the harness is not as it must be; `str(error)` is one line made for a terminal.

    It is shown without a traceback. Every other exception that leaves a run is a defect of ours, or of a library.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class RequestError(UserError):
    """The request itself is wrong (a key, a value, a path, weights of another network): nothing runs, exit status 2."""


class DataError(UserError):
    """The images of one category are not usable: that run fails and is recorded, the others go on, exit status 1."""


class StoreError(UserError):
    """The results store cannot be read or written, or holds something that cannot be trusted."""
