"""Migrations: plain SQL files beside this one, ordered by Alembic, run by `migrate`.

Alembic only writes the script (its offline mode); asyncpg runs it, whole, in one transaction. A new migration is a
pair: `NNNN_name.sql` here, and `versions/NNNN_name.py` with its revision and a call of `run_file`.
"""

import io
from pathlib import Path
from typing import Final

import asyncpg
from alembic import command, op
from alembic.config import Config

HERE: Final = Path(__file__).parent
VERSION_SCHEMA: Final = "ops"
# Any constant: two migrations of one database at once take turns on it.
_ADVISORY_LOCK: Final = 7_345_001


def run_file(name: str) -> None:
    """Put a SQL file beside this module into the migration's script. Called from a revision's `upgrade`."""
    context = op.get_context()
    # Verbatim: Alembic's own `execute` would read colons as parameters.
    context.impl.static_output((HERE / name).read_text(encoding="utf-8"))


def upgrade_script(current: str | None) -> str:
    """The SQL from a revision (None: an empty database) to the newest; empty when there is nothing to do."""
    output = io.StringIO()
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, f"{current or 'base'}:head", sql=True)
    return output.getvalue()


async def migrate(dsn: str) -> None:
    """Bring a database to the newest schema; safe to run by several processes at once.

    The DSN's user is a superuser, or owns the database and may create roles. Raises asyncpg.PostgresError and leaves
    the database as it was when a statement fails.
    """
    connection = await asyncpg.connect(dsn, server_settings={"client_min_messages": "warning"})
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADVISORY_LOCK)
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}")
            known = await connection.fetchval("SELECT to_regclass($1)", f"{VERSION_SCHEMA}.alembic_version")
            current = None
            if known is not None:
                current = await connection.fetchval(f"SELECT version_num FROM {VERSION_SCHEMA}.alembic_version")  # noqa: S608  a constant
            script = upgrade_script(current)
            if script.strip():
                await connection.execute(script)
    finally:
        await connection.close()
