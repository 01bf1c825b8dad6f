"""Which feature channels a variant keeps: drawn as anomalib draws them, 1.x or 2.x."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import random
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.config import BackboneConfig
    from harness.padim.engine import Variant


def draw_indices(variant: Variant, backbone: BackboneConfig) -> np.ndarray:
    """Return (n_features,) int64 indices into the concatenated channels of the backbone's layers, in the order drawn.

    `anomalib_v1` is `random.Random(seed).sample(range(n_channels), n_features)`. `anomalib_v2` is what
    `seed_everything(seed); Padim(...)` draws: it depends on timm's and torch's versions, and not on the weights, since
    loading them draws nothing. The caller's generators are left as they were.

    Raises:
        RequestError: n_features is not between 1 and the number of channels.
    """
    n_features, n_channels = variant.n_features, backbone.n_channels
    if not 0 < n_features <= n_channels:
        raise RequestError(f"n_features={n_features}: {backbone.name} has {n_channels} channels, so 1 to {n_channels}")
    if variant.index_sampler == "anomalib_v1":
        # Not for secrets: the draw is to be repeated.
        return np.array(random.Random(variant.seed).sample(range(n_channels), n_features), dtype=np.int64)
    if variant.index_sampler == "anomalib_v2":
        return _anomalib_v2_order(variant.seed, backbone.architecture, backbone.layers)[:n_features].copy()
    raise RequestError(f"protocol.index_sampler={variant.index_sampler}: anomalib_v1 or anomalib_v2")


def indices_sha256(indices: np.ndarray) -> str:
    """Return the sha256, in hex, of the indices as little-endian int64."""
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def index_versions(index_sampler: str) -> Mapping[str, str] | None:
    """Return the versions of timm and torch where the draw depends on them, else None."""
    if index_sampler != "anomalib_v2":
        return None
    return {name: importlib.metadata.version(name) for name in ("timm", "torch")}


@functools.lru_cache(maxsize=64)
def _anomalib_v2_order(seed: int, architecture: str, layers: tuple[str, ...]) -> np.ndarray:
    """Return all channels in the order of which `Padim` keeps the first n_features."""
    import torch

    from harness.padim.isolation import preserved_random_state, silence

    with preserved_random_state(), silence():
        import timm

        torch.manual_seed(seed)
        # Initialising weights moves the generator on, by an amount that depends on the architecture. PadimModel's
        # feature extractor does it twice before anything is drawn: once to look up the layers, once to keep. The same
        # by timm alone spares the seconds that importing anomalib takes.
        outline: Any = timm.create_model(architecture, pretrained=False, features_only=True, exportable=True)
        names = [info["module"] for info in outline.feature_info.info]
        network: Any = timm.create_model(
            architecture,
            pretrained=False,
            pretrained_cfg=None,
            features_only=True,
            exportable=True,
            out_indices=[names.index(layer) for layer in layers],
        )
        return torch.randperm(sum(network.feature_info.channels())).numpy()
