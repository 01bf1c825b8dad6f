"""One request against a server on loopback: what is followed, what is refused, what is worth another try."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from harness.data.archive.web import (
    AddressError,
    DownloadError,
    RangeRefusedError,
    TransientError,
    check_url,
    get,
    parse_content_range,
)
from harness.errors import RequestError
from tests.data.serving import fixed, give, hang, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def fetch_all(url, headers=None, timeout_s=5.0):
    with get(url, headers or {}, timeout_s) as answer:
        return answer.status, b"".join(iter(answer.read, b""))


def test_gives_the_bytes():
    data = bytes(range(256)) * 9000  # more than one piece
    with serving(give(data)) as served:
        assert fetch_all(served.url) == (200, data)
        assert served.asked[0].headers["accept-encoding"] == "identity"
        assert fetch_all(served.url, {"Range": "bytes=100-"}) == (206, data[100:])


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "example.org/x",
        "http://",
        "http:///x",
        "https://[::1/x",
        "http://host:port/x",
        "http://host:0/x",
        "http://host/a b",
        "http://host/a\nb",
        "http://höst/",
        "",
    ],
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(RequestError, match="not an address to download from"):
        check_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:80/x", "https://example.org/a.tar?id=3", "HTTP://host/x%20y"])
def test_web_addresses_are_accepted(url):
    check_url(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_range(status):
    with serving(fixed(status, {"Location": "/there"}), give(b"0123456789")) as served:
        assert fetch_all(served.url, {"Range": "bytes=4-"}) == (206, b"456789")
        assert [one.path for one in served.asked] == ["/archive", "/there"]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://x/", "data:text/plain,x"])
def test_redirects_leave_the_web_never(target):
    with serving(fixed(302, {"Location": target})) as served, pytest.raises(AddressError) as caught:
        fetch_all(served.url)
    assert f"redirects to {target}" in str(caught.value)
    assert len(served.asked) == 1


def test_redirects_in_a_circle_end():
    with serving(fixed(302, {"Location": "/archive"})) as served, pytest.raises(AddressError, match="in a circle"):
        fetch_all(served.url)
    assert len(served.asked) < 15


def test_redirects_ever_further_end():
    def further(handler):
        handler.head(302, {"Location": f"/x{len(handler.served.asked)}"})

    with serving(further) as served, pytest.raises(AddressError, match="more than ten times"):
        fetch_all(served.url)
    assert len(served.asked) <= 12


def test_the_body_of_a_redirect_is_not_read():
    def endless(handler):
        handler.head(302, {"Location": "/there"})
        while not handler.served.release.is_set():  # until the client hangs up
            handler.body(bytes(65536))

    with serving(endless, give(b"data")) as served:
        assert fetch_all(served.url) == (200, b"data")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_one_line_with_the_address(status):
    with serving(fixed(status, body=b"<html>no</html>")) as served, pytest.raises(AddressError) as caught:
        fetch_all(served.url)
    assert str(caught.value).startswith(f"{served.url}: answered {status} (")


@pytest.mark.parametrize("status", [204, 205, 299])
def test_an_answer_without_a_file_is_refused(status):
    with serving(fixed(status)) as served, pytest.raises(DownloadError, match=str(status)):
        fetch_all(served.url)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_may_be_asked_again(status):
    with serving(fixed(status, {"Retry-After": "7"})) as served, pytest.raises(TransientError) as caught:
        fetch_all(served.url)
    assert str(status) in str(caught.value)
    assert caught.value.wait_s == 7


@pytest.mark.parametrize("wait", ["Wed, 21 Oct 2099 07:28:00 GMT", "-5", "", "9" * 400])
def test_an_odd_retry_after_is_bounded(wait):
    with serving(fixed(503, {"Retry-After": wait})) as served, pytest.raises(TransientError) as caught:
        fetch_all(served.url)
    assert 0 <= caught.value.wait_s <= 60


def test_an_unsatisfiable_range_states_the_size():
    with serving(give(b"0123456789")) as served, pytest.raises(RangeRefusedError) as caught:
        fetch_all(served.url, {"Range": "bytes=10-"})
    assert caught.value.total == 10


@pytest.mark.parametrize("when", ["before the answer", "in the middle"])
def test_a_server_that_hangs_is_left(when):
    behaviour = hang if when == "before the answer" else give(bytes(1000), cut=10, then=hang)
    start = time.monotonic()
    with serving(behaviour) as served, pytest.raises(TransientError, match=r"nothing came for 0\.3 s"):
        fetch_all(served.url, timeout_s=0.3)
    assert time.monotonic() - start < 5


def test_a_refused_connection_and_a_dropped_one_are_transient():
    with serving(lambda handler: handler.connection.close()) as served:
        url = served.url
        with pytest.raises(TransientError, match="connection failed"):
            fetch_all(url)
    with pytest.raises(TransientError, match="connection failed"):
        fetch_all(url)


def test_an_answer_that_is_not_http_is_transient():
    def nonsense(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")

    with serving(nonsense) as served, pytest.raises(TransientError, match="connection failed"):
        fetch_all(served.url)


@pytest.mark.parametrize(
    ("code", "kind", "match"),
    [(socket.EAI_NONAME, AddressError, "no server of that name"), (socket.EAI_AGAIN, TransientError, "Temporary")],
)
def test_an_unknown_host_is_not_asked_again_but_an_unreachable_name_server_is(monkeypatch, code, kind, match):
    def fail(*_, **__):
        raise socket.gaierror(code, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(kind, match=match):
        fetch_all("http://archive.invalid/x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("Bytes 5-9/*", (5, 9, None)),
        ("bytes */10", (None, None, 10)),
        (None, (None, None, None)),
        ("", (None, None, None)),
        ("bytes 5-/10", (None, None, None)),
        ("items 5-9/10", (None, None, None)),
        ("bytes -5-9/10", (None, None, None)),
        ("bytes 5-9/" + "9" * 5000, (None, None, None)),
    ],
)
def test_content_range(value, expected):
    assert parse_content_range(value) == expected


def raw(*parts: bytes, every: float, times: int = 10**6):
    """Send the first part, then the others over and over."""

    def behave(handler):
        handler.connection.sendall(parts[0])
        for _ in range(times):
            if handler.served.release.wait(every):
                return
            try:
                handler.connection.sendall(parts[1])
            except OSError:
                return

    return behave


@pytest.mark.parametrize(
    ("parts", "every"),
    [
        ((b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"), 0.1),
        ((b"HTTP/1.1 ", b"2"), 0.1),
        ((b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 0.01),
        ((b"HTTP/1.1 302 Found\r\nLocation: ", b"/"), 0.1),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;", b"x"), 0.1),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: x\r\n"), 0.05),
    ],
    ids=["a header", "the status", "continue", "a redirect", "the size of a chunk", "trailers"],
)
def test_a_server_that_always_sends_a_little_and_never_the_whole_is_left(parts, every):
    """Each byte comes in time, so that a socket's timeout never ends it."""
    with serving(raw(*parts, every=every)) as served:
        start = time.monotonic()
        with pytest.raises(TransientError, match=r"not complete after 1\.5 s"):
            fetch_all(served.url, timeout_s=0.5)
        assert time.monotonic() - start < 15


def test_redirects_that_each_take_their_time_end():
    """Ten of them would be followed."""

    def later(handler):
        handler.served.release.wait(0.4)
        fixed(302, {"Location": f"/{len(handler.served.asked)}"})(handler)

    with serving(later) as served:
        start = time.monotonic()
        with pytest.raises(TransientError, match="not complete after"):
            fetch_all(served.url, timeout_s=0.5)
        assert time.monotonic() - start < 15


def test_a_slow_body_that_does_come_is_waited_for():
    def slow(handler):
        handler.head(200, {"Content-Length": 8})
        for _ in range(8):
            handler.served.release.wait(0.3)
            handler.body(b"x")

    with serving(slow) as served:
        assert fetch_all(served.url, timeout_s=0.5)[1] == b"x" * 8


def test_no_thread_stays_behind():
    before = threading.active_count()
    for _ in range(3):
        with serving(give(b"x" * 100)) as served:
            fetch_all(served.url)
    assert threading.active_count() <= before


def test_a_handshake_that_is_drawn_out_ends():
    """A server of TLS that announces a record of 16 KiB, and sends it byte by byte."""

    def draw_out(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            try:
                connection.sendall(b"\x16\x03\x03\x40\x00")
                while not over.wait(0.1):
                    connection.sendall(b"\x00")
            except OSError:
                pass

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=draw_out, args=(listener,))
        thread.start()
        start = time.monotonic()
        try:
            with pytest.raises(TransientError, match=r"not complete after|nothing came for"):
                fetch_all(f"https://127.0.0.1:{listener.getsockname()[1]}/x", timeout_s=0.5)
            assert time.monotonic() - start < 15
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_that_leads_nowhere_is_one_line(status):
    with serving(fixed(status)) as served, pytest.raises(AddressError, match=f"answered {status}"):
        fetch_all(served.url)
