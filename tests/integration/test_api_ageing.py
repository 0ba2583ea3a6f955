"""What is overdue, through the API: the ageing report of any day, and lists of invoices by when they are due."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

BUCKETS = ("current", "days_1_30", "days_31_60", "days_61_90", "over_90")


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def done(client: Client, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.post(path, body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def billed(client: Client, customer: str, amount: int, days_until_due: int = 30, currency: str = "EUR") -> str:
    """An open invoice; its path."""
    lines = [{"description": "Set-up", "amount": {"amount": amount, "currency": currency}}]
    body = {"customer": customer, "currency": currency, "lines": lines, "days_until_due": days_until_due}
    path = f"/v1/invoices/{(await client.made('/v1/invoices', body))['id']}"
    await done(client, f"{path}/finalize")
    return path


async def shown(api: Api, client: Client, path: str) -> dict[str, Any]:
    await project(api.database, api.parts.settings)
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def owed(ageing: dict[str, Any]) -> list[int]:
    """By bucket, which sum to the total."""
    amounts = [ageing[bucket]["amount"] for bucket in BUCKETS]
    assert sum(amounts) == ageing["total"]["amount"]
    return amounts


async def totals(api: Api, client: Client, query: str) -> dict[str, list[int]]:
    report = await shown(api, client, f"/v1/reports/ageing?{query}")
    return {each["currency"]: owed(each) for each in report["totals"]}


async def test_a_day_shows_what_was_open_at_its_end_though_it_was_settled_since(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, at="2026-01-10T12:00:00Z")
    ada, bob = [await shop.customer() for _ in range(2)]
    first = await billed(client, ada, 1_000, 30)
    await billed(client, bob, 200, 0)
    await shop.advance("2026-02-20T12:00:00Z")
    third = await billed(client, ada, 40, 60)
    await done(client, f"{first}/pay", {"paid_out_of_band": True, "amount": {"amount": 300, "currency": "EUR"}})
    await shop.advance("2026-03-20T12:00:00Z")
    await done(client, f"{first}/pay", {"paid_out_of_band": True})
    await done(client, f"{third}/void")
    assert {
        day: (await totals(api, client, f"as_of={day}")).get("EUR")
        for day in ("2026-01-09", "2026-01-10", "2026-01-11", "2026-02-09", "2026-02-10", "2026-02-20", "2026-03-19")
    } == {
        "2026-01-09": None,
        "2026-01-10": [1_200, 0, 0, 0, 0],
        "2026-01-11": [1_000, 200, 0, 0, 0],
        "2026-02-09": [1_000, 200, 0, 0, 0],
        "2026-02-10": [0, 1_000, 200, 0, 0],
        "2026-02-20": [40, 700, 200, 0, 0],
        "2026-03-19": [40, 0, 700, 200, 0],
    }
    assert await totals(api, client, "as_of=2026-03-20") == {"EUR": [0, 0, 0, 200, 0]}
    assert await totals(api, client, "as_of=2026-04-11") == {"EUR": [0, 0, 0, 0, 200]}
    trial = (await client.get("/v1/ledger/trial-balance?as_of=2026-02-21T00:00:00Z")).json()
    accounts = {each["code"]: each["balance"]["amount"] for each in trial["currencies"][0]["accounts"]}
    assert accounts["receivable"] == 940


async def test_customers_come_page_by_page_each_by_age_and_currency(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    customers = sorted([await shop.customer(currency) for currency in ("EUR", "USD", "EUR", "EUR")])
    currencies = {each["id"]: each["currency"] for each in (await shown(api, client, "/v1/customers"))["data"]}
    for nth, customer in enumerate(customers):
        await billed(client, customer, 100 + nth, 10, currencies[customer])
    paid = await billed(client, await shop.customer(), 5_000)
    await done(client, f"{paid}/pay", {"paid_out_of_band": True})
    await shop.advance("2026-03-01T00:00:00Z")
    found: list[tuple[str, list[dict[str, Any]]]] = []
    after = ""
    while True:
        report = await shown(api, client, f"/v1/reports/ageing?as_of=2026-03-01&limit=3{after}")
        found += [(each["customer"], each["owed"]) for each in report["customers"]["data"]]
        if not report["customers"]["has_more"]:
            assert report["customers"]["next_cursor"] is None
            break
        after = f"&starting_after={report['customers']['next_cursor']}"
    assert [name for name, _ in found] == customers
    for nth, (customer, ages) in enumerate(found):
        assert [(each["currency"], owed(each)) for each in ages] == [(currencies[customer], [0, 0, 100 + nth, 0, 0])]
    one = await shown(api, client, f"/v1/reports/ageing?as_of=2026-03-01&customer={customers[1]}")
    assert [each["customer"] for each in one["customers"]["data"]] == [customers[1]]
    assert [owed(each) for each in one["totals"]] == [[0, 0, 101, 0, 0]]
    usd = await shown(api, client, "/v1/reports/ageing?as_of=2026-03-01&currency=USD")
    assert [each["currency"] for each in usd["totals"]] == ["USD"]
    assert [currencies[each["customer"]] for each in usd["customers"]["data"]] == ["USD"]


async def test_a_day_ends_where_the_seller_is(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, at="2026-01-10T22:30:00Z")
    await billed(client, await shop.customer(), 100, 0)
    assert await totals(api, client, "as_of=2026-01-10") == {"EUR": [100, 0, 0, 0, 0]}
    settings = f"/v1/tenants/{client.tenant_id}/billing-settings"
    answer = await client.send("PATCH", settings, {"time_zone": "Europe/Helsinki"})
    assert answer.status_code == 200, answer.text
    report = await shown(api, client, "/v1/reports/ageing?as_of=2026-01-10")
    assert (report["time_zone"], report["totals"]) == ("Europe/Helsinki", []), "it was the eleventh there"
    assert await totals(api, client, "as_of=2026-01-11") == {"EUR": [100, 0, 0, 0, 0]}
    assert await totals(api, client, "as_of=2026-01-12") == {"EUR": [0, 100, 0, 0, 0]}
    today = await shown(api, client, "/v1/reports/ageing")
    assert today["as_of"] >= "2026-01-12", "today, unless a day is named"


async def test_what_is_no_day_and_no_customer_is_refused(client: Client) -> None:
    for query, param in (
        ("as_of=yesterday", "as_of"),
        ("as_of=2026-02-30", "as_of"),
        ("as_of=2300-01-01", "as_of"),
        ("customer=in_1", "customer"),
        ("currency=XXX", "currency"),
        ("limit=101", "limit"),
        ("ending_before=cus_1", "ending_before"),
    ):
        answer = await client.get(f"/v1/reports/ageing?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param), query


async def test_support_finds_what_is_overdue_and_what_is_due_when(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, at="2026-01-10T12:00:00Z")
    ada, bob = [await shop.customer() for _ in range(2)]
    late, paid, written_off, ahead, today = [
        (await billed(client, customer, 1_000, days)).removeprefix("/v1/invoices/")
        for customer, days in ((ada, 5), (ada, 5), (ada, 5), (ada, 60), (bob, 10))
    ]
    await done(client, f"/v1/invoices/{paid}/pay", {"paid_out_of_band": True})
    await done(client, f"/v1/invoices/{written_off}/mark-uncollectible")
    lines = [{"description": "A draft", "amount": {"amount": 1, "currency": "EUR"}}]
    draft = (await client.made("/v1/invoices", {"customer": ada, "currency": "EUR", "lines": lines}))["id"]
    await shop.advance("2026-01-20T18:00:00Z")

    async def listed(query: str) -> list[str]:
        return [each["id"] for each in (await shown(api, client, f"/v1/invoices?{query}"))["data"]]

    on_the_clock = f"overdue=true&test_clock={shop.clock}"
    assert await listed(on_the_clock) == [late], "what is due today is not overdue before the day is over"
    assert await listed("overdue=true") == [today, ahead, late], "by the real date all of it is"
    assert await listed(f"overdue=true&customer={bob}") == [today]
    assert await listed("overdue=true&limit=1") == [today]
    assert await listed(f"overdue=true&limit=1&starting_after={today}") == [ahead]
    assert await listed("due_at[lt]=2026-01-20T12:00:00Z") == [written_off, paid, late]
    assert await listed("due_at[lte]=2026-01-20T12:00:00Z&status=open") == [today, late]
    assert await listed("due_at[gte]=2026-01-20T12:00:00Z") == [today, ahead]
    assert await listed("due_at[gt]=2026-01-20T12:00:00Z") == [ahead]
    await shop.advance("2026-01-21T00:00:00Z")
    assert await listed(on_the_clock) == [today, late]
    others = await listed(f"overdue=false&test_clock={shop.clock}")
    assert (others[0], others[1:]) == (draft, [ahead, written_off, paid])
    for query, param in (("overdue=yes", "overdue"), ("due_at[lt]=soon", "due_at[lt]")):
        answer = await client.get(f"/v1/invoices?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param)
