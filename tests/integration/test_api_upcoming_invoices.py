"""What is invoiced in the coming days, through the API: the renewals themselves, and what they then come to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.kept import kept
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, per_unit

PATH = "/v1/reports/upcoming-invoices"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def listed(api: Api, client: Client, query: str) -> list[dict[str, Any]]:
    """Page by page, in order."""
    await project(api.database, api.parts.settings)
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        answer = await client.get(f"{PATH}?{query}{after}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            assert [each["at"] for each in found] == sorted(each["at"] for each in found)
            return found
        after = f"&starting_after={page['next_cursor']}"


async def test_each_subscription_is_listed_with_what_its_renewal_then_comes_to(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, at="2026-01-31T09:00:00Z")
    price = await shop.price(per_unit("EUR", "1000"))
    subscriptions = []
    for quantity, facts in (
        ("1", {}),
        ("2", {"trial_days": 10}),
        ("3", {"starts_at": "2026-02-20T00:00:00Z"}),
        ("4", {"cancel_at_period_end": False}),
    ):
        order = {key: value for key, value in facts.items() if key != "cancel_at_period_end"}
        subscriptions.append(await shop.subscribed(await shop.customer(), price, quantity, **order))
    ends = subscriptions[3]["id"]
    assert (await client.post(f"/v1/subscriptions/{ends}/cancel", {"at_period_end": True})).status_code == 200
    wanted = f"test_clock={shop.clock}"
    found = await listed(api, client, wanted)
    assert [(each["subscription"], each["at"], each["total"]["amount"]) for each in found] == [
        (subscriptions[1]["id"], "2026-02-10T09:00:00Z", 2_000),
        (subscriptions[2]["id"], "2026-02-20T00:00:00Z", 3_000),
        (subscriptions[0]["id"], "2026-02-28T09:00:00Z", 1_000),
    ]
    assert await listed(api, client, f"{wanted}&limit=1") == found
    assert await listed(api, client, f"{wanted}&days=15") == found[:1]
    assert await listed(api, client, "days=366") == [], "those on a clock are listed with it"
    for each in found:
        await shop.advance(each["at"])
        renewed = await client.post(f"/v1/subscriptions/{each['subscription']}/renew", {})
        assert renewed.status_code == 200, renewed.text
        invoice = await shop.billed(renewed.json()["latest_invoice"])
        assert {name: invoice[name] for name in ("customer", "due_at", "subtotal", "total_tax", "total")} == {
            name: each[name] for name in ("customer", "due_at", "subtotal", "total_tax", "total")
        }
        assert (invoice["amount_due"], invoice["finalized_at"]) == (each["amount_due"], each["at"])


async def test_listing_records_nothing_and_follows_the_log(api: Api, client: Client) -> None:
    price_of = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
    product = await client.made("/v1/products", {"name": "Team"})
    plan = await client.made(
        "/v1/plans", {"product": product["id"], "name": "Team", "interval": {"unit": "week", "count": 1}}
    )
    price = await client.made("/v1/prices", {"plan": plan["id"], "model": price_of})
    customer = await client.made("/v1/customers", {"currency": "EUR"})
    order = {
        "customer": customer["id"],
        "plan": plan["id"],
        "items": [{"price": price["id"]}],
        "collection_method": "send_invoice",
    }
    subscription = await client.made("/v1/subscriptions", order)
    await project(api.database, api.parts.settings)
    before = await kept(api.database.dsn)
    (found,) = await listed(api, client, "days=8")
    assert await kept(api.database.dsn) == before
    assert (found["subscription"], found["at"]) == (subscription["id"], subscription["current_period_end"])
    assert await listed(api, client, "days=6") == []
    assert (await client.post(f"/v1/subscriptions/{subscription['id']}/cancel", {})).status_code == 200
    answer = await client.get(f"{PATH}?days=8")
    assert answer.json()["data"] == [], "it is as new as the log, whatever is projected"


async def test_an_invoice_of_several_subscriptions_is_listed_once_and_the_list_sums(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, unit="quarter")
    price = await shop.price(per_unit("EUR", "1000"))
    monthly = await shop.price(per_unit("EUR", "50"), interval={"unit": "month", "count": 1})
    customer = await shop.customer()
    alone = await shop.subscribed(customer, price, "4")
    together = [await shop.subscribed(customer, price, quantity, billed_together=True) for quantity in "123"]
    items = [{"price": each["id"], "quantity": "1"} for each in (price, monthly)]
    order = {"customer": customer, "plan": shop.plan, "items": items, "collection_method": "send_invoice"}
    mixed = await client.made("/v1/subscriptions", {**order, "billed_together": True})
    wanted = f"test_clock={shop.clock}&days=100"
    found = await listed(api, client, wanted)
    assert await listed(api, client, f"{wanted}&limit=1") == found
    bills = {each["subscription"]: set(each["further_subscriptions"]) for each in found}
    first, *further = [each["id"] for each in together]
    listed_with = next(each for each in bills if each in {first, *further})
    assert bills == {
        alone["id"]: set(),
        mixed["id"]: set(),
        listed_with: {first, *further, mixed["id"]} - {listed_with},
    }, "the mixed one is invoiced for a month first"
    await shop.advance("2026-04-01T00:00:00Z")
    for each in (alone, together[0]):
        assert (await client.post(f"/v1/subscriptions/{each['id']}/renew", {})).status_code == 200
    await project(api.database, api.parts.settings)
    made = (await client.get(f"/v1/invoices?customer={customer}&limit=100")).json()["data"]
    for each in found:
        assert each["total"] == next(
            invoice["total"]
            for invoice in made
            if invoice["created"] == each["at"]
            and each["subscription"] in {invoice["subscription"], *invoice["further_subscriptions"]}
        )


async def test_what_a_tax_service_would_be_asked_for_is_listed_without_what_it_would_say(api: Api) -> None:
    client = await api.tenant("acme")
    settings = "/v1/tenants/acme/tax-settings"
    assert (await client.send("PATCH", settings, {"seller_country": "DE"})).status_code == 200
    german = {"country": "DE", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-rates", {**german, "percent": "7"})
    await client.made("/v1/tax-registrations", {**german, "number": "DE136695976"})
    shop = await Shop.opened(client)
    await shop.subscribed(await shop.customer(), await shop.price(per_unit("EUR", "1000")), trial_days=7)
    (by_table,) = await listed(api, client, f"test_clock={shop.clock}")
    eur = {"currency": "EUR"}
    assert (by_table["total_tax"], by_table["total"], by_table["waiting_for"]) == (
        {"amount": 70, **eur},
        {"amount": 1070, **eur},
        None,
    )
    assert (await client.send("PATCH", settings, {"tax_calculator": "remote"})).status_code == 200
    (by_service,) = await listed(api, client, f"test_clock={shop.clock}")
    unknown = dict.fromkeys(("total_tax", "total", "amount_due", "due_at"))
    assert by_service == {**by_table, **unknown, "waiting_for": "tax"}


async def test_what_is_no_time_no_clock_and_no_cursor_is_refused(client: Client) -> None:
    for query, param in (
        ("days=0", "days"),
        ("days=367", "days"),
        ("days=soon", "days"),
        ("days=99999", "days"),
        ("test_clock=cus_1", "test_clock"),
        ("starting_after=sub_1", "starting_after"),
    ):
        answer = await client.get(f"{PATH}?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param), query
    unknown = await client.get(f"{PATH}?test_clock=clock_01m7ywe9z7e398x54gfbrtqnk7")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "test_clock_not_found")
