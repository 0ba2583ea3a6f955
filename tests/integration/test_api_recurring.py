"""Recurring revenue through the API: MRR as of a day, its movements, who made them up, churn, and revenue by period."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, flat_price

YEAR = "from=2026-01-01&to=2026-12-31"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def shown(api: Api, client: Client, path: str) -> dict[str, Any]:
    """The answer, once everything is folded."""
    await project(api.database, api.parts.settings)
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def moved(period: dict[str, Any]) -> dict[str, int]:
    """What is not zero of a period's movements."""
    kinds = ("new", "expansion", "contraction", "churn", "reactivation")
    return {kind: period[kind]["amount"] for kind in kinds if period[kind]["amount"]}


async def by_month(api: Api, client: Client) -> list[dict[str, int]]:
    """The movements of the year's months in EUR."""
    await project(api.database, api.parts.settings)
    return await movements(client, YEAR)


async def movements(client: Client, days: str) -> list[dict[str, int]]:
    """Those of each period in EUR, once it was seen that they sum up, and that their subscriptions do."""
    answer = await client.get(f"/v1/reports/mrr?{days}")
    assert answer.status_code == 200, answer.text
    (eur,) = answer.json()["currencies"]
    reached = None
    for period in eur["periods"]:
        assert reached in {None, period["start"]["amount"]}
        reached = period["end"]["amount"]
        assert period["start"]["amount"] + sum(moved(period).values()) == reached
        who = f"from={period['first_day']}&to={period['last_day']}"
        listed: Counter[str] = Counter()
        for each in (await client.get(f"/v1/reports/mrr/movements?{who}&limit=100")).json()["data"]:
            listed[each["movement"]] += each["change"]["amount"]
        assert {kind: amount for kind, amount in listed.items() if amount} == moved(period)
        (then,) = (await client.get(f"/v1/reports/mrr?as_of={period['last_day']}")).json()["currencies"]
        assert [then[each] for each in ("mrr", "subscriptions", "customers")] == [
            period[each] for each in ("end", "subscriptions", "customers")
        ]
    assert (eur["mrr"]["amount"], eur["arr"]["amount"]) == (reached, 12 * (reached or 0))
    return [moved(period) for period in eur["periods"]]


async def done(client: Client, subscription: dict[str, Any], command: str, body: dict[str, Any] | None = None) -> Any:
    answer = await client.post(f"/v1/subscriptions/{subscription['id']}/{command}", body or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def coupon(client: Client, **facts: Any) -> str:
    return str((await client.made("/v1/coupons", {"name": "Half", "percent_off": 50, **facts}))["id"])


async def test_a_year_of_two_customers_has_every_movement(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    thousand, three_thousand, five_hundred = [await shop.price(flat_price(amount)) for amount in (1_000, 3_000, 500)]
    ada = await shop.subscribed(await shop.customer(), thousand)
    bob_id = await shop.customer()
    half = await coupon(client, duration="forever")
    bob = await shop.subscribed(bob_id, three_thousand, coupons=[half])
    await shop.advance("2026-01-15T00:00:00Z")
    await shop.changed(ada, {"items": [{"price": three_thousand["id"]}], "remove": [thousand["id"]]})
    await shop.advance("2026-01-20T00:00:00Z")
    await done(client, bob, "cancel", {"at_period_end": False})
    await shop.advance("2026-03-05T00:00:00Z")
    await done(client, ada, "renew")
    await shop.subscribed(bob_id, thousand)
    await shop.changed(ada, {"items": [{"price": five_hundred["id"]}], "remove": [three_thousand["id"]]})
    months = await by_month(api, client)
    assert months[:4] == [
        {"new": 2_500, "expansion": 2_000, "churn": -1_500},
        {},
        {"contraction": -2_500, "reactivation": 1_000},
        {},
    ]
    (eur,) = (await client.get("/v1/reports/mrr?as_of=2026-01-19")).json()["currencies"]
    assert (eur["mrr"]["amount"], eur["subscriptions"], eur["customers"], eur["periods"]) == (4_500, 2, 2, [])
    (eur,) = (await client.get("/v1/reports/mrr")).json()["currencies"]
    assert (eur["mrr"]["amount"], eur["arr"]["amount"], eur["customers"]) == (1_500, 18_000, 2)
    (days,) = (await client.get("/v1/reports/mrr?from=2026-01-14&to=2026-01-16&interval=day")).json()["currencies"]
    assert [moved(period) for period in days["periods"]] == [{}, {"expansion": 2_000}, {}]
    assert [period["end"]["amount"] for period in days["periods"]] == [2_500, 4_500, 4_500]
    assert await movements(client, "from=2026-01-15&to=2026-03-04") == [{"expansion": 2_000, "churn": -1_500}, {}, {}]
    assert await movements(client, "from=2026-01-16&to=2026-01-31") == [{"churn": -1_500}]
    assert await movements(client, "from=2026-02-02&to=2026-04-01") == [
        {},
        {"contraction": -2_500, "reactivation": 1_000},
        {},
    ]


async def test_churn_is_what_was_lost_of_what_there_was_at_the_start(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_000))
    staying = [await shop.subscribed(await shop.customer(), price) for _ in range(3)]
    leaving = await shop.subscribed(await shop.customer(), price)
    await shop.advance("2026-02-10T00:00:00Z")
    for each in (*staying, leaving):
        await done(client, each, "renew")
    await done(client, leaving, "cancel", {"at_period_end": False})
    other = await shop.price(flat_price(1_500))
    await shop.changed(staying[0], {"items": [{"price": other["id"]}], "remove": [price["id"]]})
    report = await shown(api, client, f"/v1/reports/churn?{YEAR}")
    january, february = report["currencies"][0]["periods"][:2]
    assert (january["customer_churn_rate"], january["customers_at_start"]) == (None, 0)
    assert (february["customers_at_start"], february["customers_lost"]) == (4, 1)
    rates = {key: value for key, value in february.items() if key.endswith("_rate")}
    assert rates == {
        "customer_churn_rate": "0.25",
        "gross_revenue_churn_rate": "0.25",
        "net_revenue_churn_rate": "0.125",
        "gross_retention_rate": "0.75",
        "net_retention_rate": "0.875",
    }
    assert february["mrr_lost"]["amount"] == 1_000


async def test_a_trial_and_a_pause_count_nothing_and_a_backdated_start_counts_when_it_was_told(
    api: Api, client: Client
) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_000))
    tried = await shop.subscribed(await shop.customer(), price, trial_days=40)
    await shop.subscribed(await shop.customer(), price, starts_at="2025-11-01T00:00:00Z")
    await shop.advance("2026-02-10T00:00:00Z")
    await done(client, tried, "renew")
    await shop.advance("2026-03-01T00:00:00Z")
    await done(client, tried, "pause")
    await shop.advance("2026-04-01T00:00:00Z")
    await done(client, tried, "resume")
    assert (await by_month(api, client))[:5] == [
        {"new": 1_000},
        {"new": 1_000},
        {"churn": -1_000},
        {"reactivation": 1_000},
        {},
    ]


async def test_a_coupon_counts_until_its_last_period_is_over_and_one_for_once_not_at_all(
    api: Api, client: Client
) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_000))
    twice = await coupon(client, duration="repeating", periods=2)
    once = await coupon(client, duration="once")
    subscription = await shop.subscribed(await shop.customer(), price, coupons=[twice, once])
    for month in ("02", "03", "04"):
        await shop.advance(f"2026-{month}-01T00:00:00Z")
        await done(client, subscription, "renew")
    assert (await by_month(api, client))[:5] == [{"new": 500}, {}, {"expansion": 500}, {}, {}]


async def test_a_customers_coupon_counts_for_all_they_have_until_it_is_removed(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_000))
    customer = await shop.customer()
    for _ in range(2):
        await shop.subscribed(customer, price)
    await shop.advance("2026-01-10T00:00:00Z")
    half = await coupon(client, duration="forever")
    discount = await client.made("/v1/discounts", {"coupon": half, "customer": customer})
    await shop.advance("2026-01-20T00:00:00Z")
    removed = await client.send("DELETE", f"/v1/discounts/{discount['id']}")
    assert removed.status_code == 200, removed.text
    assert (await by_month(api, client))[0] == {"new": 2_000, "contraction": -1_000, "expansion": 1_000}


@pytest.mark.parametrize("timing", ["in_advance", "in_arrears"])
async def test_an_inclusive_price_counts_without_its_tax_also_before_an_invoice_says_it(
    api: Api, client: Client, timing: str
) -> None:
    settings = {"seller_country": "DE", "prices_include_tax": True}
    answer = await client.send("PATCH", f"/v1/tenants/{client.tenant_id}/tax-settings", settings)
    assert answer.status_code == 200, answer.text
    await client.made("/v1/tax-rates", {"country": "DE", "percent": "19", "valid_from": "2020-01-01"})
    where = {"country": "DE", "number": "DE136695976", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-registrations", where)
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_190), timing=timing)
    berlin = {"currency": "EUR", "test_clock": shop.clock, "address": {"country": "DE"}}
    subscription = await shop.subscribed(str((await client.made("/v1/customers", berlin))["id"]), price)
    await shop.advance("2026-02-01T00:00:00Z")
    await done(client, subscription, "renew")
    assert (await by_month(api, client))[:2] == [{"new": 1_000}, {}]


async def test_an_end_that_its_timer_reaches_late_counts_when_it_was_due(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price, more = await shop.price(flat_price(1_000)), await shop.price(flat_price(1_500))
    customer = await shop.customer()
    ending, other = [await shop.subscribed(customer, price) for _ in range(2)]
    await done(client, ending, "cancel", {"at_period_end": True})
    await shop.advance("2026-02-20T00:00:00Z")
    await shop.changed(other, {"items": [{"price": more["id"]}], "remove": [price["id"]]})
    await done(client, ending, "renew")
    listed = await shown(api, client, f"/v1/reports/mrr/movements?{YEAR}")
    assert [(each["day"], each["movement"], each["change"]["amount"]) for each in listed["data"]] == [
        ("2026-02-20", "expansion", 500),
        ("2026-02-01", "contraction", -1_000),
        ("2026-01-01", "new", 1_000),
        ("2026-01-01", "new", 1_000),
    ]


async def test_what_is_undone_on_its_day_moved_nothing(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price, more = await shop.price(flat_price(1_000)), await shop.price(flat_price(1_500))
    subscription = await shop.subscribed(await shop.customer(), price)
    await shop.advance("2026-01-10T00:00:00Z")
    await shop.changed(subscription, {"items": [{"price": more["id"]}], "remove": [price["id"]]})
    await shop.changed(subscription, {"items": [{"price": price["id"]}], "remove": [more["id"]]})
    assert (await by_month(api, client))[0] == {"new": 1_000}


async def test_movements_are_paged_both_ways_and_narrowed(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    price = await shop.price(flat_price(1_000))
    subscriptions = [await shop.subscribed(await shop.customer(), price) for _ in range(5)]
    await shop.advance("2026-01-10T00:00:00Z")
    await done(client, subscriptions[0], "cancel", {"at_period_end": False})
    path = f"/v1/reports/mrr/movements?{YEAR}"
    every = (await shown(api, client, f"{path}&limit=100"))["data"]
    assert len(every) == 6
    pages: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await client.get(f"{path}&limit=2{cursor}")).json()
        pages += page["data"]
        if not page["has_more"]:
            break
        cursor = f"&starting_after={page['next_cursor']}"
    assert pages == every
    before = (await client.get(f"{path}&limit=2&ending_before={every[3]['id']}")).json()
    assert before["data"] == every[1:3]
    churned = (await client.get(f"{path}&movement=churn&currency=EUR")).json()["data"]
    assert [each["subscription"] for each in churned] == [subscriptions[0]["id"]]
    assert (await client.get(f"{path}&currency=USD")).json()["data"] == []
    unknown = await client.get(f"{path}&starting_after=nothing")
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (422, "unknown_cursor")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=2026-02-01&to=2026-01-01", "empty_period"),
        ("from=2026-01-01", "half_a_period"),
        ("to=2026-01-01", "half_a_period"),
        ("as_of=2026-01-01&from=2026-01-01&to=2026-01-31", "ambiguous_period"),
        ("from=2024-01-01&to=2026-01-31&interval=day", "too_many_periods"),
    ],
)
async def test_a_period_that_is_none_is_refused(client: Client, query: str, code: str) -> None:
    answer = await client.get(f"/v1/reports/mrr?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_revenue_is_what_the_accounts_moved_less_allowances(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    customer = await shop.customer()
    price = await shop.price(flat_price(1_000), timing="in_arrears")
    subscription = await shop.subscribed(customer, price)
    for month in ("02", "03"):
        await shop.advance(f"2026-{month}-01T00:00:00Z")
        await done(client, subscription, "renew")
    given_back = [
        {"account": "allowances", "side": "debit", "amount": {"amount": 150, "currency": "EUR"}},
        {"account": "cash", "side": "credit", "amount": {"amount": 150, "currency": "EUR"}},
    ]
    await client.made("/v1/ledger/journal-entries", {"postings": given_back, "memo": "Goodwill"})
    report = await shown(api, client, "/v1/reports/revenue?from=2026-01-01&to=2058-12-31")
    (eur,) = report["currencies"]
    periods = eur["periods"]
    assert [period["revenue"]["amount"] for period in periods[:4]] == [0, 1_000, 1_000, 0]
    (entry,) = (await client.get("/v1/ledger/entries?account=allowances")).json()["data"]
    (given,) = [period for period in periods if period["allowances"]["amount"]]
    assert given["first_day"] <= entry["effective_at"][:10] <= given["last_day"]
    balance = (await client.get("/v1/ledger/trial-balance")).json()
    accounts = {each["code"]: each["balance"]["amount"] for each in balance["currencies"][0]["accounts"]}
    assert (eur["revenue"]["amount"], eur["allowances"]["amount"]) == (accounts["revenue"], -accounts["allowances"])
    assert eur["net"]["amount"] == 2_000 - 150 == sum(period["net"]["amount"] for period in periods)
    assert all(period["net"]["amount"] == _sum(period) - period["allowances"]["amount"] for period in periods)


def _sum(period: dict[str, Any]) -> int:
    return sum(each["amount"]["amount"] for each in period["accounts"])
