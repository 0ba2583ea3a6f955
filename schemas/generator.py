"""From shapes to Avro schemas and back.

No logical types: libraries map them to classes of their own at a cost per value, and a decimal's scale would have to be
fixed for ever. So decimals are text, instants are microseconds in a long, enums are text (a new symbol is then no new
schema), and each field's `doc` says so.
"""

from typing import Final, TypeAlias

from schemas.shapes import (
    MISSING,
    NAMESPACE,
    TEXT,
    Field,
    NumberOrText,
    OneOf,
    Optional,
    Record,
    Row,
    Scalar,
    ScalarKind,
    Sequence,
    Shape,
    Symbol,
    Table,
    UnsupportedType,
)

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
Schema: TypeAlias = dict[str, Json]

_TYPES: Final[dict[ScalarKind, str]] = {
    "text": "string",
    "long": "long",
    "bool": "boolean",
    "bytes": "bytes",
    "decimal": "string",
    "fraction": "string",
    "instant": "long",
    "day": "int",
}
_DOCS: Final[dict[ScalarKind, str]] = {
    "decimal": "A decimal number as text, digits as given.",
    "fraction": "An exact fraction as text, in lowest terms: 1/3.",
    "instant": "Microseconds since 1970-01-01T00:00:00Z.",
    "day": "Days since 1970-01-01.",
}
_PLAIN_SCALARS: Final[dict[str, Scalar]] = {
    "string": TEXT,
    "long": Scalar("long"),
    "int": Scalar("long"),
    "boolean": Scalar("bool"),
    "bytes": Scalar("bytes"),
}


def record_name(event_type: str) -> str:
    """The full Avro name of an event type: `invoice.finalized` is `tallybook.invoice.Finalized` in every version."""
    stream, _, fact = event_type.partition(".")
    words = fact.replace(".", "_").split("_")
    return f"{NAMESPACE}.{stream}.{''.join(word.capitalize() for word in words)}"


def avro_schema(record: Record) -> Schema:
    """The schema of an event's shape; each named record is defined where it is first used."""
    defined: dict[str, type | None] = {}
    schema = _schema(record, defined)
    assert isinstance(schema, dict)
    return schema


def without_docs(schema: Json) -> Json:
    """What a schema says to a machine. Better words for people are not a new version."""
    match schema:
        case list():
            return [without_docs(part) for part in schema]
        case dict():
            return {key: without_docs(part) for key, part in schema.items() if key != "doc"}
        case _:
            return schema


def _schema(shape: Shape, defined: dict[str, type | None]) -> Json:
    match shape:
        case Scalar(kind=kind):
            return _TYPES[kind]
        case Symbol(text=text):
            return "string" if text else "long"
        case Record():
            return _record_schema(shape, defined)
        case Sequence(item=item):
            return {"type": "array", "items": _schema(item, defined)}
        case Table(key=key, value=value):
            if _schema(key, {}) != "string":
                raise UnsupportedType("the keys of an Avro map are text")
            return {"type": "map", "values": _schema(value, defined)}
        case OneOf(branches=branches, nullable=nullable):
            return [*(["null"] if nullable else []), *(_schema(branch, defined) for branch in branches)]
        case NumberOrText(nullable=nullable):
            return [*(["null"] if nullable else []), "long", "string"]
        case Optional(shape=inner):
            return ["null", _schema(inner, defined)]
        case Row():
            raise UnsupportedType("the parts of a tuple of fixed length have no names: make it a dataclass")


def _record_schema(record: Record, defined: dict[str, type | None]) -> Json:
    if record.name in defined:
        if defined[record.name] is not record.cls:
            raise UnsupportedType(f"two classes in one schema are named {record.name}")
        return record.name
    defined[record.name] = record.cls
    namespace, _, name = record.name.rpartition(".")
    schema: dict[str, Json] = {"type": "record", "name": name, "namespace": namespace}
    if record.doc:
        schema["doc"] = record.doc
    fields: list[Json] = []
    for field in record.fields:
        entry: dict[str, Json] = {"name": field.name, "type": _schema(field.shape, defined)}
        doc = _doc(field.shape)
        if doc:
            entry["doc"] = doc
        if isinstance(field.shape, Optional) or (
            isinstance(field.shape, OneOf | NumberOrText) and field.shape.nullable
        ):
            if field.default is not MISSING and field.default is not None:
                raise UnsupportedType(f"{record.name}.{field.name}: a field that may be None has no other default")
            entry["default"] = None
        elif field.default is not MISSING:
            entry["default"] = _default(field)
        fields.append(entry)
    schema["fields"] = fields
    return schema


def _doc(shape: Shape) -> str:
    match shape:
        case Scalar(kind=kind):
            return _DOCS.get(kind, "")
        case Symbol(cls=cls):
            return f"One of: {', '.join(str(member.value) for member in cls)}."
        case Sequence(item=inner) | Optional(shape=inner) if not isinstance(inner, Record | OneOf):
            return _doc(inner)
        case _:
            return ""


def _default(field: Field) -> Json:
    value, shape = field.default, field.shape
    match shape:
        case Scalar(kind="text" | "long" | "bool") if isinstance(value, str | int):
            return value
        case Scalar(kind="decimal" | "fraction"):
            return str(value)
        case Symbol(cls=cls) if isinstance(value, cls) and isinstance(value.value, str | int):
            return value.value
        case Sequence() if not value:
            return []
        case Table() if not value:
            return {}
        case _:
            raise UnsupportedType(f"{field.name}: a default of {value!r} cannot stand in a schema")


def plain_shape(schema: Json) -> Shape:
    """The shape of a schema's data as plain dicts, lists, text and numbers: what upcasters work on.

    A value of a union of records is a pair (record's full name, dict). Raises UnsupportedType for schemas that the
    generator does not make.
    """
    return _plain(schema, {})


def _plain(schema: Json, defined: dict[str, Record]) -> Shape:
    match schema:
        case str() if schema in _PLAIN_SCALARS:
            return _PLAIN_SCALARS[schema]
        case str() if schema in defined:
            return defined[schema]
        case {"type": "array", "items": items}:
            return Sequence(_plain(items, defined), "list")
        case {"type": "map", "values": values}:
            return Table(TEXT, _plain(values, defined), "dict")
        case {"type": "record", "name": str(name), "namespace": str(namespace), "fields": list(fields)}:
            record = Record(f"{namespace}.{name}", tuple(_plain_field(field, defined) for field in fields), None)
            defined[record.name] = record
            return record
        case ["long", "string"] | ["null", "long", "string"]:
            return NumberOrText(schema[0] == "null")
        case ["null", inner]:
            return Optional(_plain(inner, defined))
        case list():
            nullable = schema[0] == "null"
            branches = tuple(_plain(branch, defined) for branch in schema[nullable:])
            records = tuple(branch for branch in branches if isinstance(branch, Record))
            if len(records) == len(branches):
                return OneOf(records, nullable)
    raise UnsupportedType(f"not a schema of ours: {schema!r}")


def _plain_field(field: Json, defined: dict[str, Record]) -> Field:
    match field:
        case {"name": str(name), "type": shape, "default": default}:
            return Field(name, _plain(shape, defined), default)
        case {"name": str(name), "type": shape}:
            return Field(name, _plain(shape, defined))
    raise UnsupportedType(f"not a field of ours: {field!r}")
