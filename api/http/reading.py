"""Connections that see one tenant, or one customer's own in it. Queries get one here and nowhere else, so none can
forget whose rows it may see.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, cast

import asyncpg

from infra.database import Connection, Pool, Role, server_settings
from infra.settings import DatabaseSettings
from projections.reading import Reader

_SEE: Final = "SELECT set_config('tallybook.tenant', $1, false), set_config('tallybook.customer', $2, false)"

QUERIES_MAX: Final = 1_000_000_000
"""Of a connection before the pool makes another. Nothing of theirs adds up, and whoever waits for a new one waits for a
handshake, and for all of its plans.
"""


class Whose(NamedTuple):
    """Whose rows a connection sees: a tenant's, or those of one of its customers; empty for all of them."""

    tenant_id: str
    customer_id: str


class TenantReader:
    """A pool in the reader's role. A connection keeps whose it is between queries: naming it again costs a round trip.

    Row security compares with the session's `tallybook.tenant` and `tallybook.customer`, which nothing but `of` sets,
    always both, always before a query.
    """

    def __init__(self, pool: Pool, seen: dict[int, Whose], acquire_timeout_s: float) -> None:
        self._pool = pool
        self._seen = seen
        self._acquire_timeout_s = acquire_timeout_s

    @classmethod
    async def open(cls, dsn: str, settings: DatabaseSettings) -> "TenantReader":
        """Open the pool."""
        seen: dict[int, Whose] = {}

        async def fresh(connection: Any) -> None:
            # The server may give a new connection the process id of one that is gone.
            seen.pop(connection.get_server_pid(), None)

        async def keep(connection: Any) -> None:
            """Nothing is undone on release: whose it is is the only thing that queries leave behind."""

        pool: Pool = await asyncpg.create_pool(
            dsn,
            min_size=settings.pool_min_connections,
            max_size=settings.pool_max_connections,
            max_queries=QUERIES_MAX,
            timeout=settings.connect_timeout_s,
            server_settings=server_settings(Role.READER, settings),
            init=fresh,
            reset=keep,
        )
        return cls(pool, seen, settings.acquire_timeout_s)

    @asynccontextmanager
    async def of(self, tenant_id: str, customer_id: str | None = None) -> AsyncIterator[Reader]:
        """A connection that sees this tenant's rows and no others; with a customer, only that customer's own."""
        whose = Whose(tenant_id, customer_id or "")
        async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
            pid = connection.get_server_pid()
            if self._seen.get(pid) != whose:
                self._seen.pop(pid, None)
                await connection.execute(_SEE, *whose)
                self._seen[pid] = whose
            yield connection

    @asynccontextmanager
    async def snapshot(self, tenant_id: str, customer_id: str | None = None) -> AsyncIterator[Connection]:
        """The same, on which all queries see the rows of one moment, and cursors may be opened."""
        async with self.of(tenant_id, customer_id) as reader:
            connection = cast("Connection", reader)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection

    @property
    def pool(self) -> Pool:
        """The pool itself, for what belongs to no tenant: key look-ups, the head, health."""
        return self._pool

    async def close(self) -> None:
        """Let go of all connections."""
        await self._pool.close()
