"""Image files: damaged in any way, the header and the pixels are right, or it is one line that names the file."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example
from hypothesis import strategies as st
from PIL import Image

from harness.data import files
from harness.data.files import read_header
from harness.data.loader import SplitSource, load_masks
from harness.data.split import ANOMALOUS, NORMAL, Sample, Split
from tests.data.small import protocol
from tests.fuzz.strategies import damaged
from tests.fuzz.target import answer, fuzz

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


RGB, GREY, PALETTE = Image.fromarray(PIXELS), Image.fromarray(PIXELS[..., 0]), Image.fromarray(PIXELS).convert("P")
WHOLE = {
    "png": [
        encode(RGB, "PNG"), encode(GREY, "PNG"), encode(PALETTE, "PNG", transparency=0),
        encode(RGB.convert("RGBA"), "PNG"), encode(GREY.convert("1"), "PNG"),
        encode(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    ],
    "jpeg": [encode(RGB, "JPEG"), encode(GREY, "JPEG", progressive=True), encode(RGB.convert("CMYK"), "JPEG")],
    "bmp": [encode(RGB, "BMP"), encode(PALETTE, "BMP"), encode(GREY.convert("1"), "BMP")],
    "tiff": [encode(RGB, "TIFF"), encode(RGB, "TIFF", compression="tiff_lzw"),
             encode(GREY, "TIFF", compression="jpeg")],
    "webp": [encode(RGB, "WEBP"), encode(RGB, "WEBP", lossless=True)],
    "ppm": [encode(RGB, "PPM"), b"P3\n2 2\n255\n" + b"1 2 3 " * 4, encode(GREY.convert("1"), "PPM")],
}  # fmt: skip
SMALL = 4_000_000
"""Pixels that these tests let an image have, so that the bound of memory is a small one."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(files, "MAX_PIXELS", SMALL)


def decoded(split: Split):
    """All that a run reads of an image and a mask."""
    source = SplitSource(split, protocol(resize=(16, 16), center_crop=None, batch_size=1))
    return source.load_batch("test", 0).numpy(), load_masks(split, source.protocol), source.pixels(split.test[:1])


def check(folder, content: bytes) -> None:
    """The file as an image, and as the mask of a right one."""
    (folder / "x.png").write_bytes(content)
    (folder / "right.png").write_bytes(WHOLE["png"][0])
    header = answer(read_header, folder, "x.png", mebibytes=64)
    assert header is None or 0 < header.width * header.height <= SMALL
    for image, mask in (("x.png", "right.png"), ("right.png", "x.png")):
        test = (Sample(image, ANOMALOUS, "bad", mask), Sample("right.png", NORMAL, "good"))
        found = answer(decoded, Split("d", "c", folder, (), test, has_masks=True), mebibytes=512)
        if found is not None:
            batch, masks, pixels = found
            assert batch.shape == (1, 3, 16, 16)
            assert np.isfinite(batch).all()
            assert set(np.unique(masks)) <= {0, 1}
            assert pixels.shape == (1, 16, 16, 3)
    assert header is not None or found is None


@pytest.mark.parametrize("form", WHOLE)
@fuzz(50, data=st.data())
def test_a_damaged_image_is_decoded_or_named(tmp_path_factory, form, data):
    check(tmp_path_factory.getbasetemp(), data.draw(damaged(*WHOLE[form])))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


bodies = st.binary(max_size=20) | st.sampled_from(
    [
        struct.pack(">II5B", 12, 9, 8, 2, 0, 0, 0),
        zlib.compress(PIXELS.tobytes()),
        zlib.compress(bytes(333)),
        b"",
        bytes(3),
    ]
)
kinds = st.sampled_from(
    b"IHDR IDAT IEND PLTE tRNS acTL fcTL fdAT zTXt iTXt tEXt iCCP eXIf gAMA cHRM sRGB pHYs bKGD sBIT tIME abcd".split()
)
chunks = st.builds(chunk, kinds, bodies)


@st.composite
def png_files(draw: st.DrawFn) -> bytes:
    """A PNG of chunks whose checksums are right, so that the decoder sees what is in them."""
    width, height = draw(st.sampled_from([(12, 9), (1, 1), (0, 1), (3000, 1000), (1, 4_000_001), (2**31, 1)]))
    depth, colour = draw(st.sampled_from([1, 2, 4, 8, 16, 3])), draw(st.sampled_from([0, 2, 3, 4, 6, 1]))
    rest = draw(st.tuples(*(st.sampled_from([0, 0, 0, 1, 7]) for _ in range(3))))
    head = chunk(b"IHDR", struct.pack(">II5B", width, height, depth, colour, *rest))
    rows = zlib.compress(draw(st.binary(max_size=40)) + bytes(draw(st.sampled_from([0, 100, 333, 10_000_000]))))
    between = b"".join(draw(st.lists(chunks, max_size=3)))
    after = b"".join(draw(st.lists(chunks, max_size=2)))
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", rows) + after + chunk(b"IEND", b"")


@fuzz(120, content=png_files())
def test_a_png_of_any_chunks_is_decoded_or_named(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp(), content)


starts = st.sampled_from(
    [
        *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\x00", b"MM\x00*", b"II+\x00"),
        *(b"RIFF\xff\xff\xff\xffWEBP", b"P3\n", b"P6 ", b"Pf\n", b"P7\n", b"GIF89a", b"%!PS", b""),
    ]
)


@fuzz(60, content=st.tuples(starts, st.binary(max_size=60)).map(b"".join))
@example(b"P6 99999999999999999999999 1 255\n")
@example(b"P5\n-5 5\n255\n" + bytes(99))
@example(b"P3\n" + b"1" * 100_000 + b" 1 255\n")
def test_what_only_begins_like_an_image_is_named(tmp_path_factory, content):
    check(tmp_path_factory.getbasetemp(), content)
