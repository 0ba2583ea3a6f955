"""Values of usage events: decimals of at most nine places, held exactly as whole numbers of 10⁻⁹."""

import re
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from typing import Final

from domain.kernel.rounding import EXACT

PLACES: Final = 9
NANOS: Final = 10**PLACES
"""So many of a value's units are one of the meter's."""

DIGITS_MAX: Final = 30
"""Of a value in units of 10⁻⁹: 21 before the point. The sum of a thousand million such values has no more than a price
takes (`domain.pricing.measured.MAX_QUANTITY_DIGITS`).
"""
NANOS_MAX: Final = 10**DIGITS_MAX - 1

_CACHED: Final = 50_000
_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_SCALED: Final = Context(prec=2_000, traps=[Inexact])


class InvalidValue(ValueError):
    """It is no decimal of at most nine places, or too large; the message says which."""


def nanos(value: str | int) -> int:
    """A value in units of 10⁻⁹, exactly. Raises InvalidValue."""
    return _bounded(value * NANOS) if isinstance(value, int) else _nanos(value)


def units(value: int | Decimal) -> Decimal:
    """A whole number of 10⁻⁹ in the meter's unit, exactly."""
    return Decimal(value).scaleb(-PLACES, EXACT)


@lru_cache(maxsize=_CACHED)
def _nanos(text: str) -> int:
    if _DECIMAL.fullmatch(text) is None:
        raise InvalidValue("Not a decimal like 0.25")
    scaled = Decimal(text).scaleb(PLACES, _SCALED)
    if scaled and scaled.adjusted() >= DIGITS_MAX:
        raise InvalidValue(_TOO_LARGE)
    whole = int(scaled)
    if whole != scaled:
        raise InvalidValue(f"It has more than {PLACES} places after the point")
    return _bounded(whole)


_TOO_LARGE: Final = f"It has more than {DIGITS_MAX - PLACES} digits before the point"


def _bounded(value: int) -> int:
    if not -NANOS_MAX <= value <= NANOS_MAX:
        raise InvalidValue(_TOO_LARGE)
    return value
