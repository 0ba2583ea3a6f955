"""Who may ask, how often, and what every answer has, whatever was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from starlette.types import Message

from cli.api_keys import create_key, revoke_key
from cli.tenants import reactivate_tenant, suspend_tenant
from infra.event_store.port import Outcome, Rehearsed, Request
from infra.settings import ApiSettings
from testing.api_client import Api, Client, running_api
from testing.services import FreshDatabase

PATIENCE_S = 30.0
LATEST = "SELECT correlation_id FROM log.events ORDER BY position DESC LIMIT 1"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer tbk_test_aaaaaaaa_" + "a" * 52,
        "Bearer tbk_live_aaaaaaaa_" + "a" * 52,
        "Bearer tbk_aaaaaaaa_" + "a" * 52,
        "Bearer " + "x" * 5_000,
        "Bearer tbk_\u00e4",
    ],
)
async def test_without_a_valid_key_nothing_is_told(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
    response = await api.http.get("/v1/customers", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_decides_the_tenant(api: Api, client: Client) -> None:
    own = await client.send("POST", "/v1/products", {"name": "P"}, headers={"X-Tenant-ID": "acme"})
    assert own.status_code == 201
    other = await client.send("POST", "/v1/products", {"name": "P"}, headers={"X-Tenant-ID": "other"})
    assert other.status_code == 403
    assert other.json()["code"] == "tenant_mismatch"


async def test_only_a_digest_of_a_key_is_stored(api: Api, client: Client) -> None:
    rows = await api.parts.reader.pool.fetch("SELECT current_user")
    assert rows[0][0] == "tallybook_reader"
    async with api.parts.reader.of("acme") as connection:
        stored = await connection.fetch("SELECT * FROM access.api_keys")
    assert len(stored) == 1
    secret = client.key.rsplit("_", 1)[1]
    assert secret not in str([dict(row) for row in stored])


async def until_answered(client: Client, status: int) -> None:
    """Ask for a change until the answer has this status: what was found is believed until the change is heard."""
    async with asyncio.timeout(PATIENCE_S):
        while (await client.post("/v1/products", {"name": "P"})).status_code != status:
            await asyncio.sleep(0.01)


async def test_what_changes_of_keys_and_tenants_is_heard_by_every_process(database: FreshDatabase) -> None:
    """However long what was found would be believed."""
    believing = ApiSettings(key_cache_s=86_400, anonymous_rate_per_min=100_000)
    async with running_api(database, believing) as one, running_api(database, believing) as other:
        dsn, settings = database.dsn, one.parts.settings
        first = await one.tenant("acme")
        key = await create_key(dsn, settings, tenant_id="acme")
        clients = [Client(http=api.http, key=key.secret, tenant_id="acme", parts=api.parts) for api in (one, other)]
        for client in clients:
            assert (await client.post("/v1/products", {"name": "P"})).status_code == 201
        await suspend_tenant(dsn, settings, tenant_id="acme", reason="unpaid")
        for client in clients:
            await until_answered(client, 403)
            refused = await client.post("/v1/products", {"name": "P"})
            assert refused.json()["code"] == "tenant_suspended"
            assert (await client.get("/v1/products")).status_code == 200, "suspending stops commands, not reads"
        await reactivate_tenant(dsn, settings, tenant_id="acme")
        for client in clients:
            await until_answered(client, 201)
        assert await revoke_key(dsn, settings, key_id=key.key_id)
        for client in clients:
            await until_answered(client, 401)
        assert (await first.post("/v1/products", {"name": "P"})).status_code == 201


async def test_a_key_works_until_it_expires_however_long_it_is_believed(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(key_cache_s=86_400, anonymous_rate_per_min=100_000)) as api:
        await api.tenant("acme")
        key = await create_key(database.dsn, api.parts.settings, tenant_id="acme")
        connection = await asyncpg.connect(database.dsn)
        await connection.execute("UPDATE access.api_keys SET expires_at = clock_timestamp() + interval '1 second'")
        await connection.close()
        await until_answered(Client(http=api.http, key=key.secret, tenant_id="acme", parts=api.parts), 401)


async def test_a_revoked_key_is_refused_once_the_cache_has_forgotten_it(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(key_cache_s=0, anonymous_rate_per_min=1_000)) as api:
        client = await api.tenant("acme")
        second = await create_key(database.dsn, api.parts.settings, tenant_id="acme")
        assert (await client.post("/v1/products", {"name": "P"})).status_code == 201
        with_second = Client(http=api.http, key=second.secret, tenant_id="acme", parts=api.parts)
        assert (await with_second.post("/v1/products", {"name": "P"})).status_code == 201
        assert await revoke_key(database.dsn, api.parts.settings, key_id=second.key_id)
        assert (await with_second.post("/v1/products", {"name": "P"})).status_code == 401
        assert (await client.post("/v1/products", {"name": "P"})).status_code == 201
        assert not await revoke_key(database.dsn, api.parts.settings, key_id=second.key_id)


async def test_an_address_without_a_key_may_ask_so_often_and_no_more(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(anonymous_rate_per_min=3)) as api:
        for remaining in (2, 1, 0):
            response = await api.http.get("/openapi.json")
            assert response.status_code == 200
            assert response.headers["ratelimit"].startswith(f'"address";r={remaining};')
        for _ in range(2):
            refused = await api.http.get("/v1/customers", headers={"Authorization": "Bearer guess"})
            assert refused.status_code == 429
            assert refused.json()["code"] == "rate_limited"
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["ratelimit-policy"] == '"address";q=3;w=60'
        assert (await api.http.get("/health/live")).status_code == 200, "probes are never turned away"
        client = await api.tenant("acme")
        again = await client.post("/v1/products", {"name": "P"})
        assert again.status_code == 429, "an unknown key is a guess until it was found"


async def test_a_key_may_ask_so_often_and_no_more(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(writes_per_hour=2)) as api:
        client = await api.tenant("acme")
        statuses = [(await client.post("/v1/products", {"name": "P"})).status_code for _ in range(3)]
        assert statuses == [201, 201, 429]
        other = await api.tenant("other")
        assert (await other.post("/v1/products", {"name": "P"})).status_code == 201


async def test_processes_keep_a_keys_limit_together(database: FreshDatabase) -> None:
    few = ApiSettings(reads_per_hour=10, anonymous_rate_per_min=100_000)
    async with running_api(database, few) as one, running_api(database, few) as other:
        client = await one.tenant("acme")
        beside = Client(http=other.http, key=client.key, tenant_id="acme", parts=other.parts)
        answers = [await each.get("/v1/products") for _ in range(8) for each in (client, beside)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 6
        assert answers[9].headers["ratelimit"].startswith('"read";r=0;')
        assert answers[0].headers["ratelimit-policy"] == '"read";q=10;w=3600'
        assert (await client.post("/v1/products", {"name": "P"})).status_code == 201, "a change is of another class"


async def test_what_comes_to_no_operation_counts_as_a_read(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(reads_per_hour=4, anonymous_rate_per_min=100_000)) as api:
        client = await api.tenant("acme")
        assert (await client.get("/v1/nothing")).status_code == 404
        assert (await client.send("PUT", "/v1/customers", {})).status_code == 405
        assert (await client.send("GET", "/v1/products", headers={"X-Tenant-ID": "other"})).status_code == 403
        assert (await client.get("/v1/products")).status_code == 200
        for path in ("/v1/nothing", "/v1/products"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            assert int(refused.headers["retry-after"]) >= 1
        assert (await client.post("/v1/products", {"name": "P"})).status_code == 201


async def test_every_answer_has_its_id_and_its_security_headers(api: Api, client: Client) -> None:
    for path in ("/v1/customers/cus_x", "/nowhere", "/openapi.json", "/health/live", "/docs", "/problems"):
        response = await client.get(path)
        assert response.headers["x-request-id"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["tallybook-version"] == "2026-11-21"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers
        assert "x-powered-by" not in response.headers


async def test_a_request_id_is_taken_up_and_stands_in_the_log(api: Api, client: Client) -> None:
    response = await client.send("POST", "/v1/products", {"name": "P"}, headers={"X-Request-Id": "trace-42"})
    assert response.headers["x-request-id"] == "trace-42"
    async with api.parts.reader.of("acme") as connection:
        assert await connection.fetchval(LATEST) == "trace-42"
    for bad in ("a b", "x" * 65, "{}"):
        refused = await client.send("POST", "/v1/products", {"name": "P"}, headers={"X-Request-Id": bad})
        assert refused.status_code == 400
        assert bad not in refused.text


async def test_a_request_id_that_may_be_a_card_number_is_replaced(client: Client) -> None:
    """An id of 16 digits may look like one by chance, so it is no reason to refuse; but it would stand in logs."""
    for sent in ("4242424242424242", "4242-4242-4242-4242"):
        made = await client.send("POST", "/v1/products", {"name": "P"}, headers={"X-Request-Id": sent})
        assert made.status_code == 201
        assert made.headers["x-request-id"].startswith("req_")


async def test_another_version_is_refused(client: Client) -> None:
    same = await client.send("POST", "/v1/products", {"name": "P"}, headers={"Tallybook-Version": "2026-11-21"})
    assert same.status_code == 201
    other = await client.send("POST", "/v1/products", {"name": "P"}, headers={"Tallybook-Version": "2025-01-01"})
    assert other.status_code == 400
    assert other.json()["code"] == "unknown_version"


async def test_what_is_not_there_is_a_problem_too(client: Client) -> None:
    nowhere = await client.get("/v1/nothing")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "route_not_found")
    method = await client.send("PUT", "/v1/customers", {})
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "GET, HEAD, POST"


async def test_a_body_larger_than_the_limit_is_refused_before_it_is_read(api: Api, client: Client) -> None:
    large = json.dumps({"name": "x" * 2**20}).encode()
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    response = await api.http.post("/v1/products", content=large, headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    response = await api.http.post("/v1/products", content=chunks(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_a_body_of_another_type_is_refused(api: Api, client: Client) -> None:
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "k", "Content-Type": "text/plain"}
    response = await api.http.post("/v1/products", content=b'{"name":"P"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_a_card_number_is_refused_wherever_it_stands(api: Api, client: Client) -> None:
    before = await api.head()
    number = "4242 4242 4242 4242"
    digits = number.replace(" ", "")
    attempts = [
        await client.post("/v1/customers", {"name": number, "currency": "EUR"}),
        await client.post("/v1/customers", {"currency": "EUR", "metadata": {digits: "x"}}),
        await client.post("/v1/payments", {"customer": digits}),
        await client.get(f"/v1/customers?email={digits}"),
        await client.get(f"/v1/customers?{digits}=1"),
        await client.get(f"/v1/customers/{digits}"),
    ]
    assert [each.json()["param"] for each in attempts] == ["name", "metadata", "customer", "email", None, "customer_id"]
    for refused in attempts:
        assert (refused.status_code, refused.json()["code"]) == (422, "card_number_refused")
        assert digits not in refused.text
    assert await api.head() == before


async def test_ids_that_other_systems_gave_may_look_like_card_numbers(client: Client) -> None:
    """Numeric ids and IMEIs pass the check digit by chance, one in ten of those that begin like a card."""
    digits = "4242424242424242"
    made = await client.send(
        "POST", "/v1/customers", {"currency": "EUR", "external_id": digits}, idempotency_key=digits
    )
    assert made.status_code == 201
    assert (await client.get(f"/v1/commands/{digits}")).json()["status"] == "accepted"
    assert (await client.get(f"/v1/customers?external_id={digits}")).status_code == 200
    for metadata in ({"imei": "356938035643809"}, {"order": "1763700000000000007"}):
        noted = await client.post("/v1/customers", {"currency": "EUR", "metadata": metadata})
        assert noted.status_code == 201, noted.text


async def test_whatever_breaks_inside_is_a_problem_without_its_insides(api: Api, client: Client) -> None:
    class Broken:
        async def submit(self, request: Request) -> Outcome:
            raise RuntimeError("secret detail")

        async def rehearse(self, request: Request) -> Rehearsed:
            raise RuntimeError("secret detail")

        async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
            raise RuntimeError("secret detail")

        async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
            raise RuntimeError("secret detail")

    api.parts.writer = Broken()
    for headers in ({}, {"Tallybook-Dry-Run": "true"}):
        response = await client.send("POST", "/v1/products", {"name": "P"}, headers=headers)
        assert response.status_code == 500
        assert response.json()["code"] == "internal_error"
        assert "secret detail" not in response.text


async def test_health_and_metrics_tell_how_far_everything_is(api: Api, client: Client) -> None:
    await client.made("/v1/products", {"name": "P"})
    assert (await api.http.get("/health/ready")).json()["status"] == "ok"
    health = (await api.http.get("/health")).json()
    parts = {part["name"]: part for part in health["parts"]}
    assert parts["postgresql"]["latency_ms"] >= 0
    assert parts["relay"]["lag_events"] == await api.head()
    assert parts["projection billing"]["lag_events"] == await api.head()
    metrics = await api.http.get("/metrics")
    assert 'tallybook_api_request_seconds_count{method="POST",route="/v1/products",status="201"}' in metrics.text


async def test_a_message_that_is_no_request_passes_the_edge(api: Api) -> None:
    """The lifespan's messages are the framework's own."""
    sent: list[Message] = []
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    await api.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
