"""What properties hold, and the values of events: decimals of at most nine places, as whole numbers of 10⁻⁹."""

import re
from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from typing import Any, Final

from domain.metering.usage_record import NANOS

PLACES: Final = 9
VALUE_MAX_NANOS: Final = 2**63 - 1
"""What a record holds: 9,223,372,036.854775807 of the meter's unit."""
PROPERTIES_MAX: Final = 50
NAME_CHARS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 255
PROPERTIES_BYTES_MAX: Final = 16_000
_FEW: Final = 10
"""So many properties are never too long together."""
_KEPT_MAX: Final = 50_000

_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_EXACT: Final = Context(prec=2_000, traps=[Inexact])


class InvalidValue(ValueError):
    """It is no decimal of at most nine places, or too large; the message says which."""


class InvalidProperties(ValueError):
    """Their names, values, number or length cannot be those of an event's properties; the message says which."""


_kept: dict[str, int] = {}


def nanos(value: str | int) -> int:
    """A value in units of 10⁻⁹, exactly. Raises InvalidValue."""
    found = _kept.get(value)  # type: ignore[arg-type]  # a number is not in it
    if found is None:
        if isinstance(value, int):
            return _bounded(value * NANOS)
        if len(_kept) >= _KEPT_MAX:
            _kept.clear()
        found = _kept[value] = _bounded(_nanos(value))
    return found


def _nanos(text: str) -> int:
    if _DECIMAL.fullmatch(text) is None:
        raise InvalidValue("Not a decimal like 0.25")
    scaled = Decimal(text).scaleb(PLACES, _EXACT)
    if scaled.adjusted() > 40:
        raise InvalidValue(_TOO_LARGE)
    whole = int(scaled)
    if whole != scaled:
        raise InvalidValue(f"It has more than {PLACES} places after the point")
    return whole


_TOO_LARGE: Final = "It lies beyond ±9,223,372,036"


def _bounded(value: int) -> int:
    if not -VALUE_MAX_NANOS <= value <= VALUE_MAX_NANOS:
        raise InvalidValue(_TOO_LARGE)
    return value


def texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """Properties as texts: numbers as they were written, true and false by these words. Raises InvalidProperties."""
    if len(properties) > PROPERTIES_MAX:
        raise InvalidProperties(f"An event has {PROPERTIES_MAX} properties at most")
    found = {name: _text(value) for name, value in properties.items()}
    for name, value in found.items():
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise InvalidProperties(f"The name of a property has 1 to {NAME_CHARS_MAX} characters")
        if len(value) > TEXT_CHARS_MAX:
            raise InvalidProperties(f"A property has {TEXT_CHARS_MAX} characters at most")
    length = sum(len(name.encode()) + len(value.encode()) for name, value in found.items())
    if len(found) > _FEW and length > PROPERTIES_BYTES_MAX:
        raise InvalidProperties(f"Properties have {PROPERTIES_BYTES_MAX} bytes together at most")
    return found


def are_plain(properties: Mapping[str, Any]) -> bool:
    """Whether they can be taken as they are, for the most part; `texts` says what is wrong with the others."""
    if len(properties) > _FEW:
        return False
    for name, value in properties.items():
        if type(value) is not str or len(value) > TEXT_CHARS_MAX or not 0 < len(name) <= NAME_CHARS_MAX:
            return False
    return True


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            raise InvalidProperties("A property is a text, a number, true or false")
