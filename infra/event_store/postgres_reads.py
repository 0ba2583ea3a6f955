"""What the log holds as decisions need it: the queries, and a snapshot of them apart from the append's connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

import asyncpg

from infra.database import Connection
from infra.event_store.storage import ClaimKey, Loaded, Reads, StoreLost, Wanted

LOAD: Final = """
WITH w AS MATERIALIZED (
    SELECT u.*, s.version AS snapshot_version, s.state
    FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[]) WITH ORDINALITY
        AS u (tenant, type, id, after, fingerprint, nth)
    LEFT JOIN log.snapshots s ON s.tenant_id = u.tenant AND s.stream_type = u.type AND s.stream_id = u.id
        AND s.fingerprint = u.fingerprint AND u.after = 0
)
SELECT nth, snapshot_version, state, true FROM w WHERE snapshot_version IS NOT NULL
UNION ALL
SELECT w.nth, e.stream_version, e.payload, false
FROM w CROSS JOIN LATERAL (
    SELECT e.stream_version, e.payload FROM log.events e
    WHERE e.tenant_id = w.tenant AND e.stream_type = w.type AND e.stream_id = w.id
        AND e.stream_version > coalesce(w.snapshot_version, w.after)
) AS e
ORDER BY 1, 2
"""
HOLDERS: Final = """
SELECT k.tenant, k.kind, k.value, c.owner
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant, kind, value)
CROSS JOIN LATERAL (
    SELECT owner FROM log.claims c WHERE c.tenant_id = k.tenant AND c.kind = k.kind AND c.value = k.value OFFSET 0
) AS c
"""
_LOST: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


async def load(fetch: Fetch, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
    """See `storage.Reads`."""
    if not wanted:
        return []
    keys, after, fingerprints = zip(*wanted, strict=True)
    rows = await fetch(LOAD, *zip(*keys, strict=True), after, fingerprints)
    payloads: list[list[bytes]] = [[] for _ in wanted]
    versions = list(after)
    snapshots: dict[int, bytes] = {}
    for nth, version, content, is_snapshot in rows:
        versions[nth - 1] = version
        if is_snapshot:
            snapshots[nth - 1] = content
        else:
            payloads[nth - 1].append(content)
    return [Loaded(version, payloads[place], snapshots.get(place)) for place, version in enumerate(versions)]


async def holders(fetch: Fetch, claims: Sequence[ClaimKey]) -> Mapping[ClaimKey, str]:
    """See `storage.Reads`."""
    if not claims:
        return {}
    rows = await fetch(HOLDERS, *zip(*claims, strict=True))
    return {(row[0], row[1], row[2]): row[3] for row in rows}


class Snapshot:
    """A `storage.Reads` on one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def load(self, wanted: Sequence[Wanted]) -> Sequence[Loaded]:
        """See `storage.Reads`."""
        return await load(self._connection.fetch, wanted)

    async def holders(self, claims: Sequence[ClaimKey]) -> Mapping[ClaimKey, str]:
        """See `storage.Reads`."""
        return await holders(self._connection.fetch, claims)


class SnapshotReads:
    """Connections for transactions that only read, opened when they are first needed. Whoever asks bounds how many.

    The server itself refuses whatever would write on them.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, close_timeout_s: float) -> None:
        self._connect = connect
        self._close_timeout_s = close_timeout_s
        self._idle: list[Connection] = []

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reads]:
        """What is committed now, unchanged until the end of the block. Raises StoreLost."""
        try:
            connection = await self._taken()
            try:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield Snapshot(connection)
                await connection.execute("ROLLBACK")
            except BaseException:
                # Whatever became of the transaction, the server ends it with the connection.
                connection.terminate()
                raise
        except _LOST as error:
            raise StoreLost(str(error) or type(error).__name__) from error
        self._idle.append(connection)

    async def close(self) -> None:
        """Let go of the connections that nobody uses."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(each.close(timeout=self._close_timeout_s) for each in idle), return_exceptions=True)

    async def _taken(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()
