"""The backbone: timm's frozen network up to the last layer that is read, with its weights in it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from harness.errors import RequestError
from harness.padim.isolation import preserved_random_state, silence
from harness.padim.weights import PACKAGES, RANDOM_SEED, timm_names

if TYPE_CHECKING:
    from anomalib.models.components import TimmFeatureExtractor
    from timm.models import FeatureListNet
    from torch import Tensor

    from harness.config import BackboneConfig
    from harness.padim.weights import Weights

_SHOWN_NAMES = 4
"""Tensors that an error names before it says how many more there are."""
_PROBE_SIDE = 64
_TOLERANCE = 1e-4
"""Of the probe's features, relative to the largest: rounding stays a hundred times below, a wrong pair far above."""


def load_timm(backbone: BackboneConfig, weights: Weights) -> FeatureListNet:
    """Return timm's network with the weights in it, on the CPU, in eval mode, without gradients.

    Called with images (B, 3, H, W) it gives a list of features (B, C, h, w), one for each of `backbone.layers`: bit for
    bit those of anomalib's TimmFeatureExtractor, without the seconds that importing anomalib takes. It computes nothing
    behind the last layer that is read. The caller's generators are left as they were.

    Raises:
        RequestError: timm has no such architecture or layers, or they are not what `backbone` says; the file cannot be
            read safely, or it lacks tensors, or some have another shape or hold a NaN or an infinity: it names them.
    """
    with preserved_random_state(), silence():
        if weights.path is None:
            return _build(backbone, "cpu").eval().requires_grad_(False)
        tensors = read_tensors(weights.path, weights.label)
        if weights.source == "package":
            tensors = timm_names(tensors, PACKAGES[str(backbone.package)])
        # On the meta device numbers that the file replaces are not drawn.
        network = _build(backbone, "meta")
        state = _fitting_state(network.state_dict(), tensors, f"{weights.label} for {backbone.name}")
        if not {name for name, _ in network.named_buffers()} <= set(state):
            # Buffers that no file holds are computed when the network is made.
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
    with preserved_random_state(), silence():
        from anomalib.models.components import TimmFeatureExtractor

        extractor = TimmFeatureExtractor(backbone.architecture, layers=list(backbone.layers), pre_trained=False)
    extractor.feature_extractor = network
    return extractor.eval().requires_grad_(False)


def _build(backbone: BackboneConfig, device: str) -> FeatureListNet:
    """Return timm's network, its numbers drawn from RANDOM_SEED on the CPU, and without numbers on the meta device."""
    import timm

    if not timm.is_model(backbone.architecture):
        raise RequestError(
            f"backbone.architecture={backbone.architecture}: timm {timm.__version__} has no such network"
        )
    with torch.device("meta"):  # only to know the names
        outline: Any = timm.create_model(backbone.architecture, features_only=True, exportable=True)
    available = [info["module"] for info in outline.feature_info.info]
    # anomalib only warns of a layer that is not there, and goes on without it.
    unknown = [layer for layer in backbone.layers if layer not in available]
    if unknown:
        raise RequestError(
            f"backbone.layers: {backbone.architecture} has no {', '.join(unknown)}; it has {', '.join(available)}"
        )
    torch.manual_seed(RANDOM_SEED)
    with torch.device(device):
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
    # timm leaves out what it does not need in every network whose modules it lists one by one (ResNets, say), but runs
    # all stages of those that keep them in one `blocks` (EfficientNets).
    numbers = [re.fullmatch(r"blocks\.(\d+)", layer) for layer in backbone.layers]
    if all(numbers):
        network.blocks = network.blocks[: 1 + max(int(number[1]) for number in numbers if number)]
    return network  # type: ignore[no-any-return]


def read_tensors(path: Path, label: str) -> dict[str, Tensor]:
    """Return every named tensor of a weights file; nothing in the file is executed.

    A checkpoint's own wrappings are taken off: an outer `state_dict` or `model`, and DataParallel's `module.`.

    Raises:
        RequestError: the file is damaged, or holds something else than tensors.
    """
    from safetensors.torch import load_file

    try:
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
    named = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name).removeprefix("module."): value for name, value in named if isinstance(value, torch.Tensor)}
    if not tensors:
        raise RequestError(f"backbone.weights: {label} holds no named tensors; a state dict is expected")
    return tensors


def _fitting_state(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Return a copy for each tensor of the network, of its type; what the file holds besides is left out."""
    state: dict[str, Tensor] = {}
    troubles: dict[str, list[str]] = {}
    for name, current in wanted.items():
        # timm flattens a network's first level: its stages_0.x is stages.0.x in the file.
        tensor = given.get(name, given.get(name.replace("_", ".", 1)))
        counter = name.endswith("num_batches_tracked")  # nothing reads it in eval mode, and many files leave it out
        if tensor is None and counter:
            state[name] = torch.zeros((), dtype=current.dtype)
        elif tensor is None:
            troubles.setdefault("lacks", []).append(name)
        elif not counter and not _is_plain(tensor):
            kind = f"{'meta' if tensor.is_meta else tensor.layout}, {tensor.dtype}".replace("torch.", "")
            troubles.setdefault("holds no plain floating-point tensors:", []).append(f"{name} is {kind}")
        elif tensor.shape != current.shape:
            shapes = f"{name} is {list(tensor.shape)}, not {list(current.shape)}"
            troubles.setdefault("is of another network:", []).append(shapes)
        elif not bool(tensor.isfinite().all()):
            troubles.setdefault("has a NaN or an infinity in", []).append(name)
        else:
            state[name] = tensor.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
    for trouble, names in troubles.items():
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        raise RequestError(f"backbone.weights: {label} {trouble} {', '.join(names[:_SHOWN_NAMES])}{more}")
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that can be copied as they are: no sparse, quantised, complex or empty shell."""
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return tensor.layout == torch.strided and not tensor.is_meta and tensor.dtype in dtypes


def quickened(network: Any) -> Any:
    """Return a network in channels-last format that gives the same features, to float32 rounding, in less time.

    In eval mode a batch norm is a scale and a shift of each channel, so it goes into the convolution before it. Which
    norm follows which convolution is taken from the order in which a module lists its parts; that is a guess, so the
    result is compared with the original on one probe image, and dropped if it differs.

    Args:
        network: a torch module in eval mode that gives a list of features (B, C, h, w); it is left as it is.
    """
    fused = copy.deepcopy(network)
    for module in list(fused.modules()):
        for name, following in pairwise(list(module._modules)):
            convolution, norm = module._modules[name], module._modules[following]
            if isinstance(convolution, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                module._modules[name] = fuse_conv_bn_eval(convolution.double(), norm.double()).float()
                # timm's BatchNormAct2d holds the activation, too.
                rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
                module._modules[following] = torch.nn.Sequential(*rest)
    fused = fused.to(memory_format=torch.channels_last)
    probe = torch.linspace(-2, 2, 3 * _PROBE_SIDE**2).reshape(1, 3, _PROBE_SIDE, _PROBE_SIDE)
    with torch.inference_mode():
        same = all(_close(ours, theirs) for ours, theirs in zip(fused(probe), network(probe), strict=True))
    return fused if same else copy.deepcopy(network).to(memory_format=torch.channels_last)


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max())
