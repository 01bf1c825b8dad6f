"""Plain PNGs decoded in well under half of Pillow's time, to the same pixels.

The rows are inflated by libdeflate, twice as fast as zlib, and handed to libpng, which undoes their filters, in a PNG
that only stores them. Both release the interpreter's lock.
"""

from __future__ import annotations

import struct
import threading
import zlib
from itertools import groupby
from typing import Any

import imagecodecs
import numpy as np

_codecs: Any = imagecodecs  # its annotations leave out the arrays that it takes and gives
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_PIXELS = b"IDAT"
_TEXTS = frozenset({b"tEXt", b"iTXt"})
_LATE = frozenset({_PIXELS, b"tIME"}) | _TEXTS
"""Chunks of which Pillow refuses none, however it is filled, once the pixels have begun."""
_HARMLESS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs", b"bKGD"}) | _LATE
"""Chunks that may stand between the first and the last: but for IDAT they change no pixel."""
_MAX_TEXT = 1 << 20
"""Bytes of texts; from 64 MiB on, Pillow refuses the file."""
_MAX_ROWS = 64 << 20
"""Bytes of rows, which are held three times; larger images are left to Pillow."""
_BLOCK = 0xFFFF
"""Bytes that one stored block of deflate holds at most."""
_HEADER_END = 33
"""Signature and IHDR."""
_END = b"\0\0\0\0IEND\xaeB`\x82"


def decode_plain(data: bytes) -> np.ndarray | None:
    """The pixels of a whole PNG whose samples are its pixels: 8-bit RGB or grey and nothing that bears on them.

    It is refused, with None, unless its chunks are complete, in order and of known kinds, and all checksums right:
    those of the chunks, and that of the rows. Palettes, transparency, interlacing and animation are among the unknown.
    Pillow, which opened the file before, would give the same pixels. (Where a deflate stream breaks rules that zlib
    alone insists on, with all checksums right, Pillow would refuse it.)

    Returns:
        (h, w, 3) uint8 RGB, or (h, w, 1) grey; None for any other file.
    """
    chunks = _chunks(data)
    channels = _channels(chunks)
    if channels is None:
        return None
    width, height = struct.unpack_from(">II", chunks[0][1])
    size = height * (1 + width * channels)
    if not 0 < size <= _MAX_ROWS:
        return None
    stream = b"".join(body for kind, body in chunks if kind == _PIXELS)
    try:
        rows = _codecs.deflate_decode(stream, raw=False, out=_scratch("rows", size))
        if len(rows) != size:
            return None
        pixels = _codecs.png_decode(_stored(data[:_HEADER_END], rows, stream[-4:]))
    except RuntimeError:  # what imagecodecs raises on broken streams and rows
        return None
    return pixels.reshape(height, width, channels)


def _chunks(data: bytes) -> list[tuple[bytes, memoryview]]:
    """The kind and the body of each chunk; none at all where one is cut off or damaged, or something follows."""
    found: list[tuple[bytes, memoryview]] = []
    view, place = memoryview(data), len(_SIGNATURE)
    if data[:place] != _SIGNATURE:
        return []
    while place < len(data):
        if place + 12 > len(data):
            return []
        length, kind = struct.unpack_from(">I4s", data, place)
        checksum = place + 8 + length
        if checksum + 4 > len(data):
            return []
        if zlib.crc32(view[place + 4 : checksum]) != int.from_bytes(view[checksum : checksum + 4]):
            return []
        found.append((kind, view[place + 8 : checksum]))
        place = checksum + 4
    return found


def _channels(chunks: list[tuple[bytes, memoryview]]) -> int | None:
    """1 or 3 for the chunks of a plain PNG, else None."""
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or not _HARMLESS.issuperset(kinds[1:-1]):
        return None
    runs = [kind for kind, _ in groupby(kinds)]
    if runs.count(_PIXELS) != 1 or not _LATE.issuperset(runs[runs.index(_PIXELS) : -1]):
        return None
    texts = [(kind, bytes(body)) for kind, body in chunks if kind in _TEXTS]
    if sum(len(text) for _, text in texts) > _MAX_TEXT or not all(_idle(kind, text) for kind, text in texts):
        return None
    header = chunks[0][1]
    if len(header) != 13:
        return None
    depth, colour, compression, filtering, interlace = header[8:]
    if (depth, compression, filtering, interlace) != (8, 0, 0, 0):
        return None
    return {_GREY: 1, _RGB: 3}.get(colour)


def _idle(kind: bytes, text: bytes) -> bool:
    """Whether a text can mean nothing to Pillow.

    Pillow keeps texts among its own notes on the image, where the keywords `transparency` and `interlace` would change
    how it is read. Its own are all in small letters. And a compressed text would have to be unpacked to know whether
    Pillow takes it.
    """
    keyword, _, rest = text.partition(b"\0")
    return (keyword[:1].isupper() or b":" in keyword) and (kind == b"tEXt" or rest[:1] in {b"", b"\0"})


def _stored(header: bytes, rows: np.ndarray, checksum: bytes) -> np.ndarray:
    """The bytes of a PNG with these rows, uncompressed.

    Args:
        header: signature and IHDR.
        rows: (n,) uint8, filtered.
        checksum: of the rows, as it ends a zlib stream.
    """
    full, rest = divmod(len(rows), _BLOCK)
    blocks = full * (5 + _BLOCK)
    # zlib's two bytes, the full blocks, a last one that may be empty, the checksum.
    length = 2 + blocks + 5 + rest + len(checksum)
    file = _scratch("file", len(header) + 8 + length + 4 + len(_END))
    start = len(header) + 10
    file[:start] = _bytes(header + struct.pack(">I", length) + _PIXELS + b"\x78\x01")
    body = file[start : start + blocks].reshape(full, 5 + _BLOCK)
    body[:, :5] = _bytes(struct.pack("<BHH", 0, _BLOCK, 0))
    body[:, 5:] = rows[: full * _BLOCK].reshape(full, _BLOCK)
    tail = file[start + blocks :]
    tail[:5] = _bytes(struct.pack("<BHH", 1, rest, rest ^ _BLOCK))
    tail[5 : 5 + rest] = rows[full * _BLOCK :]
    tail[5 + rest : 9 + rest] = _bytes(checksum)
    crc = _codecs.deflate_crc32(file[len(header) + 4 : start + blocks + 9 + rest])
    tail[9 + rest :] = _bytes(struct.pack(">I", crc) + _END)
    return file


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


_buffers = threading.local()


def _scratch(name: str, size: int) -> np.ndarray:
    """(size,) uint8 that this thread used before, where it is of that size: fresh memory costs a third of the time."""
    buffer: np.ndarray | None = getattr(_buffers, name, None)
    if buffer is None or len(buffer) != size:
        buffer = np.empty(size, np.uint8)
        setattr(_buffers, name, buffer)
    return buffer
