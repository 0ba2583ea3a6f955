"""All that a database keeps, table by table, to be compared: what is meant to change nothing is held to that."""

from collections.abc import Mapping, Sequence

import asyncpg

from infra.database import Connection

BESIDE: frozenset[str] = frozenset(
    {"ops.heartbeats", "access.rate_buckets", "access.auth_events", "access.api_key_uses", "access.sessions"}
)
"""Tables that are written because somebody asked at all, or because a process runs."""

_TABLES = """
SELECT n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1
"""


async def kept(dsn: str, *, but: frozenset[str] = BESIDE) -> Mapping[str, Sequence[str]]:
    """Every row of every table, as text, by the table's name."""
    connection: Connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            tables = [row[0] for row in await connection.fetch(_TABLES) if row[0] not in but]
            return {table: await _rows(connection, table) for table in tables}
    finally:
        await connection.close()


async def _rows(connection: Connection, table: str) -> Sequence[str]:
    return [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]  # noqa: S608  a name from the catalogue
