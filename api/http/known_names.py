"""Which names an object has, said to whoever sent another one: the one that was meant, or all that there are.

What was sent is compared with our names and never repeated.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any, Final

from pydantic import BaseModel

NAMES_MAX: Final = 12
"""Names told at once; an object with more of them is told by the API's documentation."""

NEAR: Final = 0.6
"""How like one of ours a name is, from 0 to 1, from which on that one was perhaps meant."""

COMPARED_CHARS_MAX: Final = 64
"""Of a name that was sent; a longer one is like none."""

PLACES_KEPT: Final = 1_024

_Schema = Mapping[str, Any]


def in_place_of_unknown(model: type[BaseModel], place: Sequence[int | str]) -> str:
    """What to add to the sentence on a name that nothing has: `place` is the parser's path to it."""
    names = _names_at(model, place[:-1])
    unknown = str(place[-1])
    if len(unknown) <= COMPARED_CHARS_MAX and (near := get_close_matches(unknown, names, n=1, cutoff=NEAR)):
        return f"; is {near[0]} meant?"
    return f", but {_listed(names)}" if 0 < len(names) <= NAMES_MAX else ""


def of_an_object(model: type[BaseModel], place: Sequence[int | str]) -> str:
    """What to add to the sentence on something that is no object and must be one."""
    names = _names_at(model, place)
    return f" with {_listed(names)}" if 0 < len(names) <= NAMES_MAX else ""


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _names_at(model: type[BaseModel], place: Sequence[int | str]) -> Sequence[str]:
    return _names(model, tuple(0 if isinstance(step, int) else step for step in place))


@lru_cache(maxsize=PLACES_KEPT)
def _names(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The names that an object has at the parser's path, as they are declared; none where it is no one object."""
    document = _document(model)
    here: _Schema = document
    for step in place:
        here = _below(document, _object(document, here), step)
    return tuple(_object(document, here).get("properties", ()))


@cache
def _document(model: type[BaseModel]) -> _Schema:
    return model.model_json_schema(by_alias=True)


def _object(document: _Schema, schema: _Schema) -> _Schema:
    """A schema without the reference that leads to it, and without null beside it."""
    while True:
        if "$ref" in schema:
            schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
            continue
        choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if len(choices) != 1:
            return schema
        (schema,) = choices


def _below(document: _Schema, schema: _Schema, step: int | str) -> _Schema:
    """What lies at one step: an item, a field, or the member of a union that says this of itself."""
    if isinstance(step, int):
        found = schema.get("items", {})
    elif step in schema.get("discriminator", {}).get("mapping", {}):
        found = {"$ref": schema["discriminator"]["mapping"][step]}
    else:
        found = schema.get("properties", {}).get(step, {})
    return _object(document, found) if isinstance(found, Mapping) else {}
