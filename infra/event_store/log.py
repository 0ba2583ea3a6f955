"""Reading the log in PostgreSQL: by position, by stream, and as it grows. Every read is one short statement."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from typing import Any, Final

import asyncpg

from infra.database import CONNECTION_ERRORS, Pool
from infra.event_store.background import CHANNEL
from infra.event_store.port import Outcome, Recorded
from infra.event_store.postgres import LOOK_UP
from infra.event_store.storage import StoredResult
from infra.event_store.writer import stored_outcome

COLUMNS: Final = ", ".join(field.name for field in fields(Recorded))
_SELECT: Final = f"SELECT {COLUMNS} FROM log.events"  # noqa: S608  constants
READ: Final = f"{_SELECT} WHERE position > $1 ORDER BY position LIMIT $2"
READ_STREAM: Final = f"{_SELECT} WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 ORDER BY stream_version"
OWNERS: Final = """
SELECT owner FROM log.claims
WHERE tenant_id = $1 AND kind = $2 AND value >= $3 AND value < $4 AND value > $6 ORDER BY value LIMIT $5
"""


class PostgresLog:
    """A `port.Log`. The pool's role is one that may read the log: writer, relay, projector, or reader (one tenant)."""

    def __init__(self, pool: Pool, *, page_events: int = 1_000, poll_ms: int = 500) -> None:
        self._pool = pool
        self._page_events = page_events
        self._poll_s = poll_ms / 1000

    async def head(self) -> int:
        """The position of the last committed event; 0 for an empty log."""
        position: int = await self._pool.fetchval("SELECT position FROM log.head")
        return position

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` events with position > `after`, in position order."""
        return [recorded(row) for row in await self._pool.fetch(READ, after, limit)]

    async def read_stream(self, tenant_id: str, stream_type: str, stream_id: str) -> Sequence[Recorded]:
        """All events of a stream in version order."""
        return [recorded(row) for row in await self._pool.fetch(READ_STREAM, tenant_id, stream_type, stream_id)]

    async def outcome(self, tenant_id: str, idempotency_key: str) -> Outcome | None:
        """What became of a command; None if no command with this key was ever recorded."""
        row = await self._pool.fetchrow(LOOK_UP, [tenant_id], [idempotency_key])
        return None if row is None else stored_outcome(StoredResult(*row[2:]))

    async def owners(
        self, tenant_id: str, kind: str, *, value_prefix: str, limit: int, after: str = ""
    ) -> Sequence[str]:
        """See `port.Log`."""
        end = value_prefix + chr(sys.maxunicode)  # byte by byte, as the values are compared, nothing begins later
        past = value_prefix + after if after else ""
        return [row[0] for row in await self._pool.fetch(OWNERS, tenant_id, kind, value_prefix, end, limit, past)]

    async def follow(self, *, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """Pages of events for ever, each as soon as it is committed. Survives the loss of its connection.

        Woken by notification; a slow poll finds what a lost notification would have told.
        """
        grown = asyncio.Event()
        listener = Listener(self._pool, grown)
        try:
            while True:
                grown.clear()
                try:
                    await listener.listen()
                    page = await self.read(after=after, limit=self._page_events)
                except CONNECTION_ERRORS:
                    await asyncio.sleep(self._poll_s)
                    continue
                if page:
                    after = page[-1].position
                    yield page
                if len(page) < self._page_events:
                    await wait_for_growth(grown, self._poll_s)
        finally:
            await listener.close()


class Listener:
    """A connection of the pool that listens for the log's growth, or on another channel, and sets an event."""

    def __init__(self, pool: Pool, grown: asyncio.Event, *, channel: str = CHANNEL) -> None:
        self._pool = pool
        self._grown = grown
        self._channel = channel
        self._connection: Any = None  # a pool's proxy of a connection

    async def listen(self) -> bool:
        """Listen, if not yet or no longer; whether that was so. Raises one of CONNECTION_ERRORS."""
        if self._connection is not None and not _is_gone(self._connection):
            return False
        await self.close()
        self._connection = await self._pool.acquire()
        await self._connection.add_listener(self._channel, self._heard)
        return True

    def _heard(self, *_: object) -> None:
        self._grown.set()

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if not _is_gone(connection):
                    await connection.remove_listener(self._channel, self._heard)
            finally:
                await self._pool.release(connection)


def _is_gone(connection: Any) -> bool:
    """Whether a pool's connection is closed. One whose server went away has left the pool by itself, and can no longer
    be asked anything, not even that.
    """
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def wait_for_growth(grown: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after the time-out."""
    try:
        async with asyncio.timeout(timeout_s):
            await grown.wait()
    except TimeoutError:
        return


def recorded(row: asyncpg.Record) -> Recorded:
    """A row of COLUMNS as the port's value."""
    return Recorded(*row)
