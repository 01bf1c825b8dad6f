"""PNG and BMP files whose bytes depend on the pixels alone: nothing is compressed, so no library's version matters."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from harness.data.mini.canvas import Bytes

_STORED_MAX = 65535  # bytes in one stored block of a deflate stream


def encode_png(pixels: Bytes) -> bytes:
    """A PNG file of (height, width, 3) RGB or (height, width) grey uint8 pixels.

    The deflate stream has stored blocks only, and they are cut here: zlib and zlib-ng (Pillow's wheels changed from one
    to the other) compress the same bytes differently, and may cut even stored blocks differently.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    raw = rows.tobytes()
    stream = [b"\x78\x01"]
    for start in range(0, len(raw), _STORED_MAX):
        block = raw[start : start + _STORED_MAX]
        last = start + _STORED_MAX >= len(raw)
        stream.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    stream.append(struct.pack(">I", zlib.adler32(raw)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(stream)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def encode_bmp(pixels: Bytes) -> bytes:
    """A BMP file of (height, width, 3) RGB or (height, width) grey uint8 pixels (24 bits, or 8 with a grey palette)."""
    height, width = pixels.shape[:2]
    colour = pixels.ndim == 3
    flipped = pixels[::-1, :, ::-1] if colour else pixels[::-1]
    row = width * (3 if colour else 1)
    rows = np.zeros((height, (row + 3) // 4 * 4), np.uint8)
    rows[:, :row] = flipped.reshape(height, row)
    palette = b"" if colour else b"".join(bytes((level, level, level, 0)) for level in range(256))
    offset = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", offset + rows.size, 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24 if colour else 8, 0, rows.size, 2835, 2835, 0, 0)
    return head + info + palette + rows.tobytes()
