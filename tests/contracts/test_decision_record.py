"""The record of what a decision rested on: one form in bytes, and of a real decision just the streams it only read."""

import importlib.resources
import zoneinfo
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.catalog.product import CreateProduct
from domain.commands import HANDLERS
from domain.customers.customer import CreateCustomer
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.pricing.models import Flat
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.selling import RequestedItem
from infra.event_store.decision_record import DecisionRecord, MalformedDecision, ReadStream, decode, encode
from infra.event_store.memory import MemoryLog, MemoryStorage, MemoryStore
from infra.event_store.writer import GroupCommitWriter
from infra.ids import new_id
from infra.release import RELEASE, TIME_ZONE_DATA
from infra.settings import WriterSettings
from schemas.codec import default_codec
from testing.requests import request

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
versions = st.integers(0, 2**40)
reads = st.dictionaries(st.tuples(texts, texts), versions, max_size=6).map(
    lambda found: tuple(ReadStream(*key, found[key]) for key in sorted(found))
)
records = st.builds(DecisionRecord, events=versions, command=texts, release=texts, time_zone_data=texts, reads=reads)


@given(records)
def test_a_record_comes_back_from_its_bytes(record: DecisionRecord) -> None:
    assert decode(encode(record)) == record


@given(records, st.data())
def test_no_other_bytes_stand_for_a_record(record: DecisionRecord, data: st.DataObject) -> None:
    content = bytearray(encode(record))
    place = data.draw(st.integers(0, len(content)))
    changed = data.draw(
        st.sampled_from(
            [
                bytes(content[:place]),
                bytes(content[:place] + b"\x80\x00" + content[place + 1 :]),
                bytes(content[:place] + bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]),
                bytes(content + b"\x00"),
            ]
        )
    )
    try:
        other = decode(changed)
    except MalformedDecision:
        return
    assert encode(other) == changed
    assert (other == record) == (changed == bytes(content))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_refused_and_nothing_else_happens(content: bytes) -> None:
    try:
        record = decode(content)
    except MalformedDecision:
        return
    assert encode(record) == content


PLAIN = DecisionRecord(1, "Open", "1.0.0", "2026f", (ReadStream("counter", "c1", 200),))


def test_the_form_is_the_one_that_is_described() -> None:
    assert encode(PLAIN) == b"\x01\x01\x04Open\x051.0.0\x052026f\x01\x07counter\x02c1\xc8\x01"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02" + encode(PLAIN)[1:],
        encode(PLAIN)[:-1],
        encode(PLAIN) + b"\x00",
        b"\x01\x81\x00" + encode(PLAIN)[2:],
        encode(PLAIN).replace(b"Open", b"Op\xffn"),
        encode(PLAIN._replace(reads=(ReadStream("a", "b", 1), ReadStream("a", "c", 1)))).replace(b"\x01c", b"\x01b"),
        b"\x01\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
    ids=["empty", "form", "short", "long", "not minimal", "not UTF-8", "twice", "promises more than it has"],
)
def test_what_is_malformed_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedDecision):
        decode(content)


def test_each_command_has_a_name_of_its_own() -> None:
    names = [command.__name__ for command in HANDLERS]
    assert len(set(names)) == len(names)


def test_time_zones_are_of_the_version_that_is_recorded() -> None:
    assert zoneinfo.TZPATH == ()
    data = importlib.resources.files("tzdata.zoneinfo").joinpath("tzdata.zi").read_text(encoding="utf-8")
    assert data.startswith(f"# version {TIME_ZONE_DATA}")


async def test_a_real_decisions_record_holds_just_the_streams_it_only_read() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    store = MemoryStore(clock=lambda: now)
    writer = GroupCommitWriter(
        MemoryStorage(store), handlers=HANDLERS, codec=default_codec(), settings=WriterSettings(), clock=lambda: now
    )

    async def submit(command: Command) -> None:
        assert (await writer.submit(request(command))).refusal_code is None

    product, plan, price = new_id("prod_"), new_id("plan_"), new_id("price_")
    customer, subscription = new_id("cus_"), new_id("sub_")
    await submit(CreateProduct(product_id=product, name="Telephone"))
    terms = PlanTerms(name="Monthly", interval=Interval(IntervalUnit.MONTH))
    await submit(CreatePlan(plan_id=plan, product_id=product, terms=terms))
    await submit(CreatePrice(price_id=price, plan_id=plan, price=Flat(amount=Money(1999, currency_code("USD")))))
    await submit(CreateCustomer(customer_id=customer, currency="USD"))
    await submit(
        CreateSubscription(
            subscription_id=subscription,
            customer_id=customer,
            plan_id=plan,
            items=(RequestedItem(price_id=price, quantity=Decimal(1)),),
            collection=CollectionMethod.SEND_INVOICE,
        )
    )
    now = datetime(2026, 2, 1, tzinfo=UTC)
    await submit(RenewSubscription(subscription_id=subscription))
    await writer.close()

    events = await MemoryLog(store).read(after=0, limit=100)
    firsts = [place for place, event in enumerate(events) if event.decision is not None]
    created, renewed = ([*events[start:end]] for start, end in ((firsts[-2], firsts[-1]), (firsts[-1], None)))
    sold = {("product", product, 2), ("plan", plan, 2)}  # the price is told that it was sold
    untaxed = {("tax_settings", "tax", 0), ("billing_settings", "billing", 0)}
    for decided, command, only_read in (
        (created, "CreateSubscription", {("customer", customer, 1), *untaxed, *sold}),
        (renewed, "RenewSubscription", {("customer", customer, 1), *untaxed}),
    ):
        assert decided[0].decision is not None
        record = decode(decided[0].decision)
        assert record[:4] == (len(decided), command, RELEASE, TIME_ZONE_DATA)
        assert {*record.reads} == only_read
        assert len({(event.stream_type, event.stream_id) for event in decided}) > 1
    assert sum(len(event.decision or b"") for event in events) / len(events) < 60
