"""Migrations: plain SQL beside this module, run by `migrate` in one transaction.

`roles.sql` comes first, each time. Then each `NNNN_name.sql` once, in order, as the owner: what was applied never
changes. Then `repeatable/`, which holds what is replaced as a whole (a function, who may do what), by name: all of it
whenever any of it has changed, since a later file rests on an earlier one.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from infra.database import REPORTERS, Connection, Role

HERE: Final = Path(__file__).parent
NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Any constant: two migrations of one database at once take turns on it.
_ADVISORY_LOCK: Final = 7_345_001

_APPLIED: Final = """
CREATE TABLE IF NOT EXISTS ops.migrations (
    name text COLLATE "C" PRIMARY KEY,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_NOTE: Final = """
INSERT INTO ops.migrations (name, sha256) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = clock_timestamp()
"""


class BadMigrations(Exception):
    """The files do not make one line, or are not those that made this database; the message says what to do."""


class Migration(NamedTuple):
    """One file."""

    name: str
    script: str

    @property
    def sha256(self) -> bytes:
        """By which a change is noticed."""
        return hashlib.sha256(self.script.encode()).digest()


def numbered(folder: Path = HERE) -> list[Migration]:
    """The files to be applied once, in order. Raises BadMigrations unless they count up from 0001."""
    found = _files(path for path in folder.glob("*.sql") if path.name[0].isdigit())
    for place, migration in enumerate(found, start=1):
        match = NAME.fullmatch(migration.name)
        if match is None or int(match[1]) != place:
            raise BadMigrations(f"{migration.name} is not number {place:04}_…: two have one number, or one is missing")
    return found


def repeatable(folder: Path = HERE) -> list[Migration]:
    """The files to be applied again when they change."""
    return _files((folder / "repeatable").glob("*.sql"))


async def migrate(dsn: str, *, folder: Path = HERE) -> None:
    """Bring a database to the newest schema; safe to run by several processes at once.

    The DSN's user is a superuser, or owns the database and may create roles. Raises asyncpg.PostgresError or
    BadMigrations and leaves the database as it was when a file fails.
    """
    connection: Connection = await asyncpg.connect(dsn, server_settings={"client_min_messages": "warning"})
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADVISORY_LOCK)
            await connection.execute("SELECT set_config('tallybook.roles', $1, true)", ",".join((*Role, REPORTERS)))
            await connection.execute((folder / "roles.sql").read_text(encoding="utf-8"))
            await connection.execute(f"SET LOCAL ROLE {Role.OWNER}")
            await connection.execute(_APPLIED)
            rows = await connection.fetch("SELECT name, sha256 FROM ops.migrations")
            applied: dict[str, bytes] = {row["name"]: row["sha256"] for row in rows}
            await _apply(connection, _pending(numbered(folder), applied))
            again = repeatable(folder)
            if any(applied.get(migration.name) != migration.sha256 for migration in again):
                await _apply(connection, again)
    finally:
        await connection.close()


def _pending(migrations: list[Migration], applied: dict[str, bytes]) -> list[Migration]:
    for migration in migrations:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            raise BadMigrations(
                f"{migration.name} has changed since it made this database: what was applied never changes. Put the "
                "change into a new file; or, before the first release, make the database anew"
            )
    return [migration for migration in migrations if migration.name not in applied]


async def _apply(connection: Connection, migrations: Iterable[Migration]) -> None:
    for migration in migrations:
        await connection.execute(migration.script)
        await connection.execute(_NOTE, migration.name, migration.sha256)


def _files(paths: Iterable[Path]) -> list[Migration]:
    return [Migration(path.name, path.read_text(encoding="utf-8")) for path in sorted(paths)]
