"""Weights: a file that is not exactly a network's tensors is one line, and nothing in it runs."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from dataclasses import replace

import pytest
import torch
from hypothesis import example
from hypothesis import strategies as st
from safetensors.torch import save

from harness.errors import RequestError
from harness.padim.backbone import load_network
from harness.padim.weights import resolve_weights
from tests.fuzz.strategies import damaged, json_values
from tests.fuzz.target import answer, fuzz
from tests.padim.sources import RESNET18

TENSORS = {"conv1.weight": torch.zeros(4, 3, 2, 2), "bn1.weight": torch.ones(4)}


def pth(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def header(fields: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def whole(offset: int, end: int, shape: list[int], kind: str = "F32") -> dict:
    return {"conv1.weight": {"dtype": kind, "shape": shape, "data_offsets": [offset, end]}}


class Attack:
    """What a hostile pickle would run."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def refused(folder, name: str, content: bytes) -> None:
    """These are never a whole ResNet, so each ends in a line, and leaves nothing behind."""
    path = folder / name
    path.write_bytes(content)
    config = replace(RESNET18, weights=str(path))
    target = folder / "executed"
    answer(lambda: load_network(config, resolve_weights(config)), refusals=(RequestError,), seconds=20, mebibytes=300)
    assert not target.exists()


@fuzz(25, content=damaged(save(TENSORS)))
@example(header({}, length=2**63))
@example(header({}, length=99_000_000))
@example(header(whole(0, 2**40, [2**38])))
@example(header(whole(0, 4, [2**62, 4])))
@example(header(whole(8, 4, [1])))
@example(header(whole(0, 4, [1]) | {"bn1.weight": whole(0, 4, [1])["conv1.weight"]}, bytes(4)))
@example(header({"a" * 10_000_000: 1}))
@example(b"\xff" * 8)
def test_a_damaged_safetensors_file_is_refused(tmp_path_factory, content):
    refused(tmp_path_factory.getbasetemp(), "w.safetensors", content)


@fuzz(25, fields=json_values | st.dictionaries(st.sampled_from(["conv1.weight", "__metadata__"]), json_values))
def test_a_safetensors_file_with_any_header_is_refused(tmp_path_factory, fields):
    refused(tmp_path_factory.getbasetemp(), "w.safetensors", header(fields, bytes(64)))


@fuzz(25, content=damaged(pth(TENSORS), pth(TENSORS, _use_new_zipfile_serialization=False)))
@example(b"cos\nsystem\n(S'touch executed'\ntR.")
@example(b"\x80\x02]" + b"]" * 10_000 + b".")
@example(b"\x80\x04\x8e" + struct.pack("<Q", 2**40))
def test_a_damaged_checkpoint_is_refused(tmp_path_factory, content):
    refused(tmp_path_factory.getbasetemp(), "w.pth", content)


@pytest.mark.parametrize("save_as", ["torch", "old torch", "pickle", "in the archive"])
def test_a_pickle_that_would_write_a_file_does_not(tmp_path, save_as):
    attack = {"conv1.weight": torch.zeros(1), "x": Attack(str(tmp_path / "executed"))}
    if save_as == "pickle":
        content = pickle.dumps(attack)
    elif save_as == "in the archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(pth(TENSORS))) as source, zipfile.ZipFile(buffer, "w") as archive:
            for member in source.namelist():
                data = pickle.dumps(attack["x"]) if member.endswith("data.pkl") else source.read(member)
                archive.writestr(member, data)
        content = buffer.getvalue()
    else:
        content = pth(attack, _use_new_zipfile_serialization=save_as == "torch")
    refused(tmp_path, "w.pth", content)
    pickle.loads(pickle.dumps(Attack(str(tmp_path / "executed")))).close()
    assert (tmp_path / "executed").exists()  # so the attack does work on who unpickles it
