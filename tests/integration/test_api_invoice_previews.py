"""A preview equals the invoice: over catalogues, subscriptions and what becomes of them, drawn on test clocks."""

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
INVOICES_EACH = 4
STARTS = ("2026-01-31T09:30:00Z", "2024-02-29T00:00:00Z", "2025-10-26T00:30:00Z", "2026-03-29T01:30:00Z")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia")
INTERVALS = (("month", 1), ("week", 2), ("day", 10), ("quarter", 1), ("year", 1))
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


async def previewed(client: Client, subscription: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {client.key}"}
    return await client.http.post("/v1/invoices/preview", json={"subscription": subscription}, headers=headers)


@pytest.mark.parametrize("seed", range(CATALOGUES))
async def test_a_preview_is_the_invoice_that_comes_to_the_byte(client: Client, seed: int) -> None:
    draw = random.Random(seed)
    start = draw.choice(STARTS)
    grace = {"grace_seconds": (seed % 2) * 7_200}
    assert (await client.send("PATCH", "/v1/tenants/acme/billing-settings", grace)).status_code == 200
    shop = await Shop.opened(client, start, *draw.choice(INTERVALS))
    prices = [
        await shop.price(model, timing=draw.choice(("in_advance", "in_arrears")))
        for model in draw.sample(MODELS, draw.randrange(1, 4))
    ]
    begins = datetime.fromisoformat(start) + timedelta(days=draw.choice((0, 0, 17, -20)))
    order = {
        "customer": await shop.customer(),
        "plan": shop.plan,
        "items": [
            {"price": price["id"], "quantity": "1" if price["model"]["type"] == "flat" else draw.choice(("1", "7"))}
            for price in prices
        ],
        "time_zone": draw.choice(ZONES),
        "trial_days": draw.choice((0, 0, 9)),
        "starts_at": begins.isoformat(),
        "collection_method": draw.choice(("send_invoice", "charge_automatically")),
        "coupons": [await coupon(client, draw) for _ in range(draw.choice((0, 1, 2)))],
        "period_alignment": (alignment := draw.choice(("start", "calendar", "anchor"))),
        "billing_anchor": (begins + timedelta(days=draw.randrange(-50, 50))).isoformat()
        if alignment == "anchor"
        else None,
        "stub_period": draw.choice(("prorated", "prorated", "free")),
    }
    subscription = str((await client.made("/v1/subscriptions", order))["id"])
    at = datetime.fromisoformat(start)
    for _ in range(INVOICES_EACH):
        await something_becomes_of(client, subscription, at, draw)
        answer = await previewed(client, subscription)
        if answer.status_code == 409:  # its end is scheduled, and nothing is owed by then
            assert answer.json()["code"] == "nothing_upcoming"
            answer = await client.post(f"/v1/subscriptions/{subscription}/undo-cancel", {})
            assert answer.status_code == 200, answer.text
            continue
        assert answer.status_code == 200, answer.text
        preview = answer.json()["invoice"]
        await shop.advance(preview["finalized_at"])
        at = datetime.fromisoformat(preview["finalized_at"])
        renewed = await client.post(f"/v1/subscriptions/{subscription}/renew", {})
        assert renewed.status_code == 200, renewed.text
        if grace["grace_seconds"]:
            finalized = await client.post(f"/v1/invoices/{renewed.json()['latest_invoice']}/finalize", {})
            assert finalized.status_code == 200, finalized.text
        invoice = await shop.billed(renewed.json()["latest_invoice"])
        assert preview.pop("number") is None
        assert invoice.pop("number").startswith("INV-")
        assert preview == invoice
        if renewed.json()["status"] == "canceled":
            break


async def coupon(client: Client, draw: random.Random) -> object:
    """A coupon of any sort."""
    off: dict[str, Any] = draw.choice(
        ({"percent_off": "33.3"}, {"percent_off": 100}, {"amount_off": {"amount": 1_234, "currency": "EUR"}})
    )
    lasts: dict[str, Any] = draw.choice(
        ({"duration": "once"}, {"duration": "repeating", "periods": 2}, {"duration": "forever"})
    )
    return (await client.made("/v1/coupons", {"name": "Coupon", **off, **lasts}))["id"]


async def something_becomes_of(client: Client, subscription: str, at: datetime, draw: random.Random) -> None:
    """Refused or not, it is nothing to the preview."""
    soon = (at + timedelta(days=draw.randrange(1, 60))).isoformat()
    what, body = draw.choice(
        (
            ("cancel", {"cancel_at": soon}),
            ("cancel", {"at_period_end": True}),
            ("undo-cancel", {}),
            ("extend-trial", {"trial_end": soon}),
            ("end-trial", {}),
            ("suspend", {}),
            ("reactivate", {}),
            ("pause", {"resumes_at": soon}),
        )
    )
    answer = await client.post(f"/v1/subscriptions/{subscription}/{what}", body)
    assert answer.status_code in {200, 409, 422}, answer.text


async def test_a_preview_records_nothing_and_needs_no_key(client: Client, database: FreshDatabase) -> None:
    shop = await Shop.opened(client)
    subscription = await shop.subscribed(await shop.customer(), await shop.price(MODELS[0]))
    before = await kept(database.dsn)
    answer = await previewed(client, str(subscription["id"]))
    assert answer.status_code == 200, answer.text
    assert "ledger-position" not in answer.headers
    assert await kept(database.dsn) == before


async def test_a_preview_of_what_bills_nothing_more_is_refused(client: Client) -> None:
    shop = await Shop.opened(client)
    subscription = await shop.subscribed(await shop.customer(), await shop.price(MODELS[0]))
    path = f"/v1/subscriptions/{subscription['id']}/cancel"
    for at_period_end, code in ((True, "nothing_upcoming"), (False, "subscription_canceled")):
        assert (await client.post(path, {"at_period_end": at_period_end})).status_code == 200
        refused = await previewed(client, str(subscription["id"]))
        assert (refused.status_code, refused.json()["code"]) == (409, code)
    unknown = await previewed(client, "sub_01m7ywe9z7e398x54gfbrtqnk7")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "subscription_not_found")
