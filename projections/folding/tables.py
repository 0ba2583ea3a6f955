"""The read models' tables: making them, showing one through its view, dropping the last one. All as the owner.

A table is named with its version (`invoices_v2`) behind a view (`read.invoices`) that takes its reader's rights. A
rebuild makes the next version and swaps the view; nobody waits longer than the lock time-out, and readers not at all.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import structlog

from infra import migrations
from infra.database import Connection, Role
from infra.settings import DatabaseSettings
from projections.catalogue import READ_MODELS
from projections.read_model import Projection, ReadModel
from projections.reports import views

log = structlog.get_logger(__name__)

FIRST_VERSION: Final = 1
_LOCK: Final = 7_345_002  # two processes that start at once take turns on it
_POLICY_READER: Final = "tenant_id = nullif(current_setting('tallybook.tenant', true), '')"
_ANY_CUSTOMER: Final = "(SELECT coalesce(current_setting('tallybook.customer', true), '')) = ''"
"""As a subquery it is worked out once a query; else it is once a row, and a sum over many takes three times as long."""


class Target(NamedTuple):
    """A read model and the version of its table that rows go to."""

    model: ReadModel[Any]
    version: int

    @property
    def table(self) -> str:
        """The table's name with its schema."""
        return table_name(self.model, self.version)


def table_name(model: ReadModel[Any], version: int) -> str:
    """`read.invoices_v1`"""
    return f"read.{model.name}_v{version}"


def layout_of(model: ReadModel[Any]) -> str:
    """What tells whether a table was made by this release's rule: its version and its columns."""
    text = repr((model.columns, model.key, model.sums))
    return f"{model.version}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def create_sql(model: ReadModel[Any], version: int) -> str:
    """The table alone. COPY needs it without row security, and without indexes it is faster."""
    columns = ", ".join(f"{column.name} {column.definition}" for column in model.columns)
    return f"CREATE TABLE {table_name(model, version)} ({columns}) WITH (fillfactor = 85);\n"


def finish_sql(model: ReadModel[Any], version: int) -> str:
    """Key, indexes, row security (forced: the owner is held too, by a policy of its own) and rights."""
    table = table_name(model, version)
    lines = [f"ALTER TABLE {table} ADD PRIMARY KEY ({', '.join(model.key)})"]
    lines += [f"CREATE INDEX ON {table} ({columns})" for columns in model.indexes]
    if model.texts:
        some = " OR ".join(f"{column} IS NOT NULL" for column in model.texts)
        lines.append(f"CREATE INDEX ON {table} USING gin (({model.words})) WHERE {some}")
    lines += [f"CREATE INDEX ON {table} ({columns}) WHERE {some}" for columns, some in model.partial_indexes]
    lines += [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY owner_all ON {table} TO {Role.OWNER} USING (true) WITH CHECK (true)",
        f"CREATE POLICY projector_all ON {table} TO {Role.PROJECTOR} USING (true) WITH CHECK (true)",
        f"CREATE POLICY reader_own_tenant ON {table} FOR SELECT TO {Role.READER} USING ({_POLICY_READER})",
        f"CREATE POLICY reader_own_customer ON {table} AS RESTRICTIVE FOR SELECT TO {Role.READER} "
        f"USING ({_own_customer(model)})",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {Role.PROJECTOR}",
        f"GRANT SELECT ON {table} TO {Role.READER}",
    ]
    return ";\n".join(lines) + ";\n"


def _own_customer(model: ReadModel[Any]) -> str:
    """A reader for whom a customer is set sees that customer's rows, and nothing of what is no customer's own."""
    column = model.customer_column
    own = "" if column is None else f" OR {column} = current_setting('tallybook.customer', true)"
    return _ANY_CUSTOMER + own


def view_sql(model: ReadModel[Any], version: int) -> str:
    """The view over a version. Dropped and made again in one transaction, so that columns may change their types."""
    view = f"read.{model.name}"
    return (
        f"DROP VIEW IF EXISTS {view};\n"
        f"CREATE VIEW {view} WITH (security_invoker = true) AS "
        f"{model.view.format(table=table_name(model, version))};\n"
        f"GRANT SELECT ON {view} TO {Role.PROJECTOR}, {Role.READER};\n"
    )


def text_search_sql(models: Sequence[ReadModel[Any]]) -> str:
    """The function that finds things by their words, as the owner: that a text matches is not told by a leakproof
    operator, so under row security no index would be used. It shows what the reader who asks may see, and no more.
    """
    tenant, customer = (f"current_setting('tallybook.{name}', true)" for name in ("tenant", "customer"))
    found = "\n    UNION ALL\n".join(
        # Names and expressions of our own; what is wanted comes as an argument.
        f"    (SELECT '{model.name}', {model.key[-1]}, concat_ws(': ', {', '.join(model.texts)}),\n"  # noqa: S608
        f"        ts_rank({model.words}, q) FROM read.{model.name}, websearch_to_tsquery('simple', wanted) q\n"
        f"    WHERE '{model.name}' = ANY (kinds) AND {model.words} @@ q"
        f" AND ({' OR '.join(f'{column} IS NOT NULL' for column in model.texts)})\n"
        f"        AND tenant_id = nullif({tenant}, '') AND {_of_customer(model, customer)}\n"
        f"    ORDER BY 4 DESC, 2 DESC LIMIT most)"
        for model in models
        if model.texts
    )
    return f"""
CREATE OR REPLACE FUNCTION read.search_texts(wanted text, kinds text[], most integer)
    RETURNS TABLE (kind text, id text, said text, rank real)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $search$
BEGIN
    RETURN QUERY
{found};
END
$search$;
REVOKE EXECUTE ON FUNCTION read.search_texts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read.search_texts TO {Role.READER};
"""


def _of_customer(model: ReadModel[Any], customer: str) -> str:
    """As `_own_customer`, for who is not held by row security."""
    column = model.customer_column
    own = "" if column is None else f" OR {column} = {customer}"
    return f"(coalesce({customer}, '') = ''{own})"


async def owner_connection(dsn: str, settings: DatabaseSettings) -> Connection:
    """A connection that may make tables. The DSN's user is the owner, or may take its role on."""
    return await asyncpg.connect(
        dsn,
        timeout=settings.connect_timeout_s,
        server_settings={"role": Role.OWNER.value, "client_min_messages": "warning", "jit": "off"},
    )


async def migrate(dsn: str) -> None:
    """Bring a database to the newest schema, read models included. The DSN's user is its owner, or a superuser."""
    await migrations.migrate(dsn)
    await prepare(dsn, DatabaseSettings())


async def prepare(dsn: str, settings: DatabaseSettings, models: Sequence[ReadModel[Any]] = READ_MODELS) -> None:
    """Make what is missing; safe to run by several processes at once, and to run again.

    A read model that is new, or has changed, while its projection has already come some way is only noted here: a
    worker fills it beside what is live. Until then a changed one serves its old table, and a new one has no view.
    """
    connection = await owner_connection(dsn, settings)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            for projection in Projection:
                await connection.execute(
                    "INSERT INTO read.projections (name, epoch, fold, incarnation) VALUES ($1, 1, 1, 0) "
                    "ON CONFLICT DO NOTHING",
                    projection.value,
                )
            known = {record["name"] for record in await connection.fetch("SELECT name FROM read.models")}
            begun = {
                record["projection"]
                for record in await connection.fetch("SELECT projection FROM read.checkpoints WHERE position > 0")
            }
            for model in models:
                if model.name in known:
                    continue
                fresh = model.projection not in begun
                script = create_sql(model, FIRST_VERSION) + finish_sql(model, FIRST_VERSION)
                await connection.execute(script + (view_sql(model, FIRST_VERSION) if fresh else ""))
                await connection.execute(
                    """INSERT INTO read.models (name, projection, layout, table_version, last_table_version)
                       VALUES ($1, $2, $3, $4, $4)""",
                    model.name,
                    model.projection.value,
                    layout_of(model) if fresh else "",
                    FIRST_VERSION,
                )
            await connection.execute(text_search_sql(models))
        await views.renew(connection, lock_timeout_ms=settings.lock_timeout_ms)
        await drop_leftovers(connection, settings)
    finally:
        await connection.close()


async def drop_leftovers(connection: Connection, settings: DatabaseSettings) -> None:
    """Drop versions that nobody shows or fills: those swapped out, and those of rebuilds that died.

    A table that somebody still reads is left for the next time. A rebuild under way holds a lock on its tables' names.
    """
    records = await connection.fetch(
        """SELECT c.oid::regclass::text AS place FROM pg_class c, read.models m
           WHERE c.relnamespace = 'read'::regnamespace AND c.relkind = 'r'
               AND c.relname ~ ('^' || m.name || '_v[0-9]+$')
               AND c.relname <> m.name || '_v' || m.table_version
               AND c.relname IS DISTINCT FROM m.name || '_v' || m.next_table_version"""
    )
    for record in records:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {settings.lock_timeout_ms}")
                if not await connection.fetchval(
                    "SELECT pg_try_advisory_xact_lock($1, hashtext($2))", _LOCK, record["place"].removeprefix("read.")
                ):
                    continue
                await connection.execute(f"DROP TABLE IF EXISTS {record['place']}")
        except asyncpg.LockNotAvailableError:
            log.info("read_table_still_in_use", table=record["place"])


async def claim_table(connection: Connection, target: Target) -> None:
    """Keep `drop_leftovers` off a table that is being filled, for as long as this session lasts."""
    await connection.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCK, target.table.removeprefix("read."))


async def next_version(connection: Connection, model: ReadModel[Any]) -> Target:
    """A version number that no table of the model ever had."""
    version = await connection.fetchval(
        "UPDATE read.models SET last_table_version = last_table_version + 1 WHERE name = $1 "
        "RETURNING last_table_version",
        model.name,
    )
    return Target(model, version)
