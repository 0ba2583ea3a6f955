"""What the database itself shows to a reader for whom a customer is set: that customer's own, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from api.http.reading import TenantReader
from domain.catalogue import STREAMS
from infra.database import Connection, Role
from infra.settings import DatabaseSettings, Settings
from projections.catalogue import READ_MODELS
from projections.current import current
from projections.folding.tables import table_name
from projections.read_model import ReadModel
from projections.reading import Reader
from testing.api_client import project
from testing.histories import History, write_log
from testing.random_histories import scramble
from testing.services import FreshDatabase
from tests.integration.test_projections_queries import RESOURCES, TENANT, TENANTS, owe_each_other

OWN = {
    "log.events": "partition_key = tenant_id || ':' || $2",
    "log.streams": "stream_id IN (SELECT stream_id FROM log.events WHERE partition_key = $1 || ':' || $2)",
    "log.claims": "owner IN (SELECT stream_id FROM log.events WHERE partition_key = $1 || ':' || $2)",
    "vault.people": "person_id = $2",
    "vault.personal_data": "person_id = $2",
    "vault.search_terms": "person_id = $2",
    "usage.series": "customer_id = $2",
    "usage.conflicts": "customer_id = $2",
    "usage.voids": "customer_id = $2",
    "usage.closings": "customer_id = $2",
    "usage.adopted_meters": "meter_id IN (SELECT meter_id FROM usage.series WHERE tenant_id = $1 AND customer_id = $2)",
    "usage.aggregates": "series IN (SELECT series FROM usage.series WHERE tenant_id = $1 AND customer_id = $2)",
    "usage.days": "series IN (SELECT series FROM usage.series WHERE tenant_id = $1 AND customer_id = $2)",
    "usage.tallies": "series IN (SELECT series FROM usage.series WHERE tenant_id = $1 AND customer_id = $2)",
}
"""Which rows of a table outside of the read models are a customer's ($2) of a tenant ($1)."""
NOBODYS = "false"


@dataclass
class Scene:
    """Two tenants' histories with everything derived from them, and whose invoice was the last."""

    history: History
    admin: Connection
    reader: TenantReader
    customer_id: str

    async def counted(self, connection: Reader, table: str, where: str = "true", *values: object) -> int:
        """Rows."""
        return int(await connection.fetchval(f"SELECT count(*) FROM {table} t WHERE {where}", *values))  # noqa: S608


@pytest.fixture(scope="module")
async def scene(shared_database: FreshDatabase) -> AsyncIterator[Scene]:
    history = scramble(History(23), TENANTS, 400)
    owe_each_other(history)
    admin = await asyncpg.connect(shared_database.dsn)
    await write_log(admin, history.events)
    await project(shared_database, Settings())
    await admin.execute(
        "INSERT INTO vault.people SELECT DISTINCT tenant_id, stream_id, ''::bytea, ''::bytea FROM log.events "
        "WHERE stream_type = 'customer'; "
        "INSERT INTO vault.personal_data SELECT tenant_id, person_id, 'pd_1', ''::bytea FROM vault.people; "
        "INSERT INTO vault.search_terms SELECT tenant_id, 1, person_id FROM vault.people; "
        "INSERT INTO log.claims SELECT DISTINCT tenant_id, 'one', stream_id, stream_id FROM log.events; "
        "INSERT INTO log.command_results "
        "SELECT position, 1, recorded_at, tenant_id, event_id, ''::bytea FROM log.events;"
        "INSERT INTO access.tenants VALUES ('acme', 'Acme', 'live', now());"
        "INSERT INTO access.memberships VALUES ('acme', 'user_1', 'admin');"
        "INSERT INTO access.api_keys (key_id, tenant_id, prefix, name, scope, allowed_networks, created_at) "
        "VALUES ('key_1', 'acme', 'tb_1', '', 'admin', '{}', now());"
        "INSERT INTO usage.series SELECT convert_to(tenant_id || person_id, 'UTF8'), tenant_id, person_id, 'mtr_1', 1, "
        "'{}', 0 FROM vault.people;"
        "INSERT INTO usage.adopted_meters SELECT DISTINCT 0, tenant_id, meter_id, 1, 0, '{}'::jsonb FROM usage.series;"
        "INSERT INTO usage.adopted_meters SELECT DISTINCT 0, tenant_id, 'mtr_2', 1, 0, '{}'::jsonb FROM usage.series;"
        "INSERT INTO usage.aggregates SELECT series, 1, 0, tenant_id, 1, 1 FROM usage.series;"
        "INSERT INTO usage.days SELECT series, 0, tenant_id, 1, 1 FROM usage.series;"
        "INSERT INTO usage.tallies SELECT series, 1, 0, 0, '', 0, 'a', tenant_id, 1 FROM usage.series;"
        "INSERT INTO usage.conflicts SELECT 0, row_number() OVER (), 0, tenant_id, customer_id, 'e', 'event', now() "
        "FROM usage.series;"
        "INSERT INTO usage.voids SELECT 0, row_number() OVER (), 0, tenant_id, customer_id, 'e', '', now() "
        "FROM usage.series;"
        "INSERT INTO usage.closings SELECT tenant_id, customer_id, 'mtr_1', 1, customer_id, 0, 1, now(), "
        "now(), 0, 1, 1, '', now(), 1 FROM usage.series"
    )
    settings = DatabaseSettings(pool_min_connections=1, pool_max_connections=1)
    reader = await TenantReader.open(shared_database.dsn, settings)
    customer_id = next(
        event.partition_key.partition(":")[2]
        for event in reversed(history.events)
        if event.tenant_id == TENANT and event.stream_type == "payment"
    )
    yield Scene(history, admin, reader, customer_id)
    await reader.close()
    await admin.close()


async def test_a_customer_sees_their_own_rows_of_each_read_model_and_nothing_of_what_is_nobodys(scene: Scene) -> None:
    seen_of: dict[str, int] = {}
    for model in READ_MODELS:
        table, column = table_name(model, 1), model.customer_column
        everything = await scene.counted(scene.admin, table, "tenant_id = $1", TENANT)
        own = 0
        if column is not None:
            own = await scene.counted(
                scene.admin, table, f"tenant_id = $1 AND {column} = $2", TENANT, scene.customer_id
            )
        async with scene.reader.of(TENANT, scene.customer_id) as connection:
            seen_of[model.name] = await scene.counted(connection, table)
            assert seen_of[model.name] == own, table
            assert await scene.counted(connection, f"read.{model.name}") == own, "its view takes the reader's rights"
        async with scene.reader.of(TENANT) as connection:
            assert await scene.counted(connection, table) == everything, table
    assert {name for name, seen in seen_of.items() if seen} >= {"customers", "payments", "refunds", "ledger_entries"}
    assert {model.name for model in READ_MODELS if model.customer_column is None} == {
        "account_days", "billing_stats", "coupons", "journal_entries", "meters", "payment_stats", "plan_migrations",
        "plans", "prices", "products", "tax_days", "tax_rates", "tax_registrations", "test_clocks",
    }  # fmt: skip


async def test_a_customer_sees_their_own_of_the_log_and_of_the_vault(scene: Scene) -> None:
    readable = await scene.admin.fetch(
        "SELECT c.oid::regclass::text AS place FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace::regnamespace::text IN ('log', 'vault', 'access', 'read', 'relay', 'ops', 'usage') "
        "AND has_table_privilege($1, c.oid, 'SELECT')",
        Role.READER,
    )
    places = {row["place"] for row in readable} - {table_name(model, 1) for model in READ_MODELS}
    assert places >= {*OWN, "log.command_results", "log.due_work", "access.api_keys", "access.tenants"}
    for place in sorted(places):
        where = f"tenant_id = $1 AND ($2 = '' OR {OWN.get(place, NOBODYS)})"
        own = await scene.counted(scene.admin, place, where, TENANT, scene.customer_id)
        async with scene.reader.of(TENANT, scene.customer_id) as connection:
            assert await scene.counted(connection, place) == own, place
        assert (own > 0) is (place in OWN), place


async def test_every_table_that_a_reader_sees_has_a_policy_of_customers(scene: Scene) -> None:
    """So has one that is added: without, it would show a customer the whole tenant's rows."""
    without = await scene.admin.fetch(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace::regnamespace::text IN ('log', 'vault', 'access', 'read', 'relay', 'ops', 'usage') "
        "AND has_table_privilege($1, c.oid, 'SELECT') AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid "
        "AND NOT p.polpermissive AND $1::regrole::oid = ANY (p.polroles) "
        "AND pg_get_expr(p.polqual, p.polrelid) LIKE '%tallybook.customer%')",
        Role.READER,
    )
    assert [row[0] for row in without] == []


async def test_a_pooled_connection_keeps_neither_the_last_ones_tenant_nor_its_customer(scene: Scene) -> None:
    async def seen(tenant_id: str, customer_id: str | None = None) -> set[str]:
        async with scene.reader.of(tenant_id, customer_id) as connection:
            rows = await connection.fetch("SELECT DISTINCT partition_key FROM log.events")
            return {row[0] for row in rows}

    everything = await seen(TENANT)
    assert len(everything) > 2
    own = {f"{TENANT}:{scene.customer_id}"}
    assert await seen(TENANT, scene.customer_id) == own
    assert await seen(TENANT) == everything
    assert await seen(TENANT, scene.customer_id) == own
    assert await seen("other", scene.customer_id) == set(), "another tenant's"
    assert await seen(TENANT, "cus_nobody") == set()
    assert await seen(TENANT, "") == everything
    assert {key.partition(":")[0] for key in await seen("other")} == {"other"}


async def test_a_tenants_own_query_is_planned_without_what_a_customers_needs(scene: Scene) -> None:
    """What depends on a row is planned with each query of the table, also where nobody asks it; and whether a customer
    is set is worked out once a query, not once a row."""
    tables = ["log.streams", "log.claims", "log.events", *(table_name(model, 1) for model in READ_MODELS)]
    async with scene.reader.of(TENANT) as connection:
        for table in tables:
            rows = await connection.fetch(f"EXPLAIN SELECT * FROM {table}")  # noqa: S608  from this test
            plan = "\n".join(row[0] for row in rows)
            assert "SubPlan" not in plan, table
            assert "InitPlan" in plan, table
            assert plan.count("tallybook.customer'::text, true), ''::text)") <= 1, table


@pytest.mark.parametrize("stream", RESOURCES)
async def test_what_is_anothers_is_not_there(scene: Scene, stream: str) -> None:
    """Also while its row lacks what the log has: what is folded from the log is held back there."""
    model: ReadModel[Any] = RESOURCES[stream].TABLE
    firsts = [e for e in scene.history.events if (e.tenant_id, e.stream_type, e.stream_version) == (TENANT, stream, 1)]
    assert firsts

    async def check(*, filled: bool) -> None:
        async with scene.reader.of(TENANT, scene.customer_id) as connection:
            for first in firsts:
                found = await current(connection, model, STREAMS[stream], TENANT, first.stream_id)
                owner = first.partition_key.partition(":")[2]
                assert (found is not None) is (owner == scene.customer_id), (first.stream_id, filled)

    await check(filled=True)
    table = table_name(model, 1)
    await scene.admin.execute(f"CREATE TEMP TABLE kept AS TABLE {table}; TRUNCATE {table}")
    try:
        await check(filled=False)
    finally:
        await scene.admin.execute(f"INSERT INTO {table} TABLE kept; DROP TABLE kept")
