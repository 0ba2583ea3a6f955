"""A record of usage: any Avro library writes it, it is read back as it was, and bytes of others end in one error."""

import contextlib
import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.metering.usage_record import MeteredEvent, UsageKind, UsageRecorded
from domain.metering.usage_value import NANOS_MAX
from infra.kafka.topics import partition_of
from schemas import wire as avro_wire
from schemas.codec import USAGE_RECORDED, decode_event, encode_event
from schemas.committed import committed
from schemas.golden import FOLDER
from usage.wire import (
    EVENT,
    EVENTS_MAX,
    INSTEAD,
    ORIGINAL_APPENDED,
    PROPERTIES_MAX,
    VOID,
    MalformedUsage,
    UnencodableUsage,
    WireEvent,
    decode,
    encode,
    frame,
    headers_of,
    original_appended_of,
    partition_of_customer,
    tenant_of,
)

MAX_PEAK_BYTES: Final = 5_000_000
SCHEMA: Final[Any] = committed().find(USAGE_RECORDED, 1)
PARSED: Final[Any] = fastavro.parse_schema(json.loads(SCHEMA.text))
CONTENT: Final = slice(3, 7)
"""Meter, time, value and properties."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LONGS: Final = range(-(2**63), 2**63)

ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=255)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
wire_events = st.builds(
    WireEvent,
    id=ids,
    kind=st.sampled_from([EVENT, VOID, INSTEAD]),
    customer=ids,
    meter=ids,
    timestamp_us=st.integers(-(10**15), 253_402_300_799_999_999),
    value=st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-NANOS_MAX, NANOS_MAX),
    properties=st.dictionaries(texts, texts, max_size=6),
    checksum=st.just(0),
)
records = st.lists(wire_events, min_size=1, max_size=5)


def sample(**changes: Any) -> WireEvent:
    plain = WireEvent(
        "evt-1", EVENT, "cus_1", "mtr_1", 1_780_000_000_000_000, 1_500_000_000, {"region": "eu", "az": "1"}
    )
    return plain._replace(**changes)


def bare(events: list[WireEvent]) -> list[WireEvent]:
    return [event._replace(checksum=0) for event in events]


def told(value: int | None) -> int | str | None:
    """A value as other libraries see it."""
    return value if value is None or value in LONGS else str(value)


def by_fastavro(events: list[WireEvent], *, turned: bool = False) -> bytes:
    out = io.BytesIO()
    out.write(frame())
    rows = []
    for event in events:
        properties = dict(reversed(event.properties.items())) if turned else event.properties
        row = {**event._asdict(), "timestamp": event.timestamp_us, "properties": properties, "value": told(event.value)}
        rows.append(row)
    fastavro.schemaless_writer(out, PARSED, {"events": rows})
    return out.getvalue()


@settings(deadline=None)
@given(events=records)
def test_what_is_written_is_read_back(events: list[WireEvent]) -> None:
    assert bare(decode(encode(events))) == events


@settings(deadline=None)
@given(events=records)
def test_another_library_reads_what_we_write_and_we_what_it_writes(events: list[WireEvent]) -> None:
    payload = encode(events)
    read: Any = fastavro.schemaless_reader(io.BytesIO(payload[5:]), PARSED, None)
    expected = [{**event._asdict(), "timestamp": event.timestamp_us, "value": told(event.value)} for event in events]
    for row in expected:
        del row["timestamp_us"], row["checksum"]
    assert read == {"events": expected}
    assert decode(by_fastavro(events)) == decode(payload)


@settings(deadline=None)
@given(events=records)
def test_the_compiled_codec_reads_the_same(events: list[WireEvent]) -> None:
    recorded = decode_event(encode(events))
    assert recorded == UsageRecorded(
        events=tuple(
            MeteredEvent(
                id=event.id,
                kind=UsageKind(event.kind),
                customer=event.customer,
                meter=event.meter,
                timestamp=EPOCH + timedelta(microseconds=event.timestamp_us),
                value=told(event.value),
                properties=event.properties,
            )
            for event in events
        )
    )
    assert decode(encode_event(recorded)[2]) == decode(encode(events))


@settings(deadline=None)
@given(events=records)
def test_the_order_of_properties_is_no_other_content(events: list[WireEvent]) -> None:
    assert decode(by_fastavro(events, turned=True)) == decode(encode(events))


@settings(deadline=None)
@given(first=wire_events, second=wire_events)
def test_the_checksum_is_of_the_content_and_not_of_the_identity(first: WireEvent, second: WireEvent) -> None:
    one, two = decode(encode([first, second]))
    renamed = second._replace(id=first.id, kind=first.kind, customer=first.customer)
    assert decode(encode([renamed]))[0].checksum == two.checksum
    assert (one.checksum == two.checksum) is (first[CONTENT] == second[CONTENT])


def test_the_golden_record_is_read() -> None:
    payload = (FOLDER / "usage.recorded.v1.bin").read_bytes()
    shown = json.loads((FOLDER / "usage.recorded.v1.json").read_text())["events"]
    read = decode(payload)
    assert [(each.id, each.kind, each.customer, each.meter) for each in read] == [
        (each["id"], each["kind"], each["customer"], each["meter"]) for each in shown
    ]
    assert [(each.timestamp_us, told(each.value), each.properties) for each in read] == [
        (each["timestamp"], each["value"], each["properties"]) for each in shown
    ]
    assert {type(each["value"]) for each in shown} == {int, str}, "it shows both forms of a value"


def value_as(text: str) -> bytes:
    """A record of one event whose value is text."""
    written = encode([sample(value=10**20)])
    digits = str(10**20).encode()
    assert written.count(digits) == 1
    before, after = written.split(digits)
    return before[:-1] + avro_wire.long_bytes(len(text)) + text.encode() + after


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-7", -7), ("0", 0), ("-0", 0), (str(2**63 - 1), 2**63 - 1), ("000" + str(10**25), 10**25)],
)
def test_a_value_in_another_spelling_is_the_same_content(text: str, value: int) -> None:
    assert decode(value_as(text)) == decode(encode([sample(value=value)]))


@pytest.mark.parametrize(
    "text", ["", "-", "+1", " 1", "1_0", "1.5", "1e9", "\u0661", "1" * 31, "-" + "1" * 31, "9" * 9_000]
)
def test_a_value_that_is_no_whole_number_of_thirty_digits_is_malformed(text: str) -> None:
    with pytest.raises(MalformedUsage):
        decode(value_as(text))


@settings(deadline=None)
@given(events=records, data=st.data())
def test_a_record_that_is_cut_off_or_too_long_is_malformed(events: list[WireEvent], data: st.DataObject) -> None:
    payload = encode(events)
    cut = data.draw(st.integers(0, len(payload) - 1))
    for broken in (payload[:cut], payload + b"\x00"):
        with pytest.raises(MalformedUsage):
            decode(broken)


@settings(deadline=None)
@given(events=records, data=st.data())
def test_a_damaged_record_is_malformed_or_another_record(events: list[WireEvent], data: st.DataObject) -> None:
    payload = bytearray(encode(events))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode(bytes(payload))
    except MalformedUsage:
        return
    assert bare(decode(encode(bare(read)))) == bare(read)  # whatever is read could have been sent


@settings(deadline=None)
@given(body=st.binary(max_size=300))
def test_random_bytes_end_in_the_one_error_or_in_events(body: bytes) -> None:
    for payload in (body, frame() + body):
        with contextlib.suppress(MalformedUsage):
            assert decode(payload)


HUGE = avro_wire.long_bytes(2**62)


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        HUGE + b"\x00" * 50,
        avro_wire.long_bytes(-(2**62)) + HUGE + b"\x00" * 50,
        b"\x02" + HUGE + b"abc",
        b"\x02\x01",
        avro_wire.long_bytes(EVENTS_MAX + 1) + b"\x02a" * 3 * (EVENTS_MAX + 1),
        b"\x80" * 100_000,
    ],
)
def test_hostile_bytes_are_refused_in_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedUsage):
            decode(frame() + body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES


@pytest.mark.parametrize(
    "broken",
    [
        sample(id=""),
        sample(id="a" * 256),
        sample(id="a\0b"),
        sample(customer="\0"),
        sample(meter=""),
        sample(kind="undo"),
        sample(value=NANOS_MAX + 1),
        sample(value=-NANOS_MAX - 1),
        sample(timestamp_us=10**18),
        sample(id="\ud800"),
        sample(properties={str(nth): "" for nth in range(PROPERTIES_MAX + 1)}),
        sample(properties={"a": "b" * 20_000}),
    ],
)
def test_what_could_not_be_read_back_is_not_written(broken: WireEvent) -> None:
    with pytest.raises(UnencodableUsage):
        encode([broken])


def test_a_record_holds_some_events_and_not_too_many() -> None:
    for events in ([], [sample()] * (EVENTS_MAX + 1)):
        with pytest.raises(UnencodableUsage):
            encode(events)
    assert len(decode(encode([sample()] * EVENTS_MAX))) == EVENTS_MAX


def test_the_tenant_is_named_once() -> None:
    assert tenant_of(headers_of("acme")) == "acme"
    assert tenant_of([("traceparent", b"00"), *headers_of("acme")]) == "acme"
    for headers in ([], [("tenant", None)], [("tenant", b"")], [*headers_of("a"), *headers_of("b")]):
        with pytest.raises(MalformedUsage):
            tenant_of(headers)
    for name in (b"\xff", b"a:b", b"a\0", b"a" * 256):
        with pytest.raises(MalformedUsage):
            tenant_of([("tenant", name)])


def test_a_record_says_when_what_it_voids_was_appended() -> None:
    assert original_appended_of(headers_of("acme")) is None
    assert original_appended_of(headers_of("acme", 1_780_000_200_000)) == 1_780_000_200_000
    for value in (None, b"", b"-1", b"1.5", b"\xd9\xa1", b"9" * 16):
        with pytest.raises(MalformedUsage):
            original_appended_of([(ORIGINAL_APPENDED, value)])
    with pytest.raises(MalformedUsage):
        original_appended_of([(ORIGINAL_APPENDED, b"1"), (ORIGINAL_APPENDED, b"1")])


def test_a_customers_partition_is_that_of_the_java_client() -> None:
    assert partition_of_customer("acme", "cus_1", 12) == partition_of(b"acme:cus_1", 12)
