"""The backbone: where its weights come from, and the frozen network with them in it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import RequestError
from harness.padim.hub import pretrained_file, repository
from harness.padim.outline import no_numbers
from harness.padim.packages import PACKAGES, package_file, timm_names
from harness.padim.timm_import import import_timm

if TYPE_CHECKING:
    from anomalib.models.components import TimmFeatureExtractor
    from timm.models import FeatureListNet
    from torch import Tensor

    from harness.config import BackboneConfig

WEIGHTS_SUFFIXES = (".safetensors", ".pth")
_RANDOM_SEED = 0
"""Of random weights: always the same, so that runs with different seeds share one pass through the network."""
_SHOWN_NAMES = 4
"""Tensors that an error names before it says how many more there are."""


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
    path = Path(wanted).expanduser()
    if path.suffix not in WEIGHTS_SUFFIXES:
        raise RequestError(
            f"backbone.weights={wanted}: must be timm, package, random, or a file ending in "
            f"{' or '.join(WEIGHTS_SUFFIXES)}"
        )
    if not path.is_file():
        raise RequestError(f"backbone.weights={wanted}: no such file")
    return Weights("file", _file_digest(path), path, path.name)


def load_timm(backbone: BackboneConfig, weights: Weights) -> FeatureListNet:
    """Return timm's network with the weights in it, on the CPU, in eval mode, without gradients.

    Called with images (B, 3, H, W) it gives a list of features (B, C, h, w), one for each of `backbone.layers`: bit for
    bit those of anomalib's TimmFeatureExtractor, without the seconds that importing anomalib takes. It computes nothing
    behind the last layer that is read. The caller's generators are left as they were.

    Raises:
        RequestError: timm has no such architecture or layers, or they are not what `backbone` says; the file cannot be
            read safely, or it lacks tensors, or some have another shape or hold a NaN or an infinity: it names them.
    """
    import torch

    from harness.padim.isolation import preserved_random_state, silence

    tensors = _read_tensors(weights.path, weights.label) if weights.path else None
    with preserved_random_state(), silence():  # Importing timm warns of what is old in it.
        torch.manual_seed(_RANDOM_SEED)
        # Numbers that a file replaces are not drawn.
        network = _build(backbone, "cpu" if tensors is None else "meta")
    if tensors is not None:
        if weights.source == "package":
            tensors = timm_names(tensors, PACKAGES[str(backbone.package)])
        state = _fitting_state(network.state_dict(), tensors, f"{weights.label} for {backbone.name}")
        if not {name for name, _ in network.named_buffers()} <= set(state):
            # Buffers that no file holds are computed when the network is made.
            with preserved_random_state(), silence():
                network = _build(backbone, "cpu")
        network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def load_network(backbone: BackboneConfig, weights: Weights) -> TimmFeatureExtractor:
    """Return `load_timm`'s network in anomalib's own feature extractor, which gives features by the layers' names.

    Raises:
        RequestError: as `load_timm`.
    """
    return in_extractor(load_timm(backbone, weights), backbone)


def in_extractor(network: FeatureListNet, backbone: BackboneConfig) -> TimmFeatureExtractor:
    """Return anomalib's feature extractor around a network."""
    from harness.padim.isolation import preserved_random_state, silence

    with preserved_random_state(), silence():
        from anomalib.models.components import TimmFeatureExtractor

        extractor = TimmFeatureExtractor(backbone.architecture, layers=list(backbone.layers), pre_trained=False)
    extractor.feature_extractor = network
    return extractor.eval().requires_grad_(False)


def _build(backbone: BackboneConfig, device: str) -> FeatureListNet:
    import torch

    timm = import_timm()

    if not timm.is_model(backbone.architecture):
        raise RequestError(
            f"backbone.architecture={backbone.architecture}: timm {timm.__version__} has no such network"
        )
    with no_numbers():  # only to know the names
        outline: Any = timm.create_model(backbone.architecture, features_only=True, exportable=True)
    available = [info["module"] for info in outline.feature_info.info]
    # anomalib only warns of a layer that is not there, and goes on without it.
    unknown = [layer for layer in backbone.layers if layer not in available]
    if unknown:
        raise RequestError(
            f"backbone.layers: {backbone.architecture} has no {', '.join(unknown)}; it has {', '.join(available)}"
        )
    with no_numbers() if device == "meta" else torch.device(device):
        network: Any = timm.create_model(
            backbone.architecture,
            features_only=True,
            exportable=True,
            out_indices=[available.index(layer) for layer in backbone.layers],
        )
    channels, reductions = tuple(network.feature_info.channels()), tuple(network.feature_info.reduction())
    if (channels, reductions) != (backbone.channels, backbone.reductions):
        raise RequestError(
            f"backbone {backbone.name}: its layers have channels {list(channels)} and reductions {list(reductions)}, "
            f"not {list(backbone.channels)} and {list(backbone.reductions)}"
        )
    _drop_unused_blocks(network, backbone.layers)
    return network  # type: ignore[no-any-return]


def _drop_unused_blocks(network: Any, layers: tuple[str, ...]) -> None:
    """Take the stages behind the last one that is read out of an EfficientNet.

    timm leaves out what it does not need in every network whose modules it lists one by one (ResNets, say), but runs
    all stages of those that keep them in one `blocks`.
    """
    numbers = [re.fullmatch(r"blocks\.(\d+)", layer) for layer in layers]
    if all(numbers):
        network.blocks = network.blocks[: 1 + max(int(number[1]) for number in numbers if number)]


def _read_tensors(path: Path, label: str) -> dict[str, Tensor]:
    """Return every named tensor of a weights file; nothing in the file is executed.

    A checkpoint's own wrappings are taken off: an outer `state_dict` or `model`, and DataParallel's `module.`.
    """
    import torch
    from safetensors.torch import load_file

    from harness.padim.isolation import silence

    _refuse_packed(path, label)
    try:
        with silence():
            content = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except Exception as error:  # Whatever a damaged or hostile file makes of the reader.
        raise RequestError(
            f"backbone.weights: {label} is damaged, or not a file of nothing but tensors "
            f"({type(error).__name__}); save a state dict as .safetensors, or download the file again"
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise RequestError(f"backbone.weights: {label} holds no named tensors; a state dict is expected")
    return tensors


def _refuse_packed(path: Path, label: str) -> None:
    """Refuse a checkpoint whose tensors are compressed: torch never does so, and a small file could fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
            unpacked = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise RequestError(f"backbone.weights: {label} is damaged ({error}); download the file again") from error
    if packed or unpacked > path.stat().st_size:
        raise RequestError(f"backbone.weights: {label} is compressed; save it again by torch.save or as .safetensors")


def _fitting_state(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Return a copy for each tensor of the network, of its type; what the file holds besides is left out."""
    import torch

    state, missing, odd, misshapen, not_finite = {}, [], [], [], []
    for name, current in wanted.items():
        # timm flattens a network's first level: its stages_0.x is stages.0.x in the file.
        tensor = given.get(name, given.get(name.replace("_", ".", 1)))
        if tensor is None:
            # Counts training steps; nothing reads it in eval mode, and many files leave it out.
            if name.endswith("num_batches_tracked"):
                state[name] = torch.zeros((), dtype=current.dtype)
            else:
                missing.append(name)
        elif not _is_plain(tensor) and not name.endswith("num_batches_tracked"):
            odd.append(f"{name} is {'meta' if tensor.is_meta else tensor.layout}, {tensor.dtype}".replace("torch.", ""))
        elif tensor.shape != current.shape:
            misshapen.append(f"{name} is {list(tensor.shape)}, not {list(current.shape)}")
        elif not bool(tensor.isfinite().all()):
            not_finite.append(name)
        else:
            state[name] = tensor.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
    for trouble, names in (
        ("lacks", missing),
        ("holds no plain floating-point tensors:", odd),
        ("is of another network:", misshapen),
        ("has a NaN or an infinity in", not_finite),
    ):
        if names:
            more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            raise RequestError(f"backbone.weights: {label} {trouble} {', '.join(names[:_SHOWN_NAMES])}{more}")
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that can be copied as they are: no sparse, quantised, complex or empty shell."""
    import torch

    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return tensor.layout == torch.strided and not tensor.is_meta and tensor.dtype in dtypes


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
    recipe = ["random", architecture, drawn_by, _RANDOM_SEED, "once"]  # Not twice, as anomalib does.
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
