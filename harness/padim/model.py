"""A fitted PaDiM, and the same as anomalib's own model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from anomalib.models.components import TimmFeatureExtractor
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.config import BackboneConfig
    from harness.padim.gaussian import Gaussian
    from harness.padim.workers import Workers


@dataclass(frozen=True)
class FittedPadim:
    """What fitting gives, besides the network."""

    indices: np.ndarray
    """(D,) int64: the kept channels."""
    grid: tuple[int, int]
    """(rows, columns) of the L locations, row by row."""
    gaussian: Gaussian


def to_anomalib(
    fitted: FittedPadim, network: TimmFeatureExtractor, backbone: BackboneConfig, *, blur_sigma: int, workers: Workers
) -> PadimModel:
    """Return anomalib's model, fitted: called with normalised images it gives the same maps, to float32 rounding.

    It keeps the inverse covariance, so this needs the memory of one more covariance.
    """
    import torch
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.padim.torch_model import PadimModel

    from harness.padim.isolation import preserved_random_state

    with preserved_random_state():
        model = PadimModel(
            backbone=backbone.architecture,
            layers=list(backbone.layers),
            pre_trained=False,
            n_features=len(fitted.indices),
        )
    model.feature_extractor = network
    device = fitted.gaussian.mean.device
    model.idx = torch.from_numpy(fitted.indices).to(device)
    model.gaussian.mean = fitted.gaussian.mean.T.contiguous()
    model.gaussian.inv_covariance = fitted.gaussian.inverse_covariance(workers)
    if blur_sigma:
        model.anomaly_map_generator = AnomalyMapGenerator(sigma=blur_sigma)
    else:
        model.anomaly_map_generator.add_module("blur", torch.nn.Identity())
    return model.eval().to(device)
