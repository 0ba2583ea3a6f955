"""Drafts, items and shared invoices through the API: from the settings to the invoice that comes of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

SETTINGS = "/v1/tenants/{}/billing-settings"
FLAT = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
EXTRA = {"description": "Extra", "amount": {"amount": 250, "currency": "EUR"}}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def graced(client: Client, seconds: int = 7200) -> None:
    settings = {"grace_seconds": seconds, "memo": "Thank you"}
    answer = await client.send("PATCH", SETTINGS.format(client.tenant_id), settings)
    assert answer.status_code == 200, answer.text


async def answered(client: Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.send(method, path, {} if body is None else body)
    assert answer.status_code in {200, 201}, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(client: Client, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = await client.send(method, path, {} if body is None else body)
    return answer.status_code, answer.json()["code"]


async def test_a_draft_takes_items_until_its_time_is_over_and_is_then_what_was_promised(api: Api) -> None:
    client, other = await api.tenant("acme"), await api.tenant("other")
    shop = await Shop.opened(client)
    await graced(client)
    subscription = await shop.subscribed(await shop.customer(), await shop.price(FLAT))
    path = f"/v1/invoices/{subscription['latest_invoice']}"
    draft = await answered(client, "GET", path)
    assert (draft["status"], draft["number"], draft["memo"]) == ("draft", None, "Thank you")
    assert (draft["finalizes_at"], draft["days_until_due"]) == ("2026-01-01T02:00:00Z", 30)
    added = await answered(client, "POST", f"{path}/items", EXTRA)
    item = f"{path}/items/{added['lines'][1]['id']}"
    assert (added["total"]["amount"], added["lines"][1]["kind"]) == (5_150, "one_off")
    for way in (("POST", f"{path}/items", EXTRA), ("DELETE", item)):
        assert await refused(other, *way) == (404, "invoice_not_found")
    assert (await answered(client, "DELETE", item))["total"]["amount"] == 4_900
    assert await refused(client, "DELETE", item) == (404, "invoice_item_not_found")
    own = f"{path}/items/{draft['lines'][0]['id']}"
    assert await refused(client, "DELETE", own) == (409, "invoice_item_of_subscription")
    assert await refused(client, "POST", f"{path}/pay", {"paid_out_of_band": True}) == (409, "invoice_not_open")
    changed = await answered(client, "PATCH", path, {"memo": None, "days_until_due": 7})
    assert (changed["memo"], changed["days_until_due"]) == (None, 7)

    await shop.advance("2026-01-03T00:00:00Z")
    assert await refused(client, "POST", f"{path}/items", EXTRA) == (409, "invoice_not_draft")
    finalized = await answered(client, "POST", f"{path}/finalize")
    assert (finalized["finalized_at"], finalized["due_at"]) == ("2026-01-01T02:00:00Z", "2026-01-08T02:00:00Z")
    assert (finalized["status"], finalized["number"], finalized["finalizes_at"]) == ("open", "INV-000001", None)
    await project(api.database, api.parts.settings)
    assert await answered(client, "GET", path) == finalized


async def test_what_waits_is_on_the_next_renewal_and_waits_no_more(api: Api) -> None:
    client, other = await api.tenant("acme"), await api.tenant("other")
    shop = await Shop.opened(client)
    customer = await shop.customer()
    subscription = await shop.subscribed(customer, await shop.price(FLAT))
    path = f"/v1/customers/{customer}/waiting-items"
    waits = await answered(client, "POST", path, EXTRA)
    (item,) = waits["items"]
    for way in (("POST", path, EXTRA), ("DELETE", f"{path}/{item['id']}"), ("GET", path)):
        assert await refused(other, *way) == (404, "customer_not_found")
    assert await answered(client, "GET", path) == waits
    dear = {"description": "Dear", "amount": {"amount": 1, "currency": "USD"}}
    assert await refused(client, "POST", path, dear) == (422, "not_customers_currency")
    taken = (await answered(client, "POST", path, EXTRA))["items"][1]
    assert (await answered(client, "DELETE", f"{path}/{taken['id']}")) == waits

    await shop.advance(subscription["current_period_end"])
    renewed = await answered(client, "POST", f"/v1/subscriptions/{subscription['id']}/renew")
    invoice = await shop.billed(renewed["latest_invoice"])
    assert [line["id"] for line in invoice["lines"]][1:] == [item["id"]]
    assert invoice["total"]["amount"] == 5_150
    assert (await answered(client, "GET", path))["items"] == []
    assert await refused(client, "DELETE", f"{path}/{item['id']}") == (404, "waiting_item_not_found")


async def test_subscriptions_that_are_billed_together_share_the_invoices_of_their_renewals(api: Api) -> None:
    client = await api.tenant("acme")
    shop = await Shop.opened(client)
    customer, price = await shop.customer(), await shop.price(FLAT)
    first, second = [await shop.subscribed(customer, price, billed_together=True) for _ in "12"]
    await shop.advance(first["current_period_end"])
    renewed = await answered(client, "POST", f"/v1/subscriptions/{second['id']}/renew")
    other = await answered(client, "GET", f"/v1/subscriptions/{first['id']}")
    assert renewed["latest_invoice"] == other["latest_invoice"]
    invoice = await shop.billed(renewed["latest_invoice"])
    assert (invoice["subscription"], invoice["further_subscriptions"]) == (first["id"], [second["id"]])
    assert (len(invoice["lines"]), invoice["total"]["amount"]) == (2, 9_800)
    assert await refused(client, "POST", f"/v1/subscriptions/{first['id']}/renew") == (409, "renewal_not_due")
