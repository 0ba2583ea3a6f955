"""The list of usage events tells of each what became of it, as a plain model of what was sent says."""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer

from infra.database import Role
from testing.services import FreshDatabase, KafkaServer
from testing.usage import TENANTS, Sent, Stream, counted_by, tenants_meters
from tests.integration.usage_scene import PARTITIONS, Scene, connected, open_scene
from usage import backwards, event_list
from usage.aggregation.upkeep import Upkeep
from usage.event_list import Asked, EventPage, ListedEvent, UnknownPlace, UsageEventList
from usage.fates import Fate
from usage.lookup import CannotLook, CountedEvents
from usage.wire import EVENT, VOID, WireEvent, partition_of_customer

CUSTOMERS = [f"cus_{nth}" for nth in range(4)]


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with open_scene(database.dsn, kafka_server.bootstrap, topic_prefix, tmp_path) as opened:
        yield opened


@pytest.fixture
async def events(scene: Scene) -> AsyncIterator[UsageEventList]:
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=2, server_settings={"role": Role.WRITER.value})
    kafka, usage = scene.settings.kafka, scene.settings.usage
    yield UsageEventList(CountedEvents(pool, kafka, usage), pool, kafka, usage)
    await pool.close()


async def page(events: UsageEventList, asked: Asked, *, limit: int = 100, cursor: str | None = None) -> EventPage:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return await events.page(asked, limit=limit, cursor=cursor, now_ms=now_ms)


async def everything(events: UsageEventList, asked: Asked, *, limit: int) -> list[ListedEvent]:
    """Page by page."""
    found: list[ListedEvent] = []
    cursor: str | None = None
    while True:
        one = await page(events, asked, limit=limit, cursor=cursor)
        assert len(one.events) <= limit
        found += one.events
        cursor = one.cursor
        if cursor is None:
            return found


def sent(listed: ListedEvent) -> WireEvent:
    return listed.event._replace(checksum=0)


async def merge_blocks(scene: Scene) -> None:
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=1, server_settings={"role": Role.METERING.value})
    upkeep = Upkeep(scene.settings, pool, bootstrap=scene.bootstrap)
    try:
        assert (await upkeep.once()).merged
    finally:
        await upkeep.close()
        await pool.close()


async def test_each_event_is_listed_once_the_newest_first_with_what_became_of_it(
    scene: Scene, events: UsageEventList
) -> None:
    await scene.send(Stream(11, customers=len(CUSTOMERS), partitions=PARTITIONS).records(600))
    for tenant_id in TENANTS:
        waiting = await everything(events, Asked(tenant_id), limit=61)
        of_tenant = [event for each in scene.sent if each.tenant_id == tenant_id for event in each.events]
        assert Counter(map(str, map(sent, waiting))) == Counter(str(each) for each in of_tenant if each.kind != VOID)
        assert [each.received_ms for each in waiting] == sorted((each.received_ms for each in waiting), reverse=True)
        assert {each.fate for each in waiting} == {Fate.PENDING}

    await scene.start()
    await scene.caught_up()
    model = counted_by(tenants_meters(), scene.sent)
    assert {became for _, event, became in model.became if event.kind != VOID} == set(Fate) - {Fate.PENDING}
    for are_merged in (False, True):
        if are_merged:
            await merge_blocks(scene)
        for tenant_id in TENANTS:
            for customer_id in CUSTOMERS:
                whole = await everything(events, Asked(tenant_id, customer_id), limit=29)
                wanted = [
                    (event, became)
                    for whose, event, became in reversed(model.became)
                    if (whose, event.customer) == (tenant_id, customer_id) and event.kind != VOID
                ]
                assert [(sent(each), each.fate.value) for each in whole] == wanted
                for each in whole:
                    replaced = model.replaced_by.get((tenant_id, customer_id, each.event.id))
                    counts = each.fate in (Fate.COUNTED, Fate.LEFT_OUT)
                    assert each.is_voided == (counts and replaced is not None)
                    assert each.instead_id == ((replaced or "") if counts else "")


async def test_a_page_reads_a_bounded_number_of_records_and_says_where_to_go_on(
    scene: Scene, events: UsageEventList, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.send(Stream(12, customers=len(CUSTOMERS), partitions=PARTITIONS).records(300, most=3))
    first = scene.sent[0]
    asked = Asked(first.tenant_id, event_id=first.events[0].id)
    whole = await everything(events, asked, limit=100)
    assert whole
    monkeypatch.setattr(event_list, "RECORDS_MAX", 7)
    assert (await page(events, asked)).cursor is not None
    assert await everything(events, asked, limit=100) == whole


def slow_brokers(monkeypatch: pytest.MonkeyPatch, delay_s: float) -> None:
    """Every poll takes so long."""
    getmany = AIOKafkaConsumer.getmany

    async def slowly(consumer: AIOKafkaConsumer, *places: Any, **asked: Any) -> Any:
        await asyncio.sleep(delay_s)
        return await getmany(consumer, *places, **asked)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", slowly)


async def test_a_page_that_takes_too_long_is_what_was_found_with_a_cursor_that_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.send(Stream(15, customers=len(CUSTOMERS), partitions=PARTITIONS).records(400, most=3))
    pool = await asyncpg.create_pool(scene.dsn, min_size=1, max_size=2, server_settings={"role": Role.WRITER.value})
    kafka = scene.settings.kafka
    usage = scene.settings.usage.model_copy(update={"ack_timeout_ms": 6_000})
    events = UsageEventList(CountedEvents(pool, kafka, usage), pool, kafka, usage)
    asked = Asked(TENANTS[0])
    try:
        whole = await everything(events, asked, limit=1_000)
        slow_brokers(monkeypatch, 0.3)
        monkeypatch.setattr(backwards, "RUN_MAX", 8)
        pages = [await page(events, asked, limit=1_000)]
        while (cursor := pages[-1].cursor) is not None:
            pages.append(await page(events, asked, limit=1_000, cursor=cursor))
        nothing = await page(events, Asked(TENANTS[0], event_id="nobody's"), limit=1)
    finally:
        await pool.close()
    assert len(pages) > 1
    assert [each for one in pages for each in one.events] == whole
    assert not nothing.events
    assert nothing.cursor is not None


async def test_however_large_records_are_a_page_holds_few_bytes_of_them(
    scene: Scene, events: UsageEventList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones are the newest, so runs have grown when the large ones come."""
    monkeypatch.setattr(backwards, "HELD_BYTES_MAX", 2_000_000)
    monkeypatch.setattr(event_list, "READING_S", 60)
    large = {f"p{nth}": "x" * 250 for nth in range(50)}
    customer = CUSTOMERS[0]
    number = partition_of_customer(TENANTS[0], customer, PARTITIONS)
    plain = WireEvent("e", EVENT, customer, "sum", 1_780_000_300_000_000, 10**9, {})
    records = [
        Sent(TENANTS[0], number, tuple(plain._replace(id=f"{nth}.{at}", properties=large) for at in range(60)))
        for nth in range(40)
    ]
    small = [Sent(TENANTS[0], number, (plain._replace(id=f"s{nth}"),)) for nth in range(300)]
    await scene.send([*records, *small])
    asked = Asked(TENANTS[0], customer)
    tracemalloc.start()
    try:
        first = await page(events, asked, limit=301)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(first.events) == 301
    assert peak < 16_000_000, "40 records of 800 kB are 32 MB: of what is fetched ahead more or less is there at a time"
    monkeypatch.setattr(event_list, "BYTES_MAX", 1_000_000)
    found = await everything(events, asked, limit=500)
    assert [each.event.id for each in found] == [
        *(f"s{nth}" for nth in reversed(range(300))),
        *(f"{nth}.{at}" for nth in reversed(range(40)) for at in reversed(range(60))),
    ]
    assert (await page(events, asked._replace(event_id="nobody's"))).cursor is not None


async def test_slow_lists_of_one_tenant_keep_no_other_waiting(
    scene: Scene, events: UsageEventList, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.send(Stream(16, customers=len(CUSTOMERS), partitions=PARTITIONS).records(100))
    slow_brokers(monkeypatch, 0.1)
    slow = [asyncio.create_task(page(events, Asked(TENANTS[0], event_id=f"{nth}"))) for nth in range(8)]
    await asyncio.sleep(0.05)
    assert (await page(events, Asked(TENANTS[1]))).events
    assert sum(each.done() for each in slow) <= 2
    await asyncio.gather(*slow)
    many = [asyncio.create_task(page(events, Asked(TENANTS[0]))) for _ in range(event_list.WAITING_MAX + 5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = [each for each in many if each.done()]
    assert [type(each.exception()) for each in refused] == [CannotLook] * 4, "one is at it, so many wait"
    for each in many:
        each.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    assert (await page(events, Asked(TENANTS[0]), limit=1)).events, "who gave up leaves no turn taken"


async def test_what_is_asked_for_alone_is_listed(scene: Scene, events: UsageEventList) -> None:
    await scene.send(Stream(13, customers=len(CUSTOMERS), partitions=PARTITIONS).records(200))
    middle = scene.sent[len(scene.sent) // 2].events[0].timestamp_us
    every = await everything(events, Asked(TENANTS[0]), limit=100)
    for asked, kept in (
        (Asked(TENANTS[0], meters=frozenset({"mtr_sum", "sum"})), lambda e: e.meter in {"mtr_sum", "sum"}),
        (Asked(TENANTS[0], since_us=middle), lambda e: e.timestamp_us >= middle),
        (Asked(TENANTS[0], until_us=middle), lambda e: e.timestamp_us < middle),
    ):
        found = await everything(events, asked, limit=100)
        assert list(map(sent, found)) == [sent(each) for each in every if kept(each.event)]
        assert found
    newest, oldest = every[0].received_ms, every[-1].received_ms
    later = await everything(events, Asked(TENANTS[0], received_since_ms=oldest + 1), limit=100)
    assert later == [each for each in every if each.received_ms > oldest]
    before = await everything(events, Asked(TENANTS[0], received_until_ms=newest), limit=100)
    assert before == [each for each in every if each.received_ms < newest]
    for cursor in ("0.9999.0", "7.0.0", "0.1.0_0.1.0", "nothing"):
        with pytest.raises(UnknownPlace):
            await page(events, Asked(TENANTS[0]), cursor=cursor)


async def test_a_record_that_is_none_of_usage_is_passed_over(scene: Scene, events: UsageEventList) -> None:
    event = WireEvent("e", EVENT, "cus_1", "sum", 1_780_000_300_000_000, 10**9, {})
    (made,) = Stream(14, customers=1, partitions=PARTITIONS).records(1, most=1)
    record = made._replace(tenant_id=TENANTS[0], events=(event,))
    await scene.send([record])
    topic = f"{scene.settings.kafka.topic_prefix}usage.events.v1"
    await scene.producer.send_and_wait(topic, b"nothing", partition=record.partition)
    await scene.producer.send_and_wait(
        topic, b"cus_1", partition=record.partition, headers=[("tenant", TENANTS[0].encode())]
    )
    assert [sent(each) for each in (await page(events, Asked(TENANTS[0]))).events] == [event]
    async with connected(scene.dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage.voids") == 0
