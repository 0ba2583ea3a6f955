"""What a key may do is said by its scope, and told before anything else of the request is looked at."""

import cProfile
from collections.abc import AsyncIterator
from types import CodeType

import pytest

from api.app import RESOURCES
from domain.identity.permissions import Scope, permissions_of
from testing.api_client import Api, running_api
from testing.services import FreshDatabase

OPERATIONS = [operation for resource in RESOURCES for operation in resource.declared]


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def test_a_key_may_do_what_its_scope_holds(api: Api) -> None:
    reads, writes, administers = [await api.tenant("acme", scope=scope) for scope in Scope]
    product = await writes.made("/v1/products", {"name": "P"})
    assert (await reads.get(f"/v1/products/{product['id']}")).status_code == 200
    customer = await writes.made("/v1/customers", {"currency": "EUR"})
    erase = f"/v1/customers/{customer['id']}/erase"
    assert (await writes.post(erase)).json()["permission"] == "customers:erase"
    assert (await administers.post(erase)).status_code == 200


async def test_a_refused_request_is_told_the_permission_that_it_needs(api: Api) -> None:
    reads = await api.tenant("acme", scope=Scope.READ)
    refused = await reads.post("/v1/products", {"name": "P"})
    assert refused.status_code == 403
    problem = refused.json()
    assert (problem["code"], problem["permission"]) == ("permission_denied", "catalogue:write")
    assert "API keys of the scope write or admin" in problem["detail"]
    assert "ledger-position" not in refused.headers


@pytest.mark.parametrize("key", [None, "\u00e4", "k"])
@pytest.mark.parametrize("body", [b"", b"{", b'{"nonsense": true}', b'{"name": "4242424242424242"}'])
async def test_the_permission_is_asked_for_before_the_key_and_the_body_are_looked_at(
    api: Api, key: str | None, body: bytes
) -> None:
    reads = await api.tenant("acme", scope=Scope.READ)
    headers = {b"authorization": f"Bearer {reads.key}".encode()}
    if key is not None:
        headers[b"idempotency-key"] = key.encode("latin-1")
    refused = await api.http.request("POST", "/v1/products", content=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


async def test_a_refusal_for_want_of_a_permission_is_not_kept_under_the_idempotency_key(api: Api) -> None:
    reads, writes = await api.tenant("acme", scope=Scope.READ), await api.tenant("acme", scope=Scope.WRITE)
    assert (await reads.post("/v1/products", {"name": "P"}, idempotency_key="k")).status_code == 403
    assert (await reads.get("/v1/commands/k")).status_code == 404
    assert (await writes.post("/v1/products", {"name": "P"}, idempotency_key="k")).status_code == 201
    again = await reads.post("/v1/products", {"name": "P"}, idempotency_key="k")
    assert again.status_code == 403, "the stored answer is for who may ask for it"


async def test_a_tenant_that_is_not_the_keys_own_is_refused_alike_whether_it_exists_or_not(api: Api) -> None:
    client = await api.tenant("acme")
    await api.tenant("other")
    answers = [
        await client.get("/v1/products", **{"X-Tenant-ID": tenant, "X-Request-Id": "same"})
        for tenant in ("other", "nobody", "ACME", "")
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json()["code"] == "tenant_mismatch"


async def test_to_be_allowed_costs_a_look_up_in_a_set(api: Api) -> None:
    """Counted, not timed: of a request whose key is known, nothing of the roles and scopes is worked out anew."""
    client = await api.tenant("acme", scope=Scope.READ)
    assert (await client.get("/v1/products")).status_code == 200
    profile = cProfile.Profile()
    with profile:
        assert (await client.get("/v1/products")).status_code == 200
    called = {code.co_filename for entry in profile.getstats() if isinstance(code := entry.code, CodeType)}
    assert any(name.endswith("api/http/endpoints.py") for name in called)
    assert [name for name in called if "domain/identity" in name or name.endswith("api/http/principal.py")] == []


async def test_every_operation_is_refused_to_keys_whose_scope_does_not_hold_its_permission(api: Api) -> None:
    for scope in Scope:
        client = await api.tenant("acme", scope=scope)
        for operation in OPERATIONS:
            path = operation.path.replace("{idempotency_key:path}", "k").replace("{", "").replace("}", "")
            answer = await client.send(operation.method, path, headers={"Idempotency-Key": ""})
            denied = answer.status_code == 403
            # Each command of a bulk is refused by itself (test_api_bulk.py).
            allowed = operation.is_open or operation.is_bulk or operation.needs in permissions_of(scope)
            assert denied is not allowed, (scope, operation.name, answer.text)
