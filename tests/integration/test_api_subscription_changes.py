"""Changes of subscriptions through the API: what they bill, with which tax and why, and that a preview says so."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from testing.api_client import Client, running_api
from testing.kept import kept
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, package, per_unit, tiered
from tests.lengths import LENGTH

CATALOGUES = max(1, LENGTH.examples // 30)
CHANGES_EACH = 4
BASES = ("day", "second", "day_inclusive", "none")
PRORATIONS = ("invoice_now", "next_invoice", "none", "period_end")
MODELS: tuple[dict[str, Any], ...] = (
    {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}},
    per_unit("EUR", "1233.3"),
    tiered("graduated", (5, 1000, 100), (None, 500, 50)),
    tiered("volume", (5, 1000, 0), (None, 777, 50)),
    package(2),
)


@pytest.fixture
async def client(database: FreshDatabase) -> AsyncIterator[Client]:
    async with running_api(database) as running:
        yield await running.tenant("acme")


async def previewed(client: Client, subscription: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {client.key}"}
    return await client.http.post(f"/v1/subscriptions/{subscription}/preview-change", json=body, headers=headers)


@pytest.mark.parametrize("seed", range(CATALOGUES))
async def test_a_preview_of_a_change_is_the_invoice_that_bills_it_to_the_byte(client: Client, seed: int) -> None:
    draw = random.Random(seed)
    start = draw.choice(("2026-01-31T09:30:00Z", "2024-02-29T00:00:00Z", "2025-10-26T00:30:00Z"))
    shop = await Shop.opened(client, start, *draw.choice((("month", 1), ("week", 2), ("quarter", 1))))
    prices = [await shop.price(model, timing=draw.choice(("in_advance", "in_arrears"))) for model in MODELS]
    facts = {"proration_basis": draw.choice(BASES), "time_zone": draw.choice(("UTC", "America/New_York"))}
    subscription = str((await shop.subscribed(await shop.customer(), prices[0], **facts))["id"])
    at = datetime.fromisoformat(start)
    for _ in range(CHANGES_EACH):
        if hours := draw.randrange(0, 500):
            at += timedelta(hours=hours)
            await shop.advance(at.isoformat())
        body = other_items(prices, draw)
        preview = await previewed(client, subscription, body)
        answer = await client.post(f"/v1/subscriptions/{subscription}/change", body)
        if preview.status_code != 200:
            assert (preview.status_code, preview.json()["code"]) == (answer.status_code, answer.json()["code"])
            continue
        assert answer.status_code == 200, answer.text
        at = max(at, datetime.fromisoformat(preview.json()["invoice"]["finalized_at"]))
        found = answer.json()
        if found["latest_invoice"] != preview.json()["invoice"]["id"]:
            await shop.advance(at.isoformat())
            renewed = await client.post(f"/v1/subscriptions/{subscription}/renew", {})
            assert renewed.status_code == 200, renewed.text
            found = renewed.json()
        assert found == preview.json()["subscription"]
        invoice = await shop.billed(found["latest_invoice"])
        assert preview.json()["invoice"] == {**invoice, "number": None}
        await shop.explained(found["latest_invoice"])


def other_items(prices: list[dict[str, Any]], draw: random.Random) -> dict[str, Any]:
    chosen = draw.sample(prices, draw.randrange(1, 4))
    return {
        "items": [
            {"price": price["id"]} | ({} if price["model"]["type"] == "flat" else {"quantity": draw.choice(("1", "7"))})
            for price in chosen
        ],
        "proration": draw.choice(PRORATIONS),
        "reset_anchor": draw.random() < 1 / 4,
    }


async def test_a_credit_bears_the_tax_of_what_it_gives_back_whatever_holds_by_then(client: Client) -> None:
    settings = f"/v1/tenants/{client.tenant_id}/tax-settings"
    assert (await client.send("PATCH", settings, {"seller_country": "DE"})).status_code == 200
    await client.made("/v1/tax-rates", {"country": "DE", "percent": "19", "valid_from": "2020-01-01"})
    await client.made("/v1/tax-rates", {"country": "DE", "percent": "16", "valid_from": "2026-01-10"})
    registration = {"country": "DE", "number": "0815", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-registrations", registration)
    shop = await Shop.opened(client)
    price = await shop.price({"type": "flat", "amount": {"amount": 3100, "currency": "EUR"}})
    other = await shop.price({"type": "flat", "amount": {"amount": 6200, "currency": "EUR"}})
    subscription = await shop.subscribed(await shop.customer(), price)
    await shop.advance("2026-01-17T00:00:00Z")
    body = {"items": [{"price": other["id"]}], "remove": [price["id"]]}
    changed = await shop.changed(subscription, body)
    explained = await shop.explained(changed["latest_invoice"])
    credit, charge = explained["lines"]
    assert (credit["amount"]["amount"], credit["total"]["amount"]) == (-1500, -1785)
    assert (charge["amount"]["amount"], charge["total"]["amount"]) == (3000, 3480)
    assert (credit["gives_back"]["invoice"], credit["gives_back"]["paid_part"]) == (subscription["latest_invoice"], "1")
    assert credit["pricing"]["share"] == "15/31"
    assert [portion["amount"] for portion in credit["portions"]] == ["-3100", "1600"]


def settled(invoice: dict[str, Any]) -> tuple[int, int, str]:
    return invoice["total"]["amount"], invoice["amount_applied"]["amount"], invoice["status"]


async def test_what_is_given_back_beyond_what_is_charged_pays_the_next_invoice(client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(per_unit("EUR", "1000"))
    subscription = await shop.subscribed(await shop.customer(), price, "9")
    await shop.advance("2026-01-17T00:00:00Z")
    fewer = await shop.changed(subscription, {"items": [{"price": price["id"], "quantity": "1"}]})
    invoice = await shop.billed(fewer["latest_invoice"])
    assert (invoice["total"]["amount"], invoice["amount_applied"]["amount"], invoice["status"]) == (
        -3871,
        -3871,
        "paid",
    )
    await shop.advance("2026-02-01T00:00:00Z")
    renewed = (await client.post(f"/v1/subscriptions/{subscription['id']}/renew", {})).json()
    invoice = await shop.billed(renewed["latest_invoice"])
    assert settled(invoice) == (1000, 1000, "paid")


async def test_a_preview_records_nothing_and_a_scheduled_change_is_shown_and_taken_back(
    client: Client, database: FreshDatabase
) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(per_unit("EUR", "1000"))
    subscription = await shop.subscribed(await shop.customer(), price)
    body = {"items": [{"price": price["id"], "quantity": "3"}], "proration": "period_end"}
    before = await kept(database.dsn)
    preview = await previewed(client, str(subscription["id"]), body)
    assert preview.json()["invoice"]["total"]["amount"] == 3000
    assert await kept(database.dsn) == before
    scheduled = await shop.changed(subscription, body)
    assert scheduled["scheduled_change"]["effective_at"] == subscription["current_period_end"]
    assert scheduled["items"][0]["quantity"] == "1"
    assert scheduled["scheduled_change"]["items"][0]["quantity"] == "3"
    undone = await client.post(f"/v1/subscriptions/{subscription['id']}/unschedule-change", {})
    assert undone.json()["scheduled_change"] is None
