"""Tenants over HTTP: everybody sees their own; whoever looks after the cell sees names, enters with a reason, for an
hour, and is told of in the tenant's own log.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.users import set_super_admin
from domain.commands import AsSuperAdmin
from domain.identity.permissions import Role, Scope
from domain.identity.tenant import PLATFORM, EnterTenant
from domain.identity.user import MakeSuperAdmin, UnmakeSuperAdmin
from infra.database import Role as DatabaseRole
from infra.database import open_pool
from infra.event_store.opening import open_writer
from testing.access_invariant import check_access_holds
from testing.api_client import Api, Client, running_api
from testing.people import Browser, admin, browser
from testing.requests import request
from testing.services import FreshDatabase
from tests.lengths import LENGTH

ROOT, ADA = "root@example.com", "ada@example.com"
WHY = {"reason": "ticket 4711"}
IN_ACME = {"X-Tenant-ID": "acme"}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def super_admin(api: Api) -> tuple[str, Browser]:
    """A user who looks after the cell, and is ADMIN of a tenant of their own."""
    user_id = await admin(api, ROOT, tenant="home")
    await set_super_admin(api.database.dsn, api.parts.settings, email=ROOT, is_super_admin=True)
    asks = await browser(api, ROOT)
    asks.headers["X-Tenant-ID"] = "platform"
    return user_id, asks


async def ok(asks: Browser, method: str, path: str, body: object = None, tenant: str = "platform") -> dict[str, Any]:
    answer = await asks.send(method, path, body, {"X-Tenant-ID": tenant})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def events(client: Client, tenant: str = "acme") -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/events?stream=tenant/{tenant}")
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_whoever_looks_after_the_cell_sees_names_and_counts_of_all_tenants(api: Api) -> None:
    _, root = await super_admin(api)
    for tenant in ("acme", "beta"):
        await api.tenant(tenant)
    listed = (await ok(root, "GET", "/v1/tenants"))["data"]
    assert [(each["id"], each["members"], each["api_keys"]) for each in listed] == [
        ("acme", 0, 1),
        ("beta", 0, 1),
        ("home", 1, 1),
    ]
    first = await ok(root, "GET", "/v1/tenants?limit=2")
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (["acme", "beta"], True)
    rest = await ok(root, "GET", f"/v1/tenants?limit=2&starting_after={first['next_cursor']}")
    assert [each["id"] for each in rest["data"]] == ["home"]
    back = await ok(root, "GET", "/v1/tenants?limit=1&ending_before=home")
    assert [each["id"] for each in back["data"]] == ["beta"]
    assert (await ok(root, "GET", "/v1/tenants/beta"))["name"] == "beta"


async def test_whoever_looks_after_the_cell_is_told_where_to_ask_and_to_enter_first(api: Api) -> None:
    _, root = await super_admin(api)
    await api.tenant("acme")
    at_home = await root.send("POST", "/v1/tenants/acme/enter", {"reason": "support"}, {"X-Tenant-ID": "home"})
    assert (at_home.status_code, at_home.json()["code"]) == (403, "permission_denied")
    assert "X-Tenant-ID: platform" in at_home.json()["detail"]
    outside = await root.send("GET", "/v1/customers", headers={"X-Tenant-ID": "acme"})
    assert (outside.status_code, outside.json()["code"]) == (403, "tenant_mismatch")
    assert "enters another one first" in outside.json()["detail"]


async def test_a_member_sees_their_own_tenant_and_no_other(api: Api) -> None:
    await admin(api, ADA)
    await api.tenant("beta")
    ada = await browser(api, ADA)
    assert [each["id"] for each in (await ada.send("GET", "/v1/tenants")).json()["data"]] == ["acme"]
    assert (await ada.send("GET", "/v1/tenants/acme")).json()["members"] == 1
    for tenant in ("beta", "nobody"):
        answer = await ada.send("GET", f"/v1/tenants/{tenant}")
        assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
    assert (await ada.send("GET", "/v1/tenants?starting_after=beta")).status_code == 422
    for path in ("suspend", "reactivate", "enter", "leave", "reveal"):
        answer = await ada.send("POST", f"/v1/tenants/acme/{path}", WHY)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), path
    assert (await ada.send("GET", "/v1/tenants", headers={"X-Tenant-ID": "platform"})).status_code == 403


@pytest.mark.parametrize("scope", list(Scope))
async def test_no_api_key_has_to_do_with_tenants(api: Api, scope: Scope) -> None:
    client = await api.tenant("acme", scope=scope)
    for answer in (
        await client.get("/v1/tenants"),
        await client.get("/v1/tenants/acme"),
        await client.post("/v1/tenants", {"id": "mine", "name": "Mine", "mode": "live"}),
        *[
            await client.post(f"/v1/tenants/acme/{path}", WHY)
            for path in ("suspend", "reactivate", "enter", "leave", "reveal")
        ],
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_a_tenant_is_created_suspended_and_reactivated_and_its_log_says_by_whom(api: Api) -> None:
    root_id, root = await super_admin(api)
    made = await ok(root, "POST", "/v1/tenants", {"id": "acme", "name": "Acme", "mode": "test"})
    assert (made["id"], made["status"]) == ("acme", "active")
    again = await root.send("POST", "/v1/tenants", {"id": "acme", "name": "Acme", "mode": "test"})
    assert (again.status_code, again.json()["code"]) == (409, "tenant_already_exists")
    client = await api.tenant("acme")
    assert (await ok(root, "POST", "/v1/tenants/acme/suspend", WHY))["status"] == "suspended"
    await until_it_answers(client, 403)
    assert (await client.get("/v1/products")).status_code == 200
    assert (await ok(root, "POST", "/v1/tenants/acme/reactivate"))["status"] == "active"
    await until_it_answers(client, 201)
    assert {each["actor"] for each in await events(client)} == {f"user:{root_id} for acme"}
    for path in ("suspend", "enter"):
        answer = await root.send("POST", f"/v1/tenants/nobody/{path}", WHY)
        assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")


async def until_it_answers(client: Client, status: int) -> None:
    """What a process remembers of a key goes when the change is heard of, within a moment."""
    async with asyncio.timeout(10):
        while (await client.post("/v1/products", {"name": "P"})).status_code != status:
            await asyncio.sleep(0.01)


async def test_an_idempotency_key_of_theirs_is_none_of_the_tenants(api: Api) -> None:
    _, root = await super_admin(api)
    client = await api.tenant("acme")
    own = await client.post("/v1/products", {"name": "P"}, idempotency_key="k")
    headers = {"Idempotency-Key": "k", "X-Tenant-ID": "platform"}
    first = await root.send("POST", "/v1/tenants/acme/suspend", WHY, headers)
    second = await root.send("POST", "/v1/tenants/acme/suspend", WHY, headers)
    assert (first.status_code, second.headers["idempotent-replayed"]) == (200, "true")
    assert second.content == first.content
    assert (await client.get("/v1/commands/k")).json()["status"] == "accepted"
    assert own.status_code == 201


async def test_they_enter_with_a_reason_and_do_what_an_admin_may_with_people_masked(api: Api) -> None:
    root_id, root = await super_admin(api)
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR", "name": "Grace Hopper"})
    path = f"/v1/customers/{customer['id']}"
    before = await root.send("GET", path, headers=IN_ACME)
    assert (before.status_code, before.json()["code"]) == (403, "tenant_mismatch")
    assert (await root.send("POST", "/v1/tenants/acme/enter", {})).status_code == 422

    entry = await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    left = datetime.fromisoformat(entry["ends_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(minutes=60)
    assert (await ok(root, "GET", path, tenant="acme"))["name"] == "G…"
    product = await root.send("POST", "/v1/products", {"name": "P"}, IN_ACME)
    assert product.status_code == 201, product.text
    key = await root.send("POST", "/v1/api-keys", {"name": "K", "scope": "read"}, IN_ACME)
    assert key.status_code == 201, key.text

    await ok(root, "POST", "/v1/tenants/acme/reveal", WHY)
    assert (await ok(root, "GET", path, tenant="acme"))["name"] == "Grace Hopper"

    told = {each["type"]: each for each in await events(client)}
    assert {"tenant.entered", "tenant.personal_data_revealed"} <= told.keys()
    assert told["tenant.entered"]["data"]["reason"] == WHY["reason"]
    of_product = (await client.get(f"/v1/events?stream={product.json()['id']}")).json()["data"]
    assert of_product[0]["actor"] == f"user:{root_id} for acme"
    await check_access_holds(api.database.dsn)


async def until_refused(root: Browser) -> None:
    """Within a moment they are nobody in the tenant."""
    async with asyncio.timeout(10):
        while (answer := await root.send("GET", "/v1/products", headers=IN_ACME)).status_code != 403:
            await asyncio.sleep(0.01)
    assert answer.json()["code"] == "tenant_mismatch"


async def test_whoever_is_no_super_admin_any_more_is_in_no_tenant_any_more(api: Api) -> None:
    _, root = await super_admin(api)
    await api.tenant("acme")
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    await ok(root, "GET", "/v1/products", tenant="acme")
    await set_super_admin(api.database.dsn, api.parts.settings, email=ROOT, is_super_admin=False)
    await until_refused(root)
    assert (await root.send("GET", "/v1/tenants", headers={"X-Tenant-ID": "platform"})).status_code == 403
    assert (await root.send("GET", "/v1/products", headers={"X-Tenant-ID": "home"})).status_code == 200


async def test_an_entry_that_is_over_lets_nobody_in(api: Api) -> None:
    _, root = await super_admin(api)
    await api.tenant("acme")
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    pool = await open_pool(api.database.dsn, DatabaseRole.OWNER, api.parts.settings.database)
    await pool.execute("UPDATE access.entries SET ends_at = now() - interval '1 second'")
    await pool.execute("SELECT pg_notify('tallybook_access', '')")
    await pool.close()
    await until_refused(root)


async def test_whoever_leaves_is_in_the_tenant_no_more_and_its_log_says_when(api: Api) -> None:
    root_id, root = await super_admin(api)
    client = await api.tenant("acme")
    early = await root.send("POST", "/v1/tenants/acme/leave")
    assert (early.status_code, early.json()["code"]) == (403, "tenant_not_entered")
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    await ok(root, "GET", "/v1/products", tenant="acme")
    left = await ok(root, "POST", "/v1/tenants/acme/leave", tenant="acme")
    assert datetime.fromisoformat(left["ends_at"]) <= datetime.now(UTC)
    refused = await root.send("GET", "/v1/products", headers=IN_ACME)
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_mismatch"), "with the very next request"
    (told,) = (each for each in await events(client) if each["type"] == "tenant.left")
    assert (told["actor"], told["data"]["user_id"]) == (f"user:{root_id} for acme", root_id)
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    await ok(root, "GET", "/v1/products", tenant="acme")
    await check_access_holds(api.database.dsn)


async def test_they_are_in_one_tenant_at_a_time(api: Api) -> None:
    root_id, root = await super_admin(api)
    for tenant in ("acme", "beta"):
        await api.tenant(tenant)
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    refused = await root.send("POST", "/v1/tenants/beta/enter", WHY)
    assert (refused.status_code, refused.json()["code"]) == (409, "another_tenant_entered")
    assert "tenant=acme" in refused.json()["detail"]
    await ok(root, "POST", "/v1/tenants/acme/enter", WHY)
    # Two at once, which have both seen nothing of each other: the later one counts.
    command = AsSuperAdmin(user_id=root_id, command=EnterTenant(tenant_id="beta", user_id=root_id, reason="at once"))
    assert (await api.parts.writer.submit(request(command, tenant_id="beta"))).refusal_code is None
    await until_refused(root)
    await ok(root, "GET", "/v1/products", tenant="beta")
    await ok(root, "POST", "/v1/tenants/beta/leave")
    await ok(root, "POST", "/v1/tenants/acme/leave")
    await ok(root, "POST", "/v1/tenants/beta/enter", WHY)


RACES = LENGTH.scaled(10)


async def test_whose_right_is_taken_away_while_they_enter_has_entered_before_or_not_at_all(api: Api) -> None:
    """Two writers, as two processes have them. Whatever was found of them before, the commit decides."""
    root_id, _ = await super_admin(api)
    await api.tenant("acme")
    writers = [open_writer(api.database.dsn, api.parts.settings.writer) for _ in range(2)]
    enter = AsSuperAdmin(user_id=root_id, command=EnterTenant(tenant_id="acme", user_id=root_id, reason="to look"))
    outcomes = []
    try:
        for _ in range(RACES):
            entered, unmade = await asyncio.gather(
                writers[0].submit(request(enter, tenant_id="acme")),
                writers[1].submit(request(UnmakeSuperAdmin(user_id=root_id), tenant_id=PLATFORM)),
            )
            assert unmade.refusal_code is None
            before = entered.refusal_code is None
            assert before or entered.refusal_code == "not_super_admin"
            assert not before or entered.position < unmade.position
            outcomes.append(before)
            late = await writers[0].submit(request(enter, tenant_id="acme"))
            assert late.refusal_code == "not_super_admin", "this writer has not heard of it by itself"
            await writers[1].submit(request(MakeSuperAdmin(user_id=root_id), tenant_id=PLATFORM))
    finally:
        for writer in writers:
            await writer.close()
    assert len(outcomes) == RACES
    await check_access_holds(api.database.dsn)


async def test_a_member_who_looks_after_the_cell_is_a_member_at_home(api: Api) -> None:
    _, root = await super_admin(api)
    shown = await ok(root, "GET", "/v1/users", tenant="home")
    assert [each["role"] for each in shown["data"]] == [Role.ADMIN]
    assert shown["data"][0]["email"] == ROOT, "not masked: it is their own team"
