"""What a record of a published topic carries: CloudEvents in binary mode, and where the fact stands in the log.

The value is the event's framed Avro bytes as the log holds them (ledger.entries.v1: its entry's). Everything else is
in the headers, readable by any tool: numbers are decimal text, times are RFC 3339 in UTC.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from infra.event_store.port import Recorded

SPEC_VERSION: Final = b"1.0"
TRACE_ID_CHARS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
BEFORE_FIRST: Final = 0
"""The previous position of a partition's first record."""

PREVIOUS_POSITION: Final = "previous_position"
"""The one header that an event's records do not share: it is a place's, not the event's."""

Headers = list[tuple[str, bytes]]


BIGINT_MAX: Final = 2**63 - 1
INTEGER_MAX: Final = 2**31 - 1
TEXTS_BYTES_MAX: Final = 2_000
"""Longest that a record's ids and key are together; an index of PostgreSQL takes no more."""

VALUE_BYTES_MAX: Final = 1_048_576
"""Longest value that a record of ours has: the relay sends no larger batch."""


class NotOurRecord(Exception):
    """A record that the relay did not write: somebody else did, or it was damaged."""


class ConsumerRecord(Protocol):
    """What any Kafka client hands over."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Delivered(NamedTuple):
    """A record as a consumer sees it. `value` is the event's framed bytes, or its entry's on the ledger's topic.

    `previous_position` is the position of the record before it in its partition and incarnation (0: none): if it is
    not what the consumer has seen last, something was lost.
    """

    topic: str
    partition: int
    offset: int
    incarnation: int
    position: int
    previous_position: int
    event_id: str
    event_type: str
    tenant_id: str
    stream_type: str
    stream_id: str
    stream_version: int
    effective_at: datetime
    recorded_at: datetime
    correlation_id: str
    causation_id: str | None
    key: bytes
    value: bytes


class HeaderWriter:
    """Makes the headers of one relay's records. Events of one commit share their times, so the last text is kept."""

    def __init__(self, source: bytes, incarnation: int) -> None:
        self._constant: Headers = [
            ("ce_specversion", SPEC_VERSION),
            ("ce_source", source),
            ("incarnation", b"%d" % incarnation),
        ]
        self._effective: tuple[datetime, bytes] | None = None
        self._recorded: tuple[datetime, bytes] | None = None

    def write(self, event: Recorded) -> Headers:
        """The headers that all records of an event share: all but `previous_position`."""
        effective, recorded = self._effective, self._recorded
        if effective is None or effective[0] != event.effective_at:
            effective = self._effective = (event.effective_at, event.effective_at.isoformat().encode())
        if recorded is None or recorded[0] != event.recorded_at:
            recorded = self._recorded = (event.recorded_at, event.recorded_at.isoformat().encode())
        correlation = event.correlation_id
        headers = [
            *self._constant,
            ("ce_id", event.event_id.encode()),
            ("ce_type", event.event_type.encode()),
            ("ce_time", effective[1]),
            ("ce_subject", f"{event.stream_type}/{event.stream_id}".encode()),
            ("tenant", event.tenant_id.encode()),
            ("position", b"%d" % event.position),
            ("stream_version", b"%d" % event.stream_version),
            ("recorded_at", recorded[1]),
            ("correlation", correlation.encode()),
        ]
        if event.causation_id is not None:
            headers.append(("causation", event.causation_id.encode()))
        if len(correlation) == TRACE_ID_CHARS and _HEX.issuperset(correlation):
            headers.append(("traceparent", f"00-{correlation}-{correlation[16:]}-01".encode()))
        return headers


def delivered(record: ConsumerRecord) -> Delivered:
    """Read a record. Raises NotOurRecord for what the relay cannot have written, whatever it holds.

    What passes has the form of ours: whole numbers in range, times with a zone, texts that PostgreSQL can keep. Whether
    the log holds it is another question (`infra.kafka.provenance`).
    """
    try:
        return _read(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A header without a value is None, and Kafka allows it.
        raise NotOurRecord(f"{record.topic}/{record.partition}@{record.offset}: {error!r}"[:TEXTS_BYTES_MAX]) from error


def _read(record: ConsumerRecord) -> Delivered:
    # Every record of every consumer comes through here: what is checked is checked in few steps.
    key, value = record.key, record.value
    if key is None or value is None or len(value) > VALUE_BYTES_MAX:
        raise ValueError("no key, no value, or a value larger than any of ours")
    found: Mapping[str, Any] = dict(record.headers)
    subject, tenant = found["ce_subject"], found["tenant"]
    event_id, event_type, correlation = found["ce_id"], found["ce_type"], found["correlation"]
    causation = found.get("causation")
    together = b"\n".join((subject, tenant, event_id, event_type, correlation, causation or b"", key))
    if len(together) > TEXTS_BYTES_MAX or b"\0" in together or not (tenant and event_id and event_type):
        raise ValueError("a header or key that is empty, too long, or holds a zero byte")
    if not key.startswith(tenant + b":"):
        raise ValueError("a key that is not its tenant's")
    key.decode()
    stream_type, _, stream_id = subject.decode().partition("/")
    incarnation, position = found["incarnation"], found["position"]
    previous_position, stream_version = found[PREVIOUS_POSITION], found["stream_version"]
    # `int` would take signs, spaces and underscores as well.
    if not (incarnation + position + previous_position + stream_version).isdigit():
        raise ValueError("a number that is none")
    numbers = int(incarnation), int(position), int(previous_position), int(stream_version)
    if not (0 < numbers[0] <= BIGINT_MAX and numbers[2] < numbers[1] <= BIGINT_MAX and 0 < numbers[3] <= INTEGER_MAX):
        raise ValueError("a number out of range")
    effective_at = datetime.fromisoformat(found["ce_time"].decode())
    recorded_at = datetime.fromisoformat(found["recorded_at"].decode())
    if effective_at.tzinfo is not UTC or recorded_at.tzinfo is not UTC:
        raise ValueError("a time that is not in UTC")
    return Delivered(
        record.topic,
        record.partition,
        record.offset,
        numbers[0],
        numbers[1],
        numbers[2],
        event_id.decode(),
        event_type.decode(),
        tenant.decode(),
        stream_type,
        stream_id,
        numbers[3],
        effective_at,
        recorded_at,
        correlation.decode(),
        None if causation is None else causation.decode(),
        key,
        value,
    )
