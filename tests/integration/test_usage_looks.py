"""Looks at customers' meters: made of what was counted, leased, and gone once nothing was touched since."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from domain.customers.customer import ON_CLOCK, ON_CLOCK_SEPARATOR
from infra.database import Role
from testing.services import FreshDatabase
from usage.looks import NO_EARLIER, Look, ask, claim, done, gather, later, wake
from usage.partials import Connection

LEASE_MS = 60_000
SERIES = {b"ada/1": ("cus_ada", "mtr_1"), b"ada/2": ("cus_ada", "mtr_1"), b"bob/1": ("cus_bob", "mtr_1")}
ADA, BOB = Look("acme", "cus_ada", "mtr_1", 5, 1), Look("acme", "cus_bob", "mtr_1", 9, 1)


@pytest.fixture
async def writer(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn, server_settings={"role": Role.WRITER.value})
    owner = await asyncpg.connect(database.dsn)
    for series, (customer_id, meter_id) in SERIES.items():
        statement = "INSERT INTO usage.series VALUES ($1, 'acme', $2, $3, 1, ARRAY[$4], 0)"
        await owner.execute(statement, series, customer_id, meter_id, series.decode())
    await owner.close()
    yield connection
    await connection.close()


async def touch(database: FreshDatabase, **buckets: int) -> None:
    """As an aggregator notes a poll."""
    connection = await asyncpg.connect(database.dsn, server_settings={"role": Role.METERING.value})
    names = [name.replace("_", "/").encode() for name in buckets]
    statement = "INSERT INTO usage.touched (series, first_buckets) VALUES ($1, $2)"
    await connection.execute(statement, names, list(buckets.values()))
    await connection.close()


async def claimed(writer: Connection, lease_ms: int = LEASE_MS) -> list[Look]:
    return sorted(await claim(writer, limit=10, lease_ms=lease_ms))


async def test_a_customers_meter_is_looked_at_once_however_often_it_was_touched(
    database: FreshDatabase, writer: Connection
) -> None:
    await touch(database, ada_1=7, ada_2=5, bob_1=9)
    await touch(database, ada_1=8)
    assert await gather(writer) == 2
    assert await gather(writer) == 0
    assert await claimed(writer) == [ADA, BOB]
    assert await claimed(writer) == [], "they are leased"
    await done(writer, [ADA, BOB])
    assert await writer.fetchval("SELECT count(*) FROM usage.looks") == 0


async def test_what_is_touched_while_somebody_looks_is_looked_at_again(
    database: FreshDatabase, writer: Connection
) -> None:
    await touch(database, ada_1=5, bob_1=9)
    await gather(writer)
    looks = await claimed(writer)
    await touch(database, ada_2=6)
    await gather(writer)
    assert await claimed(writer) == []
    await done(writer, looks)
    assert await claimed(writer) == [ADA._replace(touches=2)]


async def test_a_look_of_who_died_is_anothers_once_its_lease_is_over(
    database: FreshDatabase, writer: Connection
) -> None:
    await touch(database, bob_1=9)
    await gather(writer)
    assert await claimed(writer, lease_ms=0) == [BOB]
    assert await claimed(writer) == [BOB]


async def test_what_is_put_off_waits_unless_something_is_counted(database: FreshDatabase, writer: Connection) -> None:
    await touch(database, ada_1=5, bob_1=9)
    await gather(writer)
    await later(writer, {each._replace(first_bucket=11): LEASE_MS for each in await claimed(writer)})
    assert await claimed(writer) == []
    await touch(database, bob_1=12)
    await gather(writer)
    assert await claimed(writer) == [BOB._replace(touches=2, first_bucket=11)], "from where it was looked at last"


async def test_what_is_asked_for_while_somebody_looks_is_not_put_off(
    database: FreshDatabase, writer: Connection
) -> None:
    await touch(database, bob_1=9)
    await gather(writer)
    looks = await claimed(writer)
    await touch(database, bob_1=12)
    await gather(writer)
    await later(writer, {each._replace(first_bucket=11): LEASE_MS for each in looks})
    assert await claimed(writer) == [BOB._replace(touches=2)]


async def test_a_test_clock_that_moves_wakes_the_looks_of_its_customers(
    database: FreshDatabase, writer: Connection
) -> None:
    claim_of = "INSERT INTO log.claims (tenant_id, kind, value, owner) VALUES ('acme', $1, $2, $3)"
    await writer.execute(claim_of, ON_CLOCK, f"clock_1{ON_CLOCK_SEPARATOR}cus_ada", "cus_ada")
    await touch(database, ada_1=5, bob_1=9)
    await gather(writer)
    await later(writer, dict.fromkeys(await claimed(writer), LEASE_MS))
    await wake(writer, "acme", clock_id="clock_2")
    await wake(writer, "other", clock_id="clock_1")
    assert await claimed(writer) == []
    await wake(writer, "acme", clock_id="clock_1")
    assert await claimed(writer) == [ADA._replace(touches=2)]


async def test_what_was_ever_counted_of_a_customer_is_asked_for(writer: Connection) -> None:
    await ask(writer, "acme", customer_id="cus_bob", meter_ids=None, first_bucket=NO_EARLIER)
    assert await claimed(writer) == [BOB._replace(first_bucket=NO_EARLIER)]
    await ask(writer, "acme", customer_id=None, meter_ids=["mtr_2"], first_bucket=NO_EARLIER)
    await ask(writer, "acme", customer_id=None, meter_ids=[], first_bucket=NO_EARLIER)
    await ask(writer, "other", customer_id=None, meter_ids=None, first_bucket=NO_EARLIER)
    assert await claimed(writer) == []
    await ask(writer, "acme", customer_id=None, meter_ids=["mtr_1", "mtr_2"], first_bucket=NO_EARLIER)
    assert await claimed(writer) == [ADA._replace(first_bucket=NO_EARLIER)], "Bob's is leased"
