"""A web server on loopback for the tests of downloads: it answers as told, and counts the bytes it sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEVER = 20.0
"""Seconds after which a server that hangs lets go, in case a test forgot to release it."""

Behaviour = Callable[["Handler"], None]


@dataclass
class Served:
    """What the server does next, and what it was asked."""

    url: str
    behaviours: list[Behaviour]
    asked: list[tuple[str | None, int]] = field(default_factory=list)
    """The Range and the status of each answer."""
    body_bytes: int = 0
    release: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self):
        behaviours = self.served.behaviours
        (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(self)

    def head(self, status: int, headers: dict[str, object]) -> None:
        self.served.asked.append((self.headers.get("Range"), status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
        self.served.body_bytes += len(data)

    def log_message(self, *_):
        pass


@contextmanager
def serving(*behaviours: Behaviour, path: str = "/archive") -> Iterator[Served]:
    """Answer the first request by the first behaviour and so on; the last one answers all further requests."""
    served = Served("", list(behaviours))
    handler = type("BoundHandler", (Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # a client that hung up is no news
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}{path}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            served.release.set()
            server.shutdown()
            thread.join()


def give(data: bytes, *, ranges: bool = True, cut: int | None = None, then: Behaviour | None = None) -> Behaviour:
    """Send `data` as a good server does, but for what is asked.

    Args:
        ranges: honour Range.
        cut: send so many bytes of the body, and hang up.
        then: what happens after the body instead of hanging up.
    """

    def behave(handler: Handler) -> None:
        size, wanted, start = len(data), handler.headers.get("Range"), 0
        if ranges and wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= size:
                handler.head(416, {"Content-Range": f"bytes */{size}"})
                return
            span = f"bytes {start}-{size - 1}/{size}"
            handler.head(206, {"Content-Range": span, "Content-Length": size - start})
        else:
            handler.head(200, {"Content-Length": size})
        handler.body(data[start:] if cut is None else data[start : start + cut])
        if then is not None:
            then(handler)

    return behave


def fixed(status: int, headers: dict[str, object] | None = None, body: bytes = b"") -> Behaviour:
    """Always the same answer."""

    def behave(handler: Handler) -> None:
        handler.head(status, headers or {})
        handler.body(body)

    return behave


def hang(handler: Handler) -> None:
    """Say nothing more."""
    handler.served.release.wait(NEVER)
