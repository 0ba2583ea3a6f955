"""All that a database keeps, table by table, to be compared: what is meant to change nothing is held to that."""

from collections.abc import Mapping, Sequence

import asyncpg

from infra.database import Connection

BESIDE: frozenset[str] = frozenset(
    {
        "access.api_key_uses",
        "access.auth_events",
        "access.rate_buckets",
        "log.partitioning",
        "log.snapshots",
        "ops.heartbeats",
    }
)
"""Tables that are written because somebody asked at all or because a process runs, at a time of its own."""

SEEN: frozenset[str] = frozenset({"access.sessions", "access.portal_sessions"})
"""Those that note now and then that somebody who signed in was there."""

_TABLES = """
SELECT n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1
"""


async def kept(dsn: str, *, but: frozenset[str] = BESIDE) -> Mapping[str, Sequence[str]]:
    """Every row of every table, as text, by the table's name: all as of one moment."""
    connection: Connection = await asyncpg.connect(dsn)
    try:
        tables = [row[0] for row in await connection.fetch(_TABLES) if row[0] not in but]
        each = " UNION ALL ".join(f"SELECT '{table}', t::text FROM {table} t" for table in tables)  # noqa: S608  names from the catalogue
        found: dict[str, list[str]] = {table: [] for table in tables}
        for table, row in await connection.fetch(f"{each} ORDER BY 1, 2"):
            found[table].append(row)
        return found
    finally:
        await connection.close()


def changed(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> Mapping[str, set[str]]:
    """The rows that came or went, by table; nothing where all is as it was."""
    found = {table: set(after[table]) ^ set(before[table]) for table in before}
    return {table: rows for table, rows in found.items() if rows}
