"""How many exports a process makes at once. Each has a connection of its own as long as it lasts, and one snapshot."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from api.http.principal import Principal
from api.http.problems import EXPORTS_BUSY, Problem, retry_after
from api.http.reading import TenantReader
from infra.database import Connection
from infra.settings import Settings

RETRY_S: Final = 10


class ExportSlots:
    """Connections in the reader's role, apart from those of queries: an export must not keep a query waiting."""

    def __init__(self, reader: TenantReader, *, most: int, per_tenant: int) -> None:
        self._reader = reader
        self._most = most
        self._per_tenant = per_tenant
        self._under_way: Counter[str] = Counter()

    @classmethod
    async def open(cls, dsn: str, settings: Settings) -> "ExportSlots":
        """Open the pool; it connects when it is used first."""
        api = settings.api
        timeout_ms = int(api.export_timeout_s * 1000)
        own = {
            "pool_min_connections": 0,
            "pool_max_connections": api.exports_max,
            "statement_timeout_ms": timeout_ms,
            "transaction_timeout_ms": timeout_ms,
        }
        reader = await TenantReader.open(dsn, settings.database.model_copy(update=own))
        return cls(reader, most=api.exports_max, per_tenant=api.exports_per_tenant_max)

    @asynccontextmanager
    async def snapshot(self, principal: Principal) -> AsyncIterator[Connection]:
        """A connection that sees what the principal may, as of one moment. Raises the 503 of one too many."""
        tenant_id = principal.tenant_id
        if self._under_way.total() >= self._most or self._under_way[tenant_id] >= self._per_tenant:
            raise Problem(EXPORTS_BUSY, headers=retry_after(RETRY_S))
        self._under_way[tenant_id] += 1
        try:
            async with self._reader.snapshot(tenant_id, principal.customer_id) as connection:
                yield connection
        finally:
            self._under_way[tenant_id] -= 1
            if not self._under_way[tenant_id]:
                del self._under_way[tenant_id]

    @property
    def under_way(self) -> int:
        """Exports that are being made."""
        return self._under_way.total()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._reader.close()
