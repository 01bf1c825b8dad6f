"""What the engines `streaming` and `reference` take, and which channels they keep; torch is imported only to draw."""

import functools
import hashlib
import importlib.metadata
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.config.settings import BackboneConfig, PreprocessingConfig
from harness.errors import RequestError
from harness.models.padim.plan import PadimPlan
from harness.models.weights import Weights

ANOMALIB_EPSILON = 0.01001
"""What anomalib 2.7 adds to the diagonal: 0.01 to the covariance, then 1e-5 to stabilise it."""
_ANOMALIB_BLUR_SIGMA = 4


@dataclass(frozen=True)
class Draw:
    """Which feature channels are kept."""

    seed: int
    n_features: int
    index_sampler: str


@dataclass(frozen=True)
class Variant:
    """What may differ between runs that share one backbone pass; in this order, the last first, most is shared."""

    draw: Draw
    epsilon: float
    blur_sigma: int


@dataclass(frozen=True)
class Work:
    """What an engine does in one pass."""

    backbone: BackboneConfig
    weights: Weights
    preprocessing: PreprocessingConfig
    variants: tuple[Variant, ...]
    device: str
    plan: PadimPlan


def draw_indices(draw: Draw, backbone: BackboneConfig) -> np.ndarray:
    """Return (n_features,) int64 indices into the concatenated channels of the backbone's layers, in the order drawn.

    `anomalib_v1` is `random.Random(seed).sample(range(n_channels), n_features)`. `anomalib_v2` is what
    `seed_everything(seed); Padim(...)` draws: it depends on timm's and torch's versions, and not on the weights, since
    loading them draws nothing.
    """
    n_features, n_channels = draw.n_features, backbone.n_channels
    if draw.index_sampler == "anomalib_v1":
        # Not for secrets: the draw is to be repeated.
        return np.array(random.Random(draw.seed).sample(range(n_channels), n_features), dtype=np.int64)
    return _anomalib_v2_order(draw.seed, backbone.architecture, backbone.layers)[:n_features].copy()


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
    import torch

    from harness.models.compute import silence

    with torch.random.fork_rng(devices=[]), silence():
        import timm

        torch.manual_seed(seed)
        # Initialising weights moves the generator on, by an amount that depends on the architecture. PadimModel's
        # feature extractor does it twice before anything is drawn: once to look up the layers, once to keep. The same
        # by timm alone spares the seconds that importing anomalib takes.
        create = functools.partial(timm.create_model, architecture, features_only=True, exportable=True)
        outline: Any = create()
        names = [info["module"] for info in outline.feature_info.info]
        network: Any = create(out_indices=[names.index(layer) for layer in layers])
        return torch.randperm(sum(network.feature_info.channels())).numpy()


def blur_reach(sigma: float) -> int:
    """Return how many pixels a Gaussian blur's kernel covers on either side, as kornia and anomalib cut it off."""
    return int(4.0 * sigma + 0.5)


def check_blur(sigma: float, size: tuple[int, int]) -> None:
    """Refuse a blur whose border cannot be reflected.

    Args:
        sigma: in pixels; 0 for no blur.
        size: (height, width) of what is blurred, in pixels.

    Raises:
        RequestError: a side has no more pixels than the kernel reaches.
    """
    reach = blur_reach(sigma)
    if min(size) <= reach:
        raise RequestError(
            f"model.blur_sigma={sigma} reaches {reach} pixels and each side of the input must be larger, "
            f"but it is {size[0]}x{size[1]}: lower model.blur_sigma or enlarge preprocessing.center_crop"
        )


def check_reference(blur_sigma: int) -> None:
    """Refuse what anomalib's Engine cannot do.

    Raises:
        RequestError: another blur than anomalib's.
    """
    if blur_sigma != _ANOMALIB_BLUR_SIGMA:
        raise RequestError(
            f"model.blur_sigma={blur_sigma}: engine=reference always blurs with {_ANOMALIB_BLUR_SIGMA}; "
            "take engine=streaming"
        )
