"""The watermark: whatever is acknowledged before a period is closed is in it, what comes later is the next one's, and
each event is billed once; with aggregators whose clocks differ and that stand still, and partitions that lag.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from domain.metering.usage_value import units
from infra.database import Role
from testing.services import FreshDatabase, KafkaServer
from testing.usage import EPOCH, TENANTS, Sent
from tests.integration.usage_scene import PARTITIONS, Scene, open_scene
from tests.lengths import LENGTH
from usage.closings import Closed, Closings, Wanted
from usage.ends import KafkaEnds
from usage.wire import EVENT, WireEvent, encode, headers_of, partition_of_customer, topic_of

TENANT = TENANTS[0]
START = datetime(2026, 5, 28, tzinfo=UTC)
PERIOD = timedelta(hours=1)
PERIODS = 12
CUSTOMERS = [f"cus_{nth}" for nth in range(5)]
SKEWS_S = (0, 7_200, -90_000)
"""How far the clocks of the aggregators are from ours."""


class Appended(NamedTuple):
    """An event where the broker has it."""

    offset: int
    event: WireEvent


@dataclass
class Customer:
    """What was acknowledged of a customer, and how its periods were closed."""

    customer_id: str
    acknowledged: list[Appended] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)

    @property
    def partition(self) -> int:
        return partition_of_customer(TENANT, self.customer_id, PARTITIONS)

    def counted(self) -> list["Counted"]:
        """Each event once, where it stands first."""
        found: dict[str, Counted] = {}
        for each in sorted(self.acknowledged):
            number = (_time(each.event) - START) // PERIOD + 1
            found.setdefault(each.event.id, Counted(each.offset, number, units(each.event.value or 0)))
        return list(found.values())


class Counted(NamedTuple):
    """Where an event stands first, the number of its period (the first is 1), and its units."""

    offset: int
    period: int
    units: Decimal


def _time(event: WireEvent) -> datetime:
    return EPOCH + timedelta(microseconds=event.timestamp_us)


def _decimal(quantity: Decimal | Fraction) -> Decimal:
    assert isinstance(quantity, Decimal), "a sum of decimals is one"
    return quantity


def _total(events: Iterable[Counted]) -> tuple[Decimal, int]:
    found = list(events)
    return sum((each.units for each in found), Decimal(0)), len(found)


class Sender:
    """Sends events of one customer for the period that runs, those before and the one after it, until told to stop."""

    def __init__(self, scene: Scene, customer: Customer, chance: random.Random) -> None:
        self._scene, self._customer, self._chance = scene, customer, chance
        self._made = 0
        self.running = 1
        self.is_over = False

    async def run(self) -> None:
        while not self.is_over:
            batch = tuple(self._event() for _ in range(self._chance.randint(1, 4)))
            for _ in range(self._chance.choice((1, 1, 2))):  # some are sent again
                await self.send(batch)
            await asyncio.sleep(self._chance.random() / 20)

    async def send(self, events: tuple[WireEvent, ...]) -> None:
        """Append a record, and keep where it stands once the broker says so."""
        appended = await self._scene.producer.send_and_wait(
            topic_of(self._scene.settings.kafka.topic_prefix),
            encode(events),
            partition=self._customer.partition,
            headers=headers_of(TENANT),
        )
        self._scene.sent.append(Sent(TENANT, self._customer.partition, events))
        self._customer.acknowledged += [Appended(appended.offset, each) for each in events]

    def _event(self) -> WireEvent:
        self._made += 1
        latest = START + (self.running + 1) * PERIOD
        at = max(START, latest - PERIOD * 4 * self._chance.random())
        value = self._chance.randrange(10**12)
        microseconds = (at - EPOCH) // timedelta(microseconds=1)
        return WireEvent(f"e{self._made}", EVENT, self._customer.customer_id, "sum", microseconds, value, {})


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


@pytest.fixture
async def closings(scene: Scene) -> AsyncIterator[Closings]:
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=6, server_settings={"role": Role.WRITER.value})
    ends = KafkaEnds(scene.settings, bootstrap=scene.bootstrap)
    yield Closings(pool, ends, partitions=PARTITIONS)
    await ends.close()
    await pool.close()


async def close(closings: Closings, customer: Customer, number: int) -> None:
    """Close a period: nothing that was acknowledged by now is left out."""
    wanted = Wanted(
        tenant_id=TENANT,
        customer_id=customer.customer_id,
        meter_id="mtr_sum",
        since=START + (number - 1) * PERIOD,
        until=START + number * PERIOD,
        reference=f"{customer.customer_id}/{number}",
    )
    acknowledged = max((each.offset for each in customer.acknowledged), default=-1)
    async with asyncio.timeout(60):
        while not isinstance(closed := await closings.close(wanted), Closed):
            await asyncio.sleep(0.02)
    assert closed.covers > acknowledged
    customer.closed.append(closed)


@pytest.mark.parametrize("seed", range(LENGTH.scaled(1)))
async def test_every_event_is_billed_once_over_twelve_periods(scene: Scene, closings: Closings, seed: int) -> None:
    chance = random.Random(seed)
    customers = [Customer(name) for name in CUSTOMERS]
    senders = [Sender(scene, each, random.Random(f"{seed}:{each.customer_id}")) for each in customers]
    for skew_s in SKEWS_S:
        await scene.start(skew_s=skew_s)
    sending = [asyncio.create_task(each.run()) for each in senders]
    for number in range(1, PERIODS + 1):
        for each in senders:
            each.running = number
        await asyncio.sleep(chance.random() / 5)
        paused = chance.choice(scene.running) if number % 4 == 0 else None
        if paused is not None:  # for longer than its session: others take its partitions on
            paused.send_signal(signal.SIGSTOP)
        await asyncio.gather(*(close(closings, each, number) for each in customers))
        if paused is not None:
            paused.send_signal(signal.SIGCONT)
    for each in senders:
        each.is_over = True
    await asyncio.gather(*sending)
    await scene.caught_up()
    await asyncio.gather(*(close(closings, each, PERIODS + 1) for each in customers))
    for customer in customers:
        prove(customer)
    assert [each for one in await scene.recounted() for each in one.differences] == []


def prove(customer: Customer) -> None:
    """Each closing against the offsets at which events stand."""
    events = customer.counted()

    def period(number: int, covers: int) -> list[Counted]:
        return [each for each in events if each.offset < covers and each.period == number]

    billed: dict[str, tuple[Decimal | Fraction, int]] = {}
    before = late_windows = 0
    for number, closed in enumerate(customer.closed, start=1):
        assert (closed.quantity, closed.events) == _total(period(number, closed.covers))
        billed[f"{customer.customer_id}/{number}"] = closed.quantity, closed.events
        late = {
            f"{customer.customer_id}/{earlier}": _total(period(earlier, closed.covers))
            for earlier in range(1, number)
            if any(each.offset >= before for each in period(earlier, closed.covers))
        }
        assert {each.reference: (each.quantity, each.events) for each in closed.late} == late
        billed |= late
        late_windows += len(late)
        before = closed.covers
    assert late_windows
    covered = [each for each in events if each.offset < before and each.period <= PERIODS + 1]
    assert (
        sum((_decimal(quantity) for quantity, _ in billed.values()), Decimal(0)),
        sum(n for _, n in billed.values()),
    ) == _total(covered)
