"""What only PostgreSQL can show of rehearsals: what they wait for, what they may do, and how they end."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from infra.event_store.opening import open_writer
from infra.event_store.port import StoreUnavailable
from infra.event_store.postgres import PostgresStorage
from infra.event_store.postgres_reads import Snapshot
from infra.event_store.storage import StoreLost, Wanted
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import COUNTERS, HANDLERS, CounterCodec, Open, Raise

RUN_LIMIT_S = 60


def counter_writer(dsn: str, **limits: int) -> GroupCommitWriter:
    return open_writer(dsn, WriterSettings(**limits), handlers=HANDLERS, codec=CounterCodec())


@pytest.fixture
async def writer(database: FreshDatabase) -> AsyncIterator[GroupCommitWriter]:
    writer = counter_writer(database.dsn)
    await writer.submit(request(Open(counter_id="c1", name="one")))
    yield writer
    await writer.close()


async def test_a_rehearsal_waits_for_nobody_who_holds_the_logs_head(
    database: FreshDatabase, writer: GroupCommitWriter
) -> None:
    holder = await asyncpg.connect(database.dsn)
    async with asyncio.timeout(RUN_LIMIT_S), holder.transaction():
        await holder.execute("SELECT FROM log.head FOR UPDATE")
        submitted = asyncio.create_task(writer.submit(request(Raise(counter_id="c1", by=5))))
        rehearsed = await writer.rehearse(request(Raise(counter_id="c1", by=1)))
        assert [event.stream_version for event in rehearsed.events] == [2]
        assert not submitted.done()
    assert (await submitted).refusal_code is None
    await holder.close()


async def writing(storage: PostgresStorage, statement: str) -> None:
    async with storage.snapshot() as reads:
        assert isinstance(reads, Snapshot)
        await reads._connection.execute(statement)


async def test_a_rehearsals_connection_writes_nothing_whoever_asks(database: FreshDatabase) -> None:
    storage = PostgresStorage(database.dsn, WriterSettings())
    for statement in ("INSERT INTO log.claims VALUES ('a', 'b', 'c', 'd')", "SELECT FROM log.head FOR UPDATE"):
        with pytest.raises(StoreLost, match="read-only"):
            await writing(storage, statement)
    await storage.close()


async def test_what_is_read_is_of_one_moment(database: FreshDatabase, writer: GroupCommitWriter) -> None:
    storage = PostgresStorage(database.dsn, WriterSettings())
    wanted = [Wanted((TENANT, COUNTERS.name, "c1"), 0)]
    async with storage.snapshot() as reads:
        assert [each.version for each in await reads.load(wanted)] == [1]
        await writer.submit(request(Raise(counter_id="c1", by=5)))
        await writer.submit(request(Open(counter_id="c2", name="two")))
        assert [each.version for each in await reads.load(wanted)] == [1]
        assert await reads.holders([(TENANT, "counter.name", "two")]) == {}
    async with storage.snapshot() as reads:
        assert [each.version for each in await reads.load(wanted)] == [2]
    await storage.close()


async def test_a_rehearsal_whose_connection_is_lost_is_told_so_and_the_next_one_has_another(
    database: FreshDatabase, writer: GroupCommitWriter
) -> None:
    admin = await asyncpg.connect(database.dsn)
    await writer.rehearse(request(Raise(counter_id="c1", by=1)))
    ended = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name = $1"
    assert await admin.fetchval(ended, "tallybook-rehearsals") == 1
    await admin.close()
    async with asyncio.timeout(RUN_LIMIT_S):
        while True:
            try:
                rehearsed = await writer.rehearse(request(Raise(counter_id="c1", by=1)))
            except StoreUnavailable:
                continue
            break
    assert rehearsed.refusal_code is None


async def test_a_rehearsal_that_takes_too_long_ends_and_gives_its_place_up(database: FreshDatabase) -> None:
    writer = counter_writer(database.dsn, rehearsals_max=1, rehearsal_timeout_ms=200)
    await writer.submit(request(Open(counter_id="c1")))
    holder = await asyncpg.connect(database.dsn)
    async with asyncio.timeout(RUN_LIMIT_S):
        async with holder.transaction():
            await holder.execute("LOCK TABLE log.events IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreUnavailable):
                await writer.rehearse(request(Raise(counter_id="c1", by=1)))
        while True:
            try:
                await writer.rehearse(request(Raise(counter_id="c1", by=1)))
            except StoreUnavailable:  # the machine is slow just now
                continue
            break
    await holder.close()
    await writer.close()
