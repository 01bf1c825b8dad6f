"""A quickened network computes the same features, and is dropped where it would not."""

from __future__ import annotations

import pytest
import torch

from harness.padim.backbone import load_timm
from harness.padim.fusing import quickened
from harness.padim.weights import resolve_weights
from tests.padim.sources import LITE0, RESNET18


def unlike_one(network):
    """Give the norms the statistics of a trained network: at their first values folding them changes nothing."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -1, 1),
                (module.running_var, 0.2, 3),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
            ):
                values.data.uniform_(low, high, generator=generator)
    return network


@pytest.mark.parametrize("backbone", [RESNET18, LITE0], ids=lambda backbone: backbone.name)
def test_features_stay(backbone):
    network = unlike_one(load_timm(backbone, resolve_weights(backbone)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quick = quickened(network)
    images = torch.randn(2, 3, 96, 80)
    with torch.inference_mode():
        for ours, theirs in zip(quick(images), network(images), strict=True):
            assert ours.shape == theirs.shape
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in quick.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Odd(torch.nn.Module):
    """Lists a norm right behind a convolution that it does not follow."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, images):
        return [self.norm(self.second(self.first(images)).relu())]


def test_a_norm_that_stands_elsewhere_is_left_alone():
    odd = unlike_one(Odd()).eval().requires_grad_(False)
    quick = quickened(odd)
    images = torch.randn(2, 3, 20, 20)
    assert torch.allclose(quick(images)[0], odd(images)[0], rtol=1e-5, atol=1e-5)
    assert isinstance(quick.norm, torch.nn.BatchNorm2d)


class Plain(torch.nn.Module):
    def __init__(self, *, bias, affine):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3, bias=bias, groups=1)
        self.norm = torch.nn.BatchNorm2d(4, affine=affine)

    def forward(self, images):
        return [self.norm(self.convolution(images))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_with_and_without_bias_and_scale(bias, affine):
    network = Plain(bias=bias, affine=affine).eval().requires_grad_(False)
    network.norm.running_mean.uniform_(-1, 1)
    network.norm.running_var.uniform_(0.2, 3)
    quick = quickened(network)
    assert isinstance(quick.norm, torch.nn.Sequential)
    images = torch.randn(2, 3, 12, 12)
    assert torch.allclose(quick(images)[0], network(images)[0], rtol=1e-5, atol=1e-5)
