"""What the database itself refuses: changing the log, by anybody; seeing another tenant's rows; overstepping a role."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from api.resources.events import BY_ID
from infra.database import Connection, Role
from infra.event_store.opening import open_writer
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Remind
from tests.contracts.event_store_contract import sealed

READABLE = (
    "log.events",
    "log.command_results",
    "log.claims",
    "log.due_work",
    "vault.people",
    "vault.personal_data",
)
CHANGES = (
    "UPDATE {} SET actor = 'somebody else'",
    "UPDATE {} SET actor = 'somebody else' WHERE false",
    "DELETE FROM {}",
    "TRUNCATE {}",
)


def _writer(database: FreshDatabase) -> GroupCommitWriter:
    return open_writer(database.dsn, WriterSettings(), handlers=HANDLERS, codec=CounterCodec())


@pytest.fixture
async def admin(database: FreshDatabase) -> AsyncIterator[Connection]:
    """A superuser's connection to a log in which two tenants have a row in every table."""
    writer = _writer(database)
    for tenant in ("acme", "other"):
        person = sealed("p1", "pd_1", new=True)
        await writer.submit(request(Open(counter_id="c1", name="n"), tenant_id=tenant, seals=person))
        await writer.submit(request(Remind(counter_id="c1", after_ms=0), tenant_id=tenant))
    await writer.close()
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def test_nobody_changes_an_event(admin: Connection) -> None:
    for role in ("postgres", *Role):
        await admin.execute(f"SET ROLE {role}")
        # The administrator and the owner have the right and are refused all the same; the others have no right.
        expected = "TB003" if role in ("postgres", Role.OWNER) else "42501"
        for table in ("log.events", "log.events_from_1"):
            for change in CHANGES:
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await admin.execute(change.format(table))
                assert refused.value.sqlstate == expected, (role, table, change)
        await admin.execute("RESET ROLE")
    assert await admin.fetchval("SELECT count(*) FROM log.events WHERE actor = 'key_test'") == 4


async def test_a_reader_sees_its_own_tenant_and_nothing_without_one(admin: Connection) -> None:
    for table in READABLE:
        count = f"SELECT count(DISTINCT tenant_id), min(tenant_id) FROM {table}"  # noqa: S608  from this file
        assert tuple(await admin.fetchrow(count) or ()) == (2, "acme"), table
        await admin.execute("SET ROLE tallybook_reader")
        assert tuple(await admin.fetchrow(count) or ()) == (0, None), table
        for tenant, seen in (("acme", (1, "acme")), ("other", (1, "other")), ("", (0, None)), ("nobody", (0, None))):
            await admin.execute("SELECT set_config('tallybook.tenant', $1, false)", tenant)
            assert tuple(await admin.fetchrow(count) or ()) == seen, (table, tenant)
        await admin.execute("RESET ALL; RESET ROLE")


async def test_every_tenant_table_has_forced_row_security(admin: Connection) -> None:
    rows = await admin.fetch(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid "
        "    AND a.attname IN ('tenant_id', 'partition_key', 'record_key', 'payload')) "
        "AND n.nspname IN ('log', 'vault', 'access', 'read', 'relay', 'ops', 'usage') AND c.relkind IN ('r', 'p') "
        "AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
    )
    assert [row[0] for row in rows] == []


async def test_a_reader_sees_the_held_keys_of_its_own_tenant_and_no_dead_letter(admin: Connection) -> None:
    for tenant in ("acme", "other"):
        await admin.execute(
            "INSERT INTO read.held_keys (projection, fold, partition_key, partition, since_position, error) "
            "VALUES ('billing', 1, $1, 0, 1, 'poison')",
            f"{tenant}:cus_1",
        )
    async with admin.transaction():
        await admin.execute("SET LOCAL ROLE tallybook_reader; SET LOCAL tallybook.tenant = 'acme'")
        assert [row[0] for row in await admin.fetch("SELECT partition_key FROM read.held_keys")] == ["acme:cus_1"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.fetch("SELECT * FROM ops.dead_letters")


OVERSTEPS = (
    (Role.READER, "INSERT INTO log.claims VALUES ('acme', 'k', 'v', 'o')"),
    (Role.READER, "INSERT INTO log.streams VALUES (1, 1, 'acme', 'customer', 'cus_1')"),
    (Role.READER, "SELECT log.make_partitions()"),
    (Role.RELAY, "SELECT * FROM vault.people"),
    (Role.RELAY, "SELECT * FROM log.command_results"),
    (Role.RELAY, "UPDATE log.head SET position = 0"),
    (Role.PROJECTOR, "SELECT * FROM vault.personal_data"),
    (Role.PROJECTOR, "DELETE FROM log.streams"),
    (Role.METERING, "SELECT * FROM log.events"),
    (Role.METERING, "SELECT * FROM vault.personal_data"),
    (Role.METERING, "INSERT INTO usage.closings SELECT * FROM usage.closings"),
    (Role.METERING, "DELETE FROM usage.aggregates"),
    (Role.READER, "UPDATE usage.checkpoints SET next_offset = 0"),
    (Role.WRITER, "UPDATE usage.aggregates SET n = 0"),
    (Role.WRITER, "DELETE FROM usage.closings"),
    (Role.WRITER, "DELETE FROM log.streams"),
    (Role.WRITER, "UPDATE log.command_results SET answer = NULL"),
    (Role.WRITER, "DELETE FROM log.command_results"),
    (Role.WRITER, "SELECT * FROM access.api_keys"),
    (Role.WRITER, "SELECT * FROM access.api_key_digests"),
    (Role.WRITER, "INSERT INTO access.memberships VALUES ('acme', 'user_1', 'ADMIN')"),
    (Role.WRITER, "SELECT access.keep_credential('{}')"),
    (Role.READER, "SELECT access.record('[]')"),
    (Role.READER, "SELECT * FROM access.api_key_digests"),
    (Role.READER, "SELECT * FROM access.passwords"),
    (Role.READER, "SELECT * FROM access.users"),
    (Role.PROJECTOR, "SELECT * FROM access.memberships"),
    (Role.ACCESS, "SELECT * FROM log.events"),
    (Role.ACCESS, "SELECT * FROM vault.people"),
    (Role.ACCESS, "UPDATE access.memberships SET role = 'ADMIN'"),
    (Role.WRITER, "CREATE TABLE log.mine (a int)"),
)


async def test_a_role_may_do_its_own_part_only(admin: Connection) -> None:
    for role, statement in OVERSTEPS:
        await admin.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute(statement)
        await admin.execute("RESET ROLE")
    rights = await admin.fetch(
        "SELECT r FROM unnest($1::text[]) AS r, pg_proc p "
        "WHERE p.pronamespace = 'log'::regnamespace AND p.proname = 'append' "
        "AND has_function_privilege(r, p.oid, 'EXECUTE')",
        list(Role),
    )
    assert [right[0] for right in rights] == [Role.OWNER, Role.WRITER]


async def test_an_api_key_is_found_by_its_hash_before_its_tenant_is_known(admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO access.tenants VALUES ('acme', 'Acme', 'live', now());"
        "INSERT INTO access.api_keys (key_id, tenant_id, prefix, name, scope, allowed_networks, created_at, "
        "revoked_at, expires_at) VALUES ('key_1', 'acme', 'tb_1', '', 'read', '{}', now(), NULL, NULL), "
        "('key_2', 'acme', 'tb_2', '', 'read', '{}', now(), now(), NULL), "
        "('key_3', 'acme', 'tb_3', '', 'read', '{}', now(), NULL, now());"
        "INSERT INTO access.api_key_digests VALUES "
        "('key_1', sha256('one')), ('key_2', sha256('two')), ('key_3', sha256('three'))"
    )
    await admin.execute("SET ROLE tallybook_reader")
    found = await admin.fetch("SELECT * FROM access.find_api_key(sha256('one'))")
    assert [tuple(row)[:6] for row in found] == [("key_1", "acme", "tb_1", "live", "read", False)]
    for over in ("two", "three"):
        assert await admin.fetch("SELECT * FROM access.find_api_key(sha256($1::bytea))", over.encode()) == []
    assert await admin.fetch("SELECT * FROM access.api_keys") == []


async def test_an_event_is_found_by_the_time_in_its_id_without_reading_the_log(
    database: FreshDatabase, admin: Connection
) -> None:
    writer = _writer(database)
    await asyncio.gather(
        *(writer.submit(request(Open(counter_id=f"many{n}", name=f"many {n}"), tenant_id="acme")) for n in range(3_000))
    )
    await writer.close()
    assert await admin.fetchval("SELECT count(*) FROM log.events") > 3000
    await admin.execute("VACUUM ANALYZE log.events")
    await admin.execute("SET ROLE tallybook_reader; SET tallybook.tenant = 'acme'")
    latest = await admin.fetchval("SELECT max(recorded_at) FROM log.events")
    plan = await admin.fetchval(f"EXPLAIN (FORMAT JSON) {BY_ID}", "acme", [], "evt_1", latest, latest)
    assert "events_from_1_recorded_at_idx" in plan, plan
