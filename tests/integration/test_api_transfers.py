"""Transfers of subscriptions through the API: who is billed what, what each may see, what the reports say, and what
comes of a transfer and something else at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.api_client import Api, Client, project, running_api
from testing.people import Browser
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, flat_price, per_unit
from tests.integration.test_api_imported_invoices import the_books_agree
from tests.integration.test_api_recurring import movements

HALF = "2026-01-16T00:00:00Z"  # 15 of January's 31 days
NEXT = "2026-02-01T00:00:00Z"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def sold(client: Client, **facts: Any) -> tuple[Shop, str, str, dict[str, Any]]:
    """A shop at 31.00 a month in advance, two customers, and the subscription of the first."""
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(3_100), **facts)
    one, other = await shop.customer(), await shop.customer()
    return shop, one, other, await shop.subscribed(one, price)


async def transferred(client: Client, subscription: dict[str, Any], customer: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/subscriptions/{subscription['id']}/transfer", {"customer": customer, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def got(client: Client, path: str) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def billed(client: Client, customer: str) -> list[int]:
    """The totals of a customer's invoices, the earliest first."""
    shown = await got(client, f"/v1/invoices?customer={customer}&limit=100")
    return sorted((each["total"]["amount"] for each in shown["data"]), reverse=True)


async def test_the_other_customer_is_billed_from_the_next_period_on(api: Api, client: Client) -> None:
    shop, one, other, subscription = await sold(client)
    await shop.advance(HALF)
    ended = await transferred(client, subscription, other)
    assert (ended["status"], ended["customer"]) == ("canceled", one)
    theirs = await got(client, f"/v1/subscriptions/{ended['transferred_to']}")
    assert (theirs["customer"], theirs["transferred_from"]) == (other, subscription["id"])
    assert (theirs["status"], theirs["current_period_end"], theirs["latest_invoice"]) == ("active", NEXT, None)
    assert theirs["items"] == subscription["items"]
    await shop.advance(NEXT)
    renewed = await client.post(f"/v1/subscriptions/{theirs['id']}/renew", {})
    assert renewed.status_code == 200, renewed.text
    await project(api.database, api.parts.settings)
    assert (await billed(client, one), await billed(client, other)) == ([3_100], [3_100])
    listed = await got(client, f"/v1/subscriptions?customer={other}")
    assert [each["id"] for each in listed["data"]] == [theirs["id"]]
    await the_books_agree(api)


async def test_what_is_left_is_credited_to_the_one_and_charged_to_the_other(api: Api, client: Client) -> None:
    shop, one, other, subscription = await sold(client)
    await shop.advance(HALF)
    await transferred(client, subscription, other, credit_unused=True)
    await project(api.database, api.parts.settings)
    assert (await billed(client, one), await billed(client, other)) == ([3_100, -1_600], [1_600])
    assert (await got(client, f"/v1/customers/{one}"))["balance"]["amount"] == 1_600
    await the_books_agree(api)


async def test_it_waits_for_the_periods_end_and_is_taken_back_or_done(api: Api, client: Client) -> None:
    shop, one, other, subscription = await sold(client, timing="in_arrears")
    path = f"/v1/subscriptions/{subscription['id']}"
    waiting = await transferred(client, subscription, other, at_period_end=True)
    assert (waiting["cancel_at"], waiting["scheduled_transfer"]["customer"]) == (NEXT, other)
    assert (await client.get(f"/v1/subscriptions/{waiting['scheduled_transfer']['subscription']}")).status_code == 404
    undone = (await client.post(f"{path}/undo-cancel", {})).json()
    assert (undone["cancel_at"], undone["scheduled_transfer"]) == (None, None)
    again = await transferred(client, subscription, other, at_period_end=True)
    await shop.advance(NEXT)
    done = (await client.post(f"{path}/renew", {})).json()
    assert (done["status"], done["transferred_to"]) == ("canceled", again["scheduled_transfer"]["subscription"])
    await shop.advance("2026-03-01T00:00:00Z")
    assert (await client.post(f"/v1/subscriptions/{done['transferred_to']}/renew", {})).status_code == 200
    await project(api.database, api.parts.settings)
    assert (await billed(client, one), await billed(client, other)) == ([3_100], [3_100])
    await the_books_agree(api)


async def test_each_customer_sees_what_is_theirs(api: Api, client: Client) -> None:
    _, one, other, subscription = await sold(client)
    ended = await transferred(client, subscription, other)
    theirs = ended["transferred_to"]
    await project(api.database, api.parts.settings)
    for customer, own, anothers in ((one, subscription["id"], theirs), (other, theirs, subscription["id"])):
        link = await client.made(f"/v1/customers/{customer}/portal-sessions", {})
        visitor = Browser(http=api.http, keeps=PORTAL_COOKIE)
        assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
        assert (await visitor.send("GET", f"/v1/subscriptions/{own}")).status_code == 200
        assert (await visitor.send("GET", f"/v1/subscriptions/{anothers}")).status_code == 404
        shown = (await visitor.send("GET", "/v1/subscriptions")).json()["data"]
        assert [each["id"] for each in shown] == [own]
        refused = await visitor.send("POST", f"/v1/subscriptions/{own}/transfer", {"customer": one})
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


async def test_what_the_one_loses_in_recurring_revenue_the_other_wins(api: Api, client: Client) -> None:
    shop, _, other, subscription = await sold(client)
    await shop.advance("2026-02-10T00:00:00Z")
    await transferred(client, subscription, other)
    await project(api.database, api.parts.settings)
    months = await movements(client, "from=2026-01-01&to=2026-03-31")
    assert months == [{"new": 3_100}, {"new": 3_100, "churn": -3_100}, {}]


async def test_a_dry_run_tells_of_both_and_does_nothing(client: Client) -> None:
    _, _, other, subscription = await sold(client)
    path = f"/v1/subscriptions/{subscription['id']}"
    headers = {"Authorization": f"Bearer {client.key}", "Tallybook-Dry-Run": "true"}
    tried = await client.http.post(f"{path}/transfer", json={"customer": other}, headers=headers)
    assert tried.status_code == 200, tried.text
    types = [each["type"] for each in tried.json()["events"]]
    assert types == ["subscription.canceled", "subscription.created", "subscription.continued"]
    assert (await got(client, path))["status"] == "active"


async def test_what_cannot_be_is_refused_with_a_reason(client: Client) -> None:
    shop, one, other, subscription = await sold(client)
    real = await client.made("/v1/customers", {"currency": "EUR"})
    dollars = await shop.customer("USD")
    path = f"/v1/subscriptions/{subscription['id']}"
    for body, status, code in (
        ({"customer": one}, 422, "transfer_to_same_customer"),
        ({"customer": real["id"]}, 409, "transfer_to_other_clock"),
        ({"customer": dollars}, 422, "not_customers_currency"),
        ({"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7"}, 404, "customer_not_found"),
        ({"customer": other, "at_period_end": True, "credit_unused": True}, 422, "contradictory_transfer"),
    ):
        refused = await client.post(f"{path}/transfer", body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert (await client.post(f"{path}/pause", {})).status_code == 200
    refused = await client.post(f"{path}/transfer", {"customer": other})
    assert (refused.status_code, refused.json()["code"]) == (409, "subscription_not_transferable")
    assert "resume" in refused.json()["detail"]


@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize(
    ("deed", "body"),
    [
        ("renew", {}),
        ("cancel", {"at_period_end": False}),
        ("pause", {}),
        ("change", {"items": [], "proration": "next_invoice"}),
        ("transfer", {}),
    ],
)
async def test_at_the_same_moment_as_something_else_each_period_is_billed_once(
    api: Api, client: Client, deed: str, body: dict[str, Any], turn: int
) -> None:
    """Through two processes' writers, either first: what comes second is decided on what the first one did."""
    shop, one, other, subscription = await sold(client)
    more = await shop.price(flat_price(500))
    await shop.advance(NEXT)
    path = f"/v1/subscriptions/{subscription['id']}"
    if deed == "change":
        body = body | {"items": [{"price": more["id"]}]}
    if deed == "transfer":
        body = {"customer": await shop.customer()}
    async with running_api(api.database) as second_api:
        second = await second_api.tenant("acme")
        deeds = [client.post(f"{path}/transfer", {"customer": other}), second.post(f"{path}/{deed}", body)]
        told: list[httpx2.Response] = await asyncio.gather(*(deeds if turn else reversed(deeds)))
    assert any(each.status_code == 200 for each in told), [each.text for each in told]
    assert all(each.status_code in {200, 409} for each in told), [each.text for each in told]
    await project(api.database, api.parts.settings)
    ended = await got(client, path)
    totals = await billed(client, one)
    if ended["transferred_to"] is not None:
        totals += await billed(client, (await got(client, f"/v1/subscriptions/{ended['transferred_to']}"))["customer"])
    whole_periods = [total for total in totals if total >= 3_100]
    assert len(whole_periods) == (1 if ended["status"] == "canceled" and ended["transferred_to"] is None else 2)
    await the_books_agree(api)


async def test_a_transfer_takes_its_meters_when_it_is_scheduled(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    facts = {"code": "units", "name": "Units", "aggregation": "sum", "value_property": "units"}
    meter = (await client.made("/v1/meters", facts))["id"]
    price = await shop.price(per_unit("EUR", "25"), timing="in_arrears", meter=meter)
    one, other = await shop.customer(), await shop.customer()
    order = {"plan": shop.plan, "items": [{"price": price["id"]}], "collection_method": "send_invoice"}
    sold_ = await client.made("/v1/subscriptions", {**order, "customer": one})
    theirs = await client.made("/v1/subscriptions", {**order, "customer": other})
    to = {"customer": other, "at_period_end": True}
    refused = await client.post(f"/v1/subscriptions/{sold_['id']}/transfer", to)
    assert (refused.status_code, refused.json()["code"]) == (409, "meter_billed_by_other_customer")
    assert refused.json()["param"] == "customer"
    assert theirs["id"] in refused.json()["detail"]
    ended = await client.post(f"/v1/subscriptions/{theirs['id']}/cancel", {"at_period_end": False})
    assert ended.status_code == 200, ended.text
    scheduled = await transferred(client, sold_, other, at_period_end=True)
    again = await client.post("/v1/subscriptions", {**order, "customer": other})
    assert (again.status_code, again.json()["code"]) == (409, "meter_billed_already")
    await shop.advance(NEXT)
    renewed = await client.post(f"/v1/subscriptions/{sold_['id']}/renew", {})
    assert renewed.status_code == 200, renewed.text
    assert renewed.json()["transferred_to"] == scheduled["scheduled_transfer"]["subscription"]
    await project(api.database, api.parts.settings)
    await the_books_agree(api)
