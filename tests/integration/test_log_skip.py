"""A tailer that reads `position > last` misses nothing, however long commits take and whoever writes.

The classic way to lose events: positions are taken early, commits come late, and the tailer has passed by in between.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from infra.database import Role, open_pool
from infra.event_store.log import PostgresLog
from infra.event_store.postgres import PostgresStorage
from infra.event_store.storage import Appended, Session, Write
from infra.event_store.writer import GroupCommitWriter
from infra.settings import DatabaseSettings, WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Raise
from tests.lengths import LENGTH

WRITERS = 16
EVENTS_PER_COMMAND = 125
COMMANDS_AT_ONCE = 5
EVENTS = LENGTH.scaled(2) * WRITERS * COMMANDS_AT_ONCE * EVENTS_PER_COMMAND
RUN_LIMIT_S = 60 + EVENTS / 500


class DelayedStorage(PostgresStorage):
    """Every append is a transaction that dawdles between its work and its commit, for a random while."""

    def __init__(self, dsn: str, settings: WriterSettings, chance: random.Random) -> None:
        super().__init__(dsn, settings)
        self._chance = chance

    async def append(self, write: Write) -> Appended:
        await self._execute("BEGIN")
        try:
            appended = await super().append(write)
            if self._chance.random() < 0.5:
                await self._execute(f"SELECT pg_sleep({self._chance.random() / 200})")  # the point of this test
        except BaseException:
            with contextlib.suppress(Exception):
                await self._execute("ROLLBACK")
            raise
        await self._execute("COMMIT")
        return appended

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[Session]:
        async with super().locked():
            yield _Undelayed(self)


class _Undelayed:
    def __init__(self, storage: DelayedStorage) -> None:
        self._storage = storage

    async def load(self, wanted: Sequence[Any]) -> Sequence[Any]:
        return await self._storage.load(wanted)

    async def look_up(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        return await self._storage.look_up(keys)

    async def holders(self, claims: Sequence[Any]) -> Mapping[Any, Any]:
        return await self._storage.holders(claims)

    async def append(self, write: Write) -> Appended:
        return await PostgresStorage.append(self._storage, write)


@pytest.fixture
async def writers(database: FreshDatabase) -> AsyncIterator[list[GroupCommitWriter]]:
    settings = WriterSettings(batch_max_events=2_000)
    chance = random.Random(20260101)
    writers = [
        GroupCommitWriter(
            DelayedStorage(database.dsn, settings, chance), handlers=HANDLERS, codec=CounterCodec(), settings=settings
        )
        for _ in range(WRITERS)
    ]
    yield writers
    await asyncio.gather(*(writer.close() for writer in writers))


async def test_a_tailer_misses_none_of_100_000_events(
    database: FreshDatabase, writers: list[GroupCommitWriter]
) -> None:
    seen: list[int] = []
    event_ids: set[str] = set()
    total = EVENTS + WRITERS
    pool = await open_pool(database.dsn, Role.RELAY, DatabaseSettings())
    log = PostgresLog(pool, page_events=997, poll_ms=1)

    async def tail() -> None:
        async for page in log.follow(after=0):
            seen.extend(event.position for event in page)
            event_ids.update(event.event_id for event in page)
            if len(seen) >= total:
                return

    async def write(place: int, writer: GroupCommitWriter) -> None:
        counter_id = f"c{place}"
        await writer.submit(request(Open(counter_id=counter_id)))
        commands = EVENTS // WRITERS // EVENTS_PER_COMMAND
        # A few at a time, so that the writers' batches interleave many times over.
        for _ in range(0, commands, COMMANDS_AT_ONCE):
            raises = (
                request(Raise(counter_id=counter_id, by=1, events=EVENTS_PER_COMMAND)) for _ in range(COMMANDS_AT_ONCE)
            )
            await asyncio.gather(*(writer.submit(one) for one in raises))

    async with asyncio.timeout(RUN_LIMIT_S):
        tailer = asyncio.create_task(tail())
        await asyncio.gather(*(write(place, writer) for place, writer in enumerate(writers)))
        assert await log.head() == total
        await tailer
    assert seen == list(range(1, total + 1)), "missed, doubled or out of order"
    assert len(event_ids) == total
    await pool.close()
