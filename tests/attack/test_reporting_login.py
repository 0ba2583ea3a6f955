"""Whoever has a reporting login reads one tenant's reports. They try everything that a login of PostgreSQL can say."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import asyncpg
import pytest

from host.embedded.databases import PostgresServer
from infra.database import REPORTERS, Connection, Role
from projections.reports.catalogue import REPORTS
from tests.integration.reports_scene import Scene, reports_scene

REFUSED: Final = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.UndefinedObjectError,
    asyncpg.WrongObjectTypeError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)

FORBIDDEN: Final = (
    "UPDATE reporting.products SET name = 'mine'",
    "DELETE FROM reporting.products",
    "INSERT INTO reporting.products (product_id) VALUES ('prod_1')",
    "TRUNCATE reporting.products",
    "CREATE TABLE reporting.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE TEMPORARY TABLE mine (a int)",
    "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION dblink",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> session_user LIMIT 1",
    "LOCK TABLE reporting.invoices IN ACCESS EXCLUSIVE MODE",
    "DROP VIEW reporting.invoices",
    "COMMENT ON VIEW reporting.invoices IS 'mine'",
    "CREATE OR REPLACE FUNCTION reporting.tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$",
    "SELECT log.append()",
    "SELECT ops.leave('api', '1')",
    "SELECT read.search_texts('ada', '{}', 10)",
)
TELLS: Final = "1 / (CASE WHEN customer_id = $1 THEN 0 ELSE 1 END) = 1"
"""Divides by zero where it is asked of that customer's row."""


@dataclass
class Attack:
    """A hostile reader of acme, who has taken off every setting that the login came with."""

    scene: Scene
    reader: Connection

    async def refused(self, statement: str) -> None:
        with pytest.raises(REFUSED):
            await self.reader.execute(statement)


@pytest.fixture
async def attack(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Attack]:
    async with reports_scene(postgres_server, template_database, events=300) as scene:
        await scene.login("other")
        reader = await asyncpg.connect(await scene.login("acme"))
        await reader.execute(
            "SET default_transaction_read_only = off; SET statement_timeout = 0; "
            "SET search_path = pg_catalog; SET row_security = on"
        )
        yield Attack(scene, reader)
        await reader.close()


async def test_nothing_below_the_views_is_read(attack: Attack) -> None:
    places = await attack.scene.admin.fetch(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('access', 'log', 'ops', 'read', 'relay', 'vault', 'reporting') "
        "AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT (n.nspname = 'reporting' AND c.relkind = 'v')"
    )
    assert len(places) > 60
    for (place,) in places:
        await attack.refused(f"SELECT * FROM {place}")  # noqa: S608  a name of ours
    columns = [
        row[0] for row in await attack.reader.fetch("SELECT DISTINCT table_schema FROM information_schema.columns")
    ]
    assert not {"access", "log", "ops", "read", "relay", "vault"} & set(columns)
    statistics = "SELECT count(*) FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    assert await attack.reader.fetchval(statistics) == 0


async def test_no_setting_and_no_role_shows_another_tenants_rows(attack: Attack) -> None:
    reader = attack.reader
    others = "SELECT string_agg(customer_id, ',' ORDER BY customer_id) FROM reporting.customers"
    own = await reader.fetchval(others)
    assert own
    assert set(own.split(",")).isdisjoint(
        row[0]
        for row in await attack.scene.admin.fetch("SELECT customer_id FROM read.customers WHERE tenant_id = 'other'")
    )
    for setting in ("tallybook.tenant", "tallybook.customer", "tallybook.roles"):
        await reader.execute(f"SET {setting} = 'other'")
        assert await reader.fetchval(others) == own
    for role in (*Role, REPORTERS, "postgres", f"other_{attack.scene.api.database.name}"):
        await attack.refused(f"SET ROLE {role}")
        await attack.refused(f"SET SESSION AUTHORIZATION {role}")
    await attack.refused("SET row_security = off; SELECT * FROM read.customers_v1")
    await attack.refused("INSERT INTO reporting.logins VALUES (session_user, 'other')")
    await attack.refused("UPDATE reporting.logins SET tenant_id = 'other'")
    name = await reader.fetchval("SELECT session_user")
    await attack.refused(f'ALTER ROLE "{name}" RENAME TO another')
    await attack.refused("CREATE ROLE another LOGIN")
    await attack.refused(f'GRANT {Role.READER} TO "{name}"')
    assert await reader.fetchval("SELECT reporting.tenant()") == "acme"


async def test_a_condition_of_ones_own_sees_no_row_of_another_tenant(attack: Attack) -> None:
    """What would tell by an error, or by a side effect, is not asked before the row is known to be one's own."""
    reader, admin = attack.reader, attack.scene.admin
    seen_by = [row[0] for row in await admin.fetch("SELECT customer_id FROM read.customers WHERE tenant_id = 'other'")]
    for report in REPORTS:
        if any(column.name == "customer_id" for column in report.columns):
            for customer in seen_by[:3]:
                await reader.fetch(f"SELECT * FROM reporting.{report.name} WHERE {TELLS}", customer)  # noqa: S608
    own = await reader.fetchval("SELECT customer_id FROM reporting.customers LIMIT 1")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await reader.fetch(f"SELECT * FROM reporting.customers WHERE {TELLS}", own)  # noqa: S608


async def test_nothing_is_changed_made_or_stopped(attack: Attack) -> None:
    for statement in FORBIDDEN:
        with pytest.raises((*REFUSED, asyncpg.UndefinedFunctionError)):
            async with attack.reader.transaction():
                await attack.reader.execute(statement)


async def test_a_login_that_is_nobodys_reads_no_row(attack: Attack) -> None:
    """A member of the group that no row of `reporting.logins` names, and a role of ours that looks in."""
    admin = attack.scene.admin
    await admin.execute("DELETE FROM reporting.logins")
    for report in REPORTS:
        assert await attack.reader.fetchval(f"SELECT count(*) FROM reporting.{report.name}") == 0  # noqa: S608
        assert await admin.fetchval(f"SELECT count(*) FROM reporting.{report.name}") == 0  # noqa: S608
    name = await attack.reader.fetchval("SELECT session_user")
    await admin.execute("INSERT INTO reporting.logins VALUES ($1, 'acme')", name)
