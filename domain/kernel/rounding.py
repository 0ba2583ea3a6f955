"""Rounding to whole minor units, exactly, by a named rule.

Nothing here depends on the precision of the current decimal context: the value is either a ratio of integers or a
Decimal that is rounded once, from all of its digits.
"""

from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from domain.kernel.refusal import Refusal, RefusalKind

MAX_DIGITS_BEFORE_POINT = 64
"""A Decimal with more digits before its point is refused: "1E999999999" is short to send and a gigabyte to expand."""

EXACT = Context(
    prec=MAX_PREC,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    traps=[InvalidOperation, DivisionByZero, Overflow, Inexact],
)
"""For sums and products of Decimals without loss: `EXACT.multiply(a, b)`, which also takes ints. Not for division."""


@lru_cache(maxsize=4_096)
def exactly(value: Decimal) -> Fraction:
    """The same number as a fraction. Prices hold few different numbers and are computed with over and over."""
    return Fraction(value)


class Rounding(StrEnum):
    """What happens to exactly half a minor unit. All other values go to the nearest."""

    HALF_UP = "half_up"  # away from zero: 0.5 → 1, -0.5 → -1; the usual one
    HALF_EVEN = "half_even"  # to the even neighbour: 0.5 → 0, 1.5 → 2; a tenant's choice


STANDARD_ROUNDING = Rounding.HALF_UP
"""What a tenant who has not chosen is billed by. The streams pass it on; no calculation falls back to it by itself."""


class NotRoundable(Refusal):
    """The number is not finite, or too large to be an amount."""

    code = "not_roundable"
    kind = RefusalKind.INVALID


def round_to_int(value: Decimal | Fraction | int, rounding: Rounding) -> int:
    """The nearest integer; halves by `rounding`. Negative values mirror positive ones.

    Half up away from zero is what the vectors recomputed from other engines' suites use (vector 28).
    Raises NotRoundable for NaN, infinity and Decimals of more than MAX_DIGITS_BEFORE_POINT digits.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() >= MAX_DIGITS_BEFORE_POINT:
            raise NotRoundable(value=str(value)[:32])
        # to_integral_value ignores the context's precision, unlike quantize and the operators
        return int(value.to_integral_value(ROUND_HALF_UP if rounding is Rounding.HALF_UP else ROUND_HALF_EVEN))
    if rounding is Rounding.HALF_EVEN:
        return round(value)
    twice, denominator = 2 * abs(value.numerator), value.denominator
    magnitude = (twice + denominator) // (2 * denominator)
    return magnitude if value.numerator >= 0 else -magnitude
