"""What the writer does beside its batches, on a connection of its own: notifications, snapshots, partitions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from infra.database import Connection
from infra.event_store.storage import StreamKey
from infra.settings import WriterSettings

_PASSING: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
CHANNEL: Final = "tallybook_log"
NOTIFY: Final = "SELECT pg_notify($1, $2)"
# Returns the position at which to ask again: half a partition into what is made ahead.
MAKE_PARTITIONS: Final = """
SELECT log.make_partitions() - partitions_ahead * partition_positions + partition_positions / 2 FROM log.partitioning
"""
KEEP_SNAPSHOT: Final = """
INSERT INTO log.snapshots AS s (tenant_id, stream_type, stream_id, fingerprint, version, state)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, stream_type, stream_id) DO UPDATE
    SET fingerprint = excluded.fingerprint, version = excluded.version, state = excluded.state
    WHERE s.version < excluded.version OR s.fingerprint <> excluded.fingerprint
"""


class Background:
    """One task and one connection. Nothing here is waited for by a batch, and nothing here may fail one.

    Coalesced: while one notification is under way only the newest position waits, and of a stream only its newest
    snapshot. What is lost is found again: followers poll, snapshots are a cache, partitions are asked for anew.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], settings: WriterSettings) -> None:
        self._connect = connect
        self._settings = settings
        self._position = 0
        self._announced = 0
        self._snapshots: dict[StreamKey, tuple[str, int, bytes]] = {}
        self._next_partitions_at = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def announce(self, position: int) -> None:
        """Tell followers that the log has grown."""
        self._position = max(self._position, position)
        self._wake()

    def keep_snapshot(self, key: StreamKey, fingerprint: str, version: int, state: bytes) -> None:
        """Store a snapshot; beyond the limit of those waiting it is dropped."""
        if key in self._snapshots or len(self._snapshots) < self._settings.snapshots_waiting:
            self._snapshots[key] = (fingerprint, version, state)
            self._wake()

    async def make_partitions(self) -> None:
        """Make the log's next partitions now. Errors are left to the next batch, which will fail as this one did."""
        with contextlib.suppress(*_PASSING):
            connection = await self._connect()
            try:
                await connection.fetchval(MAKE_PARTITIONS)
            finally:
                await connection.close()

    async def close(self) -> None:
        """Stop. What still waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _wake(self) -> None:
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="event-store-background")

    async def _run(self) -> None:
        connection: Connection | None = None
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._connect()
                    await self._catch_up(connection)
                except _PASSING:
                    self._news.set()
                    await asyncio.sleep(self._settings.reconnect_pause_ms / 1000)
                await asyncio.sleep(self._settings.announce_interval_ms / 1000)
        finally:
            if connection is not None:
                connection.terminate()

    async def _catch_up(self, connection: Connection) -> None:
        position = self._position
        if position > self._announced:
            await connection.execute(NOTIFY, CHANNEL, str(position))
            self._announced = position
        if position >= self._next_partitions_at:
            self._next_partitions_at = await connection.fetchval(MAKE_PARTITIONS)
        while self._snapshots:
            key = next(iter(self._snapshots))
            fingerprint, version, state = self._snapshots.pop(key)
            await connection.execute(KEEP_SNAPSHOT, *key, fingerprint, version, state)


def is_missing_partition(error: BaseException | None) -> bool:
    """Whether an append failed because the log has no partition for its positions."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None
