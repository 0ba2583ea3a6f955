"""What is wrong with a body or a query, said to people: our codes and sentences, never the parser's texts or patterns.

Nothing that was sent is repeated in a sentence: it may be anything.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain, islice
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from pydantic_core.core_schema import ErrorType

from api.http.known_names import in_place_of_unknown, of_an_object
from api.http.problems import MALFORMED_JSON, FieldError, Problem, invalid
from domain.kernel.refusal import Refusal

MAX_ERRORS: Final = 50
"""Validation errors told of one request; a body may hold thousands."""

MAX_PARAM_CHARS: Final = 64
"""Of each step of a path to a field; names may be the client's own."""

DISCRIMINATOR: Final = "type"
"""The field of every union's members that says which of them it is."""

_HINTS: Final[dict[str, str]] = {}
_MEMBERS_NAMES: Final[set[str]] = set()
_THEIRS: Final = frozenset(get_args(ErrorType))
_MISSING: Final = frozenset({"missing", "union_tag_not_found"})


def form(pattern: str, hint: str, *, min_length: int | None = None, max_length: int | None = None) -> Any:
    """Constraints of a text of one form. `hint` is what somebody is told who sends another."""
    _HINTS[pattern] = hint
    return StringConstraints(pattern=pattern, min_length=min_length, max_length=max_length)


def told_by_type(*members: type[BaseModel]) -> Any:
    """A field that holds one of these, each of which says by its discriminator which it is."""
    _MEMBERS_NAMES.update(name for member in members for name in member.model_fields)
    return Field(discriminator=DISCRIMINATOR)


def invalid_body(error: ValidationError, sent: object, model: type[BaseModel]) -> Problem:
    """The problem of a body or query that is not valid as the model. `sent` is what was parsed: each error is told
    where it lies there, and what the parser says beyond that is left out.
    """
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem(MALFORMED_JSON)
    told = (_said(entry["loc"], entry["type"], entry["msg"], entry.get("ctx", {}), sent, model) for entry in found)
    strays = (
        stray for entry in found if entry["type"] == "union_tag_not_found" for stray in _strays(entry["loc"], sent)
    )
    return invalid([*islice((each for each in chain(told, strays) if each is not None), MAX_ERRORS)])


def _strays(loc: Sequence[int | str], sent: object) -> Iterator[FieldError]:
    """The names in an object without its discriminator that no member of the union has: one may be meant for it."""
    place = _place(loc, sent, is_missing=False)
    for name in place.value if isinstance(place.value, Mapping) else ():
        if name not in _MEMBERS_NAMES:
            yield FieldError(f"{place.param}.{path_text([name])}", *_UNKNOWN_NAME)


def _said(
    loc: Sequence[int | str], kind: str, message: str, context: Mapping[str, Any], sent: object, model: type[BaseModel]
) -> FieldError | None:
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        loc = (*loc, DISCRIMINATOR)
    place = _place(loc, sent, is_missing=kind in _MISSING)
    if kind not in _THEIRS:
        return FieldError(place.param, kind, message)  # one of our own
    if kind == "too_short" and isinstance(place.value, Sized) and len(place.value) >= context["min_length"]:
        return None  # the parser counts the good items alone, and has said what is wrong with the others
    code, sentence = _SAYINGS.get(kind, ("not_valid", "Is not valid here"))
    told = sentence if isinstance(sentence, str) else sentence(context)
    return FieldError(place.param, code, told + _names_told(loc, kind, model))


def _names_told(loc: Sequence[int | str], kind: str, model: type[BaseModel]) -> str:
    """Which names there are, where the lack of one is what is wrong."""
    if kind == "extra_forbidden":
        return in_place_of_unknown(model, loc)
    return of_an_object(model, loc) if _SAYINGS.get(kind) == _OBJECT else ""


class _Place(NamedTuple):
    """A place in what was sent: its path, and what lies there."""

    param: str
    value: object


def _place(loc: Sequence[int | str], sent: object, *, is_missing: bool) -> _Place:
    """Where the parser's place lies in what was sent. The steps of its own, such as which of a union's members it took
    something for, are no part of that; the name of what is missing is.
    """
    path: list[int | str] = []
    value = sent
    last = len(loc) - 1
    for number, step in enumerate(loc):
        if isinstance(value, Mapping):
            if number < last and step == value.get(DISCRIMINATOR):
                continue
            if step in value:
                value = value[step]
                path.append(step)
            elif number == last and is_missing:
                path.append(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
            path.append(step)
    return _Place(path_text(path), value)


def param_in(refusal: Refusal, *, sent: object, named: Container[str], path: Mapping[str, str]) -> str | None:
    """Where in a request the field lies that a refusal is about: its path in the body that was sent, by the value that
    was refused. None where it is about nothing that the request names.
    """
    name = refusal.param
    if name is not None and "." in name:
        return name if _leads(name, sent) else None
    if name is None or name in named or refusal.details.get(name, "") in path.values():
        return name
    found = [each for each in _named(name, sent) if each.value in refusal.details.values()]
    return found[0].param if found else None


def _leads(param: str, sent: object) -> bool:
    """Whether a path leads to a field of a JSON value, or to where one is missing."""
    *steps, last = param.split(".")
    for step in steps:
        if isinstance(sent, Mapping):
            sent = sent.get(step)
        elif isinstance(sent, list) and step.isdecimal() and int(step) < len(sent):
            sent = sent[int(step)]
        else:
            return False
    return isinstance(sent, Mapping) or (isinstance(sent, list) and last.isdecimal() and int(last) < len(sent))


def _named(name: str, sent: object) -> Iterator[_Place]:
    """Every place in a JSON value that bears a name, in order."""
    waiting: list[tuple[tuple[int | str, ...], object]] = [((), sent)]
    while waiting:
        path, value = waiting.pop()
        if path and path[-1] == name:
            yield _Place(path_text(path), value)
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        waiting.extend(reversed([((*path, step), each) for step, each in inner]))


def path_text(path: Iterable[int | str]) -> str:
    """A path as it is told: `items.0.price`."""
    return ".".join(printable(str(step)[:MAX_PARAM_CHARS]) for step in path)


def printable(text: str) -> str:
    """The text without what cannot be shown."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"


def _characters(count: int) -> str:
    return f"{count} character" if count == 1 else f"{count} characters"


_Sentence = str | Callable[[Mapping[str, Any]], str]
_OBJECT: Final = ("wrong_type", "Must be an object")
_UNKNOWN_NAME: Final = ("unknown_name", "There is nothing of this name here")
_LIST: Final = ("wrong_type", "Must be a list")
_SAYINGS: Final[dict[str, tuple[str, _Sentence]]] = {
    "missing": ("required", "Must be given"),
    "union_tag_not_found": ("required", "Must be given"),
    "union_tag_invalid": ("not_one_of", lambda context: f"Must be one of {context['expected_tags']}"),
    "literal_error": ("not_one_of", lambda context: f"Must be {context['expected']}"),
    "enum": ("not_one_of", lambda context: f"Must be {context['expected']}"),
    "extra_forbidden": _UNKNOWN_NAME,
    "string_pattern_mismatch": ("wrong_form", lambda context: _HINTS.get(context["pattern"], "Is not of its form")),
    "string_too_long": ("too_long", lambda context: f"Must have at most {_characters(context['max_length'])}"),
    "string_too_short": ("too_short", lambda context: f"Must have at least {_characters(context['min_length'])}"),
    "too_long": ("too_long", lambda context: f"Must have at most {_items(context['max_length'])}"),
    "too_short": ("too_short", lambda context: f"Must have at least {_items(context['min_length'])}"),
    "greater_than_equal": ("out_of_range", lambda context: f"Must be {context['ge']} or more"),
    "greater_than": ("out_of_range", lambda context: f"Must be more than {context['gt']}"),
    "less_than_equal": ("out_of_range", lambda context: f"Must be {context['le']} or less"),
    "less_than": ("out_of_range", lambda context: f"Must be less than {context['lt']}"),
    "string_type": ("wrong_type", "Must be a string"),
    "string_unicode": ("wrong_type", "Must be a string of Unicode characters"),
    "int_type": ("not_a_whole_number", "Must be a whole number"),
    "int_from_float": ("not_a_whole_number", "Must be a whole number"),
    "int_parsing": ("not_a_whole_number", "Must be a whole number"),
    "int_parsing_size": ("out_of_range", "Has too many digits"),
    "float_type": ("wrong_type", "Must be a number"),
    "finite_number": ("out_of_range", "Must be a finite number"),
    "bool_type": ("wrong_type", "Must be true or false"),
    "bool_parsing": ("wrong_type", "Must be true or false"),
    "date_type": ("wrong_type", "Must be a date such as 2026-01-31"),
    "date_parsing": ("wrong_type", "Must be a date such as 2026-01-31"),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "invalid_key": ("wrong_type", "Names must be strings"),
}
"""The parser's kinds of errors in our words. A kind that is not here is told without reasons."""
