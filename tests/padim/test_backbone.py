"""Weights: where they are found, what their digest covers, and which files are refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from harness.errors import RequestError
from harness.padim.backbone import load_network, load_timm, quickened
from harness.padim.weights import Weights, resolve_weights
from tests.padim.sources import LITE0, RESNET18


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


def oracle(state, images) -> list[torch.Tensor]:
    """timm's own features of the whole network."""
    model = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3)).eval()
    model.load_state_dict({name: tensor for name, tensor in state.items() if name in model.state_dict()})
    with torch.no_grad():
        return model(images)


def refusal(config, weights: Weights | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        load_network(config, weights or resolve_weights(config))
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
    assert list(features) == ["layer1", "layer2", "layer3"]
    for ours, expected in zip(features.values(), oracle(full_state, images), strict=True):
        assert torch.equal(ours, expected)
        assert not ours.requires_grad
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any("layer4" in name or "fc" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}, lambda s: s])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoints_wrappings_are_taken_off(tmp_path, full_state, wrap, prefix):
    state = {prefix + name: tensor for name, tensor in full_state.items()}
    config, weights = with_file(tmp_path / "weights.pth", wrap(state))
    loaded = load_network(config, weights).feature_extractor.state_dict()
    assert all(torch.equal(tensor, full_state[name]) for name, tensor in loaded.items())


SPOILED = {
    "lacks": lambda tensor: None,
    "is of another network: conv1.weight is [128, 64, 3, 3], not [64, 3, 7, 7]": lambda _: torch.zeros(128, 64, 3, 3),
    "has a NaN or an infinity in": lambda tensor: tensor / 0,
    "holds no plain floating-point tensors: conv1.weight is sparse_coo": lambda tensor: tensor.to_sparse(),
    "holds no plain floating-point tensors: conv1.weight is strided, complex64": lambda tensor: tensor * 1j,
    "holds no plain floating-point tensors: conv1.weight is strided, int8": lambda tensor: tensor.to(torch.int8),
    "holds no plain floating-point tensors: conv1.weight is meta": lambda tensor: tensor.to("meta"),
}


@pytest.mark.parametrize("trouble", SPOILED)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, full_state, trouble):
    spoiled = {
        name: SPOILED[trouble](tensor) if name == "conv1.weight" else tensor for name, tensor in full_state.items()
    }
    state = {name: tensor for name, tensor in spoiled.items() if tensor is not None}
    line = refusal(*with_file(tmp_path / "weights.pth", state))
    assert line.startswith("backbone.weights: weights.pth for resnet18 ")
    assert trouble in line
    assert "conv1.weight" in line


def test_what_nobody_reads_does_not_matter(tmp_path, full_state):
    """Layer 4, and the counters of training steps, which many files leave out; half precision becomes float32."""
    state = {name: tensor.half() for name, tensor in full_state.items() if "num_batches" not in name}
    state["layer4.1.conv2.weight"] = state["layer4.1.conv2.weight"] / 0
    loaded = load_network(*with_file(tmp_path / "weights.safetensors", state)).feature_extractor.state_dict()
    assert torch.equal(loaded["conv1.weight"], full_state["conv1.weight"].half().float())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.999])
def test_truncated_files(tmp_path, full_state, suffix, kept):
    path = tmp_path / f"weights{suffix}"
    config, _ = with_file(path, full_state)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    line = refusal(config)
    assert path.name in line
    assert "damaged" in line


class Payload:
    """What a hostile file would run."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_nothing_in_a_file_is_executed(tmp_path, full_state, save):
    path, target = tmp_path / "weights.pth", tmp_path / "executed"
    save({"state_dict": full_state, "extra": Payload(str(target))}, path)
    assert "nothing but tensors" in refusal(replace(RESNET18, weights=str(path)))
    assert not target.exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, torch.zeros(3), [torch.zeros(3)]])
def test_a_file_without_named_tensors(tmp_path, content):
    assert "no named tensors" in refusal(*with_file(tmp_path / "weights.pth", content))


def test_random_weights_do_not_depend_on_the_run(tmp_path):
    weights = resolve_weights(RESNET18)
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(load_network(RESNET18, weights).feature_extractor.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["conv1.weight"].std() > 0
    assert weights.path is None
    assert len(weights.digest) == 64
    assert resolve_weights(replace(LITE0, weights="random")).digest != weights.digest


def test_loading_leaves_the_generators_alone():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    expected = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    load_network(RESNET18, resolve_weights(RESNET18))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002
    assert random.random() == expected[2]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"architecture": "resnet17"}, "no such network"),
        ({"layers": ("layer1", "layer2", "layer9")}, "has no layer9; it has act1, layer1"),
        ({"layers": ("a", "b", "c")}, "has no a, b, c"),
        ({"channels": (64, 128, 512)}, r"channels \[64, 128, 256\]"),
        ({"reductions": (4, 8, 8)}, r"reductions \[4, 8, 16\]"),
    ],
)
def test_a_backbone_that_is_not_what_it_says(change, expected):
    with pytest.raises(RequestError, match=expected):
        load_network(replace(RESNET18, **change), resolve_weights(RESNET18))


def test_an_efficientnet_stops_at_its_last_layer():
    network = load_network(LITE0, resolve_weights(LITE0))
    images = torch.randn(2, 3, 224, 224)
    features = network(images)
    assert [tuple(layer.shape[1:]) for layer in features.values()] == [(24, 56, 56), (40, 28, 28), (112, 14, 14)]
    assert len(network.feature_extractor.blocks) == 5
    whole = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3)).eval()
    whole.load_state_dict(network.feature_extractor.state_dict(), strict=False)
    with torch.no_grad():
        for ours, expected in zip(features.values(), whole(images), strict=True):
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
    features = load_network(config, resolve_weights(config))(torch.ones(1, 3, 64, 64))
    with torch.no_grad():
        expected = model.forward_intermediates(torch.ones(1, 3, 64, 64), indices=[0, 1], intermediates_only=True)
    for ours, other in zip(features.values(), expected, strict=True):
        assert torch.allclose(ours, other, atol=1e-6)


@pytest.mark.real
def test_the_real_weights_have_their_fingerprint(real_weights):
    config = replace(RESNET18, weights=str(real_weights))
    weights = resolve_weights(config)
    assert weights.digest == "b2bb3436d5e924be61be6bb64c674ce96ceeb94a60ac6fd506a7c489428810a6"
    features = load_network(config, weights)(torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224))
    moments = [(layer.mean().item(), layer.std().item()) for layer in features.values()]
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
