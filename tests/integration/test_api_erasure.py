"""After an erasure nothing that is stored can be read as the person's, and repeats of old requests say so."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

NAME = "Zebedee Quillfeather"
EMAIL = "zebedee.quillfeather@example.com"
PERSON = {
    "name": NAME,
    "email": EMAIL,
    "metadata": {"note": "likes Quillfeather tea"},
    "address": {"line1": "1 Quillfeather Lane"},
    "currency": "EUR",
}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def everything_stored(database: FreshDatabase) -> bytes:
    """Every row of every table, as text, and byte columns as they are."""
    connection = await asyncpg.connect(database.dsn)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS place FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        found: list[bytes] = []
        for table in tables:
            for row in await connection.fetch(f"SELECT * FROM {table['place']}"):  # noqa: S608  the catalogue's names
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
        return b"\n".join(found)
    finally:
        await connection.close()


async def test_personal_data_is_never_stored_in_the_clear(api: Api, client: Client) -> None:
    made = await client.made("/v1/customers", PERSON)
    await client.send("PATCH", f"/v1/customers/{made['id']}", {"phone": "+44 20 7946 0958"})
    await client.post(f"/v1/customers/{made['id']}/default-payment-method", {"payment_method": None})
    await project(api.database, api.parts.settings)
    stored = await everything_stored(api.database)
    assert b"Quillfeather" not in stored
    assert b"quillfeather" not in stored
    assert b"7946 0958" not in stored
    assert b"79460958" not in stored


async def test_after_an_erasure_old_answers_are_gone_and_new_ones_hold_nothing(api: Api, client: Client) -> None:
    created = await client.post("/v1/customers", PERSON, idempotency_key="create")
    customer_id = created.json()["id"]
    updated = await client.send("PATCH", f"/v1/customers/{customer_id}", {"phone": "123 456"}, idempotency_key="update")
    assert updated.json()["name"] == NAME
    again = await client.post("/v1/customers", PERSON, idempotency_key="create")
    assert again.content == created.content
    erased = await client.post(f"/v1/customers/{customer_id}/erase", idempotency_key="erase")
    assert erased.status_code == 200
    assert erased.json()["name"] is None
    assert erased.json()["metadata"] == {}
    assert erased.json()["erased_at"] is not None

    for repeat in (
        await client.post("/v1/customers", PERSON, idempotency_key="create"),
        await client.send("PATCH", f"/v1/customers/{customer_id}", {"phone": "123 456"}, idempotency_key="update"),
    ):
        assert (repeat.status_code, repeat.json()["code"]) == (410, "personal_data_erased")
    repeat = await client.post(f"/v1/customers/{customer_id}/erase", idempotency_key="erase")
    assert repeat.content == erased.content

    await project(api.database, api.parts.settings)
    shown = await client.get(f"/v1/customers/{customer_id}")
    assert shown.json() == erased.json()
    for path in (f"/v1/customers/{customer_id}/timeline", "/v1/customers", "/v1/events"):
        assert "uillfeather" not in (await client.get(path)).text
    refused = await client.send("PATCH", f"/v1/customers/{customer_id}", {"name": "Back"})
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_deleted")
    async with api.parts.reader.of("acme") as connection:
        assert await connection.fetchval("SELECT count(*) FROM vault.people") == 0
        assert await connection.fetchval("SELECT count(*) FROM vault.personal_data") == 0


async def test_a_person_erased_while_a_change_is_on_its_way_stays_erased(api: Api, client: Client) -> None:
    """Whatever order they land in, the change is refused or erased with the rest."""
    for _ in range(10):
        customer = await client.made("/v1/customers", PERSON)
        path = f"/v1/customers/{customer['id']}"
        change, erasure = await asyncio.gather(
            client.send("PATCH", path, {"name": "Changed"}), client.post(f"{path}/erase")
        )
        assert erasure.status_code == 200, erasure.text
        assert change.status_code in (200, 409), change.text
    async with api.parts.reader.of("acme") as connection:
        assert await connection.fetchval("SELECT count(*) FROM vault.people") == 0
