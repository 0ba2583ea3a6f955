"""Columns from dataclasses: a table's layout, and two compiled functions that turn rows into values and back.

A row is a named tuple. Its field `state` is spread out, one column per field (two for Money); everything else is a
column of its own. Plain values have plain types, so that anybody can query them; what has parts of its own is jsonb,
which keeps no order of names: pairs come back in the order of their keys.
"""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeVar, cast, get_type_hints

import asyncpg

from domain.kernel.money import Money
from projections.read_model import Column, Key
from schemas.shapes import (
    TEXT,
    NumberOrText,
    OneOf,
    Optional,
    Record,
    Row,
    Scalar,
    Sequence,
    Shape,
    Symbol,
    Table,
    record_of,
    shape_of,
)

STATE: Final = "state"
RowType = TypeVar("RowType")

_SQL: Final = {
    "text": 'text COLLATE "C"',
    "long": "bigint",
    "bool": "boolean",
    "bytes": "bytea",
    "decimal": 'text COLLATE "C"',
    "fraction": 'text COLLATE "C"',
    "instant": "timestamptz",
    "day": "date",
}
_NAMES: Final[dict[str, object]] = {
    "quoted": json.encoder.encode_basestring_ascii,
    "join": "".join,
    "loads": json.loads,
    "instant": datetime.fromisoformat,
    "day": date.fromisoformat,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "Money": Money,
    "unhex": bytes.fromhex,
}


class Layout(NamedTuple):
    """A row type's columns, and how its rows are written and read."""

    columns: tuple[Column, ...]
    write: Callable[[Key, Any], tuple[object, ...]]
    read: Callable[[asyncpg.Record], Any]


class _Names:
    """The classes that the generated expressions refer to."""

    def __init__(self) -> None:
        self.known = dict(_NAMES)
        self._loops = 0

    def loop(self) -> str:
        """A fresh name for a loop's variable: loops nest."""
        self._loops += 1
        return f"x{self._loops}"

    def of(self, cls: type) -> str:
        name = f"_{cls.__name__}"
        known = self.known.setdefault(name, cls)
        if known is not cls:
            raise TypeError(f"two classes are named {cls.__name__}")
        return name


def layout(row: type[RowType], state: type, *, tenant: bool = True) -> Layout:
    """The layout of a row type whose `state` is of this dataclass. `tenant`: the row's key begins with its tenant."""
    names = _Names()
    hints = get_type_hints(row)
    columns: list[Column] = [Column("tenant_id", 'text COLLATE "C" NOT NULL')] if tenant else []
    written: list[str] = ["key[0]"] if tenant else []
    read: list[str] = []
    for field, hint in hints.items():
        if field == STATE:
            inner: list[str] = []
            for part in record_of(state).fields:
                _column(names, part.name, part.shape, f"row.state.{part.name}", columns, written, inner)
            read.append(f"{names.of(state)}({', '.join(inner)})")
        else:
            before = len(read)
            _column(names, field, shape_of(hint), f"row.{field}", columns, written, read)
            read[before] = read[before].partition("=")[2]
    scope = names.known | {"_row": row}
    write = eval(f"lambda key, row: ({', '.join(written)},)", scope)  # noqa: S307  made of our own field names
    make = eval(f"lambda record: _row({', '.join(read)})", scope)  # noqa: S307  the same
    return Layout(tuple(columns), cast("Any", write), cast("Any", make))


def _column(
    names: _Names,
    name: str,
    shape: Shape,
    value: str,
    columns: list[Column],
    written: list[str],
    read: list[str],
) -> None:
    null = " NOT NULL"
    inner = shape
    if isinstance(shape, Optional):
        null, inner = "", shape.shape
    elif isinstance(shape, OneOf) and shape.nullable:
        null = ""
    if isinstance(inner, Record) and inner.cls is Money:
        currency = f"{name}_currency"
        columns += [Column(name, f"bigint{null}"), Column(currency, f'text COLLATE "C"{null}')]
        made = f"Money(record[{name!r}], record[{currency!r}])"
        if null:
            written += [f"{value}.amount", f"{value}.currency"]
        else:
            written += [f"{value} and {value}.{part}" for part in ("amount", "currency")]
            made = f"(None if record[{name!r}] is None else {made})"
        read.append(f"{name}={made}")
        return
    cell = f"record['{name}']"
    if isinstance(inner, Scalar | Symbol):
        kind = inner.kind if isinstance(inner, Scalar) else "text" if inner.text else "long"
        columns.append(Column(name, _SQL[kind] + null))
        written.append(_unless_none(value, _to_cell(inner, value), nullable=not null))
        read.append(f"{name}={_unless_none(cell, _from_cell(names, inner, cell), nullable=not null)}")
        return
    columns.append(Column(name, f"jsonb{null}"))
    written.append(_unless_none(value, _to_json(names, inner, value), nullable=not null))
    parsed = f"(lambda j: {_from_json(names, inner, 'j')})(loads({cell}))"
    read.append(f"{name}={_unless_none(cell, parsed, nullable=not null)}")


def _unless_none(value: str, expression: str, *, nullable: bool) -> str:
    return expression if not nullable or expression == value else f"(None if {value} is None else {expression})"


def _to_cell(shape: Scalar | Symbol, value: str) -> str:
    if isinstance(shape, Scalar) and shape.kind in ("decimal", "fraction"):
        return f"str({value})"
    return value  # an enum's member of text is text


def _from_cell(names: _Names, shape: Scalar | Symbol, value: str) -> str:
    if isinstance(shape, Symbol):
        return f"{names.of(shape.cls)}({value})"
    if shape.kind in ("decimal", "fraction"):
        return f"{shape.kind.capitalize()}({value})"
    return value


def _to_json(names: _Names, shape: Shape, value: str) -> str:
    """An expression for a value's JSON text. Spelled out piece by piece: `json.dumps` costs several times as much."""
    pieces: list[str] = []
    for piece in _json_pieces(names, shape, value):
        if pieces and piece.startswith("'") and pieces[-1].startswith("'"):
            pieces[-1] = f"'{pieces[-1][1:-1]}{piece[1:-1]}'"
        else:
            pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else f"join(({', '.join(pieces)}))"


def _json_pieces(names: _Names, shape: Shape, value: str) -> list[str]:
    """Expressions of text, to be joined; constants are in single quotes."""
    match shape:
        case Scalar(kind="text") | Symbol(text=True):
            return [f"quoted({value})"]
        case Scalar(kind="instant" | "day"):
            return ["'\"'", f"{value}.isoformat()", "'\"'"]
        case Scalar(kind="decimal" | "fraction"):
            return ["'\"'", f"str({value})", "'\"'"]
        case Scalar(kind="bytes"):
            return ["'\"'", f"{value}.hex()", "'\"'"]
        case Scalar(kind="bool"):
            return [f"({value} and 'true' or 'false')"]
        case Scalar() | Symbol():
            return [f"str({value})"]
        case Optional():
            return [f"('null' if {value} is None else {_to_json(names, shape.shape, value)})"]
        case Record():
            return _members(names, shape, value, "'{'")
        case OneOf():
            chain = "'null'"
            for branch in reversed(shape.branches):
                name = _class(branch).__name__
                made = _joined(_members(names, branch, value, f'\'{{"type":"{name}"\''))
                chain = f"{made} if type({value}).__name__ == '{name}' else {chain}"
            return [f"({chain})"]
        case Sequence():
            each = names.loop()
            return ["'['", f"(','.join([{_to_json(names, shape.item, each)} for {each} in {value}]))", "']'"]
        case Table() if shape.key == TEXT:
            key, item = names.loop(), names.loop()
            pairs = value if shape.build == "pairs" else f"{value}.items()"
            member = _joined([f"quoted({key})", "':'", *_json_pieces(names, shape.value, item)])
            members = f"','.join([{member} for {key}, {item} in {pairs}])"
            table = _joined(["'{'", members, "'}'"])
            return [f"({table} if {value} else '{{}}')"]
        case Row() | Table() | NumberOrText():
            raise TypeError(f"{shape} has no form in a read model")


def _joined(pieces: list[str]) -> str:
    return f"join(({', '.join(pieces)}))"


def _members(names: _Names, shape: Record, value: str, opening: str) -> list[str]:
    pieces = [opening]
    for field in shape.fields:
        comma = "" if pieces == ["'{'"] else ","
        pieces.append(f"'{comma}\"{field.name}\":'")
        pieces += _json_pieces(names, field.shape, f"{value}.{field.name}")
    return [*pieces, "'}'"]


def _from_json(names: _Names, shape: Shape, value: str) -> str:
    match shape:
        case Scalar(kind="instant" | "day"):
            return f"{shape.kind}({value})"
        case Scalar(kind="decimal" | "fraction"):
            return f"{shape.kind.capitalize()}({value})"
        case Scalar(kind="bytes"):
            return f"unhex({value})"
        case Scalar():
            return value
        case Symbol():
            return f"{names.of(shape.cls)}({value})"
        case Optional():
            return _unless_none(value, _from_json(names, shape.shape, value), nullable=True)
        case Record():
            members = [
                f"{field.name}={_from_json(names, field.shape, f'{value}[{field.name!r}]')}" for field in shape.fields
            ]
            return f"{names.of(_class(shape))}({', '.join(members)})"
        case OneOf():
            chain = "None"
            for branch in reversed(shape.branches):
                chain = (
                    f"{_from_json(names, branch, value)} if {value}['type'] == '{_class(branch).__name__}' else {chain}"
                )
            return f"({chain})" if not shape.nullable else f"(None if {value} is None else {chain})"
        case Sequence():
            each = names.loop()
            items = f"{_from_json(names, shape.item, each)} for {each} in {value}"
            return f"[{items}]" if shape.build == "list" else f"{shape.build}([{items}])"
        case Table() if shape.key == TEXT:
            key, item = names.loop(), names.loop()
            pairs = f"[({key}, {_from_json(names, shape.value, item)}) for {key}, {item} in {value}.items()]"
            return f"dict({pairs})" if shape.build == "dict" else f"tuple(sorted({pairs}))"
        case Row() | Table() | NumberOrText():
            raise TypeError(f"{shape} has no form in a read model")


def _class(shape: Record) -> type:
    if shape.cls is None:
        raise TypeError(f"{shape.name} has no class")
    return shape.cls
