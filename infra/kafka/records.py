"""What a record of a published topic carries: CloudEvents in binary mode, and where the fact stands in the log.

The value is the event's framed Avro bytes as the log holds them (ledger.entries.v1: its entry's). Everything else is
in the headers, readable by any tool: numbers are decimal text, times are RFC 3339 in UTC.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from infra.event_store.port import Recorded

SPEC_VERSION: Final = b"1.0"
TRACE_ID_CHARS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
BEFORE_FIRST: Final = 0
"""The previous position of a partition's first record."""

PREVIOUS_POSITION: Final = "previous_position"
"""The one header that an event's records do not share: it is a place's, not the event's."""

Headers = list[tuple[str, bytes]]


class NotOurRecord(Exception):
    """A record without our headers: somebody else wrote to the topic, or it was damaged."""


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
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


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
    """Read a record. Raises NotOurRecord if its headers, key or value are missing or malformed."""
    if record.key is None or record.value is None:
        raise NotOurRecord(f"{record.topic}/{record.partition}@{record.offset} has no key or no value")
    found = dict(record.headers)
    try:
        stream_type, _, stream_id = found["ce_subject"].decode().partition("/")
        causation = found.get("causation")
        return Delivered(
            record.topic,
            record.partition,
            record.offset,
            int(found["incarnation"]),
            int(found["position"]),
            int(found[PREVIOUS_POSITION]),
            found["ce_id"].decode(),
            found["ce_type"].decode(),
            found["tenant"].decode(),
            stream_type,
            stream_id,
            int(found["stream_version"]),
            datetime.fromisoformat(found["ce_time"].decode()),
            datetime.fromisoformat(found["recorded_at"].decode()),
            found["correlation"].decode(),
            None if causation is None else causation.decode(),
            record.key,
            record.value,
        )
    except (KeyError, ValueError) as error:
        raise NotOurRecord(f"{record.topic}/{record.partition}@{record.offset}: {error!r}") from error
