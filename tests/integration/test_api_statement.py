"""A customer's statement through the API: what happened, in order, with the balance after each line; whose it is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.api_client import Api, Client, project, running_api
from testing.people import Browser
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

Told = tuple[str, str, int, int, int]
"""Day, type; debit, credit, balance."""


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


async def done(client: Client, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.post(path, body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def billed(client: Client, customer: str, amount: int) -> dict[str, Any]:
    lines = [{"description": "Set-up", "amount": eur(amount)}]
    made = await client.made("/v1/invoices", {"customer": customer, "currency": "EUR", "lines": lines})
    return await done(client, f"/v1/invoices/{made['id']}/finalize")


async def shown(client: Client, customer: str, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/customers/{customer}/statement?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def told(statement: dict[str, Any]) -> list[Told]:
    return [
        (line["effective_at"][:10], line["type"], *(line[side]["amount"] for side in ("debit", "credit", "balance")))
        for line in statement["lines"]["data"]
    ]


async def story(client: Client, shop: Shop, customer: str) -> dict[str, dict[str, Any]]:
    """Paid in parts and too much, a mistake, a credit note, a write-off that comes in after all; by what they are."""
    first = await billed(client, customer, 1_000)
    path = f"/v1/invoices/{first['id']}"
    await shop.advance("2026-01-05T12:00:00Z")
    await done(client, f"{path}/pay", {"paid_out_of_band": True, "amount": eur(1_200)})
    await shop.advance("2026-01-10T12:00:00Z")
    second = await billed(client, customer, 500)
    note = await client.made("/v1/credit-notes", {"invoice": second["id"], "amount": eur(100)})
    await shop.advance("2026-02-01T12:00:00Z")
    await done(client, f"/v1/invoices/{second['id']}/mark-uncollectible")
    await shop.advance("2026-02-03T12:00:00Z")
    await done(client, f"/v1/invoices/{second['id']}/pay", {"paid_out_of_band": True})
    await done(client, f"/v1/invoices/{second['id']}/reverse-payment")
    return {"first": first, "second": second, "note": note}


async def test_a_period_has_its_lines_and_its_opening_and_closing_balance(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    customer = await shop.customer()
    made = await story(client, shop, customer)
    await project(api.database, api.parts.settings)
    everything = await shown(client, customer, "limit=100")
    assert told(everything) == [
        ("2026-01-01", "invoice", 1_000, 0, 1_000),
        ("2026-01-05", "payment", 0, 1_200, -200),
        ("2026-01-10", "invoice", 500, 0, 300),
        ("2026-01-10", "credit_note", 0, 100, 200),
        ("2026-02-01", "write_off", 0, 200, 0),
        ("2026-02-03", "recovery", 200, 0, 200),
        ("2026-02-03", "payment", 0, 200, 0),
        ("2026-02-03", "payment_reversed", 200, 200, 0),
    ]
    lines = everything["lines"]["data"]
    assert [line["number"] for line in lines[:4]] == [
        made["first"]["number"],
        made["first"]["number"],
        made["second"]["number"],
        made["note"]["number"],
    ]
    assert (lines[3]["invoice"], lines[3]["credit_note"]) == (made["second"]["id"], made["note"]["id"])
    january = await shown(client, customer, "from=2026-01-06&to=2026-01-31")
    assert told(january) == told(everything)[2:4]
    assert january["balances"] == [
        {"currency": "EUR", "opening": eur(-200), "debit": eur(500), "credit": eur(100), "closing": eur(200)}
    ]
    accounts = (await client.get(f"/v1/customers/{customer}/accounts?as_of=2026-02-01T00:00:00Z")).json()["data"]
    held = {each["code"]: each["balance"]["amount"] for each in accounts}
    assert held["receivable"] - held["customer_balance"] == 200
    assert (await shown(client, customer, "to=2025-12-31"))["balances"] == []


async def test_it_comes_page_by_page_with_one_balance_that_runs(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    customer = await shop.customer()
    await story(client, shop, customer)
    await project(api.database, api.parts.settings)
    everything = told(await shown(client, customer, "limit=100"))
    found: list[Told] = []
    after = ""
    while True:
        page = await shown(client, customer, f"limit=3{after}")
        found += told(page)
        if not page["lines"]["has_more"]:
            break
        after = f"&starting_after={page['lines']['next_cursor']}"
    assert found == everything


async def test_a_payment_through_the_gateway_and_its_refund_name_their_invoice(api: Api, client: Client) -> None:
    customer = str((await client.made("/v1/customers", {"currency": "EUR"}))["id"])
    method = {"customer": customer, "type": "card", "token": "tok_visa", "set_default": True}
    await client.made("/v1/payment-methods", method)
    invoice = await billed(client, customer, 1_000)
    payment = (await done(client, f"/v1/invoices/{invoice['id']}/pay"))["payment"]
    await client.captured(payment)
    refund = await client.made("/v1/refunds", {"payment": payment, "amount": eur(400)})
    await project(api.database, api.parts.settings)
    statement = await shown(client, customer)
    assert [(line[1:]) for line in told(statement)] == [
        ("invoice", 1_000, 0, 1_000),
        ("payment", 0, 1_000, 0),
        ("refund", 400, 400, 0),
    ]
    _, paid, refunded = statement["lines"]["data"]
    assert (paid["payment"], paid["invoice"], paid["number"]) == (payment, invoice["id"], invoice["number"])
    assert (refunded["refund"], refunded["payment"], refunded["invoice"]) == (refund["id"], payment, invoice["id"])


async def test_a_refund_that_makes_its_invoice_due_again_adds_to_what_they_owe(api: Api, client: Client) -> None:
    customer = str((await client.made("/v1/customers", {"currency": "EUR"}))["id"])
    method = {"customer": customer, "type": "card", "token": "tok_visa", "set_default": True}
    await client.made("/v1/payment-methods", method)
    invoice = await billed(client, customer, 1_000)
    payment = (await done(client, f"/v1/invoices/{invoice['id']}/pay"))["payment"]
    await client.captured(payment)
    refund = await client.made("/v1/refunds", {"payment": payment, "amount": eur(400), "treatment": "reopen"})
    await project(api.database, api.parts.settings)
    statement = await shown(client, customer)
    assert [(line[1:]) for line in told(statement)] == [
        ("invoice", 1_000, 0, 1_000),
        ("payment", 0, 1_000, 0),
        ("refund", 400, 0, 400),
    ]
    line = statement["lines"]["data"][-1]
    assert (line["refund"], line["payment"], line["invoice"]) == (refund["id"], payment, invoice["id"])
    assert line["number"] == invoice["number"]
    ageing = (await client.get(f"/v1/reports/ageing?customer={customer}")).json()
    assert str(400) in str(ageing), ageing


async def test_a_day_ends_where_the_seller_is_also_for_the_customer_at_the_portal(api: Api, client: Client) -> None:
    shop = await Shop.opened(client, at="2026-01-10T22:30:00Z")
    ada, bob = [await shop.customer() for _ in range(2)]
    for customer in (ada, bob):
        await billed(client, customer, 100)
    settings = f"/v1/tenants/{client.tenant_id}/billing-settings"
    assert (await client.send("PATCH", settings, {"time_zone": "Europe/Helsinki"})).status_code == 200
    await project(api.database, api.parts.settings)
    link = await client.made(f"/v1/customers/{ada}/portal-sessions", {})
    visitor = Browser(http=api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    path = f"/v1/customers/{ada}/statement"
    for day, lines in (("2026-01-10", 0), ("2026-01-11", 1)):
        for answer in (await visitor.send("GET", f"{path}?to={day}"), await client.get(f"{path}?to={day}")):
            assert answer.status_code == 200, answer.text
            assert (answer.json()["time_zone"], len(answer.json()["lines"]["data"])) == ("Europe/Helsinki", lines)
    assert (await visitor.send("GET", f"/v1/customers/{bob}/statement")).status_code == 404


async def test_what_is_no_period_no_line_and_no_customer_is_refused(client: Client) -> None:
    customer = str((await client.made("/v1/customers", {"currency": "EUR"}))["id"])
    for query, param in (
        ("from=yesterday", "from"),
        ("from=2026-02-01&to=2026-01-31", "to"),
        ("limit=0", "limit"),
        ("starting_after=evt_01m7ywe9z7e398x54gfbrtqnk7", "starting_after"),
    ):
        answer = await client.get(f"/v1/customers/{customer}/statement?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param), query
    unknown = await client.get("/v1/customers/cus_01m7ywe9z7e398x54gfbrtqnk7/statement")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "customer_not_found")
