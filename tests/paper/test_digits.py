"""Printed digits against Python's own decimal arithmetic, with the halfway cases."""

from __future__ import annotations

from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.paper.digits import TIE, exact, places, prints_as, rounded, unit
from tests.store.making import patient


@pytest.mark.parametrize(
    ("printed", "digits", "step"), [("0.9730", 4, Fraction(1, 10**4)), ("24.9", 1, Fraction(1, 10)), ("3", 0, 1)]
)
def test_places_and_unit(printed, digits, step):
    assert places(printed) == digits
    assert unit(printed) == step


def test_zeros_at_the_end_are_digits():
    assert exact("0.9730") == exact("0.973")
    assert prints_as(0.97304, "0.973")
    assert prints_as(0.97304, "0.9730")
    assert prints_as(0.9733, "0.973")
    assert not prints_as(0.9733, "0.9730")


@pytest.mark.parametrize("text", ["n/a", "", "0,97"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError):
        places(text)


@patient
@given(st.floats(0, 1), st.integers(1, 5))
def test_a_value_prints_as_what_decimal_rounds_it_to(value, digits):
    step = Decimal(1).scaleb(-digits)
    for rule in (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_HALF_DOWN):
        assert prints_as(value, str(Decimal(value).quantize(step, rule)))
    nearest = Decimal(value).quantize(step, ROUND_HALF_EVEN)
    assert Decimal(rounded(value, digits)) == nearest
    for other in (nearest - 2 * step, nearest + 2 * step):
        if other >= 0:
            assert not prints_as(value, str(other))


@pytest.mark.parametrize("value", [0.82505, Fraction(82505, 100000), 0.82505 - 1e-13, 0.82505 + 1e-13])
def test_halfway_counts_for_both_neighbours(value):
    assert prints_as(value, "0.8250")
    assert prints_as(value, "0.8251")


def test_just_beside_halfway_counts_for_one():
    assert not prints_as(0.82505 - 1e-9, "0.8251")
    assert not prints_as(0.82505 + 1e-9, "0.8250")


def test_the_tolerance_for_halfway_includes_its_end():
    halfway = Fraction(82505, 100000)
    assert prints_as(halfway - TIE, "0.8251")
    assert not prints_as(halfway - TIE - Fraction(1, 10**20), "0.8251")


def test_rounded_keeps_its_zeros_and_has_no_exponent():
    assert rounded(1.0, 4) == "1.0000"
    assert rounded(Fraction(124, 125), 4) == "0.9920"
    assert rounded(0, 4) == "0.0000"
    assert rounded(Fraction(49), 0) == "49"
