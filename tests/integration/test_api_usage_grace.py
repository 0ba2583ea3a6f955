"""Drafts of usage that have time, through the API: what comes late until then is billed, and is shown before."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from tests.integration.billing_scene import Shop
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, TIERS, UsageShop

START = "2026-01-01T00:00:00Z"
GRADUATED = {"type": "graduated", "currency": "EUR", "tiers": TIERS}
"""1.00 each for ten, 0.50 for each of the others."""
GRACE_S = 3 * 86_400


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[UsageShop]:
    async with counting_api(
        database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS, further=["processors"]
    ) as api:
        yield UsageShop(api, await api.tenant("acme"))


async def graced(scene: UsageShop, seconds: int = GRACE_S) -> None:
    answer = await scene.client.send("PATCH", "/v1/tenants/acme/billing-settings", {"grace_seconds": seconds})
    assert answer.status_code == 200, answer.text


async def previewed(scene: UsageShop, **of: str) -> dict[str, Any]:
    answer = await scene.client.post("/v1/invoices/preview", of)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_comes_in_its_time_is_on_the_draft_and_is_shown_before_and_thresholds_do_not_wait_for_it(
    scene: UsageShop,
) -> None:
    client, meter = scene.client, await scene.meter("traffic")
    await graced(scene)
    shop = await Shop.opened(client, START)
    customer = await shop.customer()
    price = await shop.price(GRADUATED, timing="in_arrears", meter=meter)
    subscription = await client.made("/v1/subscriptions", {
        "customer": customer, "plan": shop.plan, "items": [{"price": price["id"]}], "collection_method": "send_invoice",
    })  # fmt: skip
    await scene.advanced(shop, "2026-01-20T00:00:00Z")
    await scene.send(customer, ("2026-01-10T00:00:00Z", 4))
    await scene.advanced(shop, "2026-02-01T12:00:00Z")
    (draft,) = await scene.invoices(subscription)
    assert (draft["status"], draft["waiting_for"], draft["finalizes_at"]) == ("draft", "usage", "2026-02-04T00:00:00Z")
    await scene.send(customer, ("2026-01-30T00:00:00Z", 8), ("2026-02-01T06:00:00Z", 3))

    async def counted() -> bool:
        return bool((await scene.shown(customer, "traffic"))["quantity"] == "3")

    await until(counted, what="what was used to be counted")
    preview = await previewed(scene, invoice=draft["id"])
    foreseen = preview["invoice"]
    assert (preview["usage_so_far"], foreseen["status"], foreseen["number"]) == (True, "open", None)
    assert (foreseen["total"]["amount"], foreseen["finalized_at"]) == (1_100, "2026-02-04T00:00:00Z")
    explained = await shop.explained(draft["id"])
    assert (explained["usage_so_far"], explained["total"]["amount"]) == (True, 1_100)
    assert explained["lines"][0]["usage"]["quantity"] == "12"
    upcoming = (await previewed(scene, subscription=str(subscription["id"])))["invoice"]
    assert [line["quantity"] for line in upcoming["lines"]] == ["3"]
    january = await scene.shown(customer, "traffic", "?from=2026-01-01&to=2026-01-31")
    assert (january["quantity"], (await scene.shown(customer, "traffic"))["bill"]["amount"]["amount"]) == ("12", 300)
    waiting = await scene.found("/v1/invoices?waiting_for=usage")
    assert [each["id"] for each in waiting["data"]] == [draft["id"]]

    wanted = {"usage_threshold": {"amount": {"amount": 500, "currency": "EUR"}, "recurring": True}}
    path = f"/v1/subscriptions/{subscription['id']}/set-usage-threshold"
    assert (await client.post(path, wanted)).status_code == 200
    await scene.send(customer, ("2026-02-01T07:00:00Z", 4))
    await scene.advanced(shop, "2026-02-02T00:00:00Z")
    so_far = next(each for each in await scene.invoices(subscription) if each["id"] != draft["id"])
    assert (so_far["status"], so_far["waiting_for"], so_far["subtotal"]["amount"]) == ("draft", None, 700)
    assert (await previewed(scene, invoice=so_far["id"]))["usage_so_far"] is False

    await scene.advanced(shop, "2026-02-06T00:00:00Z")
    first, second = await scene.invoices(subscription)
    assert (first["id"], first["status"], first["finalized_at"]) == (draft["id"], "open", "2026-02-04T00:00:00Z")
    assert [(line["quantity"], line["amount"]["amount"]) for line in first["lines"]] == [("12", 1_100)]
    assert (second["id"], second["total"]["amount"]) == (so_far["id"], 700)
    assert (await shop.explained(first["id"]))["usage_so_far"] is False
    refused = await client.post("/v1/invoices/preview", {"invoice": first["id"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_draft")
    await scene.advanced(shop, "2026-03-05T00:00:00Z")
    *_, last = await scene.invoices(subscription)
    assert [(line["quantity"], line["amount"]["amount"]) for line in last["lines"]] == [("7", 0)], "nothing was late"


async def test_drafts_that_have_longer_than_the_next_period_are_closed_each_at_its_time(scene: UsageShop) -> None:
    client, meter = scene.client, await scene.meter("traffic")
    await graced(scene, 10 * 86_400)
    shop = await Shop.opened(client, START, "week")
    customer = await shop.customer()
    price = await shop.price(GRADUATED, timing="in_arrears", meter=meter)
    subscription = await client.made("/v1/subscriptions", {
        "customer": customer, "plan": shop.plan, "items": [{"price": price["id"]}], "collection_method": "send_invoice",
    })  # fmt: skip
    await scene.advanced(shop, "2026-01-16T00:00:00Z")
    await scene.send(customer, ("2026-01-02T00:00:00Z", 2), ("2026-01-09T00:00:00Z", 3))
    await scene.advanced(shop, "2026-01-20T00:00:00Z")
    assert [each["status"] for each in await scene.invoices(subscription)] == ["open", "draft"]
    await scene.send(customer, ("2026-01-03T00:00:00Z", 1), ("2026-01-10T00:00:00Z", 1))
    await scene.advanced(shop, "2026-02-01T00:00:00Z")
    first, second, third = (await scene.invoices(subscription))[:3]
    assert [each["finalized_at"][:10] for each in (first, second, third)] == ["2026-01-18", "2026-01-25", "2026-02-01"]
    assert [each["total"]["amount"] for each in (first, second, third)] == [200, 500, 0]
    assert sorted(line["quantity"] for line in second["lines"]) == ["1", "4"], "its own, and what is late for the first"


async def test_a_preview_is_of_a_subscription_or_of_a_draft(scene: UsageShop) -> None:
    for body in ({}, {"subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7", "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7"}):
        refused = await scene.client.post("/v1/invoices/preview", body)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "ambiguous_preview")
    unknown = await scene.client.post("/v1/invoices/preview", {"invoice": "in_01m7ywe9z7e398x54gfbrtqnk7"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "invoice_not_found")
