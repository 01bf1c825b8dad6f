"""The backbone: timm's frozen network up to the last layer that is read, with its weights in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError
from harness.padim.outline import no_numbers
from harness.padim.packages import PACKAGES, timm_names
from harness.padim.timm_import import import_timm
from harness.padim.weights import RANDOM_SEED
from harness.padim.weights_file import fitting_state, read_tensors

if TYPE_CHECKING:
    from anomalib.models.components import TimmFeatureExtractor
    from timm.models import FeatureListNet

    from harness.config import BackboneConfig
    from harness.padim.weights import Weights


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

    tensors = read_tensors(weights.path, weights.label) if weights.path else None
    with preserved_random_state(), silence():  # Importing timm warns of what is old in it.
        torch.manual_seed(RANDOM_SEED)
        # Numbers that a file replaces are not drawn.
        network = _build(backbone, "cpu" if tensors is None else "meta")
    if tensors is not None:
        if weights.source == "package":
            tensors = timm_names(tensors, PACKAGES[str(backbone.package)])
        state = fitting_state(network.state_dict(), tensors, f"{weights.label} for {backbone.name}")
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
