"""The writer's side of PostgreSQL: one connection to append on, others for what must never be in a batch's way."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from infra.database import Connection, Role
from infra.event_store import postgres_reads
from infra.event_store.append_call import APPEND, arguments
from infra.event_store.background import Background, is_missing_partition
from infra.event_store.postgres_reads import SnapshotReads
from infra.event_store.storage import (
    Appended,
    ClaimKey,
    Conflict,
    CredentialMismatch,
    Loaded,
    PersonKeyMismatch,
    Reads,
    ResultKey,
    Session,
    Stale,
    StoredResult,
    StoreLost,
    StreamKey,
    Unwritable,
    Wanted,
    Write,
)
from infra.settings import WriterSettings

SQLSTATE_STALE: Final = "TB001"
SQLSTATE_PERSON_KEY: Final = "TB002"
SQLSTATE_CREDENTIAL: Final = "TB004"
# Classes of SQLSTATE that say nothing about the batch: connection, resources, operator, system, recovery.
_LOST_CLASSES: Final = frozenset({"08", "53", "57", "58"})
_LOST_STATES: Final = frozenset({"25P02", "25P03", "25P04", "25006", "40001", "40P01", "55P03"})

TIME: Final = "SELECT greatest(recorded_at, clock_timestamp()) FROM log.head"
LOOK_UP: Final = """
SELECT k.tenant, k.key, r.request_hash, r.refusal_code, r.answer, r.answer_person_id, r.position
FROM unnest($1::text[], $2::text[]) AS k (tenant, key)
CROSS JOIN LATERAL (
    SELECT * FROM log.command_results c WHERE c.tenant_id = k.tenant AND c.idempotency_key = k.key OFFSET 0
) AS r
"""


class PostgresStorage:
    """A `storage.Storage`. Connections open when they are first needed and again after a loss."""

    def __init__(self, dsn: str, settings: WriterSettings) -> None:
        self._dsn = dsn
        self._settings = settings
        self._connection: Connection | None = None
        # The server ends what takes too long; this is for a server that does not answer at all.
        self._call_timeout_s = settings.transaction_timeout_ms / 1000 + settings.connect_timeout_ms / 1000
        self._background = Background(lambda: connect_writer(dsn, settings, synchronous_commit="off"), settings)
        self._snapshots = SnapshotReads(
            lambda: connect_writer(
                dsn,
                settings,
                application_name="tallybook-rehearsals",
                default_transaction_read_only="on",
                transaction_timeout=f"{settings.rehearsal_timeout_ms}ms",
                idle_in_transaction_session_timeout=f"{settings.rehearsal_timeout_ms}ms",
            ),
            close_timeout_s=settings.connect_timeout_ms / 1000,
        )

    async def load(self, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
        """See `storage.Reads`."""
        return await postgres_reads.load(self._fetch, wanted)

    async def look_up(self, keys: Sequence[ResultKey]) -> Mapping[ResultKey, StoredResult]:
        """See `storage.Session`."""
        if not keys:
            return {}
        rows = await self._fetch(LOOK_UP, *zip(*keys, strict=True))
        return {(row[0], row[1]): StoredResult(*row[2:]) for row in rows}

    async def holders(self, claims: Sequence[ClaimKey]) -> Mapping[ClaimKey, str]:
        """See `storage.Reads`."""
        return await postgres_reads.holders(self._fetch, claims)

    async def append(self, write: Write) -> Appended:
        """See `storage.Session`: one call, which is the transaction unless the head is locked."""
        found = arguments(write, clock_apart_max=timedelta(milliseconds=self._settings.clock_apart_max_ms))
        try:
            base, recorded_at = (await self._fetch(APPEND, *found.values()))[0]
        except Unwritable as error:
            if is_missing_partition(error.__cause__):
                await self._background.make_partitions()
                raise StoreLost("the log had no partition for the batch") from error
            raise
        return Appended(base, recorded_at)

    async def time(self) -> datetime:
        """See `storage.Storage`."""
        found: datetime = (await self._fetch(TIME))[0][0]
        return found

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[Session]:
        """See `storage.Storage`."""
        await self._execute("BEGIN; SELECT FROM log.head FOR UPDATE")
        try:
            yield self
        except BaseException:
            with contextlib.suppress(StoreLost):
                await self._execute("ROLLBACK")
            raise
        await self._execute("COMMIT")

    def snapshot(self) -> AbstractAsyncContextManager[Reads]:
        """See `storage.Storage`."""
        return self._snapshots.snapshot()

    def announce(self, position: int) -> None:
        """See `storage.Storage`."""
        self._background.announce(position)

    def keep_snapshot(self, key: StreamKey, fingerprint: str, version: int, state: bytes) -> None:
        """See `storage.Storage`."""
        self._background.keep_snapshot(key, fingerprint, version, state)

    async def close(self) -> None:
        """See `storage.Storage`."""
        await self._background.close()
        await self._snapshots.close()
        if self._connection is not None:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await self._connection.close(timeout=self._settings.connect_timeout_ms / 1000)
            self._connection = None

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        with self._translated():
            connection = await self._connected()
            return await connection.fetch(statement, *arguments, timeout=self._call_timeout_s)

    async def _execute(self, script: str) -> None:
        with self._translated():
            connection = await self._connected()
            await connection.execute(script, timeout=self._call_timeout_s)

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await connect_writer(self._dsn, self._settings)
        return connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into the three that the writer knows."""
        try:
            yield
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            if state == SQLSTATE_STALE:
                raise Conflict(Stale(error.args[0])) from error
            if state == SQLSTATE_PERSON_KEY:
                raise Unwritable from PersonKeyMismatch(error.args[0])
            if state == SQLSTATE_CREDENTIAL:
                raise Unwritable from CredentialMismatch(error.args[0])
            if state[:2] in _LOST_CLASSES or state in _LOST_STATES:
                self._drop()
                raise StoreLost(str(error)) from error
            raise Unwritable from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError) as error:
            if isinstance(error, ValueError):
                raise Unwritable from error  # the driver could not encode an argument
            self._drop()
            raise StoreLost(str(error) or type(error).__name__) from error
        except BaseException:
            # Cancelled, or something unforeseen, in the middle of a call: the connection's state is unknown.
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def connect_writer(dsn: str, settings: WriterSettings, **more: str) -> Connection:
    """A connection as the writer's role: its plans are all by index, its transactions cannot hold the cell up."""
    server_settings = {
        "application_name": "tallybook-writer",
        "role": Role.WRITER.value,
        "transaction_timeout": f"{settings.transaction_timeout_ms}ms",
        "idle_in_transaction_session_timeout": f"{settings.idle_transaction_timeout_ms}ms",
        # Tables grow from nothing while plans stay cached: a plan made for an empty table must not be a scan.
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        **more,
    }
    return await asyncpg.connect(dsn, timeout=settings.connect_timeout_ms / 1000, server_settings=server_settings)
