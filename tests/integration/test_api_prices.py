"""Prices of every model through the API: made, subscribed to, billed, explained, and refused where they cannot be."""

from collections.abc import AsyncIterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from domain.customers.test_clock import CompleteTestClockAdvance
from infra.event_store.port import Request
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

START = "2026-01-01T00:00:00Z"


class Billed(NamedTuple):
    """A model with a quantity, and what a period of it comes to."""

    model: dict[str, Any]
    quantity: str
    total: int


def tiered(kind: str, *tiers: tuple[int | None, int, int]) -> dict[str, Any]:
    """Tiers of: up to, unit amount, flat amount."""
    table = [{"up_to": up_to, "unit_amount": unit, "flat_amount": flat} for up_to, unit, flat in tiers]
    return {"type": kind, "currency": "EUR", "tiers": table}


def package(free_units: int = 0) -> dict[str, Any]:
    return {
        "type": "package",
        "currency": "EUR",
        "package_size": 10,
        "package_amount": 100,
        "free_units": free_units,
    }


def per_unit(currency: str, unit_amount: str) -> dict[str, Any]:
    return {"type": "per_unit", "currency": currency, "unit_amount": unit_amount}


V17 = tiered("graduated", (5, 10, 100), (None, 5, 50))
V18 = tiered("graduated", (5, 0, 100), (10, 0, 50), (15, 10, 0), (None, 5, 0))
V19 = tiered("volume", (15, 10, 0), (None, 5, 0))

VECTORS: dict[str, list[Billed] | str] = {
    "17": [Billed(V17, "3", 130), Billed(V17, "8", 215)],
    "18": [Billed(V18, "5.001", 150), Billed(V18, "12", 170), Billed(V18, "22", 235)],
    "18, nothing used": "no item has a quantity of zero: tests/domain/pricing/test_vectors_prices.py",
    "19": [Billed(V19, "15", 150), Billed(V19, "16", 80)],
    "19, the late unit": "needs usage: tests/domain/pricing/test_vectors_prices.py",
    "20": [Billed(package(5), "3", 0), Billed(package(5), "12", 100), Billed(package(), "15", 200)],
    "21": "needs usage: tests/domain/pricing/test_vectors_prices.py",
    "28, prices": [Billed(per_unit("JPY", "1000.5"), "1", 1001), Billed(per_unit("KWD", "100500"), "1", 100_500)],
    "28, tax and discounts": "need taxes and coupons: tests/domain/kernel/test_vectors_money.py",
}
"""Where each vector about these models runs: here through the API, or, where that cannot express it, elsewhere."""
HERE = [(vector, billed) for vector, runs in VECTORS.items() if not isinstance(runs, str) for billed in runs]


class Shop(NamedTuple):
    """A tenant with a plan, whose customers are on a test clock."""

    client: Client
    plan: str
    clock: str

    async def price(self, model: dict[str, Any], **facts: Any) -> dict[str, Any]:
        return await self.client.made("/v1/prices", {"plan": self.plan, "model": model, **facts})

    async def customer(self, currency: str = "EUR") -> str:
        person = {"currency": currency, "test_clock": self.clock}
        return str((await self.client.made("/v1/customers", person))["id"])

    async def subscribed(self, customer: str, price: dict[str, Any], quantity: str = "1") -> dict[str, Any]:
        items = [{"price": price["id"], "quantity": quantity}]
        order = {"customer": customer, "plan": self.plan, "items": items, "collection_method": "send_invoice"}
        return await self.client.made("/v1/subscriptions", order)

    async def billed(self, invoice: object) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/invoices/{invoice}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def explained(self, invoice: object) -> dict[str, Any]:
        """The explanation, once it was seen that every line's portions add up to it and the lines to the total."""
        answer = await self.client.get(f"/v1/invoices/{invoice}/explanation")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        for line in found["lines"]:
            parts = [*(portion["amount"] for portion in line["portions"]), line["rounding_difference"]]
            assert line["pricing"] is None or sum(map(Fraction, parts)) == line["amount"]["amount"]
        assert sum(line["amount"]["amount"] for line in found["lines"]) == found["total"]["amount"]
        return found

    async def advance(self, to: str, nth: int = 1) -> None:
        """Time on the clock passes; no timer runs."""
        answer = await self.client.post(f"/v1/test-clocks/{self.clock}/advance", {"frozen_time": to})
        assert answer.status_code == 200, answer.text
        await self.client.parts.writer.submit(
            Request(
                tenant_id=self.client.tenant_id,
                idempotency_key=f"advance/{nth}",
                request_hash=bytes(32),
                command=CompleteTestClockAdvance(clock_id=self.clock, advance=nth),
                actor="test",
                correlation_id="test",
            )
        )


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def shop(api: Api) -> Shop:
    client = await api.tenant("acme")
    clock = await client.made("/v1/test-clocks", {"name": "A year", "frozen_time": START})
    product = await client.made("/v1/products", {"name": "Team"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "Team", "interval": {"unit": "month"}})
    return Shop(client, str(plan["id"]), str(clock["id"]))


async def test_what_other_engines_bill_is_billed_through_the_api(shop: Shop) -> None:
    for vector, wanted in HERE:
        currency = wanted.model.get("currency", "EUR")
        price = await shop.price(wanted.model)
        subscription = await shop.subscribed(await shop.customer(currency), price, wanted.quantity)
        invoice = await shop.billed(subscription["latest_invoice"])
        assert invoice["total"] == {"amount": wanted.total, "currency": currency}, vector
        explained = await shop.explained(invoice["id"])
        assert (explained["invoice"], explained["number"]) == (invoice["id"], invoice["number"])


async def test_a_price_is_shown_as_it_was_made_and_in_what_was_subscribed_to(api: Api, shop: Shop) -> None:
    for model, sent in (
        (V17, {**V17, "free_units": "0.5"}),
        (V19, {**V19, "free_units": "0"}),
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
    price = await shop.price(V17, currency_options=[yen, {"model": per_unit("USD", "11.25")}])
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
    price = await shop.price({**V17, "free_units": 2}, timing="in_arrears", maximum={"amount": 200, "currency": "EUR"})
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
    price = await shop.price(V19)
    subscription = await shop.subscribed(await shop.customer(), price, "16")
    before = await shop.explained(subscription["latest_invoice"])
    changed = await shop.client.send("PATCH", f"/v1/prices/{price['id']}", {"model": V17})
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
        {"model": V17, "currency_options": [{"model": ENDS}]},
        "last_tier_has_end",
        "currency_options.0.model.tiers.1.up_to",
    ),
    ({"model": V17, "currency_options": [{"model": V19}]}, "invalid_price", "currency_options.0.model"),
    ({"model": V17, "minimum": YEN}, "invalid_price", "minimum.currency"),
    ({"model": V17, "maximum": YEN}, "invalid_price", "maximum.currency"),
    ({"model": V17, "minimum": HUNDRED, "maximum": {**HUNDRED, "amount": 99}}, "invalid_price", "minimum"),
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
    ({**V17, "tiers": []}, "too_short", "model.tiers"),
    ({**V17, "tiers": [*V17["tiers"], {"unit_amount": 1}]}, "required", "model.tiers.2.up_to"),
    ({**V17, "tiers": [{"up_to": 0.5}]}, "invalid_decimal", "model.tiers.0.up_to"),
    ({**V17, "tiers": [{"up_to": None, "flat_amount": "1"}]}, "not_a_whole_number", "model.tiers.0.flat_amount"),
    ({**V17, "tiers": [{"up_to": None, "above": 0}]}, "unknown_name", "model.tiers.0.above"),
    ({**V17, "tiers": [{"up_to": None}] * 101}, "too_long", "model.tiers"),
    ({**V17, "type": "tiered"}, "not_one_of", "model.type"),
    ({"type": "percentage", "currency": "EUR", "percent": 1}, "not_one_of", "model.type"),
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
