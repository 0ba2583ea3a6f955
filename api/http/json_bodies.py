"""Reads a body's JSON once: strictly UTF-8 and RFC 8259, no name twice in one object, nothing deeper than the limit."""

import json
from typing import Final, NoReturn, Self

from api.http.problems import CARD_NUMBER, DUPLICATE_NAME, MALFORMED_JSON, Problem
from infra.card_numbers import holds_card_number

MAX_NAME_CHARS: Final = 64


class Written(float):
    """A number with a point or an exponent, and the `text` that it was: that may say more than a float holds."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


class _Twice(ValueError):
    """A name stands twice in one object."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def read_json(raw: bytes) -> object:
    """The value; of its numbers, those with a point or an exponent are Written. Raises the problem of a body that is
    none.
    """
    try:
        text = raw.decode("utf-8")
        return json.loads(text, object_pairs_hook=_object, parse_float=Written, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Problem(MALFORMED_JSON, f"Byte {error.start + 1} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"Line {error.lineno}, column {error.colno}"
        raise Problem(MALFORMED_JSON, f"{where}: this is not JSON.") from None
    except _Twice as twice:
        if holds_card_number(twice.name[:MAX_NAME_CHARS]):
            raise Problem(CARD_NUMBER) from None
        name = "".join(char if char.isprintable() else "?" for char in twice.name[:MAX_NAME_CHARS])
        raise Problem(DUPLICATE_NAME, "Each name may stand once in an object.", param=name) from None
    except ValueError:
        raise Problem(MALFORMED_JSON, "A number has too many digits, or is none.") from None
    except RecursionError:
        raise Problem(MALFORMED_JSON, "Lists and objects lie too deep in one another.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Twice(name)
            seen.add(name)
    return made


def _no_constant(_name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError("not a number of JSON")
