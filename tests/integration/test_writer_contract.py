"""The event store in PostgreSQL keeps the contract."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from domain.kernel.access import AccessChange, AccessKey
from infra.access_tables import read_access
from infra.database import Pool, Role, open_pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.log import PostgresLog
from infra.event_store.opening import open_writer
from infra.event_store.port import CredentialKind
from infra.event_store.writer import GroupCommitWriter
from infra.settings import DatabaseSettings, WriterSettings
from testing.kept import kept
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.contracts.access_contract import AccessContract
from tests.contracts.counter_stream import HANDLERS, CounterCodec
from tests.contracts.due_work_contract import DueWorkContract
from tests.contracts.event_store_contract import EventStoreContract
from tests.contracts.rehearsal_contract import RehearsalContract, RehearsingCell
from tests.contracts.together_contract import TogetherContract


class PostgresCell:
    def __init__(self, dsn: str, pool: Pool, access_pool: Pool) -> None:
        self.dsn = dsn
        self.pool = pool
        self.access_pool = access_pool
        self.log = PostgresLog(pool)
        self.due_work = PostgresDueWork(pool)
        self.writers: list[GroupCommitWriter] = []

    def open_writer(self, **limits: int) -> GroupCommitWriter:
        writer = open_writer(self.dsn, WriterSettings(**limits), handlers=HANDLERS, codec=CounterCodec())
        self.writers.append(writer)
        return writer

    def domain_writer(self) -> GroupCommitWriter:
        writer = open_writer(self.dsn, WriterSettings())
        self.writers.append(writer)
        return writer

    async def everything(self) -> object:
        return await kept(self.dsn)

    async def access(self) -> Mapping[AccessKey, AccessChange]:
        return await read_access(self.access_pool)

    async def credentials(self) -> Mapping[tuple[CredentialKind, str], bytes]:
        rows = await self.access_pool.fetch(
            "SELECT 'api_key', key_id, sha256 FROM access.api_key_digests "
            "UNION ALL SELECT 'password', user_id, hash FROM access.passwords "
            "UNION ALL SELECT 'email', user_id, email_index FROM access.users WHERE email_index IS NOT NULL "
            "UNION ALL SELECT 'recovery_codes', user_id, string_agg(digest, '' ORDER BY digest) "
            "FROM access.recovery_codes GROUP BY user_id"
        )
        return {(CredentialKind(kind), subject): digest for kind, subject, digest in rows}

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
async def cell(database: FreshDatabase) -> AsyncIterator[RehearsingCell]:
    pool = await open_pool(database.dsn, Role.WRITER, DatabaseSettings())
    access_pool = await open_pool(database.dsn, Role.ACCESS, DatabaseSettings())
    cell = PostgresCell(database.dsn, pool, access_pool)
    yield cell
    for writer in cell.writers:
        await writer.close()
    await access_pool.close()
    await pool.close()


class TestPostgresEventStore(EventStoreContract, DueWorkContract, AccessContract, RehearsalContract, TogetherContract):
    pass
