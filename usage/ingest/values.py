"""What properties hold."""

from collections.abc import Mapping
from typing import Any, Final

PROPERTIES_MAX: Final = 50
NAME_CHARS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 255
PROPERTIES_BYTES_MAX: Final = 16_000
_FEW: Final = 10
"""So many properties are never too long together."""


class InvalidProperties(ValueError):
    """Their names, values, number or length cannot be those of an event's properties; the message says which, and
    `name` of which property, empty where it is of all together.
    """

    def __init__(self, message: str, name: str = "") -> None:
        self.name = name
        super().__init__(message)


def texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """Properties as texts: numbers as they were written, true and false by these words. Raises InvalidProperties."""
    if len(properties) > PROPERTIES_MAX:
        raise InvalidProperties(f"An event has {PROPERTIES_MAX} properties at most")
    found = {name: _text(name, value) for name, value in properties.items()}
    for name, value in found.items():
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise InvalidProperties(f"The name of a property has 1 to {NAME_CHARS_MAX} characters")
        if len(value) > TEXT_CHARS_MAX:
            raise InvalidProperties(f"A property has {TEXT_CHARS_MAX} characters at most", name)
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


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            raise InvalidProperties("A property is a text, a number, true or false", name)
