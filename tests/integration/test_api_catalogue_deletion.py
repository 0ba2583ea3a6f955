"""Deleting what is unused of the catalogue, through the API, also while it is being sold."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Client, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

FLAT: dict[str, Any] = {"type": "flat", "amount": {"amount": 100, "currency": "EUR"}}
RACES = 12


@pytest.fixture
async def client(database: FreshDatabase) -> AsyncIterator[Client]:
    async with running_api(database) as running:
        yield await running.tenant("acme")


async def test_what_is_unused_is_deleted_and_what_is_in_use_is_told_by_what(client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(FLAT)
    refused = await client.send("DELETE", f"/v1/plans/{shop.plan}")
    assert (refused.status_code, refused.json()["code"]) == (409, "plan_in_use")
    assert price["id"] in refused.json()["detail"]
    tried = await client.send("DELETE", f"/v1/prices/{price['id']}")
    assert tried.status_code == 200, tried.text
    assert (tried.json()["active"], tried.json()["deleted_at"]) == (False, tried.json()["archived_at"])
    plan = (await client.get(f"/v1/plans/{shop.plan}")).json()
    for path in (f"/v1/plans/{shop.plan}", f"/v1/products/{plan['product']}"):
        assert (await client.send("DELETE", path)).status_code == 200
        assert (await client.get(path)).json()["deleted_at"] is not None
    again = await client.post("/v1/prices", {"plan": shop.plan, "model": FLAT})
    assert again.json()["code"] == "plan_not_found"


async def test_sold_and_deleted_at_once_is_one_of_the_two(client: Client) -> None:
    shop = await Shop.opened(client)
    customer = await shop.customer()
    seen: set[tuple[int, int]] = set()
    for nth in range(RACES):
        price = await shop.price(FLAT)
        order = {
            "customer": customer,
            "plan": shop.plan,
            "items": [{"price": price["id"]}],
            "collection_method": "send_invoice",
        }
        both = [client.send("DELETE", f"/v1/prices/{price['id']}"), client.post("/v1/subscriptions", order)]
        answers = await asyncio.gather(*(both if nth % 2 else reversed(both)))
        deleted, sold = answers if nth % 2 else reversed(answers)
        assert (deleted.status_code, sold.status_code) in {(200, 404), (200, 422), (409, 201)}, (
            deleted.text,
            sold.text,
        )
        if deleted.status_code == 409:
            assert sold.json()["id"] in deleted.json()["detail"]
        seen.add((deleted.status_code, sold.status_code))
    assert len(seen) == 2, "both orders were seen"
