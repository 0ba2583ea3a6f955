"""Golden bytes: one sample of every event version, written once and read by every release after it.

A sample is made from the type alone, so it is the same on every machine: text and numbers follow from the field's name,
lists have two items, and one field in five that may be None is None.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast
from zlib import crc32

from domain.kernel.accounts import CASH, RECEIVABLE, Entry, credit, debit
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.stream import Event, Stream
from schemas.codec import FRAME_BYTES, Codec, event_classes
from schemas.committed import EventSchema, SchemaSet
from schemas.decoder import compile_decoder
from schemas.generator import Json, plain_shape, record_name
from schemas.shapes import NumberOrText, OneOf, Optional, Record, Row, Scalar, Sequence, Shape, Symbol, Table, record_of

FOLDER: Final = Path(__file__).parent / "golden"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_USD: Final = CurrencyCode("USD")

SAMPLES: Final[dict[type, object]] = {
    Interval: Interval(IntervalUnit.MONTH, 3),
    Entry: Entry(
        (
            debit(CASH, Money(1999, _USD)),
            debit(CASH, Money(7, CurrencyCode("KWD")), "cus_1"),
            credit(RECEIVABLE, Money(7, CurrencyCode("KWD")), "cus_1"),
            credit(RECEIVABLE, Money(1999, _USD), "cus_1"),
        )
    ),
}
"""Samples of classes that refuse most values."""


def golden_name(event_type: str, version: int) -> str:
    """The name of a sample's two files, without .bin (its payload) and .json (what that says)."""
    return f"{event_type}.v{version}"


def golden_files(streams: Mapping[str, Stream[Any]], schemas: SchemaSet) -> dict[str, bytes]:
    """File name → content of the samples of the newest version of every event type."""
    newest = {event_type: schemas.versions(event_type)[-1].version for event_type in schemas.event_types}
    codec = Codec(streams, schemas=schemas, versions=newest)
    files: dict[str, bytes] = {}
    for event_type, cls in event_classes(streams).items():
        event = sample(record_of(cls, record_name(event_type)), event_type)
        _, schema_id, payload = codec.encode_event(cast("Event", event))
        name = golden_name(event_type, newest[event_type])
        files[f"{name}.bin"] = payload
        files[f"{name}.json"] = golden_json(schemas.by_id[schema_id], payload).encode()
    return files


def golden_json(schema: EventSchema, payload: bytes) -> str:
    """What a payload says, read by its own version's schema: plain values, bytes as hexadecimal digits."""
    plain = compile_decoder(plain_shape(schema.schema), payload[:FRAME_BYTES])(payload)
    return json.dumps(_json(plain), indent=2, ensure_ascii=False) + "\n"


def _json(plain: object) -> Json:
    match plain:
        case bytes():
            return plain.hex()
        case dict():
            return {str(key): _json(value) for key, value in plain.items()}
        case list() | tuple():
            return [_json(value) for value in plain]
        case bool() | int() | str() | None:
            return plain
    raise TypeError(f"{type(plain).__name__} is not plain")


def sample(shape: Shape, path: str) -> object:
    """The sample of a shape; `path` (names joined by dots) decides its values."""
    number = crc32(path.encode())
    match shape:
        case Scalar(kind=kind):
            return _scalar(kind, path, number)
        case Symbol(cls=cls):
            members = list(cls)
            return members[number % len(members)]
        case Record(cls=cls, fields=fields) if cls is not None:
            if cls in SAMPLES:
                return SAMPLES[cls]
            return cls(**{field.name: sample(field.shape, f"{path}.{field.name}") for field in fields})
        case Sequence(item=item, build=build):
            return _BUILDERS[build](sample(item, f"{path}.{index}") for index in range(2))
        case Table(key=key, value=value, build=build):
            pairs = [(sample(key, f"{path}.key{index}"), sample(value, f"{path}.{index}")) for index in range(2)]
            return dict(pairs) if build == "dict" else tuple(pairs)
        case Row(items=items):
            return tuple(sample(item, f"{path}.{index}") for index, item in enumerate(items))
        case OneOf(branches=branches):
            return sample(branches[number % len(branches)], path)
        case NumberOrText():
            return str(10**20 + number) if number % 3 == 0 else _scalar("long", path, number)
        case Optional(shape=inner):
            return None if number % 5 == 0 else sample(inner, path)
    raise TypeError(f"no sample of {shape!r}")


_BUILDERS: Final[dict[str, type]] = {"tuple": tuple, "list": list, "frozenset": frozenset, "set": set}


def _scalar(kind: str, path: str, number: int) -> object:
    match kind:
        case "text":
            return f"{path} №{number % 100}"
        case "long":
            return number - 2**31
        case "bool":
            return number % 2 == 0
        case "bytes":
            return number.to_bytes(4) * 8
        case "decimal":
            return Decimal(number).scaleb(-(number % 5))
        case "fraction":
            return Fraction(number % 97, 97)
        case "day":
            return date(2026, 1, 1) + timedelta(days=number % 10_000)
        case _:
            return _START + timedelta(microseconds=number * 1000 + number % 1000)
