"""Random numbers that are the same on every machine: named streams of a counter-based generator's raw bits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

_UNIT = 1.0 / 9007199254740992.0  # 2**-53: a raw number's upper 53 bits become a float in [0, 1) without rounding


class Dice:
    """The random numbers that belong to a name, whatever else was drawn before.

    Only `random_raw` of Philox is used, whose stream NumPy guarantees (NEP 19): the distributions of `Generator` may
    change with NumPy's version, and its normal numbers use libm's logarithm. The key is the name's sha256, so neither
    Python's hash seed nor the locale matters.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        digest = hashlib.sha256(name.encode()).digest()
        self._philox = np.random.Philox(key=np.frombuffer(digest[:16], "<u8").astype(np.uint64))

    def child(self, name: str) -> Dice:
        """The stream of a part of this one's subject; the same however much was drawn from this one."""
        return Dice(f"{self.name}/{name}")

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * ((int(self._philox.random_raw()) >> 11) * _UNIT)

    def uniforms(self, shape: tuple[int, ...], low: float, high: float) -> Floats:
        """Independent numbers in [low, high), float64 of the given shape."""
        count = 1
        for side in shape:
            count *= side
        raw = self._philox.random_raw(count) >> np.uint64(11)
        return low + (high - low) * (raw.astype(np.float64).reshape(shape) * _UNIT)

    def bells(self, shape: tuple[int, int]) -> Floats:
        """Independent, nearly normal numbers of mean 0 and standard deviation 1: sums of four random bytes."""
        count = shape[0] * shape[1]
        raw = self._philox.random_raw((count + 1) // 2)
        low, byte = np.uint64(0x00FF00FF00FF00FF), np.uint64(8)
        pairs = (raw & low) + ((raw >> byte) & low)  # four sums of two bytes, 16 bits each
        sums = np.empty((len(raw), 2), np.int64)
        for half in range(2):
            word = pairs >> np.uint64(32 * half)
            sums[:, half] = (word & np.uint64(0xFFFF)) + ((word >> np.uint64(16)) & np.uint64(0xFFFF))
        return (sums.reshape(-1)[:count].reshape(shape) - 510) / 147.8

    def integer(self, count: int) -> int:
        """One of 0, ..., count - 1."""
        return int(self._philox.random_raw()) % count

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(len(options))]

    def sign(self) -> float:
        """-1 or 1."""
        return 2.0 * self.integer(2) - 1.0
