"""Printed digits: what a number printed to four places can stand for, and whether a measured one is it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

TIE = Fraction(1, 10**12)
"""A value this near to halfway between two printed ones counts as halfway: its float64 may lie on either side."""


def exact(printed: str) -> Fraction:
    """The printed number itself.

    Raises:
        ValueError: it is no decimal number.
    """
    return Fraction(printed)


def places(printed: str) -> int:
    """Digits behind the point: 4 for `0.9730`.

    Raises:
        ValueError: it is no decimal number.
    """
    exact(printed)
    return len(printed.partition(".")[2])


def unit(printed: str) -> Fraction:
    """One unit of the last printed place: 1/10000 for `0.9730`."""
    return Fraction(1, 10 ** places(printed))


def prints_as(value: float | Fraction, printed: str) -> bool:
    """Whether a value, rounded to as many places, gives the printed digits.

    Halfway cases (0.82505 to four places) count for both neighbours: the paper does not say how it rounds, and
    formatting a binary float goes either way.
    """
    return abs(Fraction(value) - exact(printed)) <= unit(printed) / 2 + TIE


def rounded(value: float | Fraction, digits: int) -> str:
    """A value printed to so many places, rounded half to even on its exact value."""
    whole = round(Fraction(value) * 10**digits)
    return f"{Decimal(whole).scaleb(-digits):f}"
