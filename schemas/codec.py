"""Events, ledger entries and states to bytes and back, by functions compiled per type.

An event's payload is Confluent-framed Avro: a zero byte, the schema's id in four bytes, the record. The same bytes
stand in the log and in Kafka. An event of an old version is brought to the newest dataclass when it is read.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from domain.kernel.accounts import Entry
from domain.kernel.stream import Event, Stream
from domain.metering.usage_record import UsageRecorded
from schemas.committed import EventSchema, SchemaSet, committed
from schemas.decoder import Decoder, compile_decoder
from schemas.encoder import Encoder, compile_encoder
from schemas.generator import avro_schema, plain_shape, record_name, without_docs
from schemas.shapes import Record, record_of, shape_of
from schemas.versions import UPCASTERS, VERSIONS, PlainEvent, Upcaster
from schemas.wire import MalformedPayload, UnencodableValue

__all__ = [
    "LEDGER_ENTRY",
    "USAGE_RECORDED",
    "Codec",
    "MalformedPayload",
    "SchemaDrift",
    "UnencodableValue",
    "UnknownEventType",
    "UnknownSchema",
    "decode_entry",
    "decode_event",
    "decode_value",
    "default_codec",
    "encode_entry",
    "encode_event",
    "encode_value",
    "event_type_of",
    "fingerprint",
]

LEDGER_ENTRY: Final = "ledger.entry"
"""The schema of the records of ledger.entries.v1: an entry's postings. What caused it is in the record's headers."""

USAGE_RECORDED: Final = "usage.recorded"
"""The schema of the records of usage.events.v1, which `usage.wire` reads and writes: no stream has them."""

FRAME_BYTES: Final = 5
Value = TypeVar("Value")


class UnknownEventType(TypeError):
    """The class is in no stream's EVENTS."""


class UnknownSchema(MalformedPayload):
    """The frame names a schema id that this release does not have, or there is no frame."""


class SchemaDrift(RuntimeError):
    """An event's dataclass and its committed schema differ, or it has none: run `make schemas`."""


class Codec:
    """Reads and writes the events of some streams, and ledger entries.

    `schemas` gives the ids; the committed ones unless told otherwise (tests generate their own, see
    `schemas.generate.generated`). Functions are compiled at a type's first use.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream[Any]],
        *,
        schemas: SchemaSet | None = None,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
        versions: Mapping[str, int] = VERSIONS,
    ) -> None:
        self._schemas = committed() if schemas is None else schemas
        self._upcasters = upcasters
        self._versions = versions
        self._classes = event_classes(streams)
        self._types: dict[type, str] = {cls: event_type for event_type, cls in self._classes.items()}
        self._encoders: dict[type, tuple[str, int, Encoder]] = {}
        self._decoders: dict[bytes, Decoder] = {}

    def encode_event(self, event: Event) -> tuple[str, int, bytes]:
        """The event's type, its schema's id, and the framed payload. Raises UnencodableValue, UnknownEventType."""
        compiled = self._encoders.get(type(event))
        if compiled is None:
            compiled = self._compile_encoder(type(event))
        event_type, schema_id, encode = compiled
        return event_type, schema_id, encode(event)

    def decode_event(self, payload: bytes) -> Event:
        """The event of a framed payload of any released version, as the newest dataclass. Raises MalformedPayload."""
        decode = self._decoders.get(payload[:FRAME_BYTES])
        if decode is None:
            decode = self._compile_decoder(payload[:FRAME_BYTES])
        return cast("Event", decode(payload))

    def event_type_of(self, schema_id: int) -> str:
        """The event type that a schema id stands for. Raises UnknownSchema."""
        return self._schema(schema_id).event_type

    def encode_entry(self, entry: Entry) -> bytes:
        """The framed ledger entry: stored beside its event, and published to ledger.entries.v1 as it is."""
        compiled = self._encoders.get(Entry)
        if compiled is None:
            compiled = self._compile_encoder(Entry)
        return compiled[2](entry)

    def decode_entry(self, payload: bytes) -> Entry:
        """The inverse of `encode_entry`. Raises MalformedPayload."""
        entry = self.decode_event(payload)
        if not isinstance(entry, Entry):
            raise MalformedPayload(f"{type(entry).__name__} where a ledger entry is due")
        return entry

    def _compile_encoder(self, cls: type) -> tuple[str, int, Encoder]:
        event_type = self._types.get(cls)
        if event_type is None:
            raise UnknownEventType(f"{cls.__name__} is in no stream's EVENTS")
        schema, record = self._newest(event_type)
        compiled = (event_type, schema.id, compile_encoder(record, _frame(schema.id)))
        self._encoders[cls] = compiled
        return compiled

    def _compile_decoder(self, frame: bytes) -> Decoder:
        if len(frame) < FRAME_BYTES or frame[0] != 0:
            raise UnknownSchema("no Confluent frame: a zero byte and four of a schema's id")
        schema = self._schema(int.from_bytes(frame[1:]))
        newest, record = self._newest(schema.event_type)
        decode = compile_decoder(record, frame)
        if schema is not newest:
            decode = self._upcasting_decoder(schema, newest, decode)
        self._decoders[frame] = decode
        return decode

    def _upcasting_decoder(self, old: EventSchema, newest: EventSchema, decode_newest: Decoder) -> Decoder:
        read_old = compile_decoder(plain_shape(old.schema), _frame(old.id))
        write_newest = compile_encoder(plain_shape(newest.schema), _frame(newest.id))
        steps = [
            step
            for version in range(old.version, newest.version)
            if (step := self._upcasters.get((old.event_type, version))) is not None
        ]

        def decode(payload: bytes) -> object:
            plain = cast("PlainEvent", read_old(payload))
            try:
                for step in steps:
                    plain = step(plain)
                return decode_newest(write_newest(plain))
            except Exception as error:
                raise MalformedPayload(
                    f"{old.event_type} version {old.version} cannot be brought up: {error}"
                ) from error

        return decode

    def _newest(self, event_type: str) -> tuple[EventSchema, Record]:
        cls = self._classes.get(event_type)
        if cls is None:
            raise UnknownSchema(f"{event_type} is in no stream's EVENTS")
        version = self._versions.get(event_type, 1)
        schema = self._schemas.find(event_type, version)
        if schema is None:
            raise SchemaDrift(f"{event_type} has no schema of version {version}: run `make schemas`")
        record = record_of(cls, record_name(event_type))
        if without_docs(avro_schema(record)) != without_docs(schema.schema):
            raise SchemaDrift(
                f"{event_type}: {cls.__name__} is not what its schema of version {version} says: run `make schemas`"
            )
        return schema, record

    def _schema(self, schema_id: int) -> EventSchema:
        schema = self._schemas.by_id.get(schema_id)
        if schema is None:
            raise UnknownSchema(f"no schema has the id {schema_id}")
        return schema


def event_classes(streams: Mapping[str, Stream[Any]]) -> dict[str, type]:
    """Every event type with its dataclass, and with those that no stream has: the ledger entry, the record of usage.

    Raises ValueError where one stands twice.
    """
    classes: dict[str, type] = {LEDGER_ENTRY: Entry, USAGE_RECORDED: UsageRecorded}
    for stream in streams.values():
        for event_type, cls in stream.events.items():
            if event_type in classes or cls in classes.values():
                raise ValueError(f"{event_type} ({cls.__name__}) stands in two places")
            classes[event_type] = cls
    return classes


def _frame(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4)


@cache
def default_codec() -> Codec:
    """The codec of all streams of the domain, built at its first use."""
    streams: Mapping[str, Stream[Any]] = import_module("domain.catalogue").STREAMS
    return Codec(streams)


def encode_event(event: Event) -> tuple[str, int, bytes]:
    """`Codec.encode_event` over all streams of the domain."""
    return default_codec().encode_event(event)


def decode_event(payload: bytes) -> Event:
    """`Codec.decode_event` over all streams of the domain."""
    return default_codec().decode_event(payload)


def event_type_of(schema_id: int) -> str:
    """`Codec.event_type_of` over all streams of the domain."""
    return default_codec().event_type_of(schema_id)


def encode_entry(entry: Entry) -> bytes:
    """`Codec.encode_entry` with the committed schema."""
    return default_codec().encode_entry(entry)


def decode_entry(payload: bytes) -> Entry:
    """`Codec.decode_entry` with the committed schema."""
    return default_codec().decode_entry(payload)


_value_encoders: Final[dict[type, Encoder]] = {}
_value_decoders: Final[dict[type, Decoder]] = {}


def encode_value(value: object) -> bytes:
    """Any state or value dataclass as bytes, for snapshots. They say nothing of their layout: keep `fingerprint` too.

    Raises UnencodableValue, or UnsupportedType for a class with fields that have no exact form.
    """
    cls = type(value)
    encode = _value_encoders.get(cls)
    if encode is None:
        encode = _value_encoders[cls] = compile_encoder(shape_of(cls))
    return encode(value)


def decode_value(cls: type[Value], payload: bytes) -> Value:
    """The inverse of `encode_value`. Raises MalformedPayload."""
    decode = _value_decoders.get(cls)
    if decode is None:
        decode = _value_decoders[cls] = compile_decoder(shape_of(cls))
    return cast("Value", decode(payload))


@cache
def fingerprint(cls: type) -> str:
    """32 hexadecimal characters that change when the code that made or reads such a value may have changed.

    That is all the code of the package the class is from (a fold calls far and wide in `domain`) and of this one.
    A snapshot with another fingerprint is simply dropped, so too many changes cost a refold, too few a wrong state.
    """
    digest = hashlib.sha256(f"{cls.__module__}.{cls.__qualname__}".encode())
    for package in (cls.__module__.partition(".")[0], "schemas"):
        digest.update(_sources_digest(package))
    return digest.hexdigest()[:32]


@cache
def _sources_digest(package: str) -> bytes:
    module = import_module(package)
    assert module.__file__ is not None, f"{package} has no source to take a fingerprint of"
    file = Path(module.__file__)
    sources = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.relative_to(file.parent)}\n{source.stat().st_size}\n".encode())
        digest.update(source.read_bytes())
    return digest.digest()
