"""One record of the topic usage.events.v1: events of one tenant, which a header names, as Confluent-framed Avro.

The schema is generated from `domain.metering.usage_record` and committed as usage.recorded.v1; any Avro library writes
it. What is read here is checked: bytes that are not such a record, or events that cannot be told apart, end in
MalformedUsage, after work and memory in proportion to their length. An event's content has one form (properties in the
order of their names), so that a repeat can be told from another event under the same id by a checksum.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple
from zlib import crc32

from domain.metering.usage_record import UsageKind
from domain.metering.usage_value import DIGITS_MAX, NANOS_MAX
from infra.kafka.topics import full_name, partition_of
from schemas.codec import FRAME_BYTES, USAGE_RECORDED
from schemas.committed import committed
from schemas.wire import (
    INT64_MAX,
    INT64_MIN,
    SMALL,
    SMALL_COUNT,
    SMALL_LENGTH,
    MalformedPayload,
    UnencodableValue,
    count_at,
    eight_byte_long_at,
    length_at,
    long_at,
    long_bytes,
)

TOPIC: Final = "usage.events.v1"
METERING: Final = "metering"
"""Who counts: the role, and the consumer of its dead letters."""

TENANT: Final = "tenant"
"""The header that names the tenant."""

ORIGINAL_APPENDED: Final = "original-appended-ms"
"""The header of a record with voids that says when the broker appended what they take away (ms since 1970)."""

EVENT: Final = UsageKind.EVENT.value
VOID: Final = UsageKind.VOID.value
INSTEAD: Final = UsageKind.INSTEAD.value

TEXT_CHARS_MAX: Final = 255
"""Longest id of an event, of a customer or a meter, or code of a meter."""
PROPERTIES_MAX: Final = 50
EVENT_BYTES_MAX: Final = 16_384
EVENTS_MAX: Final = 10_000
TIMESTAMP_MIN_US: Final = -62_135_596_800_000_000  # the year 1
TIMESTAMP_MAX_US: Final = 253_402_300_800_000_000  # the year 10000
MS_DIGITS_MAX: Final = 15
_LONG: Final = 2
_TEXT: Final = 4
"""A value's branches on the wire: what 64 bits hold, and the digits of what they do not."""
_DIGITS: Final = re.compile(rb"-?[0-9]{1,%d}" % DIGITS_MAX)
_LENGTHS: Final[tuple[Any, ...]] = SMALL_LENGTH
"""None of a negative one, which no sum accepts."""
_KINDS: Final = {kind.encode(): kind for kind in (EVENT, VOID, INSTEAD)}
_CACHED_HEADS: Final = 10_000


class MalformedUsage(ValueError):
    """The record is not one of usage: its bytes, its header or an event in it cannot be what a producer may send."""


class UnencodableUsage(ValueError):
    """An event that no record can hold; the message says why."""


class WireEvent(NamedTuple):
    """An event as it travels. `timestamp_us`: microseconds since 1970 in UTC. `value`: in units of 10⁻⁹, of at most
    30 digits.

    `checksum` is of the content (meter, time, value, properties) and is set by `decode` alone.
    """

    id: str
    kind: str
    customer: str
    meter: str
    timestamp_us: int
    value: int | None
    properties: dict[str, str]
    checksum: int = 0


def topic_of(prefix: str) -> str:
    """The topic's name in its cell."""
    return full_name(prefix, TOPIC)


def headers_of(tenant_id: str, original_appended_ms: int | None = None) -> list[tuple[str, bytes]]:
    """The headers of a tenant's record; of one with voids also when their events were appended."""
    headers = [(TENANT, tenant_id.encode())]
    if original_appended_ms is not None:
        headers.append((ORIGINAL_APPENDED, b"%d" % original_appended_ms))
    return headers


def tenant_of(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """The tenant of a record. Raises MalformedUsage unless it is named once, in text that a key can hold."""
    found = [value for name, value in headers if name == TENANT]
    if len(found) != 1 or not found[0]:
        raise MalformedUsage(f"{len(found)} headers name the tenant: there must be one")
    try:
        tenant = found[0].decode()
    except UnicodeDecodeError as error:
        raise MalformedUsage("the tenant's name is no text") from error
    if len(tenant) > TEXT_CHARS_MAX or "\0" in tenant or ":" in tenant:
        raise MalformedUsage("the tenant's name cannot be one")
    return tenant


def original_appended_of(headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    """When the events of a record's voids were appended, if it says so. Raises MalformedUsage for what is no time."""
    found = [value or b"" for name, value in headers if name == ORIGINAL_APPENDED]
    if not found:
        return None
    if len(found) > 1 or not found[0].isdigit() or len(found[0]) > MS_DIGITS_MAX:
        raise MalformedUsage(f"the header {ORIGINAL_APPENDED} is no number of milliseconds")
    return int(found[0])


def partition_of_customer(tenant_id: str, customer_id: str, partitions: int) -> int:
    """Where a customer's events go: deduplication, order and closings belong to a partition."""
    return partition_of(f"{tenant_id}:{customer_id}".encode(), partitions)


@cache
def frame() -> bytes:
    """What every record begins with: Confluent's zero byte and the schema's id."""
    schema = committed().find(USAGE_RECORDED, 1)
    assert schema is not None, "usage.recorded has no committed schema: run `make schemas`"
    return b"\x00" + schema.id.to_bytes(4)


def encode(events: Sequence[WireEvent]) -> bytes:
    """A record's value. Raises UnencodableUsage for an event that cannot be read back."""
    if not 0 < len(events) <= EVENTS_MAX:
        raise UnencodableUsage(f"a record holds 1 to {EVENTS_MAX} events, not {len(events)}")
    parts = [frame(), long_bytes(len(events))]
    try:
        for event in events:
            parts += (_text(event.id), _kind_and_customer(event.kind, event.customer), encode_content(event))
    except (UnencodableValue, UnicodeEncodeError) as error:
        raise UnencodableUsage(str(error)) from error
    parts.append(b"\x00")
    return b"".join(parts)


def encode_content(event: WireEvent) -> bytes:
    """What the checksum is of: all of an event but what it is told apart by."""
    _, _, _, meter, timestamp_us, value, properties, _ = event
    if not TIMESTAMP_MIN_US <= timestamp_us < TIMESTAMP_MAX_US:
        raise UnencodableUsage(f"the timestamp {timestamp_us} is beyond the years that there are")
    parts = [_meters.get(meter) or _meter(meter), long_bytes(timestamp_us)]
    if value is None:
        parts.append(b"\x00")
    elif INT64_MIN <= value <= INT64_MAX:
        parts += (b"\x02", long_bytes(value))
    elif -NANOS_MAX <= value <= NANOS_MAX:
        parts += (b"\x04", _octets(str(value)))
    else:
        raise UnencodableUsage(f"a value has at most {DIGITS_MAX} digits, in units of 10⁻⁹")
    if properties:
        if len(properties) > PROPERTIES_MAX:
            raise UnencodableUsage(f"an event has at most {PROPERTIES_MAX} properties, not {len(properties)}")
        parts.append(SMALL[len(properties)])
        for name, text in sorted(properties.items()):
            parts += (_names.get(name) or _name(name), _octets(text))
    parts.append(b"\x00")
    content = b"".join(parts)
    if len(content) > EVENT_BYTES_MAX:
        raise UnencodableUsage(f"an event takes at most {EVENT_BYTES_MAX} bytes, not {len(content)}")
    return content


def _octets(text: str) -> bytes:
    encoded = text.encode()
    count = len(encoded)
    return (SMALL[count] if count < SMALL_COUNT else long_bytes(count)) + encoded


def _text(text: str) -> bytes:
    if not 0 < len(text) <= TEXT_CHARS_MAX or "\0" in text:
        raise UnencodableUsage(f"an id is 1 to {TEXT_CHARS_MAX} characters without zero bytes")
    return _octets(text)


_meters: dict[str, bytes] = {}
_names: dict[str, bytes] = {}
_heads: dict[tuple[str, str], bytes] = {}


def _meter(meter: str) -> bytes:
    return _kept(_meters, meter, _text(meter))


def _name(name: str) -> bytes:
    return _kept(_names, name, _octets(name))


def _kept(known: dict[str, bytes], text: str, encoded: bytes) -> bytes:
    """Texts that come again and again are encoded once; long ones are not kept."""
    if len(text) > TEXT_CHARS_MAX:
        return encoded
    if len(known) >= _CACHED_HEADS:
        known.clear()
    known[text] = encoded
    return encoded


def _kind_and_customer(kind: str, customer: str) -> bytes:
    head = _heads.get((kind, customer))
    if head is None:
        if kind not in (EVENT, VOID, INSTEAD):
            raise UnencodableUsage(f"an event's kind is {EVENT}, {VOID} or {INSTEAD}, not {kind}")
        if len(_heads) >= _CACHED_HEADS:
            _heads.clear()
        head = _heads[kind, customer] = _text(kind) + _text(customer)
    return head


def _large(digits: bytes) -> int:
    if _DIGITS.fullmatch(digits) is None:
        raise MalformedUsage(f"a value that is no whole number of at most {DIGITS_MAX} digits")
    return int(digits)


def decode(payload: bytes) -> list[WireEvent]:
    """The events of a record's value, in order. Raises MalformedUsage."""
    if payload[:FRAME_BYTES] != frame():
        raise MalformedUsage("the value does not begin with the frame of usage.recorded")
    try:
        return _decode(payload)
    except MalformedUsage:
        raise
    except (IndexError, KeyError, TypeError, ValueError, MalformedPayload) as error:
        raise MalformedUsage(f"{type(error).__name__}: {error}") from error


def _decode(payload: bytes) -> list[WireEvent]:
    """Every event of every producer comes through here: what helpers would do stands in the loop, as in the functions
    that `schemas.decoder` compiles, and costs a third of it.
    """
    at = FRAME_BYTES
    events: list[WireEvent] = []
    new, lengths, kinds = tuple.__new__, _LENGTHS, _KINDS
    while True:
        count, at = count_at(payload, at)
        if count == 0:
            break
        if len(events) + count > EVENTS_MAX:
            raise MalformedUsage(f"more than {EVENTS_MAX} events in a record")
        for _ in range(count):
            size = payload[at]
            if size < 0x80:
                start = at + 1
                at = start + lengths[size]
            else:
                size, start = length_at(payload, at)
                at = start + size
            event_id = payload[start:at].decode()

            size = payload[at]
            start = at + 1
            at = start + lengths[size]
            kind = kinds[payload[start:at]]

            size = payload[at]
            if size < 0x80:
                start = at + 1
                at = start + lengths[size]
            else:
                size, start = length_at(payload, at)
                at = start + size
            customer = payload[start:at].decode()

            content = at
            size = payload[at]
            if size < 0x80:
                start = at + 1
                at = start + lengths[size]
            else:
                size, start = length_at(payload, at)
                at = start + size
            meter = payload[start:at].decode()

            timestamp = eight_byte_long_at(payload, at)
            if timestamp is None:
                timestamp, at = long_at(payload, at)
            else:
                at += 8
            value: int | None = None
            is_canonical = True
            branch = payload[at]
            at += 1
            if branch == _LONG:
                value, at = long_at(payload, at)
            elif branch == _TEXT:
                size, start = length_at(payload, at)
                at = start + size
                value = _large(payload[start:at])
                is_canonical = payload[start:at] == b"%d" % value and not INT64_MIN <= value <= INT64_MAX
            elif branch:
                raise MalformedUsage("a value that is neither null nor a number")

            properties: dict[str, str] = {}
            before = None
            left = payload[at]
            at += 1
            if left & 1 or left >= 0x80:
                is_canonical = False
                left, at = count_at(payload, at - 1)
            else:
                left >>= 1
            while left:
                for _ in range(left):
                    size = payload[at]
                    if size < 0x80:
                        start = at + 1
                        at = start + lengths[size]
                    else:
                        size, start = length_at(payload, at)
                        at = start + size
                    name = payload[start:at].decode()
                    size = payload[at]
                    if size < 0x80:
                        start = at + 1
                        at = start + lengths[size]
                    else:
                        size, start = length_at(payload, at)
                        at = start + size
                    if before is not None and name <= before:
                        is_canonical = False
                        if name in properties:
                            raise MalformedUsage("two properties of one name")
                    before = name
                    properties[name] = payload[start:at].decode()
                if len(properties) > PROPERTIES_MAX:
                    raise MalformedUsage(f"an event of more than {PROPERTIES_MAX} properties")
                left, at = count_at(payload, at)
                is_canonical = is_canonical and not left

            if (
                not (event_id and customer and meter)
                or "\0" in event_id
                or "\0" in customer
                or "\0" in meter
                or len(event_id) > TEXT_CHARS_MAX
                or len(customer) > TEXT_CHARS_MAX
                or len(meter) > TEXT_CHARS_MAX
            ):
                raise MalformedUsage("an id that is empty, too long or holds a zero byte")
            if not TIMESTAMP_MIN_US <= timestamp < TIMESTAMP_MAX_US:
                raise MalformedUsage("a timestamp beyond the years that there are")
            if at - content > EVENT_BYTES_MAX or at > len(payload):
                raise MalformedUsage(f"an event of more than {EVENT_BYTES_MAX} bytes, or cut off")
            fields = (event_id, kind, customer, meter, timestamp, value, properties)
            checksum = crc32(payload[content:at] if is_canonical else encode_content(WireEvent(*fields)))
            events.append(new(WireEvent, (*fields, checksum)))
    if at != len(payload):
        raise MalformedUsage(f"{len(payload)} bytes where the events end at {at}")
    if not events:
        raise MalformedUsage("a record without events")
    return events
