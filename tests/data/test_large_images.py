"""A large image is resized a part at a time: the same bits in less memory, which is foreseen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import loader
from harness.data.split import Sample, Split
from harness.passes import image_bytes
from tests.padim.sources import PROTOCOL


@pytest.mark.parametrize("shape", [(900, 900, 3), (257, 1023, 1), (700, 72, 3), (72, 500, 1), (513, 60, 3)])
@pytest.mark.parametrize("interpolation", loader.INTERPOLATIONS)
def test_the_same_bits(monkeypatch, shape, interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    protocol = replace(PROTOCOL, interpolation=interpolation)
    expected = loader.shrink(pixels, protocol)
    monkeypatch.setattr(loader, "LARGE_PIXELS", 0)
    assert torch.equal(loader.shrink(pixels, protocol), expected)


def test_what_images_take_follows_from_their_headers(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    Image.new("P", (40, 20)).save(tmp_path / "palette.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "photograph.jpg")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    train, test = (
        tuple(Sample(name, 0, "good") for name in names)
        for names in (("plain.png", "photograph.jpg"), ("palette.png", "damaged.png"))
    )
    split = Split("folder", "part", tmp_path, train, test, has_masks=False)
    assert image_bytes(split) == (15 * 800, 8 * 1200, 15 * 100)
