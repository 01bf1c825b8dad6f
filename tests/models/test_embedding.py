"""Patch embeddings equal anomalib's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.models.padim.embedding import FeatureReader, Grid, channels_by_layer
from harness.models.weights import resolve_weights
from tests.models.conftest import load_once
from tests.models.sources import RESNET18


@pytest.fixture(scope="module")
def network():
    return load_once(RESNET18, resolve_weights(RESNET18))


@pytest.fixture(scope="module")
def anomalibs_own(network):
    """anomalib's embeddings (B, D, H, W) of images."""
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel("resnet18", ["layer1", "layer2", "layer3"], pre_trained=False, n_features=1)

    def embed(indices: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        model.idx = torch.from_numpy(indices)
        with torch.no_grad():
            return model.generate_embedding(network(images))

    return embed


def embed(reader: FeatureReader, images: torch.Tensor) -> tuple[tuple[int, int], torch.Tensor]:
    """The grid, and what every location reads, put side by side: (L, D, B)."""
    layers, grids = reader(images, "test images")
    grid = Grid.of(grids)
    return grid.shape, torch.cat([layer[rows] for layer, rows in zip(layers, grid.rows, strict=True)], dim=1)


def assert_anomalibs(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    # The memory format moves the rounding of a convolution.
    assert torch.allclose(ours, theirs.flatten(2).permute(2, 1, 0), rtol=1e-4, atol=1e-5 * theirs.abs().max())


@pytest.mark.parametrize("size", [(64, 64), (33, 250), (225, 225)])
@pytest.mark.parametrize("indices", [np.random.default_rng(0).permutation(448), np.array([63, 0]), np.array([447, 70])])
def test_embeddings_are_anomalibs(network, anomalibs_own, size, indices):
    images = torch.randn(2, 3, *size)
    channels = channels_by_layer(indices, RESNET18.channels)
    shape, ours = embed(FeatureReader(network.feature_extractor, RESNET18.layers, channels), images)
    expected = anomalibs_own(np.sort(indices), images)
    assert shape == tuple(expected.shape[-2:])
    assert_anomalibs(ours, expected)


@pytest.mark.parametrize("grids", [[(56, 56), (28, 28), (14, 14)], [(57, 57), (29, 29), (15, 15)], [(7, 3), (4, 5)]])
def test_pairs_of_cells_are_those_that_locations_read(grids):
    grid = Grid.of(grids)
    assert [len(rows) for rows in grid.rows] == [grids[0][0] * grids[0][1]] * len(grids)
    assert len(grid.pairs) == len(grids) * (len(grids) + 1) // 2
    for pair in grid.pairs:
        assert torch.equal(pair.first_cells[pair.rows], grid.rows[pair.first])
        assert torch.equal(pair.second_cells[pair.rows], grid.rows[pair.second])
        together = set(zip(pair.first_cells.tolist(), pair.second_cells.tolist(), strict=True))
        assert len(together) == len(pair.first_cells), "no pair is there twice"
    counts = [len(pair.first_cells) for pair in Grid.of([(56, 56), (28, 28), (14, 14)]).pairs]
    assert counts == [3136, 3136, 3136, 784, 784, 196]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_located(value):
    def broken(images: torch.Tensor) -> list[torch.Tensor]:
        layers = [torch.zeros(len(images), 2, 8, 8), torch.zeros(len(images), 3, 4, 4)]
        if bool((images == 1).any()):
            layers[1][1, 2, 3, 0] = value
        return layers

    reader = FeatureReader(broken, ["layer1", "layer2"], channels_by_layer(np.arange(5), (2, 3)))
    reader(torch.zeros(4, 3, 32, 32), "training images 1 to 4")
    with pytest.raises(DataError) as caught:
        reader(torch.ones(3, 3, 32, 32), "training images 5 to 7")
    line = str(caught.value)
    assert f"gives {value} in layer2 of training images 5 to 7" in line
    assert "row 3, column 0, channel 2 of image 2 among them" in line
