"""The watermark: whatever is acknowledged before a period is billed is in its invoice, what comes later is the next
one's, and each event is billed once; with aggregators whose clocks differ and that stand still, and partitions that
lag. In half of the year drafts have time, and what is acknowledged until that is over is in.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from domain.customers.test_clock import AdvanceTestClock, CreateTestClock
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.kernel.tenant_mode import TenantMode
from domain.metering.usage_value import NANOS
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from infra.settings import UsageSettings
from processors.invariants.findings import Invariant
from schemas.codec import decode_event
from testing.processors_cell import START, Cell, open_cell, until
from testing.requests import TENANT
from testing.services import KafkaServer
from testing.skew import SKEW_VARIABLE
from testing.usage import EPOCH
from tests.integration.usage_scene import PARTITIONS, MeteredPlan, metered_plan, recounted
from tests.lengths import LENGTH
from usage.closing import SEPARATOR
from usage.topic import COMPRESSION
from usage.wire import EVENT, WireEvent, encode, headers_of, partition_of_customer, topic_of

PERIODS: Final = 12
CUSTOMERS: Final = 5
SKEWS_S: Final = (0, 7_200, -90_000)
"""How far the clocks of the aggregators are from ours."""
GRACE: Final = timedelta(days=5)
"""How long drafts have time, in the second half of the year."""
PAUSED_EVERY: Final = 3
"""In one of so many periods an aggregator stands still, for longer than its session: others take its partitions on."""
PILE_RECORDS, PILE_EVENTS = 60, 20
"""What a partition has to count before its period can be closed: a commit a record."""
METERING: Final = {"TALLYBOOK_METERING_POLL_MAX_RECORDS": "7", "TALLYBOOK_METERING_POLL_MAX_BYTES": "2000"}
AT_REST: Final = (Invariant.BOOKS, Invariant.LOG, Invariant.DOCUMENTS, Invariant.USAGE)

_CLOSINGS: Final = "SELECT reference FROM usage.closings WHERE customer_id = $1 ORDER BY seq"
_EVENTS: Final = "SELECT payload FROM log.events WHERE stream_id = $1 ORDER BY stream_version"


class Counted(NamedTuple):
    """Where an event stands first, the number of its period (the first is 1), and its units."""

    offset: int
    period: int
    units: int


@dataclass
class Customer:
    """What was acknowledged of a customer; `before`: up to where, when the time of each period's draft was over."""

    customer_id: str
    acknowledged: dict[str, Counted] = field(default_factory=dict)
    before: list[int] = field(default_factory=list)

    @property
    def partition(self) -> int:
        return partition_of_customer(TENANT, self.customer_id, PARTITIONS)

    def takes(self, offset: int, event: WireEvent) -> None:
        """Keep it where it stands first."""
        at = EPOCH + timedelta(microseconds=event.timestamp_us)
        period = (at.year - START.year) * 12 + at.month
        counted = Counted(offset, period, (event.value or 0) // NANOS)
        self.acknowledged[event.id] = min(counted, self.acknowledged.get(event.id, counted))

    def of(self, period: int, since: int, until: int) -> list[Counted]:
        """The events of a period from an offset on, and below another."""
        return [each for each in self.acknowledged.values() if each.period == period and since <= each.offset < until]


def _total(events: Iterable[Counted]) -> tuple[int, int]:
    found = list(events)
    return sum(each.units for each in found), len(found)


def _begins(period: int) -> datetime:
    years, months = divmod(period - 1, 12)
    return START.replace(year=START.year + years, month=months + 1)


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


@dataclass
class Year:
    """Customers on one clock, each with a subscription that bills a meter, and a producer of its events."""

    cell: Cell
    plan: MeteredPlan
    producer: AIOKafkaProducer
    clock_id: str
    customers: Sequence[Customer]
    running: int = 1
    advances: int = 0
    grace: timedelta = timedelta(0)
    is_over: bool = False

    async def gives_time(self) -> None:
        """From now on drafts have time."""
        self.grace = GRACE
        await self.cell.do(ChangeBillingSettings(grace_s=int(GRACE.total_seconds())))

    async def advance(self) -> None:
        """The running period ends, then the time of its drafts, and every customer is billed for it."""
        if self.grace:
            await self._to(_begins(self.running + 1))
        for each in self.customers:
            each.before.append(max((one.offset for one in each.acknowledged.values()), default=-1))
        await self._to(_begins(self.running + 1) + self.grace)

        async def is_billed() -> bool:
            return await self.cell.count("invoice.finalized") >= self.running * CUSTOMERS

        await until(is_billed, f"the invoices of period {self.running}")
        self.running += 1

    async def _to(self, at: datetime) -> None:
        self.advances += 1
        await self.cell.do(AdvanceTestClock(clock_id=self.clock_id, to=at))

        async def is_there() -> bool:
            return await self.cell.count("test_clock.advanced") == self.advances

        await until(is_there, f"the clock to be at {at}")

    async def use(self, customer: Customer, chance: random.Random) -> None:
        """Events for the period that runs, those before and the one after it, some sent again, until told to stop."""
        for nth in count():
            if self.is_over:
                return
            batch = tuple(self._event(customer, f"e{nth}-{each}", chance) for each in range(chance.randint(1, 4)))
            for _ in range(chance.choice((1, 1, 2))):
                offset = await self._send(customer.partition, batch)
                for event in batch:
                    customer.takes(offset, event)
            await asyncio.sleep(chance.random() / 20)

    def _event(self, customer: Customer, event_id: str, chance: random.Random) -> WireEvent:
        first, end = _begins(max(1, self.running - 2)), _begins(min(self.running, PERIODS) + 2)
        at = first + (end - first) * chance.random()
        value = chance.randrange(1, 1_000) * NANOS
        return WireEvent(event_id, EVENT, customer.customer_id, self.plan.meter_id, _microseconds(at), value, {})

    async def pile(self, partition: int) -> None:
        """Events of somebody who is not billed, so that a partition lags behind the others."""
        named = (f"cus_{nth}" for nth in count())
        somebody = next(each for each in named if partition_of_customer(TENANT, each, PARTITIONS) == partition)
        at = _microseconds(_begins(self.running))
        for nth in range(PILE_RECORDS):
            ids = (f"pile {self.running}/{nth}/{each}" for each in range(PILE_EVENTS))
            batch = tuple(WireEvent(each, EVENT, somebody, self.plan.meter_id, at, NANOS, {}) for each in ids)
            await self._send(partition, batch)

    async def _send(self, partition: int, events: Sequence[WireEvent]) -> int:
        """Where the record stands, once the broker has it."""
        topic = topic_of(self.cell.settings.kafka.topic_prefix)
        headers = headers_of(TENANT)
        appended = await self.producer.send_and_wait(topic, encode(events), partition=partition, headers=headers)
        return int(appended.offset)

    async def lines(self, customer: Customer) -> list[list[InvoiceLine]]:
        """The lines of each invoice that closed a period of a customer, in their order."""
        found = []
        for (reference,) in await self.cell.pool.fetch(_CLOSINGS, customer.customer_id):
            invoice: Invoice | None = None
            for row in await self.cell.pool.fetch(_EVENTS, reference.partition(SEPARATOR)[0]):
                invoice = INVOICE.evolve(invoice, decode_event(row[0]))
            assert invoice is not None, "a closing is an invoice's"
            found.append(list(invoice.lines))
        return found


@pytest.fixture
async def year(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Year]:
    facts = METERING | {"TALLYBOOK_USAGE_PARTITIONS": str(PARTITIONS)}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **facts) as cell:
        for skew_s in SKEWS_S:
            await cell.supervisor.start("metering", environment={**cell.environment, SKEW_VARIABLE: str(skew_s)})
        await cell.start("relay", "processors")  # those with wrong clocks say so, and never are ready

        async def are_taken() -> bool:
            return bool(await cell.pool.fetchval("SELECT count(*) = $1 FROM usage.checkpoints", PARTITIONS))

        await until(are_taken, "every partition to be taken")
        plan, clock_id = await metered_plan(cell, unit_amount=1), new_id("clock_")
        await cell.do(CreateTestClock(clock_id=clock_id, name="a year", frozen_at=START, mode=TenantMode.TEST))
        customers = [Customer(await cell.customer(token=None, clock_id=clock_id)) for _ in range(CUSTOMERS)]
        for each in customers:
            await cell.do(
                CreateSubscription(
                    subscription_id=new_id("sub_"),
                    customer_id=each.customer_id,
                    plan_id=plan.plan_id,
                    items=(RequestedItem(price_id=plan.price_id),),
                    collection=CollectionMethod.SEND_INVOICE,
                )
            )
        async with AIOKafkaProducer(
            bootstrap_servers=kafka_server.bootstrap, acks="all", compression_type=COMPRESSION
        ) as producer:
            yield Year(cell, plan, producer, clock_id, customers)


@pytest.mark.parametrize("seed", range(LENGTH.scaled(1)))
async def test_every_event_is_billed_once_over_twelve_periods(year: Year, seed: int) -> None:
    chance, cell = random.Random(seed), year.cell
    aggregators = [each.name for each in cell.supervisor.roles if each.role == "metering"]
    async with asyncio.TaskGroup() as using:
        for each in year.customers:
            using.create_task(year.use(each, random.Random(f"{seed}:{each.customer_id}")))
        for number in range(1, PERIODS + 1):
            await asyncio.sleep(chance.random() / 5)
            await year.pile(chance.randrange(PARTITIONS))
            paused = chance.choice(aggregators) if number % PAUSED_EVERY == 0 else None
            if paused is not None:
                cell.supervisor.pause(paused)
            if number == PERIODS // 2:
                await year.gives_time()
            await year.advance()
            if paused is not None:
                cell.supervisor.resume(paused)
        year.is_over = True
    await year.advance()
    for customer in year.customers:
        prove(customer, await year.lines(customer))
    settings = replace(cell.settings, usage=UsageSettings(partitions=PARTITIONS))
    assert [each for one in await recounted(settings) for each in one.differences] == []
    await cell.prove(*AT_REST)


def prove(customer: Customer, invoices: Sequence[Sequence[InvoiceLine]]) -> None:
    """Each invoice against the offsets at which events stand: what it covers, and what came late since the last one."""
    assert len(invoices) == PERIODS + 1
    covered = late_lines = 0
    billed: dict[int, int] = {}
    for number, lines in enumerate(invoices, start=1):
        (own,) = (line for line in lines if line.usage is not None and line.usage.late is None)
        assert own.usage is not None
        assert own.usage.snapshot is not None
        assert own.period_start == _begins(number)
        covers = own.usage.snapshot.covers
        assert covers > customer.before[number - 1], "what was acknowledged before is in it"
        units, events = _total(customer.of(number, 0, covers))
        assert (own.usage.snapshot.quantity, own.usage.snapshot.events) == (Fraction(units), events)
        assert own.amount.amount == own.usage.snapshot.quantity
        late = {line.period_start: line.amount.amount for line in lines if line is not own}
        assert late == {
            _begins(period): _total(came_late)[0]
            for period in range(1, number)
            if (came_late := customer.of(period, covered, covers))
        }
        late_lines += len(late)
        for line in lines:
            assert line.period_start is not None
            period = (line.period_start.year - START.year) * 12 + line.period_start.month
            billed[period] = billed.get(period, 0) + line.amount.amount
        covered = covers
    assert late_lines
    assert billed == {period: _total(customer.of(period, 0, covered))[0] for period in range(1, PERIODS + 2)}
    assert max(each.offset for each in customer.acknowledged.values()) < covered, "everything is billed"
