"""The auth log: what is noted comes to the table, once, in its tenant's rows; a flood costs no request and no disk."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from prometheus_client import REGISTRY

from domain.identity.auth_event import AuthEventKind
from domain.identity.permissions import Scope
from infra.database import Connection, Pool, Role, open_pool
from infra.identity.auth_log import AuthLog, keep_up
from infra.settings import AuthSettings, DatabaseSettings
from testing.api_client import Api, running_api
from testing.people import PAGE, PASSWORD, admin
from testing.services import FreshDatabase

FAILED = AuthEventKind.LOG_IN_FAILED


@pytest.fixture
async def pool(database: FreshDatabase) -> AsyncIterator[Pool]:
    opened = await open_pool(database.dsn, Role.ACCESS, DatabaseSettings())
    yield opened
    await opened.close()


@pytest.fixture
async def owner(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def rows(owner: Connection) -> list[tuple[object, ...]]:
    found = await owner.fetch("SELECT tenant_id, kind, times, address, code FROM access.auth_events ORDER BY address")
    return [tuple(row) for row in found]


def dropped(why: str) -> float:
    return REGISTRY.get_sample_value("tallybook_auth_log_dropped_total", {"why": why}) or 0.0


async def test_the_same_attempt_again_is_counted_and_another_one_is_another_row(pool: Pool, owner: Connection) -> None:
    log = AuthLog(pool, AuthSettings())
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        log.record(FAILED, tenant_id="acme", address=address, code="log_in_failed")
    assert await rows(owner) == [], "a request waits for nothing"
    await log.write()
    assert await rows(owner) == [
        ("acme", "log_in_failed", 2, "192.0.2.1", "log_in_failed"),
        ("acme", "log_in_failed", 1, "192.0.2.2", "log_in_failed"),
    ]


async def test_of_a_users_attempt_each_tenant_of_theirs_gets_to_know(pool: Pool, owner: Connection) -> None:
    await owner.execute(
        "INSERT INTO access.memberships VALUES ('acme', 'user_1', 'admin'), ('other', 'user_1', 'user')"
    )
    log = AuthLog(pool, AuthSettings())
    log.record(FAILED, user_id="user_1")
    log.record(FAILED, user_id="user_of_nobody")
    log.record(FAILED)
    await log.write()
    assert sorted(row[0] for row in await rows(owner)) == ["acme", "other", "platform", "platform"]  # type: ignore[type-var]


async def test_a_flood_is_cut_off_and_counted(pool: Pool, owner: Connection) -> None:
    log = AuthLog(pool, AuthSettings(log_queue_max=10))
    before = dropped("queue_full")
    for number in range(100):
        log.record(FAILED, address=f"192.0.2.{number}")
    await log.write()
    assert len(await rows(owner)) == 10
    assert dropped("queue_full") - before == 90


async def test_what_cannot_be_written_now_is_written_later(database: FreshDatabase, owner: Connection) -> None:
    pool = await open_pool(database.dsn, Role.ACCESS, DatabaseSettings())
    log = AuthLog(pool, AuthSettings())
    log.record(FAILED, address="192.0.2.1")
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
        "current_database()"
    )
    await log.write()  # a connection that is gone may be noticed or replaced; it is never an error
    log.record(FAILED, address="192.0.2.1")
    await log.write()
    await log.write()
    assert sum(row[2] for row in await rows(owner)) == 2  # type: ignore[misc]
    await pool.close()
    log.record(FAILED, address="192.0.2.1")
    await log.write()


async def test_what_a_client_says_of_itself_is_short_and_holds_no_address_or_card_number(
    pool: Pool, owner: Connection
) -> None:
    log = AuthLog(pool, AuthSettings())
    for agent in ("ada@example.com", "4242424242424242", "nul\x00\x1b[31m", "x" * 5_000):
        log.record(FAILED, user_agent=agent)
    await log.write()
    found = [row[0] for row in await owner.fetch("SELECT user_agent FROM access.auth_events")]
    assert sorted(found) == ["[masked]", "nul??[31m", "x" * 200]


async def test_nobody_changes_a_row_and_a_reader_sees_its_own_tenants(pool: Pool, owner: Connection) -> None:
    log = AuthLog(pool, AuthSettings())
    for tenant_id in ("acme", "other"):
        log.record(FAILED, tenant_id=tenant_id)
        log.key_used(f"key_{tenant_id}", tenant_id)
    await log.write()
    month = await owner.fetchval("SELECT tableoid::regclass::text FROM access.auth_events LIMIT 1")
    for role in ("postgres", *Role):
        await owner.execute(f"SET ROLE {role}")
        expected = "TB003" if role in ("postgres", Role.OWNER) else "42501"
        for table in ("access.auth_events", month):
            for change in ("UPDATE {} SET code = ''", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await owner.execute(change.format(table))
                assert refused.value.sqlstate == expected, (role, table, change)
    await owner.execute("SET ROLE tallybook_reader")
    for table in ("access.auth_events", "access.api_key_uses"):
        count = f"SELECT count(*), min(tenant_id) FROM {table}"  # noqa: S608  from this file
        for tenant, seen in (("acme", (1, "acme")), ("other", (1, "other")), ("", (0, None))):
            await owner.execute("SELECT set_config('tallybook.tenant', $1, false)", tenant)
            assert tuple(await owner.fetchrow(count) or ()) == seen, (table, tenant)


async def test_months_are_made_ahead_and_go_when_they_are_over_for_long_enough(pool: Pool, owner: Connection) -> None:
    await owner.execute(
        "CREATE TABLE access.auth_events_2020_01 PARTITION OF access.auth_events "
        "FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');"
        "ALTER TABLE access.auth_events_2020_01 OWNER TO tallybook_owner;"
        "INSERT INTO access.auth_events (event_id, happened_at, tenant_id, kind, times) "
        "VALUES ('aev_old', '2020-01-15Z', 'acme', 'log_in_failed', 1)"
    )
    log = AuthLog(pool, AuthSettings())
    log.record(FAILED, tenant_id="acme")
    await log.write()
    since = await owner.fetchval("SELECT (now()::date - '2020-02-01'::date)")
    assert await keep_up(pool, keep_days=since + 1) == 0
    assert await keep_up(pool, keep_days=since - 1) == 1
    assert len(await rows(owner)) == 1
    months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'access.auth_events'::regclass"
    assert await owner.fetchval(months) == 3
    await owner.execute("SELECT access.make_auth_partitions(5)")
    assert await owner.fetchval(months) == 6


async def test_a_month_without_a_partition_is_made_when_it_is_written_to(pool: Pool, owner: Connection) -> None:
    for name in await owner.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'access.auth_events'::regclass"
    ):
        await owner.execute(f"DROP TABLE {name[0]}")
    log = AuthLog(pool, AuthSettings())
    log.record(FAILED, tenant_id="acme")
    await log.write()
    assert len(await rows(owner)) == 1


async def test_a_refused_request_is_told_with_its_reason_and_a_used_key_with_its_time(
    database: FreshDatabase, owner: Connection
) -> None:
    async with running_api(database) as api:
        reads = await api.tenant("acme", scope=Scope.READ)
        assert (await reads.post("/v1/products", {"name": "P"})).status_code == 403
        assert (await reads.get("/v1/products", Authorization="Bearer nonsense")).status_code == 401
        assert (await reads.get("/v1/products", **{"X-Tenant-ID": "other"})).status_code == 403
        assert (await owner.fetchval("SELECT count(*) FROM access.api_key_uses")) == 0
        assert (await reads.get("/v1/products")).status_code == 200
        await api.parts.auth_log.write()
        told = {(row[0], row[1], row[4]) for row in await rows(owner)}
        assert told == {
            ("acme", "request_refused", "permission_denied"),
            ("acme", "request_refused", "tenant_mismatch"),
            ("platform", "request_refused", "unauthenticated"),
        }
        assert await _uses(api, owner) == 1


async def test_a_failed_log_in_is_one_row_in_each_tenant_of_its_user_and_where_sessions_begin_is_told(
    database: FreshDatabase, owner: Connection
) -> None:
    async with running_api(database) as api:
        for tenant in ("acme", "other"):
            await admin(api, "ada@example.com", tenant=tenant)
        body = {"email": "ada@example.com", "kind": "browser"}
        for password in ("wrong", PASSWORD):
            await api.http.post("/v1/auth/login", json={**body, "password": password}, headers=PAGE)
        await api.parts.auth_log.write()
        told = sorted((str(row[0]), str(row[1]), str(row[4])) for row in await rows(owner))
        assert told == [
            ("acme", "log_in_failed", "wrong_credentials"),
            ("acme", "logged_in", "None"),
            ("other", "log_in_failed", "wrong_credentials"),
            ("other", "logged_in", "None"),
        ]


async def _uses(api: Api, owner: Connection) -> int:
    await api.parts.auth_log.write()
    found: int = await owner.fetchval(
        "SELECT count(*) FROM access.api_key_uses WHERE used_at > now() - interval '1 hour'"
    )
    return found
