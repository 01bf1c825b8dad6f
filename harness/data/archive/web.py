"""One HTTP request: which addresses and redirects are followed, which failures are worth another try."""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from functools import cache
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from harness.data.archive.watch import Watch
from harness.errors import RequestError, UserError

SCHEMES = ("http", "https")

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 60.0
_PATIENCE = 3
_PIECE = 2**20
_RANGE = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)", re.IGNORECASE)


class DownloadError(UserError):
    """An archive cannot be fetched, or is not the published one."""


class AddressError(DownloadError):
    """The archive is not to be had at this address; it may be at another one."""


class TransientError(Exception):
    """A failure that may pass: the connection, a busy server. `str(error)` says what happened."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        """What the server asks to wait, at most a minute."""


class RangeRefusedError(Exception):
    """The server has nothing from that byte on; `total` is the size it states, if it does."""

    def __init__(self, total: int | None) -> None:
        super().__init__("range not satisfiable")
        self.total = total


class Answer:
    """A server's answer: its status, its headers, and its body piece by piece."""

    def __init__(self, response: http.client.HTTPResponse, url: str, watch: Watch, timeout_s: float) -> None:
        self.status = response.status
        self.headers: Message = response.headers
        self._response = response
        self.url = url
        self._watch = watch
        self._timeout_s = timeout_s

    def read(self) -> bytes:
        """What has come, at most a mebibyte; empty when the body or the connection has ended.

        Raises:
            TransientError: nothing came in time, or the connection failed.
        """
        with _translated(self.url, self._timeout_s, self._watch), self._watch.step():
            return self._response.read1(_PIECE)


def check_url(url: str) -> None:
    """Refuse what is no address of a web server.

    Raises:
        RequestError: names the address.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise RequestError(f"{url!r}: not an address to download from; it must begin with http:// or https://")


@contextmanager
def get(url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[Answer]:
    """Open `url`; the answer's status is 200 or 206. Redirects are followed, ten at most, to http and https only.

    Proxies are the environment's. No other handler is installed, so no local file and no FTP server is ever read.

    Args:
        timeout_s: bounds the wait for each packet; three times that bounds the wait for the answer's beginning, after
            all redirects, and for each piece of its body.

    Raises:
        DownloadError: another try cannot help; AddressError where another address may.
        TransientError: another try may help.
        RangeRefusedError: status 416.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "vad-harness", "Accept-Encoding": "identity"})
    for name, value in headers.items():
        request.add_header(name, value)
    watch = Watch(_PATIENCE * timeout_s)
    with watch.running():
        with _translated(url, timeout_s, watch), watch.step():
            response = _opener(watch).open(request, timeout=timeout_s)
        with response:
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise DownloadError(f"{url}: answered {_status(response.status)}, where a file was expected")
            yield Answer(response, url, watch, timeout_s)


def parse_content_range(value: str | None) -> tuple[int | None, int | None, int | None]:
    """First byte, last byte and total size of a Content-Range header; None for each that it does not state."""
    match = _RANGE.fullmatch((value or "").strip())
    if match is None:
        return None, None, None
    first, last, total = (int(text) if text and text != "*" else None for text in match.groups())
    return first, last, total


class _Redirects(urllib.request.HTTPRedirectHandler):
    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> IO[bytes] | None:
        target = urljoin(req.full_url, headers.get("location") or headers.get("uri") or "")
        fp.close()
        if urlsplit(target).scheme not in SCHEMES:
            raise AddressError(f"{req.full_url}: redirects to {target}; only http and https are followed")
        # The base class reads the answer's body to its end, which a server need not have.
        return super().http_error_302(req, io.BytesIO(), code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Watched(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Tells the watch of each connection that is made, also on the way through redirects."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection(http.client.HTTPSConnection), req, context=_trusted())

    def _connection(self, kind: type[http.client.HTTPConnection]) -> type[http.client.HTTPConnection]:
        def attended(*arguments: Any, **options: Any) -> socket.socket:
            connection = socket.create_connection(*arguments, **options)
            self._watch.attend(connection)
            return connection

        class Attended(kind):  # type: ignore[valid-type, misc]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._create_connection = attended  # its own name for socket.create_connection

        return Attended


def _opener(watch: Watch) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Watched(watch),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _translated(url: str, timeout_s: float, watch: Watch) -> Iterator[None]:
    try:
        yield
        if watch.expired:  # a socket that was shut down looks like the end of what was sent
            raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()  # not `with error`, which a redirect that leads nowhere has closed already
        raise _from_status(url, error) from error
    except urllib.error.URLError as error:
        raise _from_reason(url, _cause(error.reason, watch), timeout_s) from error
    except http.client.InvalidURL as error:
        raise DownloadError(f"{url}: not an address that can be asked ({error})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _from_reason(url, _cause(error, watch), timeout_s) from error
    except ValueError as error:  # an address that http.client or the codecs cannot make sense of
        raise DownloadError(f"{url}: not an address that can be asked ({error})") from error


def _cause(reason: object, watch: Watch) -> object:
    return TransientError(f"the answer was not complete after {watch.limit_s:g} s") if watch.expired else reason


def _from_status(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return RangeRefusedError(parse_content_range(error.headers.get("Content-Range"))[2])
    if error.code in _TRANSIENT_STATUS:
        wait = (error.headers.get("Retry-After") or "").strip()
        return TransientError(
            f"the server answers {_status(error.code)}", min(float(wait), _LONGEST_WAIT_S) if wait.isdecimal() else 0.0
        )
    if 300 <= error.code < 400 and "location" in error.headers:
        return AddressError(f"{url}: redirects in a circle, or more than ten times")
    return AddressError(f"{url}: answered {_status(error.code)}")


def _from_reason(url: str, reason: object, timeout_s: float) -> Exception:
    if isinstance(reason, TransientError):
        return reason
    if isinstance(reason, TimeoutError):
        return TransientError(f"nothing came for {timeout_s:g} s")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return AddressError(f"{url}: its certificate is not trusted ({reason.verify_message})")
    if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
        return AddressError(f"{url}: no server of that name is known; is this machine connected?")
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
    return TransientError(f"the connection failed ({text})")


def _status(code: int) -> str:
    try:
        return f"{code} ({HTTPStatus(code).phrase})"
    except ValueError:
        return str(code)
