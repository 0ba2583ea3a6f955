"""Migrations of plans through the API: what a dry run expects, who sees them, and what is not begun."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.identity.permissions import Scope
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, flat_price, per_unit

DRY_RUN = {"Tallybook-Dry-Run": "true"}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def expected(api: Api, client: Client, plan: str, body: dict[str, Any]) -> tuple[int, int]:
    """How many run on older terms by a dry run, and of how many nothing stands in the way."""
    await project(api.database, api.parts.settings)
    tried = await client.send("POST", f"/v1/plans/{plan}/migrations", body, headers=DRY_RUN)
    assert tried.status_code == 200, tried.text
    assert tried.json()["status"] == 201, tried.text
    found = tried.json()["result"]["expected"]
    return found["subscriptions"], found["moves"]


async def test_a_dry_run_says_how_many_would_be_moved_and_begins_nothing(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price, seats = await shop.price(flat_price(3100)), await shop.price(per_unit("EUR", "100"), name="Seats")
    person = await shop.customer()
    first, second, third = [await shop.subscribed(person, price) for _ in range(3)]
    await shop.subscribed(person, seats)
    assert await expected(api, client, shop.plan, {}) == (0, 0)
    assert await expected(api, client, shop.plan, {"add": [seats["id"]]}) == (3, 3)
    assert await expected(api, client, shop.plan, {"prices": [{"price": seats["id"], "becomes": None}]}) == (1, 1)

    await shop.price(flat_price(6200))
    await client.post(f"/v1/prices/{price['id']}/archive")
    assert await expected(api, client, shop.plan, {}) == (3, 3)
    assert await expected(api, client, shop.plan, {"prices": [{"price": price["id"], "becomes": price["id"]}]}) == (
        0,
        0,
    )

    assert (await client.post(f"/v1/subscriptions/{first['id']}/pause")).status_code == 200
    assert (await client.post(f"/v1/subscriptions/{second['id']}/cancel", {"at_period_end": True})).status_code == 200
    assert (await client.post(f"/v1/subscriptions/{third['id']}/cancel", {"at_period_end": False})).status_code == 200
    assert await expected(api, client, shop.plan, {}) == (2, 0)

    assert (await client.send("PATCH", f"/v1/plans/{shop.plan}", {"trial_days": 7})).status_code == 200
    assert await expected(api, client, shop.plan, {}) == (3, 1)
    assert await expected(api, client, shop.plan, {"from_version": 1}) == (3, 1)
    assert await expected(api, client, shop.plan, {"from_version": 2}) == (0, 0)
    assert (await client.get("/v1/plan-migrations")).json()["data"] == []


async def test_a_dry_run_is_refused_as_the_migration_would_be(client: Client) -> None:
    shop = await Shop.opened(client)
    await client.made(f"/v1/plans/{shop.plan}/migrations", {})
    tried = await client.send("POST", f"/v1/plans/{shop.plan}/migrations", {}, headers=DRY_RUN)
    assert (tried.status_code, tried.json()["status"]) == (200, 409)
    assert tried.json()["result"]["code"] == "plan_migration_running"


async def test_migrations_are_found_by_plan_and_status_and_by_nobody_elses_tenant(api: Api, client: Client) -> None:
    shop, other = await Shop.opened(client), await Shop.opened(client)
    first = await client.made(f"/v1/plans/{shop.plan}/migrations", {"metadata": {"why": "2026"}})
    second = await client.made(f"/v1/plans/{other.plan}/migrations", {})
    canceled = (await client.post(f"/v1/plan-migrations/{second['id']}/cancel")).json()
    assert (canceled["status"], canceled["ended_at"] is None) == ("canceled", False)
    again = await client.post(f"/v1/plan-migrations/{second['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "plan_migration_over")
    await project(api.database, api.parts.settings)

    async def found(query: str) -> list[str]:
        answer = await client.get(f"/v1/plan-migrations{query}")
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["data"]]

    assert await found("") == [second["id"], first["id"]]
    assert await found(f"?plan={shop.plan}") == [first["id"]]
    assert await found("?status=canceled") == [second["id"]]
    moved = await client.get(f"/v1/plan-migrations/{first['id']}/subscriptions?outcome=refused")
    assert (moved.status_code, moved.json()["data"]) == (200, [])

    stranger = await api.tenant("other")
    for path in ("", "/subscriptions"):
        assert (await stranger.get(f"/v1/plan-migrations/{first['id']}{path}")).status_code == 404
    assert (await stranger.post(f"/v1/plan-migrations/{first['id']}/cancel")).status_code == 404
    assert (await stranger.post(f"/v1/plans/{shop.plan}/migrations")).status_code == 404
    reader = await api.tenant("acme", scope=Scope.READ)
    assert (await reader.get(f"/v1/plan-migrations/{first['id']}")).json()["metadata"] == {"why": "2026"}
    assert (await reader.post(f"/v1/plan-migrations/{first['id']}/cancel")).status_code == 403


async def test_a_wrong_request_says_where_it_is_wrong(client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(3100))
    twice = [{"price": price["id"], "becomes": None}] * 2
    for body, code, param in (
        ({"prices": twice}, "contradictory_replacement", "prices.1.price"),
        ({"from_version": 2}, "unknown_plan_version", "from_version"),
        ({"effective_at": "2199-01-01T00:00:00Z"}, "contradictory_change", "effective_at"),
        ({"add": ["price_01m7ywe9z7e398x54gfbrtqnk7"]}, "price_not_found", "add.0"),
        ({"prices": [{"price": price["id"]}]}, "validation_failed", "prices.0.becomes"),
    ):
        answer = await client.post(f"/v1/plans/{shop.plan}/migrations", body)
        told = answer.json()
        assert (answer.status_code in (404, 422), told["code"], told.get("param")) == (True, code, param), told
