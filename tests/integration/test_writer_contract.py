"""The event store in PostgreSQL keeps the contract."""

from collections.abc import AsyncIterator, Sequence

import pytest

from infra.database import Pool, Role, open_pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.log import PostgresLog
from infra.event_store.opening import open_writer
from infra.event_store.writer import GroupCommitWriter
from infra.settings import DatabaseSettings, WriterSettings
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec
from tests.contracts.due_work_contract import DueWorkContract
from tests.contracts.event_store_contract import Cell, EventStoreContract


class PostgresCell:
    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn = dsn
        self.pool = pool
        self.log = PostgresLog(pool)
        self.due_work = PostgresDueWork(pool)
        self.writers: list[GroupCommitWriter] = []

    def open_writer(self, **limits: int) -> GroupCommitWriter:
        writer = open_writer(self.dsn, WriterSettings(**limits), handlers=HANDLERS, codec=CounterCodec())
        self.writers.append(writer)
        return writer

    async def person_rows(self, person_id: str) -> tuple[int, Sequence[str]]:
        keys = await self.pool.fetchval(
            "SELECT count(*) FROM vault.people WHERE tenant_id = $1 AND person_id = $2", TENANT, person_id
        )
        rows = await self.pool.fetch(
            "SELECT reference FROM vault.personal_data WHERE tenant_id = $1 AND person_id = $2 ORDER BY 1",
            TENANT,
            person_id,
        )
        return keys, [row[0] for row in rows]


@pytest.fixture
async def cell(database: FreshDatabase) -> AsyncIterator[Cell]:
    pool = await open_pool(database.dsn, Role.WRITER, DatabaseSettings())
    cell = PostgresCell(database.dsn, pool)
    yield cell
    for writer in cell.writers:
        await writer.close()
    await pool.close()


class TestPostgresEventStore(EventStoreContract, DueWorkContract):
    pass
