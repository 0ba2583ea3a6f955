"""What becomes of usage events: decoded and checked one by one, none lost and none moved."""

import asyncio
import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.resources.usage_events import UsageEventBody
from domain.metering.aggregation import Aggregation
from domain.metering.meter import Meter, MeterTerms, MeterVersion
from domain.metering.usage_value import NANOS_MAX, InvalidValue, nanos, units
from testing.growth import grows_linearly
from usage.ingest.checking import AHEAD_MAX, Checked, check
from usage.ingest.known import CustomerFacts, Known
from usage.ingest.sent import EVENTS_MAX, ID_CHARS_MAX, Failed, Form, NotJson, SentEvent, WrongCount, decode
from usage.ingest.values import NAME_CHARS_MAX, PROPERTIES_MAX, TEXT_CHARS_MAX
from usage.wire import WireEvent, encode, partition_of_customer

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
CLOCK_TIME = datetime(2027, 6, 1, tzinfo=UTC)
AGE_MAX = timedelta(days=35)
PARTITIONS = 4
ADA, EVE, GONE, ON_CLOCK, LOST = "cus_ada", "cus_eve", "cus_gone", "cus_on_clock", "cus_lost"


def meter(code: str, terms: MeterTerms, *more: MeterVersion, archived: bool = False) -> Meter:
    first = MeterVersion(version=1, terms=terms, effective_from=None, added_at=NOW - timedelta(days=90))
    return Meter(
        meter_id=f"mtr_{code}",
        code=code,
        name=code,
        aggregation=Aggregation.COUNT,
        unit=None,
        versions=(first, *more),
        metadata=(),
        created_at=NOW,
        archived_at=NOW if archived else None,
    )


RENAMED = MeterVersion(
    version=2,
    terms=MeterTerms(value_property="octets"),
    effective_from=NOW - timedelta(days=1),
    added_at=NOW - timedelta(days=2),
)
METERS = {
    each.code: each
    for each in (
        meter("calls", MeterTerms()),
        meter("bytes", MeterTerms(value_property="bytes")),
        meter("users", MeterTerms(unique_property="user")),
        meter("old", MeterTerms(), archived=True),
        meter("renamed", MeterTerms(value_property="bytes"), RENAMED),
    )
}
CUSTOMERS = {
    ADA: CustomerFacts(ADA, None, is_deleted=False),
    EVE: CustomerFacts(EVE, None, is_deleted=False),
    GONE: CustomerFacts(GONE, None, is_deleted=True),
    ON_CLOCK: CustomerFacts(ON_CLOCK, "clock_1", is_deleted=False),
    LOST: CustomerFacts(LOST, "clock_2", is_deleted=False),
}


@dataclass
class Directory:
    """A `usage.ingest.known.Source` in memory, which counts what it is asked for."""

    meters_there: dict[str, Meter] = field(default_factory=lambda: dict(METERS))
    customers_there: dict[str, CustomerFacts] = field(default_factory=lambda: dict(CUSTOMERS))
    asked: list[str] = field(default_factory=list)

    async def meters(self, tenant_id: str, codes: Collection[str]) -> Mapping[str, Meter]:
        self.asked += codes
        return {code: self.meters_there[code] for code in codes if code in self.meters_there}

    async def customers(self, tenant_id: str, customer_ids: Collection[str]) -> Sequence[CustomerFacts]:
        self.asked += customer_ids
        return [self.customers_there[each] for each in customer_ids if each in self.customers_there]

    async def clocks(self, tenant_id: str, clock_ids: Collection[str]) -> Mapping[str, datetime]:
        self.asked += clock_ids
        return {"clock_1": CLOCK_TIME} if "clock_1" in clock_ids else {}


def known_of(directory: Directory, clock: Any = lambda: 0.0) -> Known:
    return Known(directory, partitions=PARTITIONS, meters_last_s=5, customers_last_s=60, clock=clock)


async def checked(body: object, form: Form = Form.NATIVE, known: Known | None = None) -> Checked:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await check(
        "acme", decode(raw, form), known or known_of(Directory()), now=NOW, age_max=AGE_MAX, may_hide=b"\\" in raw
    )


def event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {"id": event_id, "meter": "calls", "customer": ADA, "timestamp": "2026-01-31T10:00:00Z", **fields}


def bytes_of(value: object) -> dict[str, Any]:
    return event(meter="bytes", properties={"bytes": value})


def taken(found: Checked) -> list[WireEvent]:
    return [each for events in found.by_partition.values() for each in events]


async def why(body: object, form: Form = Form.NATIVE) -> tuple[str, str]:
    found = await checked(body, form)
    assert found.accepted == 0
    (error,) = found.errors
    return error.param, error.code


async def test_a_good_event_goes_where_its_customer_belongs() -> None:
    body = event(
        timestamp="2026-01-31T11:30:00.000001+02:00", properties={"region": "eu", "n": 7, "ok": True, "x": 1.50}
    )
    raw = json.dumps(body).replace("1.5", "1.50").encode()
    found = await checked(raw)
    (partition,) = found.by_partition
    assert partition == partition_of_customer("acme", ADA, PARTITIONS)
    at = datetime(2026, 1, 31, 9, 30, 0, 1, tzinfo=UTC)
    timestamp_us = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    properties = {"region": "eu", "n": "7", "ok": "true", "x": "1.50"}
    assert taken(found) == [WireEvent("e1", "event", ADA, "mtr_calls", timestamp_us, None, properties)]
    assert found.accepted == 1
    assert not found.errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 10**9),
        ('"0.000000001"', 1),
        ("-0.5", -5 * 10**8),
        ("1e-9", 1),
        ("2.5E3", 2_500 * 10**9),
        ('"00012.50"', 125 * 10**8),
        ("9223372036.854775807", 2**63 - 1),
        ("10000000000", 10**19),
        ("-123456789012345678.123456789", -123456789012345678123456789),
        ('"999999999999999999999.999999999"', 10**30 - 1),
        ("999999999999999999999", 10**30 - 10**9),
        ("1e20", 10**29),
        ("0", 0),
        ('"-0"', 0),
        ("0e999", 0),
        ("123456789.123456789", 123456789123456789),
    ],
)
async def test_values_are_kept_exactly(text: str, expected: int) -> None:
    raw = json.dumps(bytes_of("?")).replace('"?"', text).encode()
    (found,) = taken(await checked(raw))
    assert found.value == expected
    assert found.properties["bytes"] == text.strip('"')


@pytest.mark.parametrize(
    "text",
    ["1e-10", "0.1234567891", "1000000000000000000000", "-1e21", "1e30", "1e999", '""', '"x"', '"1_0"', '" 1"',
     '"NaN"', '"+1"', '"１"', "true", "null", "[]", "{}", '"1e99999"', "1" * 200, '"0x10"', '"1."', '".5"'],
)  # fmt: skip
async def test_other_values_are_refused(text: str) -> None:
    raw = json.dumps(bytes_of("?")).replace('"?"', text).encode()
    param, code = await why(raw)
    assert param.partition(".")[0] == "properties"
    assert code in ("invalid_value", "invalid_property", "property_missing")


@given(st.integers(-NANOS_MAX, NANOS_MAX).map(units))
def test_a_value_in_billionths_is_the_decimal(value: Decimal) -> None:
    assert units(nanos(format(value, "f"))) == value
    assert nanos(format(value, "f")) == nanos(format(value, "e"))


@given(st.text(max_size=20))
def test_whatever_is_taken_for_a_value_is_a_decimal_of_nine_places(text: str) -> None:
    try:
        found = nanos(text)
    except InvalidValue:
        return
    assert Decimal(text) == units(found)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (event(meter="nothing"), "meter", "unknown_meter"),
        (event(meter="old"), "meter", "meter_archived"),
        (event(customer="cus_nobody"), "customer", "unknown_customer"),
        (event(customer=GONE), "customer", "customer_deleted"),
        (event(customer=LOST), "customer", "customer_deleted"),
        (event(timestamp="2026-01-31T10:00:00"), "timestamp", "invalid_timestamp"),
        (event(timestamp="yesterday"), "timestamp", "invalid_timestamp"),
        (event(timestamp=1769853600), "timestamp", "invalid_timestamp"),
        (event(timestamp="2026-01-31T10:05:00.000001Z"), "timestamp", "timestamp_ahead"),
        (event(timestamp="2025-12-27T09:59:59.999999Z"), "timestamp", "timestamp_too_old"),
        (event(timestamp="0001-01-01T00:00:00+23:59"), "timestamp", "timestamp_too_old"),
        (event(timestamp="9999-12-31T23:59:59-23:59"), "timestamp", "timestamp_ahead"),
        (event(customer=ON_CLOCK), "timestamp", "timestamp_too_old"),
        (event(customer=ON_CLOCK, timestamp="2027-06-01T00:05:01Z"), "timestamp", "timestamp_ahead"),
        (event(""), "id", "invalid_id"),
        (event("x" * (ID_CHARS_MAX + 1)), "id", "invalid_id"),
        (event("a\nb"), "id", "invalid_id"),
        (event("a\x00b"), "id", "invalid_id"),
        (event(7), "id", "invalid_id"),  # type: ignore[arg-type]  # it is what is wrong
        (event(meter="users"), "properties.user", "property_missing"),
        (event(meter="bytes"), "properties.bytes", "property_missing"),
        (event(properties={"a": None}), "properties.a", "invalid_property"),
        (event(properties={"a": ["x"]}), "properties.a", "invalid_property"),
        (event(properties={"": "x"}), "properties", "invalid_property"),
        (event(properties={"a": "x\ty"}), "properties.a", "invalid_property"),
        (event(properties={"a\x7f": "x"}), "properties", "invalid_property"),
        (event(properties={"a" * (NAME_CHARS_MAX + 1): "x"}), "properties", "invalid_property"),
        (event(properties={"a": "x" * (TEXT_CHARS_MAX + 1)}), "properties.a", "invalid_property"),
        (event(properties={str(nth): "x" for nth in range(PROPERTIES_MAX + 1)}), "properties", "invalid_property"),
        (event(properties={f"{nth}{'ü' * 80}": "€" * 255 for nth in range(20)}), "properties", "invalid_property"),
        (event(properties={"card": "4242 4242 4242 4242"}), "properties.card", "card_number_refused"),
        (event(properties={"n": 4242424242424242}), "properties.n", "card_number_refused"),
        (event(properties={"4242424242424242": "x"}), "properties", "card_number_refused"),
        (event(properties=[]), "properties", "wrong_type"),
        (event(properties={"a": 1}, source="x"), "source", "unknown_name"),
        (event(properties={"a": 1}, **{"4242424242424242": "x"}), "", "unknown_name"),
        ({"id": "e1"}, "meter", "required"),
        ({}, "id", "required"),
        ("text", "", "wrong_type"),
        (None, "", "wrong_type"),
        ([7], "", "wrong_type"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_an_event_is_told(body: object, param: str, code: str) -> None:
    assert await why(body) == (param, code)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (event(meter="bytes"), ["property bytes"]),
        (event(meter="users"), ["property user"]),
        (event(meter="bytes", properties={"bytes": "1,5"}), ["bytes", "decimal like 0.25"]),
        (event(timestamp="2026-01-31T11:00:00Z"), ["2026-01-31T10:05:00Z", "2026-01-31T10:00:00Z, now", "once it is"]),
        (event(timestamp="2025-01-31T10:00:00Z"), ["2025-12-27T10:00:00Z", "35 days", "2026-01-31T10:00:00Z, now"]),
        (event(customer=ON_CLOCK), ["2027-04-27T00:00:00Z", "2027-06-01T00:00:00Z", "test clock clock_1"]),
        (event(customer=ON_CLOCK, timestamp="2027-06-02T00:00:00Z"), ["2027-06-01T00:05:00Z", "advance the clock"]),
        (event(colour="red"), ["id, meter, customer, timestamp and properties"]),
    ],
)
async def test_what_is_told_says_of_which_property_time_and_clock_it_is(body: object, words: list[str]) -> None:
    (failed,) = (await checked([body])).errors
    assert [word for word in words if word not in failed.message] == [], failed.message


async def test_the_ends_of_the_window_belong_to_it_and_a_test_clock_has_its_own() -> None:
    ends = [NOW + AHEAD_MAX, NOW - AGE_MAX]
    events = [event(f"e{nth}", timestamp=at.isoformat()) for nth, at in enumerate(ends)]
    events.append(event("clock", customer=ON_CLOCK, timestamp=CLOCK_TIME.isoformat()))
    assert (await checked(events)).accepted == 3


async def test_an_id_may_look_like_a_card_number() -> None:
    found = await checked([event("4242424242424242"), event("a", properties={"a": "\u00fc"})])
    assert found.accepted == 2


async def test_a_value_may_look_like_a_card_number_and_nothing_beside_it() -> None:
    (found,) = taken(await checked(bytes_of("4242424242424242")))
    assert found.value == 4242424242424242 * 10**9
    beside = event(meter="bytes", properties={"bytes": 1, "card": "4242424242424242"})
    assert await why(beside) == ("properties.card", "card_number_refused")


async def test_the_version_of_an_events_time_says_which_property_is_read() -> None:
    before = event("a", meter="renamed", timestamp="2026-01-30T09:59:59Z", properties={"bytes": 1, "octets": 2})
    since = event("b", meter="renamed", timestamp="2026-01-30T10:00:00Z", properties={"bytes": 1, "octets": 2})
    assert [each.value for each in taken(await checked([before, since]))] == [10**9, 2 * 10**9]


async def test_a_cloud_event_is_an_event() -> None:
    cloud = {
        "specversion": "1.0", "id": "4711", "source": "/gw/7", "type": "bytes", "subject": ADA,
        "time": "2026-01-31T10:00:00Z", "data": {"bytes": 7}, "traceparent": "00-x",
    }  # fmt: skip
    (found,) = taken(await checked(cloud, Form.CLOUD_EVENT))
    assert (found.id, found.meter, found.customer, found.value) == ("/gw/7 4711", "mtr_bytes", ADA, 7 * 10**9)
    assert (await checked([cloud, cloud | {"id": "2"}], Form.CLOUD_EVENTS)).accepted == 2
    for change, error in (
        ({"specversion": "0.3"}, ("specversion", "unknown_version")),
        ({"source": "x" * 255}, ("source", "invalid_id")),
        ({"source": "a b"}, ("source", "invalid_id")),
        ({"time": "2026-01-31"}, ("time", "invalid_timestamp")),
        ({"data": "text"}, ("data", "wrong_type")),
    ):
        assert await why(cloud | change, Form.CLOUD_EVENT) == error
    del cloud["subject"]
    assert await why([cloud], Form.CLOUD_EVENTS) == ("subject", "required")


ONE = json.dumps(event("a", properties={"user": "u1", "n": 1}))
ALIKE = (
    ONE,
    ONE.replace(": ", ":"),
    ONE.replace(": ", " :\n\t"),
    ONE.replace(": ", "\t\r\n:"),
    json.dumps(json.loads(ONE), indent=2),
    ONE.replace("u1", '\\":\\":'),
    ONE.replace("u1", ":x"),
    json.dumps(event("a", properties={})),
    json.dumps(event("a")),
)


@pytest.mark.parametrize("text", ALIKE)
def test_names_that_stand_once_are_taken_however_they_are_written(text: str) -> None:
    (expected,) = [SentEvent(**{**json.loads(text), "timestamp": datetime(2026, 1, 31, 10, tzinfo=UTC)})]
    assert decode(text.encode(), Form.NATIVE) == [expected]
    assert decode(f"[{text},{ONE}]".encode(), Form.NATIVE)[0] == expected


def test_events_that_were_sent_without_properties_have_none_and_keep_what_others_get() -> None:
    without = json.dumps(event("b"))
    sent = decode(f"[{without},{ONE},{without}]".encode(), Form.NATIVE)
    assert [each.properties for each in sent if isinstance(each, SentEvent)] == [{}, {"user": "u1", "n": 1}, {}]


@pytest.mark.parametrize("text", ALIKE)
@pytest.mark.parametrize("more", ['"id":"b"', '"id" : "b"', '"i\\u0064"\n:"b"', '"customer":"x"', '"properties":{}'])
def test_a_name_that_stands_twice_is_told_and_the_other_events_are_taken(text: str, more: str) -> None:
    doubled = text[: text.rindex("}")] + "," + more + "}"
    if more == '"properties":{}' and "properties" not in text:
        return
    for spelled in (doubled, "{" + more + "," + text.lstrip()[1:]):
        assert [type(each) for each in decode(spelled.encode(), Form.NATIVE)] == [Failed]
        found = decode(f"[{ONE},{spelled},{ONE}]".encode(), Form.NATIVE)
        assert [each.code if isinstance(each, Failed) else "" for each in found] == ["", "duplicate_name", ""]


@given(
    st.lists(st.tuples(st.sampled_from(("a", "b", "é", '"', ":", '":')), st.text(max_size=5)), max_size=6), st.data()
)
def test_properties_are_taken_if_their_names_stand_once(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    spaces = st.text(st.sampled_from(" \n\t\r"), max_size=2)
    members = [f"{json.dumps(name)}{data.draw(spaces)}:{data.draw(spaces)}{json.dumps(value)}" for name, value in pairs]
    native = ONE.replace('"user": "u1", "n": 1', ",".join(members))
    context = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "c", "traceparent": "x"}
    cloud = json.dumps({**context, "time": "2026-01-31T10:00:00Z", "data": {}})
    cloud = cloud.replace("{}", f"{{{','.join(members)}}}")
    is_once = len({name for name, _ in pairs}) == len(pairs)
    bodies = (
        (native, Form.NATIVE),
        (f"[{native},{ONE}]", Form.NATIVE),
        (cloud, Form.CLOUD_EVENT),
        (f"[{cloud}]", Form.CLOUD_EVENTS),
    )
    for raw, form in bodies:
        first = decode(raw.encode(), form)[0]
        assert isinstance(first, SentEvent) is is_once
        if isinstance(first, SentEvent):
            assert first.properties == dict(pairs)
        else:
            assert first.code == "duplicate_name"


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b"\xff\xfe", b'{"id":"\\ud800"}', b"[" * 100_000, b"[1,]",
                                 b'{"id":"a"} x', b"[]x", b'{"id":"\x01"}'])  # fmt: skip
def test_what_is_no_json_is_no_request(raw: bytes) -> None:
    for form in Form:
        with pytest.raises(NotJson):
            decode(raw, form)


def test_a_request_holds_one_to_a_thousand_events() -> None:
    one = json.dumps(event())
    for count in (0, EVENTS_MAX + 1):
        raw = f"[{','.join([one] * count)}]".encode()
        for form in (Form.NATIVE, Form.CLOUD_EVENTS):
            with pytest.raises(WrongCount):
                decode(raw, form)
    assert len(decode(f"[{','.join([one] * EVENTS_MAX)}]".encode(), Form.NATIVE)) == EVENTS_MAX


good = st.builds(
    event,
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    customer=st.sampled_from((ADA, EVE)),
    meter=st.sampled_from(("calls", "users")),
    properties=st.fixed_dictionaries({"user": st.sampled_from(("u1", "u2"))}, optional={"n": st.integers(0, 99)}),
)
bad: st.SearchStrategy[Any] = st.sampled_from(
    [event("b", meter="nothing"), event("b", customer="x"), {"id": "b"}, {}, 7, None, "x", [],
     event("b", timestamp="x"), event("b", meter="bytes"), event("b", properties={"card": "4242424242424242"}),
     event("b", more=1)]
)  # fmt: skip


@given(st.lists(good | bad, min_size=1, max_size=40))
async def test_every_event_is_taken_or_told_and_keeps_its_place(sent: list[Any]) -> None:
    """Accepted and refused ones are all that were sent, in order, each by itself as in company."""
    found = await checked(sent)
    assert found.accepted + len(found.errors) == len(sent)
    refused = [error.place for error in found.errors]
    assert refused == sorted(set(refused))
    expected: dict[int, list[str]] = {}
    for nth, each in enumerate(sent):
        alone = await checked([each])
        assert (alone.accepted == 0) is (nth in refused)
        if alone.accepted:
            (partition,) = alone.by_partition
            expected.setdefault(partition, []).append(each["id"])
    assert {partition: [each.id for each in events] for partition, events in found.by_partition.items()} == expected
    for events in found.by_partition.values():
        encode(events)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(("id", "meter", "customer", "timestamp", "properties")), json_values)))
async def test_whatever_is_sent_ends_in_an_answer(sent: list[Any]) -> None:
    assume(sent)
    for form in (Form.NATIVE, Form.CLOUD_EVENTS):
        found = await checked(sent, form)
        assert found.accepted + len(found.errors) == len(sent)


@given(st.dictionaries(st.text(max_size=12), json_values, max_size=5))
async def test_whatever_properties_are_taken_can_be_written(properties: dict[str, Any]) -> None:
    found = await checked(event(properties=properties))
    for events in found.by_partition.values():
        encode(events)


async def test_what_is_known_is_not_asked_for_again_until_it_is_old_and_what_is_not_is_asked_for_each_time() -> None:
    now = 0.0
    directory = Directory()
    known = known_of(directory, lambda: now)
    body = [event(), event(customer="cus_new"), event(meter="new")]
    await checked(body, known=known)
    assert sorted(directory.asked) == sorted([ADA, "cus_new", "calls", "new"])
    directory.asked.clear()
    await checked(body, known=known)
    assert sorted(directory.asked) == ["cus_new", "new"]
    directory.customers_there["cus_new"] = CustomerFacts("cus_new", None, is_deleted=False)
    directory.meters_there["new"] = meter("new", MeterTerms())
    assert (await checked(body, known=known)).accepted == 3, "what was made a moment ago is there"
    directory.asked.clear()
    now = 5.0
    await checked(body, known=known)
    assert sorted(directory.asked) == ["calls", "new"]


async def test_a_failed_one_shows_nothing_of_what_it_held() -> None:
    (found,) = decode(b'[{"id":"e1","secret 4242424242424242":1}]', Form.NATIVE)
    assert isinstance(found, Failed)
    assert (found.id, found.param, found.code) == ("e1", "", "unknown_name")
    assert "secret" not in found.message
    assert isinstance(decode(json.dumps([event()]).encode(), Form.NATIVE)[0], SentEvent)


@pytest.mark.parametrize("text", ["7" * 255, "4 " * 127, "x" * 255, "\u20ac" * 255, "\t" * 255])
def test_what_a_request_costs_grows_with_its_length_alone(text: str) -> None:
    def body(count: int) -> bytes:
        return json.dumps([event(f"e{nth}", properties={"a": text}) for nth in range(count)]).encode()

    assert grows_linearly(lambda raw: asyncio.run(checked(raw)), body, size=100)


@pytest.mark.parametrize("value", ["9", "0.", "[", '{"a":'])
def test_long_and_deep_values_cost_their_length(value: str) -> None:
    def body(length: int) -> bytes:
        return json.dumps([bytes_of("?")]).replace('"?"', value + "1" * length).encode()

    def run(raw: bytes) -> None:
        with contextlib.suppress(NotJson):
            asyncio.run(checked(raw))

    assert grows_linearly(run, body, size=100_000)


def test_the_document_and_the_decoder_name_the_same_fields() -> None:
    assert set(SentEvent.__struct_fields__) == set(UsageEventBody.model_fields)
    example = UsageEventBody.model_json_schema()["properties"]
    assert example["id"]["maxLength"] == ID_CHARS_MAX
    assert example["properties"]["maxProperties"] == PROPERTIES_MAX
