import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from harness.data import png
from harness.data.png import decode_plain


def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width, height, colour=2, depth=8, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def filtered(pixels, filters):
    """The rows of (h, w, c) uint8 pixels as a PNG holds them, row i filtered by `filters[i]`: the standard's text."""
    height, width, channels = pixels.shape
    rows, above = [], np.zeros(width * channels, int)
    for row, kind in zip(pixels.reshape(height, -1).astype(int), filters, strict=True):
        left = np.concatenate([np.zeros(channels, int), row[:-channels]])
        corner = np.concatenate([np.zeros(channels, int), above[:-channels]])
        away = [abs(left + above - corner - other) for other in (left, above, corner)]
        paeth = np.where((away[0] <= away[1]) & (away[0] <= away[2]), left, np.where(away[1] <= away[2], above, corner))
        guess = [0, left, above, (left + above) // 2, paeth][kind]
        rows.append(bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(rows)


def build(pixels, *, filters=None, before=(), after=(), split=1, level=6):
    """A PNG of (h, w, 1 or 3) pixels with these chunks before and after those of the pixels."""
    height, width, channels = pixels.shape
    stream = zlib.compress(filtered(pixels, filters or [0] * height), level)
    step = -(-len(stream) // split)
    parts = [chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step)]
    start = header(width, height, 2 if channels == 3 else 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", start, *before, *parts, *after, chunk(b"IEND")])


def pillows(content):
    """The pixels Pillow gives, or None where it refuses the file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image.convert("RGB"))
    except Exception:
        return None


def noise(height, width, channels, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return (values // 16 * 8).astype(np.uint8)  # compresses a little, so that matches occur in the stream


SMALL = noise(5, 7, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_any_size_filter_and_split_gives_the_pixels(height, width, channels, seed, split, level):
    pixels = noise(height, width, channels, seed)
    filters = np.random.default_rng(seed).integers(0, 5, height).tolist()
    content = build(pixels, filters=filters, split=split, level=level)
    found = decode_plain(content)
    assert (found.dtype, found.shape) == (np.uint8, pixels.shape)
    assert found.flags.writeable
    assert np.array_equal(found, pixels)
    assert np.array_equal(np.broadcast_to(found, (height, width, 3)), pillows(content))


# Rows of 1 + 3 * w bytes that fill stored blocks of 65535 exactly, fall short of one, and go one beyond.
@pytest.mark.parametrize(("height", "width"), [(15, 1456), (15, 1455), (771, 28), (257, 85), (1, 21845), (1, 21844)])
def test_rows_that_fill_whole_blocks(height, width):
    pixels = noise(height, width, 3)
    assert np.array_equal(decode_plain(build(pixels)), pixels)


def test_results_do_not_share_the_memory_that_is_used_again():
    first, second = noise(9, 8, 3, 1), noise(9, 8, 3, 2)
    found = decode_plain(build(first))
    assert np.array_equal(decode_plain(build(second)), second)
    assert np.array_equal(found, first)


def test_what_pillow_writes_is_plain():
    for mode in ("RGB", "L"):
        image = Image.fromarray(noise(20, 30, 3)).convert(mode)
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Software", "a camera")
        notes.add_itxt("XML:com.adobe.xmp", "<x/>", "en")
        notes.add_text("date:create", "2020")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=notes, dpi=(300, 300), icc_profile=b"profile" * 40, optimize=True)
        found = decode_plain(buffer.getvalue())
        assert np.array_equal(found.squeeze(), np.array(image))


TEXT = chunk(b"tEXt", b"Comment\0hello")
LEFT_TO_PILLOW = {
    "nothing": b"",
    "another format": b"\xff\xd8\xff\xe0" + bytes(40),
    "its signature only": b"\x89PNG\r\n\x1a\n",
    "no pixels": b"\x89PNG\r\n\x1a\n" + header(5, 7) + chunk(b"IEND"),
    "no end": build(SMALL)[:-12],
    "something after the end": build(SMALL) + b"x",
    "a second end": build(SMALL) + chunk(b"IEND"),
    "a transparent colour": build(SMALL, before=[chunk(b"tRNS", bytes(6))]),
    "a palette": build(SMALL, before=[chunk(b"PLTE", bytes(6))]),
    "an animation": build(SMALL, before=[chunk(b"acTL", struct.pack(">II", 1, 0))]),
    "an unknown chunk": build(SMALL, before=[chunk(b"zzZz", b"?")]),
    "a second header": build(SMALL, before=[header(5, 7)]),
    "pixels in two places": build(SMALL, after=[TEXT, chunk(b"IDAT", b"")]),
    "a chunk that comes late": build(SMALL, after=[chunk(b"gAMA", b"")]),
    "a text Pillow would obey": build(SMALL, before=[chunk(b"tEXt", b"interlace\0yes")]),
    "and another": build(SMALL, before=[chunk(b"iTXt", b"transparency\0\0\0\0\0yes")]),
    "a packed text": build(SMALL, after=[chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x"))]),
    "texts without end": build(SMALL, after=[chunk(b"tEXt", b"Comment\0" + bytes(1 << 20))]),
    "interlaced": build(SMALL).replace(header(7, 5), header(7, 5, interlace=1)),
    "16 bits": build(SMALL).replace(header(7, 5), header(7, 5, depth=16)),
    "grey with transparency": build(SMALL).replace(header(7, 5), header(7, 5, colour=4)),
    "no width": build(SMALL).replace(header(7, 5), header(0, 5)),
    "more rows than there are": build(SMALL).replace(header(7, 5), header(7, 6)),
    "fewer rows than there are": build(SMALL).replace(header(7, 5), header(7, 4)),
    "an unknown filter": build(SMALL, filters=[0, 0, 0, 0, 0]).replace(
        chunk(b"IDAT", zlib.compress(filtered(SMALL, [0] * 5))),
        chunk(b"IDAT", zlib.compress(b"\7" + filtered(SMALL, [0] * 5)[1:])),
    ),
    "rows with a wrong checksum": build(SMALL).replace(
        chunk(b"IDAT", zlib.compress(filtered(SMALL, [0] * 5))),
        chunk(b"IDAT", zlib.compress(filtered(SMALL, [0] * 5))[:-1] + b"\x99"),
    ),
}


@pytest.mark.parametrize("content", LEFT_TO_PILLOW.values(), ids=LEFT_TO_PILLOW)
def test_whatever_is_different_is_left_to_pillow(content):
    assert np.array_equal(decode_plain(build(SMALL)), SMALL)
    assert content != build(SMALL)
    assert decode_plain(content) is None


def test_large_rows_are_left_to_pillow(monkeypatch):
    monkeypatch.setattr(png, "_MAX_ROWS", 5 * 22 - 1)
    assert decode_plain(build(SMALL)) is None


def test_what_is_damaged_anywhere_is_never_taken():
    content = build(SMALL, before=[TEXT], after=[TEXT], split=3)
    for place in range(len(content)):
        assert decode_plain(content[:place]) is None
        for flipped in (1, 128, 255):
            damaged = bytearray(content)
            damaged[place] ^= flipped
            assert decode_plain(bytes(damaged)) is None


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_damaged_stream_under_a_right_checksum_is_taken_only_where_pillow_gives_the_same(seed):
    rng = np.random.default_rng(seed)
    pixels = noise(6, 9, 3, seed)
    stream = bytearray(zlib.compress(filtered(pixels, rng.integers(0, 5, 6).tolist()), int(rng.integers(0, 10))))
    kind = rng.integers(3)
    if kind == 0:
        stream[rng.integers(len(stream))] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del stream[rng.integers(len(stream)) :]
    else:
        place = rng.integers(len(stream))
        stream[place:place] = rng.bytes(int(rng.integers(1, 5)))
    content = b"\x89PNG\r\n\x1a\n" + header(9, 6) + chunk(b"IDAT", bytes(stream)) + chunk(b"IEND")
    found = decode_plain(content)
    assert found is None or np.array_equal(found, pillows(content))


def test_other_threads_run_while_it_decodes():
    content = build(noise(2000, 2000, 3), level=1)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    decode_plain(content)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    middle = [t for t in ticks if start + 0.6 * (end - start) < t < start + 0.9 * (end - start)]
    assert middle, "the last third of the time is one call of libpng"


@pytest.mark.real
def test_the_real_bottle_is_plain_and_gives_pillows_pixels(real_mvtec):
    paths = sorted((real_mvtec / "bottle").rglob("*.png"))[::12]
    assert len(paths) > 20
    for path in paths:
        found = decode_plain(path.read_bytes())
        assert np.array_equal(found.squeeze(), np.array(Image.open(path)))
