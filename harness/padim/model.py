"""A fitted PaDiM as anomalib's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.padim.workers import same_place

if TYPE_CHECKING:
    from anomalib.models.image.padim.torch_model import PadimModel
    from timm.models import FeatureListNet

    from harness.config import BackboneConfig
    from harness.padim.gaussian import Fitted
    from harness.padim.workers import Workers

_FLOAT_BYTES = 4
_COPIES = 4
"""Of each covariance in a chunk while it is put together, factored and inverted."""


def to_anomalib(
    fitted: Fitted,
    indices: np.ndarray,
    network: FeatureListNet,
    backbone: BackboneConfig,
    *,
    blur_sigma: int,
    workers: Workers,
) -> PadimModel:
    """Return anomalib's model, fitted: called with normalised images it gives the same maps, to float32 rounding.

    It keeps the inverse covariances of all locations, so this needs their memory, and that of one more copy.

    Args:
        indices: (D,) int64, the kept channels in the order drawn; `fitted` is of these.
        network: as `load_timm` gives it.
    """
    import torch
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.padim.backbone import in_extractor
    from harness.padim.isolation import preserved_random_state

    with preserved_random_state():
        model = PadimModel(
            backbone=backbone.architecture, layers=list(backbone.layers), pre_trained=False, n_features=len(indices)
        )
    model.feature_extractor = in_extractor(network, backbone)
    n_locations, device = fitted.grid.n_locations, fitted.means[0].device
    # Ours stand layer by layer and rising; anomalib's as they were drawn.
    drawn = torch.from_numpy(np.argsort(np.argsort(indices))).to(device)
    inverse = torch.empty(n_locations, len(indices), len(indices), device=device)

    def invert(locations: slice) -> None:
        upper, _ = fitted.factor(locations)
        inverse[locations] = torch.cholesky_inverse(upper, upper=True)[:, drawn][:, :, drawn]

    bytes_per_location = _COPIES * _FLOAT_BYTES * len(indices) ** 2
    workers.for_each_chunk(invert, n_locations, bytes_per_location, multiple=same_place(len(indices) ** 2))
    model.idx = torch.from_numpy(indices).to(device)
    model.gaussian.mean = fitted.mean(slice(0, n_locations))[:, drawn].T.contiguous()
    model.gaussian.inv_covariance = inverse
    if blur_sigma:
        model.anomaly_map_generator = AnomalyMapGenerator(sigma=blur_sigma)
    else:
        model.anomaly_map_generator.add_module("blur", torch.nn.Identity())
    return model.eval().to(device)
