"""timm's pretrained weights from a hub: downloaded, found in the cache, or refused in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save

from harness.errors import RequestError
from harness.padim import hub
from harness.padim.backbone import load_network
from harness.padim.weights import resolve_weights
from tests.padim.sources import LITE0, RESNET18, WIDE_RESNET50

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import json, sys, time
from harness.config import BackboneConfig
from harness.errors import RequestError
from harness.padim.weights import resolve_weights
start = time.perf_counter()
try:
    weights = resolve_weights(BackboneConfig("resnet18", "resnet18", "tv_in1k", (), (), ()))
    answer = {"digest": weights.digest, "path": str(weights.path), "label": weights.label, "source": weights.source}
except RequestError as error:
    answer = {"error": str(error)}
assert "torch" not in sys.modules
print(json.dumps({**answer, "seconds": time.perf_counter() - start}))
"""


class Hub(BaseHTTPRequestHandler):
    """A model hub's answers to what its client asks for a file."""

    files: dict[str, bytes]
    status = 200
    cut_off = False
    asked: list[tuple[str, str]]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        if "/resolve/" in self.path:  # The client may have other business of its own.
            self.asked.append((self.command, self.path))
        content = self.files.get(self.path)
        if self.status != 200:
            self.send_error(self.status)
            return
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if self.known_repository() else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content[: len(content) // 2] if self.cut_off else content)

    def known_repository(self) -> bool:
        return any(path.split("/resolve/")[0] == self.path.split("/resolve/")[0] for path in self.files)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serving(files: dict[str, bytes], **settings: object) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    handler = type("ThisHub", (Hub,), {"files": files, "asked": [], **settings})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def weights_file() -> bytes:
    torch.manual_seed(7)
    return save(timm.create_model("resnet18").state_dict())


def address(filename: str) -> str:
    return f"/timm/resnet18.tv_in1k/resolve/main/{filename}"


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def resolve(project: Path, home: Path, endpoint: str, **environment: str) -> dict:
    """Resolve in a process of its own: the client reads its settings when it is imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=project,
        env={**inherited, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_download_then_cache(project, tmp_path, weights_file):
    with serving({address("model.safetensors"): weights_file}) as (endpoint, asked):
        first = resolve(project, tmp_path, endpoint)
        assert first["digest"] == hashlib.sha256(weights_file).hexdigest()
        assert first["label"] == "timm/resnet18.tv_in1k/model.safetensors"
        assert first["source"] == "timm"
        assert Path(first["path"]).read_bytes() == weights_file
        assert sum(method == "GET" for method, _ in asked) == 1
        second = resolve(project, tmp_path, endpoint)
        assert second["digest"] == first["digest"]
        assert sum(method == "GET" for method, _ in asked) == 1
    for endpoint, extra in ((closed_port(), {}), (closed_port(), {"HF_HUB_OFFLINE": "1"})):
        assert resolve(project, tmp_path, endpoint, **extra)["digest"] == first["digest"]


def test_without_safetensors_the_other_file_is_taken(project, tmp_path, weights_file):
    with serving({address("pytorch_model.bin"): b"pickled"}) as (endpoint, asked):
        answer = resolve(project, tmp_path, endpoint)
    assert answer["label"].endswith("/pytorch_model.bin")
    assert [path.rsplit("/", 1)[1] for method, path in asked][:2] == list(hub.FILENAMES)


def assert_refused(answer: dict, reason: str) -> None:
    assert reason in answer["error"]
    assert "backbone.weights=PATH.safetensors" in answer["error"]
    assert "\n" not in answer["error"]
    assert answer["seconds"] < 8


def test_a_hub_that_cannot_be_reached(project, tmp_path):
    assert_refused(resolve(project, tmp_path, closed_port()), "cannot be reached")
    assert_refused(resolve(project, tmp_path, closed_port(), HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE is set")


def test_a_hub_that_is_down(project, tmp_path):
    with serving({}, status=503) as (endpoint, asked):
        assert_refused(resolve(project, tmp_path, endpoint), "cannot be reached")
    assert len(asked) == 1


def test_a_hub_without_the_model(project, tmp_path):
    with serving({}) as (endpoint, _):
        assert_refused(resolve(project, tmp_path, endpoint), "the model hub has no timm/resnet18.tv_in1k")
    with serving({address("README.md"): b""}) as (endpoint, _):
        assert_refused(resolve(project, tmp_path, endpoint), "neither model.safetensors nor pytorch_model.bin")


def test_a_server_that_is_no_hub(project, tmp_path):
    """A login page of some proxy, say: it answers, but without a hub's headers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(4):
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        answered = resolve(project, tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert_refused(answered, "timm/resnet18.tv_in1k is not to be had")


def test_a_hub_that_does_not_answer(project, tmp_path):
    """A firewall that swallows what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answer = resolve(project, tmp_path, endpoint, HF_HUB_ETAG_TIMEOUT="1")
    assert_refused(answer, "cannot be reached")


def test_the_downloaded_file_loads(tmp_path, weights_file, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights_file)
    monkeypatch.setattr("harness.padim.weights.pretrained_file", lambda *_: path)
    config = replace(RESNET18, weights="timm")
    network = load_network(config, resolve_weights(config))
    torch.manual_seed(7)
    assert torch.equal(network.feature_extractor.conv1.weight, timm.create_model("resnet18").conv1.weight)


@pytest.mark.parametrize("config", [RESNET18, WIDE_RESNET50, LITE0], ids=lambda config: config.name)
def test_it_is_the_file_that_timm_would_take(config, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError
    from timm.models import _hub
    from timm.models._builder import _resolve_pretrained_source

    name = f"{config.architecture}.{config.pretrained_tag}"
    source = _resolve_pretrained_source(timm.get_pretrained_cfg(name).to_dict())
    assert source == ("hf-hub", hub.repository(config.architecture, config.pretrained_tag))

    asked = []

    def absent(repo_id: str, filename: str, **_: object) -> str:
        asked.append((repo_id, filename))
        raise EntryNotFoundError(filename)

    monkeypatch.setattr(_hub, "hf_hub_download", absent)
    with pytest.raises(EntryNotFoundError):
        _hub.load_state_dict_from_hf(source[1])
    assert asked == [(source[1], filename) for filename in hub.FILENAMES]


def test_a_download_that_breaks_off(monkeypatch):
    """Not over a socket: the client would try again for half a minute, as it should."""
    import huggingface_hub

    def broken(*_: object) -> str:
        raise OSError("connection reset")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda _: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(RequestError, match=r"broke off \(OSError\); give the weights by hand"):
        hub.pretrained_file("resnet18", "tv_in1k")
