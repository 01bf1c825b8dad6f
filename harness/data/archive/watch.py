"""An end to waiting for a server that always sends a little: each packet comes in time, and the whole never does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LOOK_S = 0.2


class Watch:
    """Shuts a connection's socket down where one step on it takes longer than a limit, so that the step fails.

    A socket's own timeout starts anew with each byte: a status line, a header, a redirect after the other or the size
    of a chunk could be drawn out for days.
    """

    def __init__(self, limit_s: float) -> None:
        """No step is being waited for yet.

        Args:
            limit_s: of one step, however many bytes come.
        """
        self.limit_s = limit_s
        self._sockets: list[socket.socket] = []
        self._until: float | None = None
        self._over = threading.Event()
        self.expired = False

    def attend(self, connection: socket.socket) -> None:
        """This connection too is shut down when a step takes too long, whatever becomes of this very object.

        TLS is put around a socket by taking it apart; a second handle stays valid.

        Raises:
            TimeoutError: the step has taken too long already; half a header may have led to another address.
        """
        if self.expired:
            connection.close()
            raise TimeoutError
        self._sockets.append(connection.dup())

    @contextmanager
    def step(self) -> Iterator[None]:
        """What must be done within the limit."""
        self._until = time.monotonic() + self.limit_s
        try:
            yield
        finally:
            self._until = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look, from another thread, until the end."""
        thread = threading.Thread(target=self._look, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            for connection in self._sockets:
                connection.close()

    def _look(self) -> None:
        while not self._over.wait(min(_LOOK_S, self.limit_s)):
            until = self._until
            if until is not None and time.monotonic() > until:
                self.expired = True
                for connection in self._sockets:
                    with suppress(OSError):  # the other end may be gone already
                        connection.shutdown(socket.SHUT_RDWR)
