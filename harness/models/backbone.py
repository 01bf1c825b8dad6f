"""The backbone: timm's frozen network up to the last layer that is read, with its weights in it."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from harness.errors import RequestError
from harness.models.compute import silence
from harness.models.weights import RANDOM_SEED, Weights

if TYPE_CHECKING:
    from anomalib.models.components import TimmFeatureExtractor
    from timm.models import FeatureListNet
    from torch import Tensor

    from harness.config.settings import BackboneConfig

_PROBE_SIDE = 64
_TOLERANCE = 1e-4
"""Of the probe's features, relative to the largest: rounding stays a hundred times below, a wrong pair far above."""


def load_timm(backbone: BackboneConfig, weights: Weights) -> FeatureListNet:
    """Return timm's network with the weights in it, on the CPU, in eval mode, without gradients.

    From images (B, 3, H, W) it gives a list of features (B, C, h, w), one for each of `backbone.layers`: bit for bit
    those of anomalib's TimmFeatureExtractor. It computes nothing behind the last layer that is read.

    Raises:
        RequestError: timm has no such architecture or layers, or they are not what `backbone` says; the file cannot be
            read safely, or it lacks a tensor, or one has another shape or holds a NaN or an infinity: it names it.
    """
    with torch.random.fork_rng(devices=[]), silence():
        if weights.path is None:
            return _build(backbone, "cpu").eval().requires_grad_(False)
        # On the meta device numbers that the file replaces are not drawn.
        network = _build(backbone, "meta")
        state = _read_state(network, backbone, weights.path, weights)
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
    network = load_timm(backbone, weights)
    with torch.random.fork_rng(devices=[]), silence():
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
    create = functools.partial(timm.create_model, backbone.architecture, features_only=True, exportable=True)
    with torch.device("meta"):  # only to know the names
        outline: Any = create()
    available = [info["module"] for info in outline.feature_info.info]
    # anomalib only warns of a layer that is not there, and goes on without it.
    unknown = [layer for layer in backbone.layers if layer not in available]
    if unknown:
        raise RequestError(
            f"backbone.layers: {backbone.architecture} has no {', '.join(unknown)}; it has {', '.join(available)}"
        )
    torch.manual_seed(RANDOM_SEED)
    with torch.device(device):
        network: Any = create(out_indices=[available.index(layer) for layer in backbone.layers])
    channels, reductions = tuple(network.feature_info.channels()), tuple(network.feature_info.reduction())
    if (channels, reductions) != (backbone.channels, backbone.reductions):
        raise RequestError(
            f"backbone {backbone.name}: its layers have channels {list(channels)} and reductions {list(reductions)}, "
            f"not {list(backbone.channels)} and {list(backbone.reductions)}"
        )
    _cut(network)
    return network  # type: ignore[no-any-return]


def _cut(network: Any) -> None:
    """Take the stages behind the last layer that is read out of one of timm's feature networks.

    timm does so by itself, but not in networks that keep their stages in one `blocks` (EfficientNets).
    """
    numbers = [re.fullmatch(r"blocks\.(\d+)", layer) for layer in network.feature_info.module_name()]
    if all(numbers):
        network.blocks = network.blocks[: 1 + max(int(number[1]) for number in numbers if number)]


@contextmanager
def weights_of_ours(backbone: BackboneConfig, weights: Weights) -> Iterator[None]:
    """Give our weights to the networks that a model of anomalib asks timm for, once it has made all that it makes.

    Only networks that it asks for as pretrained get them. Nothing is downloaded, and the model draws the same random
    numbers as with timm's own weights.

    Raises:
        RequestError: as `load_timm`; or the model asked for no pretrained network.
    """
    import timm

    create = timm.create_model
    asked: list[tuple[Any, Callable[[], Any]]] = []

    def create_fresh(model_name: str, pretrained: bool = False, **options: Any) -> Any:
        network = create(model_name, pretrained=False, **options)
        if options.get("features_only"):
            _cut(network)
        if pretrained:
            asked.append((network, functools.partial(create, model_name, pretrained=False, **options)))
        return network

    with patch.object(timm, "create_model", create_fresh):
        yield
    if not asked:
        raise RequestError(
            f"backbone={backbone.name}: the model asks timm for no pretrained network; take another model"
        )
    with torch.random.fork_rng(devices=[]):
        for network, again in asked:
            if weights.path is None:
                torch.default_generator.manual_seed(RANDOM_SEED)
                wanted = again()
                _cut(wanted)
                state = wanted.state_dict()
            else:
                state = _read_state(network, backbone, weights.path, weights)
            network.load_state_dict(state)


def read_tensors(path: Path, label: str) -> dict[str, Tensor]:
    """Return every named tensor of a weights file; nothing in the file is executed.

    timm takes a checkpoint's own wrappings off: an outer `state_dict` or `model`, and DataParallel's `module.`.

    Raises:
        RequestError: the file is damaged, or holds something else than tensors.
    """
    from timm.models import load_state_dict

    try:
        named = load_state_dict(str(path), use_ema=False, weights_only=True)
        return {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    except Exception as error:  # Whatever a damaged or hostile file makes of the reader.
        raise RequestError(
            f"backbone.weights: {label} is damaged, or holds more than named tensors "
            f"({type(error).__name__}); save a state dict as .safetensors, or download the file again"
        ) from error


def _read_state(network: Any, backbone: BackboneConfig, path: Path, weights: Weights) -> dict[str, Tensor]:
    wanted = network.state_dict()
    tensors = read_tensors(path, weights.label)
    if weights.source == "package":  # the file's digest says that it is the one that stands in timm's order
        tensors = dict(zip(wanted, tensors.values(), strict=False))
    return _fitting_state(wanted, tensors, f"{weights.label} for {backbone.name}")


def _fitting_state(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Return a copy for each tensor of the network, of its type; what the file holds besides is left out."""
    state: dict[str, Tensor] = {}
    for name, current in wanted.items():
        # timm flattens a network's first level: its stages_0.x is stages.0.x in the file.
        tensor = given.get(name, given.get(name.replace("_", ".", 1)))
        if name.endswith("num_batches_tracked"):  # nothing reads it in eval mode, and many files leave it out
            state[name] = torch.zeros((), dtype=current.dtype)
            continue
        if tensor is None:
            trouble = f"lacks {name}"
        elif tensor.is_meta or tensor.layout != torch.strided or not tensor.dtype.is_floating_point:
            trouble = f"holds no plain floating-point numbers in {name}"
        elif tensor.shape != current.shape:
            trouble = f"is of another network: {name} is {list(tensor.shape)}, not {list(current.shape)}"
        elif not bool(tensor.isfinite().all()):
            trouble = f"has a NaN or an infinity in {name}"
        else:
            state[name] = tensor.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
            continue
        raise RequestError(f"backbone.weights: {label} {trouble}; give a file of this network's weights")
    return state


def quickened(network: Any) -> Any:
    """Return a network in channels-last format that gives the same features, to float32 rounding, in less time.

    Each batch norm goes into the convolution before it. Which norm follows which convolution is guessed from the order
    of a module's parts; so the result is compared with the original on one image, and dropped if it differs.

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
        same = all(
            (ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max()
            for ours, theirs in zip(fused(probe), network(probe), strict=True)
        )
    return fused if same else copy.deepcopy(network).to(memory_format=torch.channels_last)
