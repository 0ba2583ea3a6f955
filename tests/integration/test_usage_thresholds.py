"""Whoever looks whether usage has reached a threshold bills it once, whatever else is decided at that moment."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from domain.customers.test_clock import AdvanceTestClock, CreateTestClock
from domain.customers.test_clock import TestClock as Clock
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import Money
from domain.kernel.stream import Command, WorkKind
from domain.kernel.tenant_mode import TenantMode
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import SetUsageThreshold
from host.embedded.databases import PostgresServer
from infra.database import Pool, Role
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.port import Outcome, Rehearsed, Request, Work, Writer
from infra.event_store.postgres import PostgresStorage
from infra.ids import new_id
from processors.invariants.findings import Invariant
from processors.runs.test_clocks import TestClocks
from processors.states import StateReader
from processors.usage_thresholds import Again, UsageThresholds
from schemas.codec import default_codec
from testing.processors_cell import EUR, until
from testing.requests import TENANT
from testing.services import KafkaServer
from testing.usage_thresholds import usage_thresholds
from tests.integration.usage_cell import Usage, usage_cell
from tests.integration.usage_scene import PARTITIONS

THRESHOLD = UsageThreshold(amount=Money(500, EUR))
"""Of 20 gigabytes."""
NOW = datetime.now(UTC).replace(microsecond=0)
STARTED = NOW - timedelta(days=10)


class Interrupted(Writer):
    """A writer that others come before: these commands are decided before the first that it is given."""

    def __init__(self, writer: Writer, usage: Usage, *commands: Command) -> None:
        self._writer = writer
        self._usage = usage
        self._first: Sequence[Command] = commands

    async def submit(self, request: Request) -> Outcome:
        first, self._first = self._first, ()
        for command in first:
            await self._usage.cell.do(command)
        return await self._writer.submit(request)

    async def rehearse(self, request: Request) -> Rehearsed:
        """No look rehearses."""
        raise NotImplementedError

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """No look submits several together."""
        raise NotImplementedError

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """No look rehearses."""
        raise NotImplementedError


@dataclass
class Looking:
    """A subscription on a clock that is to move on, which nobody looks at but the test."""

    usage: Usage
    pool: Pool
    stack: AsyncExitStack
    clock_id: str = ""
    customer_id: str = ""
    subscription_id: str = ""

    async def subscribed(self, threshold: UsageThreshold | None = THRESHOLD, *, on_clock: bool = True) -> None:
        """To gigabytes at 0.25 each."""
        self.clock_id = new_id("clock_")
        made = CreateTestClock(clock_id=self.clock_id, name="now", frozen_at=NOW, mode=TenantMode.TEST)
        await self.usage.cell.do(made)
        clock_id = self.clock_id if on_clock else None
        self.customer_id = await self.usage.cell.customer(token=None, clock_id=clock_id)
        self.subscription_id = await self.usage.subscribed(self.customer_id, STARTED, threshold=threshold)

    async def used(self, gigabytes: int, nth: int = 0) -> None:
        await self.usage.send(self.customer_id, [(STARTED + timedelta(hours=1 + nth), gigabytes)])
        counted = "SELECT sum(n) FROM usage.aggregates JOIN usage.series USING (series) WHERE customer_id = $1"

        async def is_counted() -> bool:
            return bool(await self.usage.cell.pool.fetchval(counted, self.customer_id) == nth + 1)

        await until(is_counted, "the events to be counted")

    async def thresholds(self, writer: Writer | None = None, *, pause_s: float = 0.001) -> UsageThresholds:
        """Another one who looks, at most so often."""
        cell = self.usage.cell
        settings = replace(
            cell.settings,
            usage=cell.settings.usage.model_copy(update={"partitions": PARTITIONS}),
            processors=cell.settings.processors.model_copy(update={"usage_look_interval_s": pause_s}),
        )
        assert settings.database.url is not None
        assert settings.kafka.bootstrap is not None
        dsn, bootstrap = settings.database.url.get_secret_value(), settings.kafka.bootstrap
        opened = usage_thresholds(dsn, settings, writer or cell.writer, self.pool, bootstrap=bootstrap)
        return await self.stack.enter_async_context(opened)

    async def is_settled(self, thresholds: UsageThresholds) -> bool:
        """Whether the clock may move on: if not, something was billed."""
        clock = Clock(
            clock_id=self.clock_id,
            name="now",
            metadata=(),
            created_at=NOW,
            frozen_at=NOW,
            advances=1,
            advancing_to=NOW + timedelta(hours=1),
            is_deleting=False,
            deleted_at=None,
        )
        return await thresholds.is_settled(self.advance, clock)

    @property
    def advance(self) -> Work:
        """The clock's, which is claimed."""
        advance = WorkKind.CLOCK_ADVANCE
        return Work(TENANT, advance, self.clock_id, NOW, None, False, 1, "evt_1", "corr_1", 1, None, None)

    async def billed(self) -> int:
        """How many invoices there are of usage so far."""
        ids = [so_far(self.subscription_id, nth) for nth in range(5)]
        drafted = "SELECT count(*) FROM log.events WHERE event_type = 'invoice.drafted' AND stream_id = ANY($1)"
        return int(await self.usage.cell.pool.fetchval(drafted, ids))


@pytest.fixture(scope="module")
async def usage(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Usage]:
    async with usage_cell(postgres_server, template_database, kafka_server, services_folder, 0) as opened:
        yield opened


@pytest.fixture
async def looking(usage: Usage) -> AsyncIterator[Looking]:
    url = usage.cell.settings.database.url
    assert url is not None
    pool = await asyncpg.create_pool(
        url.get_secret_value(), min_size=1, max_size=4, server_settings={"role": Role.WRITER.value}
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        yield Looking(usage, pool, stack)


def so_far(subscription_id: str, nth: int) -> str:
    return derived_id(INVOICE, subscription_id, f"usage/{nth}")


async def test_what_was_refused_once_is_billed_by_the_next_look(looking: Looking) -> None:
    await looking.subscribed()
    await looking.used(30)
    cell = looking.usage.cell
    away = SetUsageThreshold(subscription_id=looking.subscription_id, threshold=None)
    racing = await looking.thresholds(Interrupted(cell.writer, looking.usage, away))
    assert await looking.is_settled(racing)
    assert await looking.billed() == 0
    await cell.do(SetUsageThreshold(subscription_id=looking.subscription_id, threshold=THRESHOLD))
    assert not await looking.is_settled(racing)
    assert await looking.billed() == 1


async def test_of_two_who_look_at_once_one_bills(looking: Looking) -> None:
    await looking.subscribed()
    await looking.used(30)
    both = [await looking.thresholds() for _ in range(2)]
    await asyncio.gather(*(each.look(TENANT, looking.subscription_id, NOW) for each in both))
    assert await looking.billed() == 1


@pytest.mark.parametrize("recurring", [True, False])
async def test_nothing_follows_an_invoice_that_is_not_counted_unless_it_is_voided(
    looking: Looking, recurring: bool
) -> None:
    await looking.subscribed(UsageThreshold(amount=Money(500, EUR), recurring=recurring))
    await looking.used(30)
    thresholds = await looking.thresholds()
    assert not await looking.is_settled(thresholds)
    await looking.used(30, nth=1)
    assert await looking.is_settled(thresholds), "the first one waits for its usage"
    assert await looking.billed() == 1
    await looking.usage.cell.do(VoidInvoice(invoice_id=so_far(looking.subscription_id, 0)))
    assert not await looking.is_settled(thresholds)
    assert await looking.billed() == 2
    assert await looking.is_settled(thresholds), "the second one waits"
    await looking.usage.cell.do(VoidInvoice(invoice_id=so_far(looking.subscription_id, 1)))
    assert not await looking.is_settled(thresholds)


async def test_a_clock_waits_for_what_another_look_has_billed_just_now(looking: Looking) -> None:
    await looking.subscribed()
    await looking.used(30)
    cell, other = looking.usage.cell, await looking.thresholds()

    async def is_settled(work: Work, clock: Clock) -> bool:
        await other.look(work.tenant_id, looking.subscription_id, NOW)
        return True

    reading = PostgresStorage(cell.settings.database.url.get_secret_value(), cell.settings.writer)  # type: ignore[union-attr]
    looking.stack.push_async_callback(reading.close)
    states = StateReader(reading, default_codec(), lambda _: None)
    settings = cell.settings.processors.model_copy(update={"clock_slice_ms": 200})
    clocks = TestClocks(cell.writer, states, PostgresDueWork(looking.pool), settings, is_settled=is_settled)
    await cell.do(AdvanceTestClock(clock_id=looking.clock_id, to=NOW + timedelta(hours=1)))
    await clocks.advance(looking.advance)
    assert await looking.billed() == 1
    assert "test_clock.moved" not in await cell.events(looking.clock_id)


async def test_a_look_that_nobody_takes_is_unfinished(looking: Looking) -> None:
    pool = looking.usage.cell.pool
    asked = "INSERT INTO usage.looks VALUES ($1, 'cus_1', 'mtr_1', 0, 1, clock_timestamp() - $2::interval)"
    await pool.execute(asked, TENANT, timedelta(seconds=50))
    late = {"kind": "look", "subject": "cus_1/mtr_1"}
    for minutes in (0, 1):
        await pool.execute("UPDATE usage.looks SET look_at = look_at - $1::interval", timedelta(minutes=minutes))
        found = (await looking.usage.cell.check(Invariant.SAGAS))[Invariant.SAGAS]
        named = [each for each in found.named if {"kind": each.kind, "subject": each.subject} == late]
        assert len(named) == minutes
    await pool.execute("DELETE FROM usage.looks")


async def test_a_look_says_when_to_look_again_though_nothing_more_is_counted(looking: Looking) -> None:
    await looking.subscribed()
    await looking.used(10)
    often = await looking.thresholds()
    assert await often.look(TENANT, looking.subscription_id, NOW) is None, "nothing is reached"
    seldom = await looking.thresholds(pause_s=60)
    assert await seldom.look(TENANT, looking.subscription_id, NOW) is None
    again = await seldom.look(TENANT, looking.subscription_id, NOW)
    assert again is not None
    assert again.meter_ids is None
    assert 50_000 < again.after_ms <= 60_000, "it has just looked"
    await looking.used(20, nth=1)
    assert await often.look(TENANT, looking.subscription_id, NOW) is None
    assert await often.look(TENANT, looking.subscription_id, NOW) == Again(1_000), "what is billed is not counted yet"


@pytest.mark.parametrize("on_clock", [False, True])
async def test_usage_of_a_time_that_is_to_come_is_looked_at_again_but_where_a_clock_stands(
    looking: Looking, on_clock: bool
) -> None:
    """A clock that moves on looks itself."""
    await looking.subscribed(on_clock=on_clock)
    await looking.usage.send(looking.customer_id, [(NOW + timedelta(hours=2), 30)])
    await looking.used(1, nth=1)
    thresholds = await looking.thresholds()
    again = None if on_clock else Again(60_000, {looking.usage.meter_id})
    assert await thresholds.look(TENANT, looking.subscription_id, NOW) == again
    assert await looking.billed() == 0
