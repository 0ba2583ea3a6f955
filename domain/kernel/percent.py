"""Percentages are stored as people say them, Decimal("5.5") for 5.5 %, and computed with exactly."""

from decimal import Decimal
from fractions import Fraction

from domain.kernel.rounding import EXACT, exactly

_DIGITS = 2
"""A percentage is its number moved this many digits behind the point."""


def factor_of(percent: Decimal) -> Decimal:
    """5.5 → 0.055."""
    return EXACT.scaleb(percent, -_DIGITS)


def percent_of(amount: Fraction, percent: Decimal) -> Fraction:
    """percent/100 × amount, exactly."""
    return amount * exactly(factor_of(percent))
