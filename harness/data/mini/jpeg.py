"""Baseline JPEG files whose bytes depend on the pixels alone: integer arithmetic and the standard's own Huffman tables.

A library's encoder may change its bytes with its version or its build, and a file's bytes are part of a split's
fingerprint. Source: ITU-T T.81 (sequential baseline, annexes A, F and K), JFIF 1.02. Chroma is not subsampled.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from harness.data.mini.canvas import Bytes
from harness.data.mini.dice import Floats

Ints = npt.NDArray[np.int64]

# T.81 table K.1 and K.2, row by row.
_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMINANCE = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99 "
    "99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"
)
# T.81 tables K.3 to K.6: how many codes of each length 1, ..., 16, then the symbols in order of their codes.
_DC_LUMINANCE = ("00010501010101010100000000000000", "000102030405060708090a0b")
_DC_CHROMINANCE = ("00030101010101010101010000000000", "000102030405060708090a0b")
_AC_LUMINANCE = (
    "0002010303020403050504040000017d",
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a343536373839"
    "3a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7"
    "a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
)
_AC_CHROMINANCE = (
    "00020102040403040705040400010277",
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738"
    "393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5"
    "a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
)
_COSINES = (8192, 8035, 7568, 6811, 5793, 4551, 3135, 1598)  # 2**13 cos(k pi / 16)
_DCT_BITS = 28  # two passes of the matrix below, each scaled by 2**14


def _zigzag() -> Ints:
    """Places of an 8x8 block's 64 coefficients in the order in which they are coded."""
    diagonal = sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8))
    return np.array(diagonal, np.int64)


def _dct_matrix() -> Floats:
    """The orthonormal 8-point DCT times 2**14, in whole numbers."""
    matrix = np.zeros((8, 8))
    for u in range(8):
        for n in range(8):
            k = (2 * n + 1) * u % 32
            k = min(k, 32 - k)
            matrix[u, n] = _COSINES[k] if k < 8 else 0 if k == 8 else -_COSINES[16 - k]
    matrix[0] = 5793
    return matrix


def _quantiser(table: str, quality: int) -> Ints:
    """A quantisation table at a quality of 1 to 100, scaled as is customary (libjpeg); (64,) row by row."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(table.split(), np.int64) * scale + 50) // 100, 1, 255)


def _huffman(table: tuple[str, str]) -> tuple[Ints, Ints]:
    """Code and length of each symbol, (256,) both; T.81 annex C."""
    counts, symbols = bytes.fromhex(table[0]), bytes.fromhex(table[1])
    codes, lengths = np.zeros(256, np.int64), np.zeros(256, np.int64)
    code = position = 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[position : position + count]:
            codes[symbol], lengths[symbol] = code, length
            code += 1
        position += count
        code <<= 1
    return codes, lengths


def _coefficients(pixels: Bytes, quantisers: tuple[Ints, Ints, Ints]) -> Ints:
    """Quantised coefficients (blocks, 3, 64) in zigzag order, of Y, Cb and Cr."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge").astype(np.int64)
    r, g, b = padded[..., 0], padded[..., 1], padded[..., 2]
    half = 1 << 15
    planes = (  # JFIF's matrix times 2**16, chroma around 0
        (19595 * r + 38470 * g + 7471 * b + half >> 16) - 128,
        -11059 * r - 21709 * g + 32768 * b + half - 1 >> 16,
        32768 * r - 27439 * g - 5329 * b + half - 1 >> 16,
    )
    matrix, order = _dct_matrix(), _zigzag()
    coded = []
    for plane, quantiser in zip(planes, quantisers, strict=True):
        blocks = plane.reshape(plane.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
        # Whole numbers below 2**40: float64 adds them exactly, in whatever order the matrix product chooses.
        frequencies = (matrix @ blocks.astype(np.float64) @ matrix.T).astype(np.int64).reshape(-1, 64)
        step = quantiser << _DCT_BITS
        magnitude = (np.abs(frequencies) + step // 2) // step
        coded.append((np.sign(frequencies) * magnitude)[:, order])
    return np.stack(coded, axis=1)


def _category(values: Ints) -> tuple[Ints, Ints]:
    """Bits that each value takes and those bits themselves; T.81 F.1.2.1."""
    size = np.zeros_like(values)
    for bit in range(12):
        size += np.abs(values) >= 1 << bit
    return size, np.where(values < 0, values + (1 << size) - 1, values)


def _scan(coded: Ints) -> bytes:
    """The entropy-coded data of one interleaved scan."""
    tables = [
        [_huffman(_DC_LUMINANCE), _huffman(_AC_LUMINANCE)],
        [_huffman(_DC_CHROMINANCE), _huffman(_AC_CHROMINANCE)],
    ]
    codes = np.stack([np.stack([kind[0] for kind in component]) for component in tables])
    lengths = np.stack([np.stack([kind[1] for kind in component]) for component in tables])

    differences = np.diff(coded[:, :, 0], axis=0, prepend=0).reshape(-1)
    blocks = coded.reshape(-1, 64)
    chroma = np.arange(len(blocks)) % 3 > 0
    dc_size, dc_bits = _category(differences)
    block, place = np.nonzero(blocks[:, 1:])
    place += 1
    first = np.diff(block, prepend=-1) != 0
    run = place - np.where(first, 0, np.concatenate(([0], place[:-1]))) - 1
    ac_size, ac_bits = _category(blocks[block, place])
    long_block, long_place = np.repeat(block, run // 16), np.repeat(place, run // 16)
    last = np.zeros(len(blocks), np.int64)
    last[block] = place  # places rise within a block, so the last one stays
    ended = np.nonzero(last < 63)[0]

    none = np.zeros(0, np.int64)
    parts = (  # block, place, 0 before 1 at the same place, table, symbol, extra bits, their number
        (np.arange(len(blocks)), 0 * dc_size, 0, 0, dc_size, dc_bits, dc_size),
        (long_block, long_place, 0, 1, 0 * long_block + 0xF0, 0 * long_block, 0 * long_block),
        (block, place, 1, 1, run % 16 * 16 + ac_size, ac_bits, ac_size),
        (ended, 0 * ended + 64, 0, 1, 0 * ended, 0 * ended, 0 * ended),
    )
    keys, values, widths = none, none, none
    for at, where, rank, kind, symbol, extra, extra_size in parts:
        component = chroma[at].astype(np.int64)
        keys = np.concatenate((keys, (at * 65 + where) * 2 + rank))
        values = np.concatenate((values, codes[component, kind, symbol] << extra_size | extra))
        widths = np.concatenate((widths, lengths[component, kind, symbol] + extra_size))
    order = np.argsort(keys, kind="stable")
    values, widths = values[order], widths[order]
    ends = np.cumsum(widths)
    shifts = np.repeat(ends, widths) - 1 - np.arange(ends[-1])
    bits = (np.repeat(values, widths) >> shifts & 1).astype(np.uint8)
    padding = np.ones(-len(bits) % 8, np.uint8)
    return np.packbits(np.concatenate((bits, padding))).tobytes().replace(b"\xff", b"\xff\x00")


def encode_jpeg(pixels: Bytes, quality: int = 90) -> bytes:
    """A JPEG file of (height, width, 3) RGB uint8 pixels."""
    height, width = pixels.shape[:2]
    luminance, chrominance = _quantiser(_LUMINANCE, quality), _quantiser(_CHROMINANCE, quality)
    order = _zigzag()
    segments = [(0xE0, b"JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00")]
    for number, table in enumerate((luminance, chrominance)):
        segments.append((0xDB, bytes([number, *table[order].tolist()])))
    segments.append((0xC0, struct.pack(">BHHB", 8, height, width, 3) + bytes.fromhex("011100 021101 031101")))
    for number, huffman in (
        (0x00, _DC_LUMINANCE),
        (0x10, _AC_LUMINANCE),
        (0x01, _DC_CHROMINANCE),
        (0x11, _AC_CHROMINANCE),
    ):
        segments.append((0xC4, bytes([number]) + bytes.fromhex(huffman[0] + huffman[1])))
    segments.append((0xDA, bytes.fromhex("03 0100 0211 0311 003f00")))
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data for kind, data in segments)
    return b"\xff\xd8" + head + _scan(_coefficients(pixels, (luminance, chrominance, chrominance))) + b"\xff\xd9"
