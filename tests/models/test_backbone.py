"""Weights in timm's network: its own features, which files are refused, and the same features in less time."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from harness.errors import RequestError
from harness.models.backbone import load_network, load_timm, quickened
from harness.models.weights import Weights, resolve_weights
from tests.models.sources import LITE0, RESNET18


@pytest.fixture(scope="module")
def full_state() -> dict[str, torch.Tensor]:
    """A whole resnet18, layer4 and fc too, with batch-norm statistics that matter."""
    generator = torch.Generator().manual_seed(1)
    state = timm.create_model("resnet18").state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", "running_var", "bn2.weight")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return state


def with_file(path, state) -> tuple:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    config = replace(RESNET18, weights=str(path))
    return config, resolve_weights(config)


def refusal(config, weights: Weights | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        load_timm(config, weights or resolve_weights(config))
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_file_gives_timms_own_features(tmp_path, full_state, name):
    config, weights = with_file(tmp_path / name, full_state)
    assert weights == Weights("file", hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(), tmp_path / name, name)
    images = torch.randn(2, 3, 64, 48)
    network = load_network(config, weights)
    features = network(images)
    whole = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3)).eval()
    whole.load_state_dict({name: tensor for name, tensor in full_state.items() if name in whole.state_dict()})
    assert list(features) == ["layer1", "layer2", "layer3"]
    for ours, expected in zip(features.values(), whole(images), strict=True):
        assert torch.equal(ours, expected)
        assert not ours.requires_grad
    assert not network.training
    assert not any("layer4" in name or "fc" in name for name, _ in network.named_parameters())


def test_a_checkpoints_wrappings_are_taken_off(tmp_path, full_state):
    prefixed = {f"module.{name}": tensor for name, tensor in full_state.items()}
    for content in ({"state_dict": full_state, "epoch": 3}, {"model": prefixed}, prefixed):
        loaded = load_timm(*with_file(tmp_path / "weights.pth", content)).state_dict()
        assert all(torch.equal(tensor, full_state[name]) for name, tensor in loaded.items())


SPOILED = {
    "lacks conv1.weight": lambda tensor: None,
    "is of another network: conv1.weight is [128, 64, 3, 3], not [64, 3, 7, 7]": lambda _: torch.zeros(128, 64, 3, 3),
    "has a NaN or an infinity in conv1.weight": lambda tensor: tensor / 0,
}
NO_NUMBERS = [torch.Tensor.to_sparse, lambda t: t * 1j, lambda t: t.to(torch.int8), lambda t: t.to("meta")]


@pytest.mark.parametrize(
    ("trouble", "spoil"),
    [*SPOILED.items(), *(("holds no plain floating-point numbers in conv1.weight", spoil) for spoil in NO_NUMBERS)],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, full_state, trouble, spoil):
    state = {**full_state, "conv1.weight": spoil(full_state["conv1.weight"])}
    line = refusal(*with_file(tmp_path / "weights.pth", state))
    assert line.startswith(f"backbone.weights: weights.pth for resnet18 {trouble}")


def test_what_nobody_reads_does_not_matter(tmp_path, full_state):
    """Layer 4, and the counters of training steps, which many files leave out; half precision becomes float32."""
    state = {name: tensor.half() for name, tensor in full_state.items() if "num_batches" not in name}
    state["layer4.1.conv2.weight"] = state["layer4.1.conv2.weight"] / 0
    loaded = load_timm(*with_file(tmp_path / "weights.safetensors", state)).state_dict()
    assert torch.equal(loaded["conv1.weight"], full_state["conv1.weight"].half().float())


class Payload:
    """What a hostile file would run."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_and_hostile_files_and_those_of_other_things(tmp_path, full_state, suffix):
    """`tests/fuzz` has many more."""
    path = tmp_path / f"weights{suffix}"
    config, _ = with_file(path, full_state)
    content = path.read_bytes()
    hostile = {"state_dict": full_state, "extra": Payload(str(tmp_path / "executed"))}
    for spoiled in (b"", content[:10], content[: len(content) // 2], pickle.dumps(hostile)):
        path.write_bytes(spoiled)
        assert f"{path.name} is damaged, or holds more than named tensors" in refusal(config)
    for thing in (hostile, torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {}):
        torch.save(thing, tmp_path / "thing.pth")
        line = refusal(replace(RESNET18, weights=str(tmp_path / "thing.pth")))
        assert "more than named tensors" in line or "lacks conv1.weight" in line
    assert not (tmp_path / "executed").exists()


def test_random_weights_do_not_depend_on_the_run_nor_move_its_generator():
    weights = resolve_weights(RESNET18)
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = torch.rand(3)
        torch.manual_seed(seed)
        states.append(load_timm(RESNET18, weights).state_dict())
        assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["conv1.weight"].std() > 0
    assert weights.path is None
    assert resolve_weights(replace(LITE0, weights="random")).digest != weights.digest


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"architecture": "resnet17"}, "no such network"),
        ({"layers": ("layer1", "layer2", "layer9")}, "has no layer9; it has act1, layer1"),
        ({"channels": (64, 128, 512)}, "channels [64, 128, 256]"),
        ({"reductions": (4, 8, 8)}, "reductions [4, 8, 16]"),
    ],
)
def test_a_backbone_that_is_not_what_it_says(change, expected):
    assert expected in refusal(replace(RESNET18, **change), resolve_weights(RESNET18))


def test_an_efficientnet_stops_at_its_last_layer_and_has_its_packages_weights():
    network = load_timm(LITE0, resolve_weights(LITE0))
    images = torch.randn(2, 3, 224, 224)
    features = network(images)
    assert [tuple(layer.shape[1:]) for layer in features] == [(24, 56, 56), (40, 28, 28), (112, 14, 14)]
    assert len(network.blocks) == 5
    whole = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3)).eval()
    whole.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        for ours, expected in zip(features, whole(images), strict=True):
            assert torch.equal(ours, expected)


def test_names_that_timm_flattens(tmp_path):
    """timm calls ConvNeXt's stages.0 stages_0 in the extractor, but not in a file of weights."""
    model = timm.create_model("convnext_atto").eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    config = replace(
        RESNET18,
        architecture="convnext_atto",
        layers=("stages.0", "stages.1"),
        channels=(40, 80),
        reductions=(4, 8),
        weights=str(tmp_path / "weights.safetensors"),
    )
    features = load_timm(config, resolve_weights(config))(torch.ones(1, 3, 64, 64))
    with torch.no_grad():
        expected = model.forward_intermediates(torch.ones(1, 3, 64, 64), indices=[0, 1], intermediates_only=True)
    for ours, other in zip(features, expected, strict=True):
        assert torch.allclose(ours, other, atol=1e-6)


@pytest.mark.real
def test_the_real_weights_have_their_fingerprint(real_weights):
    config = replace(RESNET18, weights=str(real_weights))
    weights = resolve_weights(config)
    assert weights.digest == "b2bb3436d5e924be61be6bb64c674ce96ceeb94a60ac6fd506a7c489428810a6"
    features = load_timm(config, weights)(torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224))
    moments = [(layer.mean().item(), layer.std().item()) for layer in features]
    expected = [(0.444479, 0.370464), (0.113933, 0.190505), (0.099800, 0.214855)]
    assert np.allclose(moments, expected, atol=1e-5)


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
def test_a_quickened_networks_features_stay(backbone):
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
