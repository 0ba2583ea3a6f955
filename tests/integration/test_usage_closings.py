"""Periods are closed by a watermark: what came until then is billed, what comes later is the next closing's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind, LinePricing
from domain.invoicing.usage_commands import counted_line
from domain.invoicing.usage_line import LineUsage
from domain.invoicing.usage_request import VOIDED_USAGE, voided_usage_of
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.metering.aggregation import Aggregation, UsageEvent, Window, aggregate, quantity_of
from domain.metering.usage_value import NANOS, units
from domain.pricing.models import PerUnit
from infra.database import Role
from testing.processors_cell import until
from testing.services import FreshDatabase, KafkaServer
from testing.usage import EPOCH, START_US, TENANTS, Sent, Stream, tenants_meters
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage.closings import Closed, Closings, NotYet, Wanted, closings_of, following, pieces_of, rows_hash
from usage.ends import KafkaEnds
from usage.invoiced import counted, wanted_of
from usage.live import Metered, charge_so_far, live_usage
from usage.used import used_in
from usage.wire import EVENT, VOID, WireEvent, partition_of_customer

TENANT, CUSTOMER = TENANTS[0], "cus_1"
PARTITION = partition_of_customer(TENANT, CUSTOMER, PARTITIONS)
START = datetime(2026, 5, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


@pytest.fixture
async def closings(scene: Scene) -> AsyncIterator[Closings]:
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=4, server_settings={"role": Role.WRITER.value})
    ends = KafkaEnds(scene.settings, bootstrap=scene.bootstrap)
    yield Closings(pool, ends, partitions=PARTITIONS)
    await ends.close()
    await pool.close()


def used(nth: int, at: datetime, value: int = 1, *, meter: str = "sum", kind: str = EVENT) -> WireEvent:
    return WireEvent(
        f"e{nth}", kind, CUSTOMER, meter, (at - EPOCH) // timedelta(microseconds=1), value * NANOS, {"user": "u"}
    )


def sent(*events: WireEvent) -> list[Sent]:
    return [Sent(TENANT, PARTITION, (event,)) for event in events]


def wanted(reference: str, since: datetime, end: datetime, meter: str = "mtr_sum") -> Wanted:
    return Wanted(tenant_id=TENANT, customer_id=CUSTOMER, meter_id=meter, since=since, until=end, reference=reference)


async def close(closings: Closings, asked: Wanted) -> Closed:
    """Ask until everything is counted, as due work does."""
    found: list[Closed] = []

    async def is_closed() -> bool:
        outcome = await closings.close(asked)
        if isinstance(outcome, Closed):
            found.append(outcome)
        return bool(found)

    await until(is_closed, "the period to be closed")
    return found[0]


async def test_a_closing_waits_for_what_was_acknowledged_and_bills_what_is_late_next_time(
    scene: Scene, closings: Closings
) -> None:
    first = wanted("il_1", START, START + HOUR)
    await scene.send(sent(used(1, START, 5), used(2, START + HOUR / 2, 7), used(3, START + HOUR, 100)))
    assert isinstance(await closings.close(first), NotYet)  # nobody has counted anything
    await scene.start()
    one = await close(closings, first)
    assert (one.seq, one.quantity, one.events, one.late) == (1, Decimal(12), 2, ())
    assert (one.partition, one.covers) == (PARTITION, 3)

    await scene.send(sent(used(4, START, 3), used(2, START + HOUR / 2, 7, kind=VOID), used(5, START + HOUR, 1)))
    two = await close(closings, wanted("il_2", START + HOUR, START + 2 * HOUR))
    assert (two.seq, two.quantity, two.events) == (2, Decimal(101), 2)
    assert two.late == (("il_1", Decimal(8), 2, ()),)  # 5 + 7 + 3 - 7, recounted

    three = await close(closings, wanted("il_3", START + 2 * HOUR, START + 3 * HOUR))
    assert three.quantity == 0
    assert three.late == ()  # what was late is billed once
    assert await closings.close(first) == one
    assert await closings.close(wanted("il_2", START + HOUR, START + 2 * HOUR)) == two
    taken = await close(closings, wanted("il_0", START, START + HOUR))
    assert (taken.seq, taken.quantity, taken.late) == (4, Decimal(0), ()), "a quarter hour has one closing"
    with pytest.raises(ValueError, match="il_1 has closed another period"):
        await closings.close(wanted("il_1", START, START + 2 * HOUR))
    assert [each for one in await scene.recounted() for each in one.differences] == []


@pytest.mark.parametrize("aggregation", list(Aggregation))
async def test_periods_are_closed_in_any_order_and_each_event_is_in_one(
    scene: Scene, closings: Closings, aggregation: Aggregation
) -> None:
    """As when one subscription's last invoice is closed after the next one's first, which may begin within its time."""
    await scene.start()
    meter = aggregation.value
    before = [used(1, START, 4, meter=meter), used(2, START + 5 * HOUR / 2, 9, meter=meter)]
    await scene.send(sent(*before, used(3, START + HOUR, 2, meter=meter)))
    inner = await close(closings, wanted("il_new", START + HOUR, START + 2 * HOUR, f"mtr_{meter}"))
    assert inner.events == 1
    late = [used(4, START + HOUR / 2, 3, meter=meter)]
    await scene.send(sent(*late))
    whole = await close(closings, wanted("il_old", START, START + 3 * HOUR, f"mtr_{meter}"))
    assert (whole.seq, whole.events, whole.late) == (2, 3, _levels(inner, aggregation))

    kept = sorted((*before, *late), key=lambda each: each.timestamp_us)
    pieces = [
        _quantity(aggregation, [each for each in kept if since <= _at(each) < since + HOUR], since, carried)
        for since, carried in ((START, 0), (START + 2 * HOUR, 2))
    ]
    if aggregation is Aggregation.TIME_WEIGHTED_SUM:
        assert whole.quantity == sum(pieces)
    else:
        assert whole.quantity == _quantity(aggregation, kept, START, 0)

    await scene.send(sent(used(5, START + HOUR / 4, 1, meter=meter), used(6, START + 3 * HOUR / 2, 1, meter=meter)))
    last = await close(closings, wanted("il_last", START + 3 * HOUR, START + 4 * HOUR, f"mtr_{meter}"))
    assert [(each.reference, each.events) for each in last.late] == [("il_new", 2), ("il_old", 4)]
    assert await close(closings, wanted("il_old", START, START + 3 * HOUR, f"mtr_{meter}")) == whole
    assert [each for one in await scene.recounted() for each in one.differences] == []


@pytest.mark.parametrize("aggregation", list(Aggregation))
async def test_closings_of_one_charge_count_one_period_each_until_then_with_what_came_late(
    scene: Scene, closings: Closings, aggregation: Aggregation
) -> None:
    await scene.start()
    meter, kept = aggregation.value, list[WireEvent]()

    async def come(*events: tuple[datetime, int]) -> None:
        new = [used(len(kept) + nth, at, value, meter=meter) for nth, (at, value) in enumerate(events)]
        kept.extend(new)
        await scene.send(sent(*new))

    async def closed_at(hours: int, *, is_last: bool = False) -> Closed:
        asked = wanted(f"il_{hours}", START, START + hours * HOUR, f"mtr_{meter}")
        return await close(closings, replace(asked, charge="il_1", is_last=is_last))

    def figure(hours: int) -> Any:
        until_then = [each for each in kept if _at(each) < START + hours * HOUR]
        return _quantity(aggregation, sorted(until_then, key=_at), START, 0, hours)

    await come((START, 4), (START + HOUR / 2, 9), (START + 3 * HOUR / 2, 2))
    first = await closed_at(1)
    assert (first.seq, first.events, first.quantity, first.late) == (1, 2, figure(1), ())
    await come((START + HOUR / 4, 3), (START + 5 * HOUR / 4, 7))
    second = await closed_at(2)
    assert (second.seq, second.events, second.quantity, second.late) == (2, 5, figure(2), ())
    await come((START + HOUR / 3, 1), (START + 5 * HOUR / 2, 5))
    last = await closed_at(3, is_last=True)
    assert (last.events, last.quantity, last.late) == (7, figure(3), ())

    await come((START + HOUR / 5, 6))
    after = await close(closings, wanted("il_next", START + 3 * HOUR, START + 4 * HOUR, f"mtr_{meter}"))
    assert [each[:3] for each in after.late] == [("il_3", figure(3), 8)], (
        "the whole period, as its last closing names it"
    )
    assert await closed_at(1) == first
    assert [each for one in await scene.recounted() for each in one.differences] == []


def _levels(inner: Closed, aggregation: Aggregation) -> tuple[Any, ...]:
    """What came for the time before a level's window is a level that it begins with, had it none of its own there."""
    return (("il_new", inner.quantity, 1, ()),) if aggregation is Aggregation.TIME_WEIGHTED_SUM else ()


def _at(event: WireEvent) -> datetime:
    return EPOCH + timedelta(microseconds=event.timestamp_us)


def _quantity(aggregation: Aggregation, events: list[WireEvent], since: datetime, carried: int, hours: int = 1) -> Any:
    kept = [
        UsageEvent(
            event_id=each.id,
            at=_at(each),
            value=Decimal(each.value or 0) / NANOS,
            key="u" if aggregation is Aggregation.UNIQUE else "",
        )
        for each in events
    ]
    return quantity_of(aggregate(aggregation, kept), Window(start=since, end=since + hours * HOUR), Decimal(carried))


async def test_amounts_of_single_events_are_told_in_the_order_of_their_times(scene: Scene, closings: Closings) -> None:
    await scene.start()
    taken_back = used(3, START, 5, meter="amounts")
    made = used(1, START + HOUR / 2, 7, meter="amounts"), used(2, START, 4, meter="amounts"), taken_back
    await scene.send(sent(*made, taken_back._replace(kind=VOID)))
    one = await close(closings, wanted("il_1", START, START + HOUR, "mtr_amounts"))
    assert (one.quantity, one.events, one.amounts) == (Decimal(11), 2, (Decimal(4), Decimal(7)))
    await scene.send(sent(used(4, START + HOUR / 4, 9, meter="amounts")))
    two = await close(closings, wanted("il_2", START + HOUR, START + 2 * HOUR, "mtr_amounts"))
    assert two.late == (("il_1", Decimal(20), 3, (Decimal(4), Decimal(9), Decimal(7))),)
    assert await close(closings, wanted("il_1", START, START + HOUR, "mtr_amounts")) == one


async def test_three_disks_are_three_levels_and_each_goes_on_into_the_periods_that_follow(
    scene: Scene, closings: Closings
) -> None:
    def disk(nth: int, at: datetime, gigabytes: int, name: str) -> WireEvent:
        return used(nth, at, gigabytes, meter="disks")._replace(properties={"region": name})

    await scene.start()
    made = disk(1, START - HOUR, 100, "eu"), disk(2, START, 200, "us"), disk(3, START + HOUR / 2, 300, "ap")
    await scene.send(sent(*made))
    one = await close(closings, wanted("il_1", START, START + HOUR, "mtr_disks"))
    assert (one.quantity, one.events) == (Fraction(100 + 200 + 150), 2)
    two = await close(closings, wanted("il_2", START + HOUR, START + 2 * HOUR, "mtr_disks"))
    assert (two.quantity, two.events, two.late) == (Fraction(600), 0, ()), "nothing was sent, and all three are there"
    await scene.send(sent(disk(4, START + 3 * HOUR / 2, 0, "eu")))
    three = await close(closings, wanted("il_3", START + 2 * HOUR, START + 3 * HOUR, "mtr_disks"))
    assert (three.quantity, three.late) == (Fraction(500), (("il_2", Fraction(550), 1, ()),))
    async with connected(scene.dsn) as connection:
        window, metered = Window(start=START, end=START + 3 * HOUR), Metered(TENANT, CUSTOMER, "mtr_disks")
        live = await live_usage(connection, metered, [window], held_until=window.end, by_group=True)
    assert live.figure.quantity == 450 + 550 + 500
    assert {each.properties["region"]: each.figure.quantity for each in live.groups} == {
        "eu": 150,
        "us": 600,
        "ap": 750,
    }
    assert [each for one in await scene.recounted() for each in one.differences] == []


async def test_what_a_voided_invoice_told_of_is_told_again(scene: Scene, closings: Closings) -> None:
    await scene.start()
    await scene.send(sent(used(1, START, 5)))
    await close(closings, wanted("il_1", START, START + HOUR))
    await scene.send(sent(used(2, START, 3)))
    two = await close(closings, wanted("il_2", START + HOUR, START + 2 * HOUR))
    assert two.late == (("il_1", Decimal(8), 2, ()),)
    third = wanted("il_3", START + 2 * HOUR, START + 3 * HOUR)
    assert (await close(closings, third)).late == ()
    await voided(scene, "il_2")
    told = await closings.close(third)
    assert isinstance(told, Closed)
    assert told.late == two.late


async def test_of_a_period_that_several_bill_the_last_that_is_not_void_is_told_alone(
    scene: Scene, closings: Closings
) -> None:
    await scene.start()
    slices, last = 4, {"a": True, "b": True, "c": True, "d": False}
    for nth, (charge, is_closed) in enumerate(last.items()):
        since = START + nth * HOUR
        await scene.send(sent(used(10 * nth, since, 5)))
        for n in range(1, slices + is_closed):
            of = wanted(f"in_{charge}{n}:il_1", since, since + n * HOUR / 4)
            await close(closings, replace(of, charge=charge, is_last=n == slices))
        await scene.send(sent(used(10 * nth + 1, since, 3)))
    end = START + len(last) * HOUR
    await close(closings, wanted("in_e:il_1", end, end + HOUR))
    now = wanted("in_f:il_1", end + HOUR, end + 2 * HOUR)
    assert (await close(closings, now)).late == ()
    await voided(scene, "in_b4")
    assert await told(closings, now) == ["in_a4", "in_b3", "in_c4", "in_d3"]
    await voided(scene, "in_c2", "in_b3", "in_b2", "in_d4", "in_d3", "in_e")
    assert await told(closings, now) == ["in_a4", "in_b1", "in_c4", "in_d2"]
    rest = wanted("in_d5:il_1", end - HOUR, end)
    last_of_d = await close(closings, replace(rest, charge="d"))
    assert [each.reference for each in last_of_d.late] == ["in_a4:il_1", "in_b1:il_1", "in_c4:il_1"], "not its own"


async def told(closings: Closings, asked: Wanted) -> list[str]:
    outcome = await closings.close(asked)
    assert isinstance(outcome, Closed)
    return [each.reference.partition(":")[0] for each in outcome.late]


async def voided(scene: Scene, *invoice_ids: str) -> None:
    """The log says that these were voided with usage of the meter."""
    claim = "INSERT INTO log.claims (tenant_id, kind, value, owner) VALUES ($1, $2, $3, $4)"
    async with connected(scene.dsn) as connection:
        for invoice_id in invoice_ids:
            value = f"{voided_usage_of(CUSTOMER, 'mtr_sum')}{invoice_id}"
            await connection.execute(claim, TENANT, VOIDED_USAGE, value, invoice_id)


async def test_a_closing_does_not_wait_for_what_comes_after_it_was_asked_for(scene: Scene, closings: Closings) -> None:
    await scene.send(sent(used(1, START)))
    asked = wanted("il_1", START, START + HOUR)
    assert isinstance(await closings.close(asked), NotYet)
    await scene.send(sent(used(2, START)))
    outcome = await closings.close(asked)
    assert outcome == NotYet(PARTITION, 0, 1)
    by_hand = await closings.close(wanted("il_by_hand", START, START + HOUR), waits=False)
    assert isinstance(by_hand, NotYet), "no aggregator has taken the partition on"
    await scene.start()
    await scene.caught_up()
    assert (await close(closings, asked)).quantity == 2


async def test_what_is_used_of_a_period_begins_with_the_quarter_hours_that_begin_in_it(
    scene: Scene, closings: Closings
) -> None:
    await scene.start()
    change, end = START + timedelta(minutes=20), START + timedelta(minutes=50)
    times = START, START + timedelta(minutes=46), START + timedelta(minutes=52), START + HOUR
    await scene.send(sent(*(used(nth, at, 2**nth) for nth, at in enumerate(times))))
    await scene.caught_up()

    async def figure(since: datetime, until: datetime) -> Any:
        async with connected(scene.dsn) as connection:
            window = Window(start=since, end=until)
            found = await used_in(connection, Metered(TENANT, CUSTOMER, "mtr_sum"), window, held_until=until)
        return found.quantity

    assert (await figure(START, end), await figure(end, end + HOUR)) == (7, 8), "whether anything is closed or not"
    assert await figure(change, end) == 6
    assert (await close(closings, wanted("il_2", end, end + HOUR))).quantity == 8
    assert (await close(closings, wanted("il_1", START, end))).quantity == 7, "in whatever order periods are closed"
    assert (await figure(START, end), await figure(end, end + HOUR)) == (7, 8)


async def test_what_is_used_before_a_period_that_follows_none_is_not_its_own(scene: Scene, closings: Closings) -> None:
    """As at the end of a trial or of a pause, or where a subscription starts, within a quarter hour."""
    await scene.start()
    since = START + timedelta(minutes=5)
    times = START + timedelta(minutes=1), START + timedelta(minutes=15)
    await scene.send(sent(*(used(nth, at, 2**nth) for nth, at in enumerate(times))))
    closed = await close(closings, wanted("il_1", since, since + HOUR))
    assert (closed.quantity, closed.events) == (Decimal(2), 1)


@pytest.mark.parametrize("aggregation", list(Aggregation))
async def test_what_is_shown_of_a_period_is_what_it_is_closed_with(
    scene: Scene, closings: Closings, aggregation: Aggregation
) -> None:
    """Though another subscription's closing took time within it, and it begins and ends within quarter hours."""
    await scene.start()
    meter, since, until_ = aggregation.value, START + timedelta(minutes=5), START + timedelta(minutes=230)
    hours = (0.05, 4), (0.5, 9), (1.25, 2), (1.5, 20), (2.5, 3), (3.85, 8), (4.1, 100)
    await scene.send(sent(*(used(nth, START + at * HOUR, value, meter=meter) for nth, (at, value) in enumerate(hours))))
    await close(closings, wanted("il_other", START + HOUR, START + 2 * HOUR, f"mtr_{meter}"))
    line, metered = _line(f"mtr_{meter}", since, until_), Metered(TENANT, CUSTOMER, f"mtr_{meter}")
    asked = wanted_of(TENANT, CUSTOMER, "in_1", line)
    async with connected(scene.dsn) as connection:
        charge = await charge_so_far(connection, line, metered, partition=PARTITION, at=until_)
        earlier = await closings_of(connection, TENANT, CUSTOMER, f"mtr_{meter}")
        pieces = pieces_of(earlier, following(earlier, asked, PARTITION, 0))
        window = Window(start=since, end=until_)
        live = await live_usage(
            connection, metered, [window], pieces=pieces, held_until=START + 4 * HOUR, by_group=False
        )
    closed = await close(closings, asked)
    billed = counted_line(line, counted(line, closed).snapshot, closed.amounts, Money.zero(charge.currency))
    assert closed.quantity > 0
    assert live.figure == (closed.quantity, closed.events)
    assert charge == billed.amount


def _line(meter_id: str, since: datetime, until_: datetime) -> InvoiceLine:
    price = PerUnit(currency=currency_code("EUR"), unit_amount=Decimal(100))
    return InvoiceLine(
        line_id="il_1",
        description="Usage",
        amount=Money(0, price.currency),
        quantity=Decimal(0),
        timing=BillingTiming.IN_ARREARS,
        kind=InvoiceLineKind.USAGE,
        period_start=since,
        period_end=until_,
        pricing=LinePricing(price=price, share=Fraction(1), rounding=Rounding.HALF_UP),
        usage=LineUsage(meter_id=meter_id),
    )


@pytest.mark.parametrize("aggregation", list(Aggregation))
async def test_a_closings_figure_is_the_domains(scene: Scene, closings: Closings, aggregation: Aggregation) -> None:
    """Of each aggregation: the period's own, and the one before it, with what came late."""
    await scene.start()
    meter = aggregation.value
    early = [used(1, START, 4 * 10**18, meter=meter), used(2, START + HOUR / 4, 9, meter=meter)]
    late = [used(3, START + HOUR / 2, 2, meter=meter), used(2, START + HOUR / 4, 9, meter=meter, kind=VOID)]
    own = [used(4, START + HOUR + HOUR / 2, 3, meter=meter)]
    await scene.send(sent(*early))
    one = await close(closings, wanted("il_1", START, START + HOUR, f"mtr_{meter}"))
    await scene.send(sent(*late, *own))
    two = await close(closings, wanted("il_2", START + HOUR, START + 2 * HOUR, f"mtr_{meter}"))

    def figure(*events: WireEvent, since: datetime, carried: Decimal = Decimal(0)) -> Any:
        kept = [
            UsageEvent(
                event_id=each.id,
                at=EPOCH + timedelta(microseconds=each.timestamp_us),
                value=units(each.value or 0),
                key="u" if aggregation is Aggregation.UNIQUE else "",
            )
            for each in events
        ]
        return quantity_of(aggregate(aggregation, kept), Window(start=since, end=since + HOUR), carried)

    assert one.quantity == figure(*early, since=START)
    assert [each[:3] for each in two.late] == [("il_1", figure(early[0], late[0], since=START), 2)]
    assert two.quantity == figure(*own, since=START + HOUR, carried=Decimal(2))


async def test_closings_among_events_are_where_a_recount_finds_them(scene: Scene, closings: Closings) -> None:
    """While aggregators count and are killed, periods are closed: what is late is a function of offsets."""
    stream = Stream(5, customers=4, partitions=PARTITIONS)
    begin = EPOCH + timedelta(microseconds=START_US)
    await scene.start(2)
    meters = sorted({version.meter_id for _, version in tenants_meters()})
    for nth in range(1, 4):
        sending = asyncio.create_task(scene.send(stream.records(500)))
        for customer in range(4):
            for meter in meters:
                asked = Wanted(
                    tenant_id=TENANT,
                    customer_id=f"cus_{customer}",
                    meter_id=meter,
                    since=begin + (nth - 1) * HOUR,
                    until=begin + nth * HOUR,
                    reference=f"il_{nth}_{customer}_{meter}",
                )
                closed = await close(closings, asked)
                assert closed.seq == nth
        await scene.kill()
        await scene.start()
        await sending
    await scene.caught_up()
    assert [each for one in await scene.recounted() for each in one.differences] == []
    async with connected(scene.dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage.aggregates WHERE late > 0") > 0
        for customer in range(4):
            for meter in meters:
                made = await closings_of(connection, TENANT, f"cus_{customer}", meter)
                for each in made:
                    asked = Wanted(
                        tenant_id=TENANT,
                        customer_id=f"cus_{customer}",
                        meter_id=meter,
                        since=each.since,
                        until=each.until,
                        reference=each.reference,
                    )
                    assert await rows_hash(connection, asked, made, each) == each.sha256
