"""Where a backbone's weights come from: found, and known by their digest, without torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.config import WEIGHT_WORDS
from harness.errors import RequestError
from harness.padim.hub import pretrained_file, repository
from harness.padim.packages import PACKAGES, package_file

if TYPE_CHECKING:
    from harness.config import BackboneConfig

RANDOM_SEED = 0
"""Of random weights: always the same, so that runs with different seeds share one pass through the network."""


@dataclass(frozen=True)
class Weights:
    """A backbone's weights, found but not read yet."""

    source: Literal["timm", "file", "package", "random"]
    digest: str
    """sha256, in hex, of what determines the numbers: the file's content, or for random weights how they are drawn."""
    path: Path | None
    """The file; None for random weights."""
    label: str
    """What they are called in records and on the terminal; never an absolute path."""


def resolve_weights(backbone: BackboneConfig) -> Weights:
    """Find `backbone.weights`, downloading timm's if need be, without importing torch.

    Raises:
        RequestError: there are no such weights; the line says what to do.
    """
    wanted = backbone.weights
    if wanted == "random":
        return Weights("random", _random_digest(backbone.architecture), None, "random")
    if wanted == "timm":
        path = pretrained_file(backbone.architecture, backbone.pretrained_tag)
        label = f"{repository(backbone.architecture, backbone.pretrained_tag)}/{path.name}"
        return Weights("timm", _file_digest(path), path, label)
    if wanted == "package":
        return _resolve_package(backbone)
    path = weights_file(wanted)
    return Weights("file", _file_digest(path), path, path.name)


def weights_file(given: str) -> Path:
    """Return the path of a weights file.

    Raises:
        RequestError: there is no such file, or not of a kind that can be read.
    """
    path = Path(given).expanduser()
    if path.suffix not in (".safetensors", ".pth"):
        raise RequestError(
            f"backbone.weights={given}: is neither a .safetensors nor a .pth file; "
            f"allowed: {', '.join(WEIGHT_WORDS)}, or the path of such a file"
        )
    if not path.is_file():
        raise RequestError(f"backbone.weights={given}: there is no such file; give the path of one, or timm or random")
    return path


def _resolve_package(backbone: BackboneConfig) -> Weights:
    distribution = backbone.package
    package = PACKAGES.get(distribution or "")
    if distribution is None or package is None or package.architecture != backbone.architecture:
        raise RequestError(
            f"backbone.weights=package: no package carries weights of {backbone.architecture}; there are packages for "
            f"{', '.join(known.architecture for known in PACKAGES.values())}"
        )
    path = package_file(distribution)
    digest = _file_digest(path)
    if digest != package.sha256:
        raise RequestError(
            f"backbone.weights=package: {path.name} of {distribution} has sha256 {digest[:12]}..., not "
            f"{package.sha256[:12]}...; install version 0.1.0 again"
        )
    return Weights("package", digest, path, f"{distribution} {importlib.metadata.version(distribution)}")


def _random_digest(architecture: str) -> str:
    drawn_by = {name: importlib.metadata.version(name) for name in ("timm", "torch")}
    recipe = ["random", architecture, drawn_by, RANDOM_SEED, "once"]  # Not twice, as anomalib does.
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        status = path.stat()
        return _content_digest(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    except OSError as error:
        raise RequestError(f"backbone.weights={path}: cannot be read ({error.strerror})") from error


@functools.lru_cache(maxsize=32)
def _content_digest(path: Path, *_stamp: int) -> str:
    """Hash a file once, and again only when its size or a time has changed, or the path leads to another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
