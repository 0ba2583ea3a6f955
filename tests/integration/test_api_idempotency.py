"""One request, one effect, one answer: however often it is sent, at once or later, to one process or two."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testing.api_client import Api, Client, running_api
from testing.processors_cell import until
from testing.services import FreshDatabase
from tests.lengths import LENGTH


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


AMOUNT = {"amount": 1999, "currency": "EUR"}
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/products", {"name": "P"}),
    ("POST", "/v1/customers", {"name": "Ada", "currency": "EUR"}),
    ("POST", "/v1/customers", {"currency": "EUR", "external_id": "the-same"}),
    ("POST", "/v1/customers", {"currency": "EUR", "time_zone": "Nowhere/Land"}),
    ("POST", "/v1/payments", {"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7", "amount": AMOUNT}),
    ("DELETE", "/v1/customers/cus_01m7ywe9z7e398x54gfbrtqnk7", {}),
]


@settings(max_examples=LENGTH.scaled(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(REQUESTS), st.integers(0, 3)), min_size=1, max_size=12))
async def test_a_key_has_one_answer_for_ever(
    api: Api, client: Client, steps: list[tuple[tuple[str, str, dict[str, Any]], int]]
) -> None:
    """Any sequence of requests under few keys: the first under a key decides; repeats repeat it; others are refused."""
    run = uuid.uuid4().hex
    first: dict[int, tuple[tuple[str, str, dict[str, Any]], bytes, str]] = {}
    for request, number in steps:
        method, path, body = request
        before = await api.head()
        response = await client.send(method, path, body, idempotency_key=f"{run}-{number}")
        known = first.get(number)
        if known is None:
            assert "idempotent-replayed" not in response.headers
            first[number] = (request, response.content, response.headers["ledger-position"])
        elif known[0] == request:
            assert response.content == known[1]
            assert response.headers["idempotent-replayed"] == "true"
            assert response.headers["ledger-position"] == known[2]
            assert await api.head() == before
        else:
            assert response.status_code == 422
            assert response.json()["code"] == "idempotency_key_reused"
            assert await api.head() == before


async def test_repeats_at_once_have_one_effect(api: Api, client: Client) -> None:
    """In one process the others are told that the first is being done."""
    body = {"name": "Ada", "currency": "EUR"}
    for _ in range(10):
        key = uuid.uuid4().hex
        before = await api.head()
        answers = await asyncio.gather(*(client.post("/v1/customers", body, idempotency_key=key) for _ in range(8)))
        assert await api.head() == before + 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        made = {answer.content for answer in answers if answer.status_code == 201}
        assert len(made) == 1
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["code"] == "idempotency_key_in_flight"
        assert (await client.post("/v1/customers", body, idempotency_key=key)).content in made


async def test_repeats_to_two_processes_at_once_have_one_effect(api: Api, client: Client) -> None:
    """Two APIs on one database: the store decides, and both give the same bytes."""
    async with running_api(api.database) as second:
        twin = Client(http=second.http, key=client.key, tenant_id=client.tenant_id, parts=second.parts)
        body = {"name": "Ada", "currency": "EUR"}
        for _ in range(10):
            key = uuid.uuid4().hex
            before = await api.head()
            answers = await asyncio.gather(
                client.post("/v1/customers", body, idempotency_key=key),
                twin.post("/v1/customers", body, idempotency_key=key),
            )
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].content == answers[1].content
            assert await api.head() == before + 1


async def test_a_repeat_says_so_after_a_restart_and_on_a_connection_that_breaks(api: Api, client: Client) -> None:
    """A command that changes nothing any more renders the very bytes that are stored: still they are the first's."""
    product = await client.made("/v1/products", {"name": "P"})
    path, key = f"/v1/products/{product['id']}/archive", uuid.uuid4().hex
    first = await client.post(path, idempotency_key=key)
    assert "idempotent-replayed" not in first.headers
    async with running_api(api.database) as restarted:
        again = Client(http=restarted.http, key=client.key, tenant_id=client.tenant_id, parts=restarted.parts)
        async with log_held(api.database) as connection:
            waiting = asyncio.create_task(again.post(path, idempotency_key=key))
            await end_whoever_waits(connection)
        broken = await waiting
        for repeat in (broken, await again.post(path, idempotency_key=key)):
            assert (repeat.status_code, repeat.content) == (200, first.content)
            assert repeat.headers["idempotent-replayed"] == "true"


@contextlib.asynccontextmanager
async def log_held(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The log's head is locked: whoever appends waits. Yields another connection."""
    holder, other = await asyncpg.connect(database.dsn), await asyncpg.connect(database.dsn)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM log.head FOR UPDATE")
            yield other
    finally:
        await holder.close()
        await other.close()


async def end_whoever_waits(connection: asyncpg.Connection) -> None:
    """Wait for an append, and end its connection in the middle of it, as a server that restarts does."""

    async def ended() -> bool:
        return bool(
            await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%log.append%'"
            )
        )

    await until(ended, "an append that waits")


async def test_the_same_body_in_other_words_is_the_same_request(api: Api, client: Client) -> None:
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    bodies = [b'{"name":"P","description":"D"}', b' {"description" : "D",\n "name" : "\\u0050"} ']
    answers = [await api.http.post("/v1/products", content=body, headers=headers) for body in bodies]
    assert answers[0].content == answers[1].content
    elsewhere = await api.http.post("/v1/plans", content=bodies[0], headers=headers)
    assert elsewhere.status_code == 422


async def test_tenants_do_not_share_keys(api: Api, client: Client) -> None:
    other = await api.tenant("other")
    mine = await client.post("/v1/products", {"name": "P"}, idempotency_key="k")
    theirs = await other.post("/v1/products", {"name": "P"}, idempotency_key="k")
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("key", ["", " ", "ä", "x" * 256, "a b"])
async def test_a_key_has_a_form(api: Api, client: Client, key: str) -> None:
    headers = {b"Authorization": f"Bearer {client.key}".encode(), b"Idempotency-Key": key.encode("latin-1")}
    response = await api.http.post("/v1/products", json={"name": "P"}, headers=headers)
    assert response.status_code == 400


async def test_a_command_without_a_key_is_refused(api: Api, client: Client) -> None:
    headers = {"Authorization": f"Bearer {client.key}"}
    before = await api.head()
    response = await api.http.post("/v1/products", json={"name": "P"}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_missing")
    assert await api.head() == before


async def test_what_became_of_a_command_is_told_by_its_key(client: Client) -> None:
    accepted = await client.post("/v1/products", {"name": "P"}, idempotency_key="order/1:a")
    refused = await client.post("/v1/products/prod_01m7ywe9z7e398x54gfbrtqnk7/archive", {}, idempotency_key="no")
    assert refused.status_code == 404
    told = (await client.get("/v1/commands/order/1:a")).json()
    assert told["status"] == "accepted"
    assert str(told["position"]) == accepted.headers["ledger-position"]
    assert (await client.get("/v1/commands/no")).json()["code"] == "product_not_found"
    assert (await client.get("/v1/commands/never")).status_code == 404
