"""Connections that see one tenant. Queries get one here and nowhere else, so none can forget whose rows it may see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from infra.database import Pool, Role, server_settings
from infra.settings import DatabaseSettings
from projections.reading import Reader


class TenantReader:
    """A pool in the reader's role. A connection keeps its tenant between queries: naming it again costs a round trip.

    Row security compares with the session's `tallybook.tenant`, which nothing but `of` sets, always before a query.
    """

    def __init__(self, pool: Pool, tenants: dict[int, str], acquire_timeout_s: float) -> None:
        self._pool = pool
        self._tenants = tenants
        self._acquire_timeout_s = acquire_timeout_s

    @classmethod
    async def open(cls, dsn: str, settings: DatabaseSettings) -> "TenantReader":
        """Open the pool."""
        tenants: dict[int, str] = {}

        async def fresh(connection: Any) -> None:
            # The server may give a new connection the process id of one that is gone.
            tenants.pop(connection.get_server_pid(), None)

        async def keep(connection: Any) -> None:
            """Nothing is undone on release: the tenant is the only thing that queries leave behind."""

        pool: Pool = await asyncpg.create_pool(
            dsn,
            min_size=settings.pool_min_connections,
            max_size=settings.pool_max_connections,
            timeout=settings.connect_timeout_s,
            server_settings=server_settings(Role.READER, settings),
            init=fresh,
            reset=keep,
        )
        return cls(pool, tenants, settings.acquire_timeout_s)

    @asynccontextmanager
    async def of(self, tenant_id: str) -> AsyncIterator[Reader]:
        """A connection that sees this tenant's rows and no others."""
        async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
            pid = connection.get_server_pid()
            if self._tenants.get(pid) != tenant_id:
                self._tenants.pop(pid, None)
                await connection.execute("SELECT set_config('tallybook.tenant', $1, false)", tenant_id)
                self._tenants[pid] = tenant_id
            yield connection

    @property
    def pool(self) -> Pool:
        """The pool itself, for what belongs to no tenant: key look-ups, the head, health."""
        return self._pool

    async def close(self) -> None:
        """Let go of all connections."""
        await self._pool.close()
