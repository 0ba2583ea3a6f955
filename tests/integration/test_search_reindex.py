"""The search index made anew: after any damage, beside everything else, from wherever it was broken off."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import asyncpg
import pytest

from infra import search_index
from infra.database import Role, open_pool
from infra.search_index import Remade, remake_people, remake_texts
from infra.vault import Vault
from testing.api_client import Client, project, running_api
from testing.services import FreshDatabase

DAMAGES = {
    "gone": "DELETE FROM vault.search_terms",
    "of another master key": "UPDATE vault.search_terms SET digest = digest # 255",
    "of somebody else": """
        UPDATE vault.search_terms s SET person_id = (
            SELECT min(p.person_id) FROM vault.people p WHERE p.tenant_id = s.tenant_id AND p.person_id <> s.person_id)
        WHERE s.digest % 2 = 0 AND NOT EXISTS (
            SELECT FROM vault.search_terms t WHERE t.tenant_id = s.tenant_id AND t.digest = s.digest
                AND t.person_id <> s.person_id)""",
    "too many": "INSERT INTO vault.search_terms SELECT tenant_id, 7, person_id FROM vault.people",
}


@pytest.fixture
async def client(database: FreshDatabase) -> AsyncIterator[Client]:
    async with running_api(database) as api:
        yield await api.tenant("acme")


async def customer(client: Client, name: str, number: int) -> str:
    made = await client.made(
        "/v1/customers", {"name": f"{name} Number{number}", "email": f"{name}{number}@example.com", "currency": "EUR"}
    )
    return str(made["id"])


async def found(client: Client, q: str) -> set[str]:
    response = await client.get(f"/v1/search?q={quote(q, safe='')}")
    assert response.status_code == 200, response.text
    return {each["id"] for each in response.json()["data"]}


async def terms(dsn: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch("SELECT * FROM vault.search_terms ORDER BY tenant_id, digest, person_id")
    finally:
        await connection.close()


async def damage(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def remake(client: Client, database: FreshDatabase, vault: Vault | None = None) -> Remade:
    pool = await open_pool(database.dsn, Role.OWNER, client.parts.settings.database)
    try:
        return await remake_people(pool, vault or client.parts.vault, progress=lambda _done, _total: None)
    finally:
        await pool.close()


@pytest.mark.parametrize("kind", DAMAGES)
async def test_whatever_has_become_of_the_index_it_is_as_it_was(
    client: Client, database: FreshDatabase, kind: str
) -> None:
    people = [await customer(client, "Ada", number) for number in range(5)]
    before = await terms(database.dsn)
    assert (await remake(client, database)) == Remade(people=5, changed=0)
    await damage(database.dsn, DAMAGES[kind])
    assert await terms(database.dsn) != before
    remade = await remake(client, database)
    assert remade.changed > 0
    assert remade.unreadable == []
    assert await terms(database.dsn) == before
    assert await found(client, "Number3") == {people[3]}
    assert (await remake(client, database)).changed == 0, "a second time there is nothing to do"


async def test_whoever_was_erased_is_not_found_again_and_users_are_no_customers(
    client: Client, database: FreshDatabase
) -> None:
    gone, stays = await customer(client, "Ada", 1), await customer(client, "Ada", 2)
    assert (await client.post(f"/v1/customers/{gone}/erase")).status_code == 200
    await damage(database.dsn, DAMAGES["gone"])
    assert (await remake(client, database)) == Remade(people=1, changed=1)
    assert await found(client, "Ada") == {stays}


async def test_names_that_change_meanwhile_are_found_as_they_are_then(
    client: Client, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API serves; people are renamed, made and erased while all are made anew, three at a time."""
    monkeypatch.setattr(search_index, "READ_AT_ONCE", 3)
    monkeypatch.setattr(search_index, "WRITTEN_AT_ONCE", 2)
    people = [await customer(client, "Ada", number) for number in range(12)]
    names = dict.fromkeys(people, "Ada")
    is_over = False

    async def rename() -> None:
        number = 0
        while not is_over or number < len(people):
            person, name = people[number % len(people)], f"Grace{number}"
            changed = await client.send("PATCH", f"/v1/customers/{person}", {"name": name})
            assert changed.status_code == 200, changed.text
            names[person] = name
            number += 1

    renaming = asyncio.create_task(rename())
    for _ in range(3):
        await damage(database.dsn, DAMAGES["of another master key"])
        await remake(client, database)
    is_over = True
    await renaming
    for person, name in names.items():
        assert await found(client, name) == {person}
    assert (await remake(client, database)).changed == 0


async def test_it_is_begun_again_where_it_was_broken_off(
    client: Client, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "READ_AT_ONCE", 2)
    for number in range(6):
        await customer(client, "Ada", number)
    before = await terms(database.dsn)
    await damage(database.dsn, DAMAGES["gone"])

    def killed(done: int, _total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    pool = await open_pool(database.dsn, Role.OWNER, client.parts.settings.database)
    try:
        with pytest.raises(KeyboardInterrupt):
            await remake_people(pool, client.parts.vault, progress=killed)
    finally:
        await pool.close()
    assert (await remake(client, database)) == Remade(people=6, changed=2)
    assert await terms(database.dsn) == before


async def test_whom_this_master_key_does_not_open_stays_as_they_were_and_is_named(
    client: Client, database: FreshDatabase
) -> None:
    person = await customer(client, "Ada", 1)
    before = await terms(database.dsn)
    remade = await remake(client, database, Vault(bytes(32)))
    assert remade == Remade(people=1, changed=0, unreadable=[f"acme/{person}"])
    assert await terms(database.dsn) == before


PRODUCTS = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'read' AND c.relkind = 'r' AND c.relname LIKE 'products%'
"""
LEFT = "CREATE INDEX left_ccnew ON {} USING gin (to_tsvector('simple', name))"
"""As a run leaves it that was killed: not valid."""


async def test_indexes_of_texts_are_made_anew_and_what_a_broken_run_left_is_dropped(
    client: Client, database: FreshDatabase
) -> None:
    product = await client.made("/v1/products", {"name": "Fibre to the home"})
    await project(database, client.parts.settings)
    pool = await open_pool(database.dsn, Role.OWNER, client.parts.settings.database)
    try:
        async with pool.acquire() as connection:
            await connection.execute(LEFT.format(await connection.fetchval(PRODUCTS)))
        await damage(
            database.dsn, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'read.left_ccnew'::regclass"
        )
        async with pool.acquire() as connection:
            remade = await remake_texts(connection)
            assert len(remade) >= 3
            assert await connection.fetchval("SELECT to_regclass('read.left_ccnew')") is None
            assert await remake_texts(connection) == remade
    finally:
        await pool.close()
    assert str(product["id"]) in await found(client, "fibre")
