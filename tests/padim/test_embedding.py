"""Patch embeddings equal anomalib's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.padim.backbone import load_network, resolve_weights
from harness.padim.embedding import FeatureReader, Selection, nearest_rows
from harness.padim.isolation import preserved_random_state
from tests.padim.sources import LITE0, RESNET18


@pytest.fixture(scope="module")
def network():
    return load_network(RESNET18, resolve_weights(RESNET18))


@pytest.fixture(scope="module")
def anomalibs_own(network):
    """anomalib's embeddings (B, D, H, W) of images."""
    from anomalib.models.image.padim.torch_model import PadimModel

    with preserved_random_state():
        model = PadimModel("resnet18", ["layer1", "layer2", "layer3"], pre_trained=False, n_features=1)

    def embed(indices: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        model.idx = torch.from_numpy(indices)
        with torch.no_grad():
            return model.generate_embedding(network(images))

    return embed


@pytest.mark.parametrize("size", [(64, 64), (224, 224), (100, 84), (33, 250), (225, 225), (32, 32)])
@pytest.mark.parametrize("n_features", [448, 100, 3])
def test_embeddings_are_anomalibs(network, anomalibs_own, size, n_features):
    rng = np.random.default_rng(n_features)
    indices = rng.permutation(448)[:n_features]
    images = torch.randn(2, 3, *size)
    reader = FeatureReader(network)
    layers = reader.read(images, "test")
    ours = Selection(indices, reader.channels)(layers, reader.rows)
    expected = anomalibs_own(indices, images)
    assert reader.grid == tuple(expected.shape[-2:])
    assert torch.equal(ours, expected.flatten(2).permute(2, 1, 0))


@pytest.mark.parametrize("kept", [[5], [63, 0], [64, 191], [447, 300, 192], [10, 70, 200]])
def test_layers_of_which_nothing_is_kept(network, anomalibs_own, kept):
    images = torch.randn(1, 3, 48, 48)
    reader = FeatureReader(network)
    ours = Selection(np.array(kept), reader.channels)(reader.read(images, "test"), reader.rows)
    expected = anomalibs_own(np.array(kept), images)
    assert torch.equal(ours, expected.flatten(2).permute(2, 1, 0))


@pytest.mark.parametrize("grids", [[(56, 56), (28, 28)], [(57, 57), (29, 29), (15, 15)], [(7, 30), (4, 15), (3, 1)]])
def test_rows_are_torchs_nearest_cells(grids):
    for rows, grid in zip(nearest_rows(grids), grids, strict=True):
        values = torch.randn(1, 1, *grid)
        expected = torch.nn.functional.interpolate(values, size=grids[0], mode="nearest")
        assert torch.equal(values.flatten()[rows], expected.flatten())


def test_the_same_for_an_efficientnet():
    from anomalib.models.image.padim.torch_model import PadimModel

    network = load_network(LITE0, resolve_weights(LITE0))
    model = PadimModel(LITE0.architecture, list(LITE0.layers), pre_trained=False, n_features=100)
    images = torch.randn(2, 3, 96, 96)
    reader = FeatureReader(network)
    ours = Selection(model.idx.numpy(), reader.channels)(reader.read(images, "test"), reader.rows)
    assert torch.equal(ours, model.generate_embedding(network(images)).flatten(2).permute(2, 1, 0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_located(value):
    class Broken(torch.nn.Module):
        out_dims = (2, 3)

        def forward(self, images):
            features = {"layer1": torch.zeros(len(images), 2, 8, 8), "layer2": torch.zeros(len(images), 3, 4, 4)}
            if bool((images == 1).any()):
                features["layer2"][1, 2, 3, 0] = value
            return features

    reader = FeatureReader(Broken())
    reader.read(torch.zeros(4, 3, 32, 32), "training")
    with pytest.raises(DataError) as caught:
        reader.read(torch.ones(3, 3, 32, 32), "training")
    line = str(caught.value)
    assert f"gives {value} in layer2 of training images 5 to 7" in line
    assert "row 3, column 0, channel 2 of image 2 among them" in line
