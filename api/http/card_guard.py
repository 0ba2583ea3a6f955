"""Refuses payment card numbers in what clients send, so that none is ever logged or stored.

Fields, parameters and parts of a path that are declared to hold an opaque id, one that another system gave, are not
looked through: of ids that are long numbers one in some hundred would pass for a card number by chance.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, get_args

from pydantic import BaseModel

from api.http.problems import CARD_NUMBER, Problem
from infra.card_numbers import SHORTEST, holds_card_number

REFUSED_BODY_MAX_CHARS: Final = 16_384
"""How much is looked through of a body that is refused anyway. What a good body may hold, its fields bound."""

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
        if holds_card_number(name) or (name not in opaque and holds_card_number(value)):
            raise Problem(CARD_NUMBER)


def refuse_card_numbers_in_body(
    raw: bytes, body: object, opaque: frozenset[str], *, max_chars: int | None = None
) -> None:
    """Raise for one in any name, text or number of a JSON body. `opaque` names are those of its outermost object."""
    if _DIGITS_IN_JSON.search(raw) is None and _MAY_HIDE_DIGITS.search(raw) is None:
        return
    seen = 0
    for text in _texts(body, opaque):
        seen += len(text)
        if max_chars is not None and seen > max_chars:
            return
        if holds_card_number(text):
            raise Problem(CARD_NUMBER)


def _texts(body: object, opaque: frozenset[str]) -> Iterator[str]:
    """Every text of a parsed JSON value, names included. As deep as the parser goes, so without recursion."""
    waiting: list[object] = []
    if isinstance(body, Mapping):
        for name, value in body.items():
            yield name
            if name not in opaque:
                waiting.append(value)
    else:
        waiting.append(body)
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case bool() | None:
                continue
            case int(number):
                yield str(number)
            case float(number):
                yield repr(number)
            case list(items):
                waiting.extend(items)
            case dict(pairs):
                for name, item in pairs.items():
                    yield name
                    waiting.append(item)
