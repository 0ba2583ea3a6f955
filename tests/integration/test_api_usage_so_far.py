"""A threshold of usage through the API, on a test clock: what is sent before the clock moves on is billed first."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from testing.api_client import project
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from tests.integration.billing_scene import Shop, flat_price
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, TIERS, UsageShop

START = "2026-01-01T00:00:00Z"
GRADUATED = {"type": "graduated", "currency": "EUR", "tiers": TIERS}
"""1.00 each for ten, 0.50 for each of the others."""


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[UsageShop]:
    async with counting_api(
        database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS, further=["processors"]
    ) as api:
        yield UsageShop(api, await api.tenant("acme"))


async def test_usage_is_invoiced_above_a_threshold_and_the_rest_when_its_period_is_over(scene: UsageShop) -> None:
    client, meter = scene.client, await scene.meter("traffic", unit="GB")
    shop = await Shop.opened(client, START)
    customer = await shop.customer()
    price = await shop.price(GRADUATED, timing="in_arrears", meter=meter)
    threshold = {"amount": {"amount": 800, "currency": "EUR"}, "recurring": True}
    subscription = await client.made("/v1/subscriptions", {
        "customer": customer, "plan": shop.plan, "items": [{"price": price["id"]}],
        "collection_method": "send_invoice", "usage_threshold": threshold,
    })  # fmt: skip
    assert subscription["usage_threshold"] == threshold

    await scene.advanced(shop, "2026-01-05T00:00:00Z")
    await scene.send(customer, ("2026-01-02T00:00:00Z", 4), ("2026-01-03T00:00:00Z", 8))
    await scene.advanced(shop, "2026-01-10T00:00:00Z")
    (first,) = await scene.invoices(subscription)
    (line,) = first["lines"]
    assert (first["total"]["amount"], line["period_end"], line["quantity"]) == (1_100, "2026-01-05T00:00:00Z", "12")
    assert line["usage"]["progress"] == {
        "invoices": [], "charge": first["total"], "billed_before": {"amount": 0, "currency": "EUR"}, "is_last": False,
    }  # fmt: skip
    assert (await shop.explained(first["id"]))["lines"][0]["rounding_difference"] == "0"

    await scene.send(customer, ("2026-01-04T00:00:00Z", 2), ("2026-01-08T00:00:00Z", 15))
    await scene.advanced(shop, "2026-01-20T00:00:00Z")
    _, second = await scene.invoices(subscription)
    assert (second["total"]["amount"], second["lines"][0]["quantity"]) == (850, "29")
    await scene.send(customer, ("2026-01-15T00:00:00Z", 4))

    async def counted() -> bool:
        return bool((await scene.shown(customer, "traffic"))["quantity"] == "33")

    await until(counted, what="what was used to be counted")
    preview = (await client.post("/v1/invoices/preview", {"subscription": subscription["id"]})).json()["invoice"]
    assert preview["total"]["amount"] == 200
    usage = await scene.shown(customer, "traffic")
    bill = {name: usage["bill"][name]["amount"] for name in ("amount", "invoiced", "remaining")}
    assert bill == {"amount": 10 * 100 + 23 * 50, "invoiced": 1_100 + 850, "remaining": 200}
    assert (await scene.client.post(f"/v1/invoices/{second['id']}/void", {})).status_code == 200
    await project(scene.api.database, scene.api.parts.settings)
    bill = (await scene.shown(customer, "traffic"))["bill"]
    assert (bill["invoiced"]["amount"], bill["remaining"]["amount"]) == (1_100, 1_050)

    await scene.advanced(shop, "2026-02-02T00:00:00Z")
    *_, last = await scene.invoices(subscription)
    assert [last["total"]["amount"], last["lines"][0]["quantity"]] == [1_050, "33"], "with what was voided"
    assert last["lines"][0]["usage"]["progress"]["invoices"] == [first["id"], second["id"]]
    await shop.explained(last["id"])
    said = [await _page(scene, each) for each in (first, last)]
    assert "12 GB €11.00 Usage so far, until January 4, 2026 Tier 1: 0 GB – 10 GB 10 GB €1.00 €10.00" in said[0]
    assert "Tier 2: above 10 GB 23 GB €0.50 €11.50 Less billed before -€11.00" in said[1]


async def test_a_percentage_of_single_events_is_invoiced_above_a_threshold(scene: UsageShop) -> None:
    """10 % and 0.50 of each event, the first of the period by its time free; a coupon of one period halves it."""
    client, meter = scene.client, await scene.meter("traffic", "amounts")
    shop = await Shop.opened(client, START)
    customer = await shop.customer()
    model = {"type": "percentage", "currency": "EUR", "percent": "10", "fixed_amount": "50", "free_events": 1}
    price = await shop.price(model, timing="in_arrears", meter=meter)
    coupon = await client.made("/v1/coupons", {"name": "Half", "percent_off": "50", "duration": "once"})
    subscription = await client.made("/v1/subscriptions", {
        "customer": customer, "plan": shop.plan, "items": [{"price": price["id"]}], "collection_method": "send_invoice",
        "usage_threshold": {"amount": {"amount": 400, "currency": "EUR"}}, "coupons": [coupon["id"]],
    })  # fmt: skip

    await scene.advanced(shop, "2026-01-05T00:00:00Z")
    await scene.send(customer, ("2026-01-03T00:00:00Z", 2_000), ("2026-01-04T00:00:00Z", 4_000))
    await scene.advanced(shop, "2026-01-10T00:00:00Z")
    (first,) = await scene.invoices(subscription)
    assert first["lines"][0]["amount"]["amount"] == 450, "the second alone"
    await scene.send(customer, ("2026-01-02T00:00:00Z", 9_000), ("2026-01-08T00:00:00Z", 3_000))
    await scene.advanced(shop, "2026-01-20T00:00:00Z")
    _, second = await scene.invoices(subscription)
    assert second["lines"][0]["amount"]["amount"] == 250 + 350, "the one that came late is the free one"
    await scene.advanced(shop, "2026-02-02T00:00:00Z")
    invoices = await scene.invoices(subscription)
    assert [invoice["total"]["amount"] for invoice in invoices] == [225, 300, 0]
    assert [[each["periods_used"] for each in invoice["discounts"]] for invoice in invoices] == [[0], [0], [1]]
    assert invoices[-1]["lines"][0]["usage"]["progress"]["charge"]["amount"] == 1_050
    for invoice in invoices:
        await shop.explained(invoice["id"])

    await scene.advanced(shop, "2026-02-05T00:00:00Z")
    await scene.send(customer, ("2026-02-03T00:00:00Z", 9_000), ("2026-02-04T00:00:00Z", 1_000))
    await scene.advanced(shop, "2026-03-02T00:00:00Z")
    *_, last = await scene.invoices(subscription)
    assert (last["total"]["amount"], last["discounts"]) == (150, []), "the coupon is used up"


async def test_a_metered_price_goes_to_another_subscription_and_each_bills_the_rest_of_its_own(
    scene: UsageShop,
) -> None:
    client, meter = scene.client, await scene.meter("traffic")
    shop = await Shop.opened(client, START)
    customer = await shop.customer()
    flat, price = await shop.price(flat_price(10)), await shop.price(GRADUATED, timing="in_arrears", meter=meter)
    threshold = {"amount": {"amount": 800, "currency": "EUR"}, "recurring": True}
    terms = {"customer": customer, "plan": shop.plan, "collection_method": "send_invoice", "billed_together": True}
    items = [{"price": flat["id"]}, {"price": price["id"]}]
    one = await client.made("/v1/subscriptions", {**terms, "items": items, "usage_threshold": threshold})
    other = await client.made("/v1/subscriptions", {**terms, "items": items[:1]})

    await scene.advanced(shop, "2026-01-05T00:00:00Z")
    await scene.send(customer, ("2026-01-02T00:00:00Z", 12))
    await scene.advanced(shop, "2026-01-10T00:00:00Z")
    await scene.send(customer, ("2026-01-06T00:00:00Z", 4))
    await shop.changed(one, {"remove": [price["id"]], "proration": "next_invoice"})
    await shop.changed(other, {"items": [{"price": price["id"]}]})
    await scene.advanced(shop, "2026-01-20T00:00:00Z")
    await scene.send(customer, ("2026-01-15T00:00:00Z", 3))
    await scene.advanced(shop, "2026-02-02T00:00:00Z")
    _, so_far, shared = await scene.invoices(one)
    assert so_far["total"]["amount"] == 1_100
    rest, own = sorted((line for line in shared["lines"] if line["usage"]), key=lambda line: str(line["period_end"]))
    assert (rest["amount"]["amount"], rest["quantity"], own["amount"]["amount"]) == (200, "16", 300)
    assert rest["usage"]["progress"]["invoices"] == [so_far["id"]]

    await scene.send(customer, ("2026-01-08T00:00:00Z", 2))
    await scene.advanced(shop, "2026-03-02T00:00:00Z")
    *_, last = await scene.invoices(one)
    (late,) = [line for line in last["lines"] if line["usage"] and line["usage"]["late"]]
    assert (late["amount"]["amount"], late["usage"]["late"]["line"]) == (100, rest["id"])
    assert f"Late usage of {shared['number']}" in await _page(scene, last)


async def _page(scene: UsageShop, invoice: dict[str, Any]) -> str:
    """The text of its PDF, with one space where there is any."""
    answer = await scene.client.get(f"/v1/invoices/{invoice['id']}/pdf")
    assert answer.status_code == 200, answer.text
    pages = PdfReader(io.BytesIO(answer.content)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


async def test_a_threshold_is_set_and_taken_away(scene: UsageShop) -> None:
    client = scene.client
    shop = await Shop.opened(client, START)
    price = await shop.price(GRADUATED, timing="in_arrears", meter=await scene.meter("traffic"))
    order = {"customer": await shop.customer(), "plan": shop.plan, "items": [{"price": price["id"]}]}
    subscription = await client.made("/v1/subscriptions", order)
    path = f"/v1/subscriptions/{subscription['id']}/set-usage-threshold"
    wanted = {"amount": {"amount": 5, "currency": "EUR"}, "recurring": False}
    assert (await client.post(path, {"usage_threshold": wanted})).json()["usage_threshold"] == wanted
    assert (await client.post(path, {"usage_threshold": None})).json()["usage_threshold"] is None
    refused = await client.post(path, {"usage_threshold": {"amount": {"amount": 5, "currency": "USD"}}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_usage_threshold")


async def test_a_period_has_the_quarter_hours_that_begin_in_it_and_nothing_of_a_trial(scene: UsageShop) -> None:
    client, meter = scene.client, await scene.meter("traffic")
    shop = await Shop.opened(client, "2026-01-01T00:07:00Z")
    customer = await shop.customer()
    price = await shop.price(GRADUATED, timing="in_arrears", meter=meter)
    subscription = await client.made("/v1/subscriptions", {
        "customer": customer, "plan": shop.plan, "items": [{"price": price["id"]}],
        "collection_method": "send_invoice", "trial_days": 1,
    })  # fmt: skip
    await scene.advanced(shop, "2026-01-03T00:00:00Z")
    await scene.send(customer, ("2026-01-02T00:05:00Z", 4), ("2026-01-02T00:16:00Z", 2))
    await project(scene.api.database, scene.api.parts.settings)

    async def counted() -> bool:
        return bool((await scene.shown(customer, "traffic"))["quantity"] == "2")

    await until(counted, what="what was used in the period to be counted")
    assert (await scene.shown(customer, "traffic"))["bill"]["quantity"] == "2"
    await scene.advanced(shop, "2026-02-02T00:06:00Z")
    await scene.send(customer, ("2026-02-02T00:10:00Z", 3))
    await scene.advanced(shop, "2026-02-02T01:00:00Z")
    await scene.send(customer, ("2026-02-02T00:30:00Z", 9))
    (first,) = await scene.invoices(subscription)
    assert [(line["quantity"], line["period_end"]) for line in first["lines"]] == [("5", "2026-02-02T00:07:00Z")]

    async def next_counted() -> bool:
        return bool((await scene.shown(customer, "traffic"))["quantity"] == "9")

    await until(next_counted, what="what was used in the next period to be counted")
