"""What a dataclass looks like on the wire, read from its type hints.

A shape is the middle between three things: the Python type, the Avro schema (`generator.py`) and the compiled
functions (`compiler.py`). `shape_of` accepts what events and states are made of and refuses the rest by name, so a
type that cannot be written exactly (float, Any, a union of instants) is found when schemas are made, not in production.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Final, Literal, NewType, TypeAlias

NAMESPACE: Final = "tallybook"


class UnsupportedType(TypeError):
    """A field's type has no exact form on the wire."""


class Missing(Enum):
    """Tells "no default" from a default of None."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

ScalarKind: TypeAlias = Literal["text", "long", "bool", "bytes", "decimal", "fraction", "instant", "day"]
Default: TypeAlias = object


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts. Decimals and fractions are text; instants are microseconds, days are days, since 1970."""

    kind: ScalarKind


@dataclass(frozen=True, slots=True)
class Symbol:
    """A member of an enum, written as its value (all text, or all integers), so that a symbol can be added later."""

    cls: type[Enum]
    text: bool


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    shape: "Shape"
    default: Default = MISSING


@dataclass(frozen=True, slots=True)
class Record:
    """A dataclass or named tuple; with no `cls`, a plain dict (an old version on its way to an upcaster)."""

    name: str
    fields: tuple[Field, ...]
    cls: type | None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in order; a set's items are written in the order of their bytes, so that equal sets are equal bytes."""

    item: "Shape"
    build: Literal["tuple", "list", "frozenset", "set"]


@dataclass(frozen=True, slots=True)
class Row:
    """A tuple of fixed length and types: in states and snapshots only, since its parts have no names."""

    items: "tuple[Shape, ...]"


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values: a dict, or pairs in a tuple. With text keys it is an Avro map, else only for states."""

    key: "Shape"
    value: "Shape"
    build: Literal["dict", "pairs"]


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several records, told apart by class; None as well where `nullable`."""

    branches: tuple[Record, ...]
    nullable: bool


@dataclass(frozen=True, slots=True)
class NumberOrText:
    """A whole number or a text, told apart by class; None as well where `nullable`."""

    nullable: bool


@dataclass(frozen=True, slots=True)
class Optional:
    """A value or None; on the wire None comes first."""

    shape: "Shape"


Shape: TypeAlias = Scalar | Symbol | Record | Sequence | Row | Table | OneOf | NumberOrText | Optional

TEXT: Final = Scalar("text")
_SCALARS: Final[dict[object, Scalar]] = {
    str: TEXT,
    int: Scalar("long"),
    bool: Scalar("bool"),
    bytes: Scalar("bytes"),
    Decimal: Scalar("decimal"),
    Fraction: Scalar("fraction"),
    datetime: Scalar("instant"),
    date: Scalar("day"),
}
_SEQUENCES: Final[dict[object, Literal["list", "frozenset", "set"]]] = {
    list: "list",
    frozenset: "frozenset",
    set: "set",
}


def shape_of(annotation: object, path: tuple[str, ...] = (), open_classes: tuple[type, ...] = ()) -> Shape:
    """The shape of a resolved type hint. Raises UnsupportedType, naming the field by its path."""
    while isinstance(annotation, NewType):
        annotation = annotation.__supertype__
    scalar = _SCALARS.get(annotation)
    if scalar is not None:
        return scalar
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return _union(typing.get_args(annotation), path, open_classes)
    if origin is tuple:
        return _tuple(typing.get_args(annotation), path, open_classes)
    if origin in _SEQUENCES:
        (item,) = typing.get_args(annotation)
        return Sequence(_item(shape_of(item, path, open_classes), path), _SEQUENCES[origin])
    if origin in (dict, Mapping):
        key, value = typing.get_args(annotation)
        return Table(shape_of(key, path, open_classes), shape_of(value, path, open_classes), "dict")
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return _symbol(annotation, path)
        if dataclasses.is_dataclass(annotation) or _is_named_tuple(annotation):
            return record_of(annotation, path=path, open_classes=open_classes)
    raise UnsupportedType(f"{'.'.join(path) or 'type'}: {annotation!r} has no exact form on the wire")


def record_of(
    cls: type, name: str | None = None, path: tuple[str, ...] = (), open_classes: tuple[type, ...] = ()
) -> Record:
    """The shape of a dataclass or named tuple; `name` is its full Avro name, `tallybook.<Class>` unless given."""
    path = path or (cls.__name__,)
    if cls in open_classes:
        raise UnsupportedType(f"{'.'.join(path)}: {cls.__name__} contains itself")
    open_classes = (*open_classes, cls)
    hints = typing.get_type_hints(cls)
    fields = tuple(
        Field(name=field, shape=shape_of(hints[field], (*path, field), open_classes), default=default)
        for field, default in _defaults(cls, path).items()
    )
    # A dataclass without a docstring gets its signature as one: no use to a reader of the schema.
    doc = cls.__doc__ or ""
    if doc.startswith(f"{cls.__name__}("):
        doc = ""
    return Record(name or f"{NAMESPACE}.{cls.__name__}", fields, cls, " ".join(doc.split()))


def takes_no_bytes(shape: Shape) -> bool:
    """Whether a value of this shape may be nothing at all on the wire."""
    match shape:
        case Record(fields=fields):
            return all(takes_no_bytes(field.shape) for field in fields)
        case Row(items=items):
            return all(takes_no_bytes(item) for item in items)
        case _:
            return False


def _defaults(cls: type, path: tuple[str, ...]) -> dict[str, Default]:
    if not dataclasses.is_dataclass(cls):
        given: dict[str, Default] = getattr(cls, "_field_defaults", {})
        names: tuple[str, ...] = getattr(cls, "_fields", ())
        return {name: given.get(name, MISSING) for name in names}
    defaults: dict[str, Default] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            raise UnsupportedType(f"{'.'.join(path)}.{field.name}: a field outside __init__ cannot be read back")
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
        else:
            defaults[field.name] = MISSING
    return defaults


def _union(members: tuple[object, ...], path: tuple[str, ...], open_classes: tuple[type, ...]) -> Shape:
    shapes = [shape_of(member, path, open_classes) for member in members if member is not types.NoneType]
    nullable = len(shapes) < len(members)
    if len(shapes) == 1:
        return Optional(shapes[0])
    if set(members) - {types.NoneType} == {int, str}:
        return NumberOrText(nullable)
    branches = tuple(shape for shape in shapes if isinstance(shape, Record))
    if len(branches) < len(shapes):
        raise UnsupportedType(f"{'.'.join(path)}: a union is of dataclasses, of int and str, or of one type and None")
    return OneOf(branches, nullable)


def _tuple(members: tuple[object, ...], path: tuple[str, ...], open_classes: tuple[type, ...]) -> Shape:
    if len(members) == 2 and members[1] is Ellipsis:
        item = shape_of(members[0], path, open_classes)
        if isinstance(item, Row) and len(item.items) == 2 and item.items[0] == TEXT:
            return Table(TEXT, item.items[1], "pairs")
        return Sequence(_item(item, path), "tuple")
    return Row(tuple(shape_of(member, path, open_classes) for member in members))


def _item(shape: Shape, path: tuple[str, ...]) -> Shape:
    if takes_no_bytes(shape):
        raise UnsupportedType(f"{'.'.join(path)}: items without fields cannot be counted safely")
    return shape


def _symbol(cls: type[Enum], path: tuple[str, ...]) -> Symbol:
    values = [member.value for member in cls]
    if all(isinstance(value, str) for value in values):
        return Symbol(cls, text=True)
    if all(type(value) is int for value in values):
        return Symbol(cls, text=False)
    raise UnsupportedType(f"{'.'.join(path)}: the values of {cls.__name__} are neither all text nor all integers")


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")
