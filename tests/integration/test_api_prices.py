"""Prices of every model through the API: made, subscribed to, billed, explained, and refused where they cannot be."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from testing.api_client import Api, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, package, per_unit, tiered

TIERED = tiered("graduated", (5, 10, 100), (None, 5, 50))
BY_VOLUME = tiered("volume", (15, 10, 0), (None, 5, 0))


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def shop(api: Api) -> Shop:
    return await Shop.opened(await api.tenant("acme"))


async def test_a_price_is_shown_as_it_was_made_and_in_what_was_subscribed_to(api: Api, shop: Shop) -> None:
    for model, sent in (
        (TIERED, {**TIERED, "free_units": "0.5"}),
        (BY_VOLUME, {**BY_VOLUME, "free_units": "0"}),
        (package(5), package(5)),
    ):
        made = await shop.price({**model, **sent}, minimum={"amount": 100, "currency": "EUR"})
        assert made["currency"] == "EUR"
        assert (made["minimum"], made["maximum"]) == ({"amount": 100, "currency": "EUR"}, None)
        assert made["model"]["type"] == model["type"]
        if model["type"] != "package":
            shown = [(tier["up_to"], tier["unit_amount"], tier["flat_amount"]) for tier in made["model"]["tiers"]]
            meant = [
                (None if tier["up_to"] is None else str(tier["up_to"]), str(tier["unit_amount"]), tier["flat_amount"])
                for tier in model["tiers"]
            ]
            assert shown == meant
        again = await shop.price(made["model"])
        assert again["model"] == made["model"], "what is shown can be sent"
        subscription = await shop.subscribed(await shop.customer(), made)
        (item,) = subscription["items"]
        assert (item["price"], item["model"], item["minimum"]) == (made["id"], made["model"], made["minimum"])
        await project(api.database, api.parts.settings)
        assert (await shop.client.get(f"/v1/prices/{made['id']}")).json() == made
        listed = (await shop.client.get("/v1/prices")).json()["data"]
        assert made in listed
        assert (await shop.client.get(f"/v1/subscriptions/{subscription['id']}")).json() == subscription


async def test_a_customer_is_billed_the_price_of_their_own_currency(shop: Shop) -> None:
    yen = {"model": per_unit("JPY", "1000.5"), "maximum": {"amount": 5_000, "currency": "JPY"}}
    price = await shop.price(TIERED, currency_options=[yen, {"model": per_unit("USD", "11.25")}])
    assert [option["currency"] for option in price["currency_options"]] == ["JPY", "USD"]
    for currency, quantity, total in (("EUR", "8", 215), ("JPY", "3", 3_002), ("JPY", "8", 5_000), ("USD", "8", 90)):
        subscription = await shop.subscribed(await shop.customer(currency), price, quantity)
        assert subscription["items"][0]["currency"] == currency
        invoice = await shop.billed(subscription["latest_invoice"])
        assert invoice["total"] == {"amount": total, "currency": currency}
    items = [{"price": price["id"]}]
    order = {"customer": await shop.customer("CHF"), "plan": shop.plan, "items": items}
    refused = (await shop.client.post("/v1/subscriptions", order)).json()
    assert (refused["code"], refused["param"]) == ("no_price_in_currency", "items.0.price")
    assert "EUR JPY USD" in refused["detail"]


async def test_a_period_in_arrears_is_prorated_with_its_bounds_and_says_so(shop: Shop) -> None:
    """28 days of February, cancelled on the 11th: ten days of the month's price, each line rounded once."""
    price = await shop.price(
        {**TIERED, "free_units": 2}, timing="in_arrears", maximum={"amount": 200, "currency": "EUR"}
    )
    subscription = await shop.subscribed(await shop.customer(), price, "8.5")
    assert subscription["latest_invoice"] is None
    await shop.advance("2026-02-11T00:00:00Z")
    renewed = (await shop.client.post(f"/v1/subscriptions/{subscription['id']}/renew", {})).json()
    whole = await shop.explained(renewed["latest_invoice"])
    assert whole["total"]["amount"] == 200
    cancelled = await shop.client.post(f"/v1/subscriptions/{subscription['id']}/cancel", {"at_period_end": False})
    part = await shop.explained(cancelled.json()["latest_invoice"])
    (line,) = part["lines"]
    assert (line["amount"]["amount"], line["quantity"]) == (71, "8.5")  # 200 × 10/28 = 71.43
    assert (line["pricing"]["share"], line["pricing"]["rounding"]) == ("5/14", "half_up")
    assert line["rounding_difference"] == "-3/7"
    first = {"number": 1, "above": "0", "up_to": "5"}
    second = {"number": 2, "above": "5", "up_to": None}
    shown = [(each["kind"], each["quantity"], each["rate"], each["amount"], each["tier"]) for each in line["portions"]]
    assert shown == [
        ("free_units", "2", "0", "0", None),
        ("tier_flat", "1", "100", "100", first),
        ("tier_units", "5", "10", "50", first),
        ("tier_flat", "1", "50", "50", second),
        ("tier_units", "1.5", "5", "7.5", second),
        ("maximum", "1", "-7.5", "-7.5", None),
        ("share_not_billed", "-9/14", "200", "-900/7", None),
    ]


async def test_who_subscribed_to_a_price_is_billed_and_told_by_it_whatever_becomes_of_it(shop: Shop) -> None:
    price = await shop.price(BY_VOLUME)
    subscription = await shop.subscribed(await shop.customer(), price, "16")
    before = await shop.explained(subscription["latest_invoice"])
    changed = await shop.client.send("PATCH", f"/v1/prices/{price['id']}", {"model": TIERED})
    assert (changed.status_code, changed.json()["errors"][0]["code"]) == (422, "unknown_name")
    archived = await shop.client.post(f"/v1/prices/{price['id']}/archive", {})
    assert {**archived.json(), "active": True, "archived_at": None} == price
    assert await shop.explained(subscription["latest_invoice"]) == before
    await shop.advance("2026-02-01T00:00:00Z")
    renewed = (await shop.client.post(f"/v1/subscriptions/{subscription['id']}/renew", {})).json()
    after = await shop.explained(renewed["latest_invoice"])
    for explained in (before, after):
        (line,) = explained["lines"]
        assert (line["amount"]["amount"], line["pricing"]["model"]) == (80, price["model"])


async def test_a_subscription_mixes_intervals_of_which_each_is_a_whole_number_of_the_shorter(
    api: Api, shop: Shop
) -> None:
    flat = {"type": "flat", "amount": {"amount": 1_000, "currency": "EUR"}}
    fee = await shop.price(flat, name="Fee", interval={"unit": "year"})
    calls = await shop.price(per_unit("EUR", "12"), name="Calls", timing="in_arrears")
    assert (fee["interval"], calls["interval"]) == ({"unit": "year", "count": 1}, None)
    items = [{"price": fee["id"]}, {"price": calls["id"], "quantity": 3}]
    made = await shop.subscribed(await shop.customer(), fee, items=items)
    assert made["interval"] == {"unit": "month", "count": 1}
    new_year, february, later = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z"
    assert [(each["interval"]["unit"], each["current_period_end"]) for each in made["items"]] == [
        ("year", later),
        ("month", february),
    ]
    await project(api.database, api.parts.settings)
    assert (await shop.client.get(f"/v1/subscriptions/{made['id']}")).json() == made
    await shop.advance(february)
    renewed = (await shop.client.post(f"/v1/subscriptions/{made['id']}/renew", {})).json()
    assert (renewed["current_period_start"], renewed["items"][0]["current_period_start"]) == (february, new_year)
    (line,) = (await shop.explained(renewed["latest_invoice"]))["lines"]
    assert (line["amount"]["amount"], line["period_start"], line["period_end"]) == (36, new_year, february)
    ending = (await shop.client.post(f"/v1/subscriptions/{made['id']}/cancel", {"at_period_end": True})).json()
    assert ending["cancel_at"] == later

    weekly = await shop.price(flat, name="Visits", interval={"unit": "week"})
    order = {"customer": await shop.customer(), "plan": shop.plan, "items": [*items, {"price": weekly["id"]}]}
    head = await api.head()
    refused = await shop.client.post("/v1/subscriptions", order)
    assert (refused.status_code, refused.json()["code"]) == (422, "intervals_do_not_nest")
    assert refused.json()["param"] == "items.2.price"
    assert await api.head() == head


async def test_an_add_on_is_sold_beside_a_plan_and_not_by_itself(api: Api, shop: Shop) -> None:
    flat = {"type": "flat", "amount": {"amount": 1_000, "currency": "EUR"}}
    product = await shop.client.made("/v1/products", {"name": "Support", "tax_category": "services"})
    terms = {"product": product["id"], "name": "Support", "interval": {"unit": "month"}, "add_on": True}
    plan = await shop.client.made("/v1/plans", terms)
    support = await shop.client.made("/v1/prices", {"plan": plan["id"], "model": flat})
    team, customer = await shop.price(flat), await shop.customer()
    made = await shop.subscribed(customer, team, items=[{"price": team["id"]}, {"price": support["id"]}])
    assert (made["plan"], plan["add_on"]) == (shop.plan, True)
    lines = (await shop.billed(made["latest_invoice"]))["lines"]
    assert [(line["description"], line["product"], line["tax_category"]) for line in lines][1:] == [
        ("Support", product["id"], "services")
    ]
    head = await api.head()
    alone = {"customer": customer, "plan": plan["id"], "items": [{"price": support["id"]}]}
    for path, body, code, param in (
        ("/v1/subscriptions", alone, "plan_is_add_on", "plan"),
        ("/v1/subscriptions", {**alone, "plan": shop.plan}, "only_add_ons", "items"),
        ("/v1/plans", {**terms, "trial_days": 1}, "add_on_has_no_trial", "trial_days"),
    ):
        refused = await shop.client.post(path, body)
        assert (refused.status_code, refused.json()["code"], refused.json()["param"]) == (422, code, param)
    changed = await shop.client.send("PATCH", f"/v1/plans/{plan['id']}", {"add_on": False})
    assert (changed.status_code, changed.json()["errors"][0]["code"]) == (422, "unknown_name")
    assert await api.head() == head


async def test_an_amount_that_somebody_stated_has_no_portions(shop: Shop) -> None:
    line = {"description": "Set-up", "amount": {"amount": 700, "currency": "EUR"}}
    draft = {"customer": await shop.customer(), "currency": "EUR", "lines": [line]}
    invoice = await shop.client.made("/v1/invoices", draft)
    explained = await shop.explained(invoice["id"])
    assert explained["number"] is None
    (told,) = explained["lines"]
    assert (told["amount"], told["pricing"], told["portions"]) == (line["amount"], None, [])
    missing = await shop.client.get("/v1/invoices/in_01m7ywe9z7e398x54gfbrtqnk7/explanation")
    assert (missing.status_code, missing.json()["code"]) == (404, "invoice_not_found")


HUNDRED = {"amount": 100, "currency": "EUR"}
YEN = {"amount": 100, "currency": "JPY"}
MIDDLE = tiered("graduated", (5, 10, 0), (None, 5, 0), (9, 1, 0))
EMPTY = tiered("volume", (5, 10, 0), (9, 5, 0), (9, 1, 0), (None, 1, 0))
ENDS = tiered("volume", (5, 10, 0), (9, 5, 0))
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": MIDDLE}, "tier_without_end_before_last", "model.tiers.1.up_to"),
    ({"model": EMPTY}, "empty_tier", "model.tiers.2.up_to"),
    ({"model": ENDS}, "last_tier_has_end", "model.tiers.1.up_to"),
    (
        {"model": TIERED, "currency_options": [{"model": ENDS}]},
        "last_tier_has_end",
        "currency_options.0.model.tiers.1.up_to",
    ),
    ({"model": TIERED, "currency_options": [{"model": BY_VOLUME}]}, "invalid_price", "currency_options.0.model"),
    ({"model": TIERED, "minimum": YEN}, "invalid_price", "minimum.currency"),
    ({"model": TIERED, "maximum": YEN}, "invalid_price", "maximum.currency"),
    ({"model": TIERED, "minimum": HUNDRED, "maximum": {**HUNDRED, "amount": 99}}, "invalid_price", "minimum"),
    ({"model": {**package(), "package_size": 0}}, "invalid_price", "model.package_size"),
]


async def test_a_price_that_cannot_be_sold_is_refused_at_the_field_that_is_wrong(api: Api, shop: Shop) -> None:
    head = await api.head()
    for body, code, param in REFUSED:
        refused = await shop.client.post("/v1/prices", {"plan": shop.plan, **body})
        assert refused.status_code == 422, refused.text
        assert (refused.json()["code"], refused.json()["param"]) == (code, param)
    assert await api.head() == head


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({**TIERED, "tiers": []}, "too_short", "model.tiers"),
    ({**TIERED, "tiers": [*TIERED["tiers"], {"unit_amount": 1}]}, "required", "model.tiers.2.up_to"),
    ({**TIERED, "tiers": [{"up_to": 0.5}]}, "invalid_decimal", "model.tiers.0.up_to"),
    ({**TIERED, "tiers": [{"up_to": None, "flat_amount": "1"}]}, "not_a_whole_number", "model.tiers.0.flat_amount"),
    ({**TIERED, "tiers": [{"up_to": None, "above": 0}]}, "unknown_name", "model.tiers.0.above"),
    ({**TIERED, "tiers": [{"up_to": None}] * 101}, "too_long", "model.tiers"),
    ({**TIERED, "type": "tiered"}, "not_one_of", "model.type"),
    ({"type": "share", "currency": "EUR", "percent": 1}, "not_one_of", "model.type"),
    ({**package(), "package_amount": -1}, "out_of_range", "model.package_amount"),
    ({**package(), "package_size": "1e3"}, "invalid_decimal", "model.package_size"),
]


async def test_a_body_of_no_price_is_told_where_it_is_wrong(api: Api, shop: Shop) -> None:
    head = await api.head()
    for model, code, param in INVALID:
        for body, prefix in (
            ({"model": model}, ""),
            ({"model": per_unit("USD", "1"), "currency_options": [{"model": model}]}, "currency_options.0."),
        ):
            refused = await shop.client.post("/v1/prices", {"plan": shop.plan, **body})
            assert refused.status_code == 422, refused.text
            errors = [(error["code"], error["param"]) for error in refused.json()["errors"]]
            assert errors == [(code, prefix + param)]
    assert await api.head() == head


async def test_figures_come_out_as_plain_decimals_or_as_fractions(shop: Shop) -> None:
    price = await shop.price(per_unit("EUR", "0.000000000001"), timing="in_advance")
    subscription = await shop.subscribed(await shop.customer(), price, "1000000")
    (line,) = (await shop.explained(subscription["latest_invoice"]))["lines"]
    (units,) = line["portions"]
    assert (units["quantity"], units["rate"], units["amount"]) == ("1000000", "0.000000000001", "0.000001")
    assert Decimal(line["rounding_difference"]) == Decimal("-0.000001")
