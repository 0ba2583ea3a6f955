"""Reading the log: positions, streams, and following it while it grows."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from infra.database import Pool, Role, open_pool
from infra.event_store.log import PostgresLog
from infra.event_store.opening import open_writer
from infra.event_store.port import Recorded
from infra.event_store.writer import GroupCommitWriter
from infra.settings import DatabaseSettings, WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Raise


@pytest.fixture
async def writer(database: FreshDatabase) -> AsyncIterator[GroupCommitWriter]:
    settings = WriterSettings()
    writer = open_writer(database.dsn, settings, handlers=HANDLERS, codec=CounterCodec())
    yield writer
    await writer.close()


@pytest.fixture
async def pool(database: FreshDatabase) -> AsyncIterator[Pool]:
    pool = await open_pool(database.dsn, Role.RELAY, DatabaseSettings())
    yield pool
    await pool.close()


async def test_an_empty_log_has_head_0_and_no_events(pool: Pool) -> None:
    log = PostgresLog(pool)
    assert await log.head() == 0
    assert await log.read(after=0, limit=10) == []


async def test_events_read_by_position_and_by_stream(writer: GroupCommitWriter, pool: Pool) -> None:
    await writer.submit(request(Open(counter_id="c1", customer_id="cus_1")))
    await writer.submit(request(Open(counter_id="c2")))
    await writer.submit(request(Raise(counter_id="c1", by=7)))
    log = PostgresLog(pool)

    assert await log.head() == 3
    page = await log.read(after=1, limit=10)
    assert [event.position for event in page] == [2, 3]
    assert [event.position for event in await log.read(after=0, limit=2)] == [1, 2]
    stream = await log.read_stream("acme", "counter", "c1")
    assert [(e.position, e.stream_version, e.event_type) for e in stream] == [
        (1, 1, "counter.opened"),
        (3, 2, "counter.raised"),
    ]
    raised = stream[1]
    assert raised.partition_key == "acme:cus_1"
    assert page[0].partition_key == "acme:c2"
    assert raised.postings is not None
    assert stream[0].postings is None
    assert raised.event_id.startswith("evt_")
    assert raised.effective_at.tzinfo is not None
    assert raised.recorded_at >= stream[0].recorded_at
    assert (raised.actor, raised.correlation_id, raised.causation_id) == ("key_test", "corr", None)


async def test_following_wakes_by_notification_and_misses_nothing(writer: GroupCommitWriter, pool: Pool) -> None:
    # A poll this slow would fail the test's time-out: only the notification can wake the follower in time.
    log = PostgresLog(pool, page_events=10, poll_ms=60_000)
    seen: list[Recorded] = []
    first_seen = asyncio.Event()

    async def follow() -> None:
        async for page in log.follow(after=0):
            seen.extend(page)
            first_seen.set()
            if len(seen) >= 101:
                return

    async with asyncio.timeout(90):
        follower = asyncio.create_task(follow())
        await writer.submit(request(Open(counter_id="c1")))
        await first_seen.wait()
        await asyncio.gather(*(writer.submit(request(Raise(counter_id="c1", by=1))) for _ in range(100)))
        await follower
    assert [event.position for event in seen] == list(range(1, 102))


async def test_a_stored_outcome_is_found_by_its_key(writer: GroupCommitWriter, database: FreshDatabase) -> None:
    pool = await open_pool(database.dsn, Role.WRITER, DatabaseSettings())
    log = PostgresLog(pool)
    await writer.submit(request(Raise(counter_id="none", by=1), key="k1"))
    outcome = await log.outcome("acme", "k1")
    assert outcome is not None
    assert outcome.refusal_code == "counter_not_found"
    assert await log.outcome("acme", "k2") is None
    assert await log.outcome("other", "k1") is None
    await pool.close()
