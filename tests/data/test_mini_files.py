"""The mini benchmark's own encoders, read back with Pillow; its JPEG also compared with Pillow's encoder."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from harness.data.mini.files import encode_bmp, encode_png
from harness.data.mini.jpeg import encode_jpeg

SIZES = [(1, 1), (8, 8), (17, 31), (160, 150)]


def decode(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def pictures(size):
    rng = np.random.default_rng(size[0])
    noise = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8))
    board = (np.indices(size).sum(axis=0) % 2 * 255).astype(np.uint8)
    return {
        "noise": noise,
        "smooth": np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC)),
        "black": np.zeros((*size, 3), np.uint8),
        "white": np.full((*size, 3), 255, np.uint8),
        "checkerboard": np.repeat(board[..., None], 3, axis=-1),
        "primary colours": np.where(noise > 127, 255, 0).astype(np.uint8),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("encode", "kind"), [(encode_png, "PNG"), (encode_bmp, "BMP")])
def test_lossless_files_give_the_pixels_back(encode, kind, size):
    for pixels in pictures(size).values():
        content = encode(pixels)
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode) == (kind, "RGB")
        np.testing.assert_array_equal(decode(content), pixels)
        grey = pixels[..., 1]
        with Image.open(io.BytesIO(encode(grey))) as image:
            assert image.mode == "L"
        np.testing.assert_array_equal(decode(encode(grey)), grey)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [30, 75, 90, 100])
def test_jpeg_is_as_good_and_as_large_as_pillows(size, quality):
    for name, pixels in pictures(size).items():
        theirs = io.BytesIO()
        Image.fromarray(pixels).save(theirs, "JPEG", quality=quality, subsampling=0)
        ours = encode_jpeg(pixels, quality)
        decoded = decode(ours).astype(int)
        assert decoded.shape == pixels.shape
        error = np.abs(decoded - pixels).mean()
        expected = np.abs(decode(theirs.getvalue()).astype(int) - pixels).mean()
        assert error <= 1.03 * expected + 0.1, name
        assert len(ours) <= 1.03 * len(theirs.getvalue()) + 20, name


def test_jpeg_uses_the_tables_that_pillow_reads():
    pixels = pictures((17, 31))["noise"]
    theirs = io.BytesIO()
    Image.fromarray(pixels).save(theirs, "JPEG", quality=90, subsampling=0)
    ours = Image.open(io.BytesIO(encode_jpeg(pixels, 90)))
    assert ours.quantization == Image.open(theirs).quantization


def test_jpeg_bytes_are_these():
    """A change of the encoder changes every file of mini_visa, and so needs a new MINI_VERSION."""
    gradient = np.stack(
        [np.add.outer(np.arange(24), 3 * np.arange(40)), *2 * [np.add.outer(5 * np.arange(24), np.arange(40))]]
    )
    content = encode_jpeg(gradient.transpose(1, 2, 0).astype(np.uint8))
    assert content[:4] == b"\xff\xd8\xff\xe0"
    assert content[-2:] == b"\xff\xd9"
    assert hashlib.sha256(content).hexdigest()[:16] == "ac529864ec0dff21"
