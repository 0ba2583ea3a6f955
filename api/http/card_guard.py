"""Refuses payment card numbers in what clients send, so that none is ever logged or stored.

Fields, parameters and parts of a path that are declared to hold an opaque id, one that another system gave, are not
looked through: of ids that are long numbers one in some hundred would pass for a card number by chance.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, get_args

from pydantic import BaseModel

from api.http.problems import CARD_NUMBER, Problem
from api.http.validation import path_text
from infra.card_numbers import SHORTEST, holds_card_number

REFUSED_BODY_MAX_CHARS: Final = 16_384
"""How much is looked through of a body that is refused anyway. What a good body may hold, its fields bound."""

MAX_STEPS: Final = 16
"""Of a path that is told. Every field that there is lies higher."""

_DIGITS_IN_JSON: Final = re.compile(rb"[0-9](?:[^0-9A-Za-z\"]*+[0-9]){%d}" % (SHORTEST - 1))
_MAY_HIDE_DIGITS: Final = re.compile(rb"\\u|[\x80-\xff]")


class OpaqueId:
    """Marks the type of a field that holds another system's id: `Annotated[str, OpaqueId()]`."""


def opaque_names(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields that hold opaque ids."""
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if _is_marked(field.annotation) or any(isinstance(each, OpaqueId) for each in field.metadata)
    )


def _is_marked(annotation: object) -> bool:
    marks = getattr(annotation, "__metadata__", ())
    return any(isinstance(mark, OpaqueId) for mark in marks) or any(_is_marked(each) for each in get_args(annotation))


def refuse_card_numbers(named: Sequence[tuple[str, str]], opaque: frozenset[str]) -> None:
    """Raise for one in decoded names and values, such as those of a query; the values of opaque names are let be."""
    for name, value in named:
        if holds_card_number(name):
            raise Problem(CARD_NUMBER)
        if name not in opaque and holds_card_number(value):
            raise Problem(CARD_NUMBER, param=path_text([name]))


def refuse_card_numbers_in_body(
    raw: bytes, body: object, opaque: frozenset[str], *, max_chars: int | None = None
) -> None:
    """Raise for one in any name, text or number of a JSON body. `opaque` names are those of its outermost object."""
    if _DIGITS_IN_JSON.search(raw) is None and _MAY_HIDE_DIGITS.search(raw) is None:
        return
    seen = 0
    for text, place in _texts(body, opaque):
        seen += len(text)
        if max_chars is not None and seen > max_chars:
            return
        if holds_card_number(text):
            raise Problem(CARD_NUMBER, param=_told(place))


class _Place(NamedTuple):
    """Where a value stands: its name or number in what holds it, and the place of that."""

    step: str | int
    outer: "_Place | None"


def _told(place: _Place | None) -> str | None:
    """The path of a place, unless its names together are what must not be repeated."""
    steps: list[str | int] = []
    while place is not None and len(steps) < MAX_STEPS:
        steps.append(place.step)
        place = place.outer
    param = path_text(reversed(steps))
    return param if steps and place is None and not holds_card_number(param) else None


def _texts(body: object, opaque: frozenset[str]) -> Iterator[tuple[str, _Place | None]]:
    """Every text of a parsed JSON value and where it stands, names included, which stand where the object that they are
    of does. As deep as the parser goes, so without recursion.
    """
    waiting: list[tuple[object, _Place | None]] = []
    if isinstance(body, Mapping):
        for name, value in body.items():
            yield name, None
            if name not in opaque:
                waiting.append((value, _Place(name, None)))
    else:
        waiting.append((body, None))
    while waiting:
        value, place = waiting.pop()
        match value:
            case str(text):
                yield text, place
            case bool() | None:
                continue
            case int(number):
                yield str(number), place
            case float(number):
                yield repr(number), place
            case list(items):
                waiting.extend((item, _Place(nth, place)) for nth, item in enumerate(items))
            case dict(pairs):
                for name, item in pairs.items():
                    yield name, place
                    waiting.append((item, _Place(name, place)))
