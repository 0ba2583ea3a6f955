"""Commands over HTTP, against a real writer and a real PostgreSQL."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from testing.api_client import Api, Client, running_api
from testing.services import FreshDatabase


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def test_a_subscription_is_invoiced_paid_and_refunded_from_the_first_request(client: Client) -> None:
    customer = await client.made("/v1/customers", {"name": "Ada", "email": "ada@example.com", "currency": "EUR"})
    product = await client.made("/v1/products", {"name": "Team"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "Monthly", "interval": {"unit": "month"}})
    price = await client.made(
        "/v1/prices",
        {"plan": plan["id"], "model": {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}},
    )
    method = await client.made(
        "/v1/payment-methods",
        {"customer": customer["id"], "type": "card", "token": "tok_visa", "set_default": True},
    )
    subscription = await client.made(
        "/v1/subscriptions",
        {"customer": customer["id"], "plan": plan["id"], "items": [{"price": price["id"]}]},
    )
    assert subscription["status"] == "active"
    paid = await client.post(f"/v1/invoices/{subscription['latest_invoice']}/pay", {})
    assert paid.status_code == 200, paid.text
    assert paid.json()["status"] == "open"
    assert paid.headers["location"].startswith("/v1/payments/pay_")
    payment = await client.made(
        "/v1/payments",
        {
            "customer": customer["id"],
            "amount": {"amount": 1999, "currency": "EUR"},
            "payment_method": method["id"],
            "confirm": True,
        },
    )
    assert payment["status"] == "processing"
    refused = await client.post("/v1/refunds", {"payment": payment["id"]})
    assert refused.status_code == 409
    assert (refused.json()["code"], refused.json()["param"]) == ("payment_not_refundable", "payment")


async def test_a_repeat_gets_the_same_bytes(client: Client) -> None:
    key = uuid.uuid4().hex
    body = {"name": "Ada", "currency": "EUR"}
    first = await client.post("/v1/customers", body, idempotency_key=key)
    again = await client.post("/v1/customers", body, idempotency_key=key)
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["ledger-position"] == first.headers["ledger-position"]
    other = await client.post("/v1/customers", body | {"name": "Eve"}, idempotency_key=key)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"


async def test_changes_of_different_fields_at_once_are_all_kept(api: Api, client: Client) -> None:
    """Two processes, eight requests at once: each merges into what the others have made of the person by then."""
    customer = await client.made("/v1/customers", {"name": "Ada", "currency": "EUR"})
    path = f"/v1/customers/{customer['id']}"
    wanted: dict[str, object] = {
        "name": "Countess",
        "email": "countess@example.com",
        "phone": "+44 20 7946 0000",
        "metadata": {"tier": "gold"},
    }
    async with running_api(api.database) as second:
        twin = Client(http=second.http, key=client.key, tenant_id=client.tenant_id, parts=second.parts)
        answers = await asyncio.gather(
            *(each.send("PATCH", path, {field: wanted[field]}) for field in wanted for each in (client, twin))
        )
        assert {answer.status_code for answer in answers} == {200}
    shown = (await client.send("PATCH", path, {"time_zone": "Europe/London"})).json()
    assert {field: shown[field] for field in wanted} == wanted


async def test_a_refusal_names_its_field_by_the_path_in_the_body_that_was_sent(client: Client) -> None:
    customer = await client.made("/v1/customers", {"name": "Ada", "currency": "EUR"})
    product = await client.made("/v1/products", {"name": "Team"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "Monthly", "interval": {"unit": "month"}})
    model = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
    price = await client.made("/v1/prices", {"plan": plan["id"], "model": model})
    nothing = "01m7ywe9z7e398x54gfbrtqnk7"
    items = [{"price": price["id"]}, {"price": f"price_{nothing}"}]
    flat_twice = [{"price": price["id"], "quantity": 2}]
    dollars = {"type": "flat", "amount": {"amount": 4900, "currency": "USD"}}
    elsewhere = await client.made("/v1/prices", {"plan": plan["id"], "model": dollars})
    yearly = await client.made("/v1/plans", {"product": product["id"], "name": "Y", "interval": {"unit": "year"}})
    another = await client.made("/v1/prices", {"plan": yearly["id"], "model": model})
    line = {"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}
    method = f"pm_{nothing}"
    euro, dollar = line["amount"], {"amount": 100, "currency": "USD"}
    for path, body, code, param in (
        ("subscriptions", {"plan": plan["id"], "items": items}, "price_not_found", "items.1.price"),
        ("subscriptions", {"plan": f"plan_{nothing}", "items": items}, "plan_not_found", "plan"),
        ("subscriptions", {"plan": plan["id"], "items": items[:1] * 2}, "duplicate_price", "items.1.price"),
        ("subscriptions", {"plan": plan["id"], "items": flat_twice}, "flat_price_has_no_quantity", "items.0.quantity"),
        (
            "subscriptions",
            {"plan": plan["id"], "items": [*items[:1], {"price": elsewhere["id"]}]},
            "no_price_in_currency",
            "items.1.price",
        ),
        (
            "subscriptions",
            {"plan": plan["id"], "items": [*items[:1], {"price": another["id"]}]},
            "price_of_another_plan",
            "items.1.price",
        ),
        (
            "invoices",
            {"currency": "EUR", "lines": [line, {**line, "product": f"prod_{nothing}"}]},
            "product_not_found",
            "lines.1.product",
        ),
        (
            "invoices",
            {"currency": "EUR", "lines": [line, line, {**line, "amount": dollar}]},
            "invalid_invoice_lines",
            "lines.2.amount.currency",
        ),
        (
            "invoices",
            {"currency": "EUR", "lines": [line, {**line, "period_start": "2026-01-01T00:00:00Z"}]},
            "invalid_line_period",
            "lines.1.period_end",
        ),
        ("payments", {"amount": dollar}, "not_customers_currency", "amount.currency"),
        ("payments", {"amount": euro, "confirm": True}, "no_payment_method", "payment_method"),
        (
            "payments",
            {"amount": euro, "payment_method": method},
            "payment_method_not_found",
            "payment_method",
        ),
    ):
        refused = await client.post(f"/v1/{path}", {"customer": customer["id"], **body})
        assert (refused.json()["code"], refused.json()["param"]) == (code, param)
    await client.send("POST", f"/v1/products/{product['id']}/archive", {})
    subscription = {"customer": customer["id"], "plan": plan["id"], "items": items[:1]}
    archived = (await client.post("/v1/subscriptions", subscription)).json()
    assert (archived["code"], archived["param"]) == ("product_archived", "plan")
    await client.send("DELETE", f"/v1/customers/{customer['id']}", {})
    deleted = await client.send("PATCH", f"/v1/customers/{customer['id']}", {"time_zone": "Asia/Tokyo"})
    assert (deleted.json()["code"], deleted.json()["param"]) == ("customer_deleted", "customer")


async def test_a_refused_journal_entry_names_the_posting(client: Client) -> None:
    debit = {"account": "cash", "side": "debit", "amount": {"amount": 100, "currency": "EUR"}}
    credit = {**debit, "account": "equity", "side": "credit"}
    nobody = "cus_01m7ywe9z7e398x54gfbrtqnk7"
    for postings, code, param in (
        ([debit, {**credit, "account": "petty_cash"}], "unknown_account", "postings.1.account"),
        ([debit, {**credit, "account": "receivable"}], "control_account", "postings.1.account"),
        ([debit, {**credit, "amount": {"amount": 99, "currency": "EUR"}}], "unbalanced_entry", "postings"),
        ([{**debit, "customer": nobody}, credit], "customer_not_found", "postings.0.customer"),
    ):
        refused = await client.post("/v1/ledger/journal-entries", {"postings": postings, "memo": "By hand"})
        assert (refused.json()["code"], refused.json()["param"]) == (code, param)


async def test_each_thing_wrong_with_the_lines_of_an_invoice_is_said_on_its_own(client: Client) -> None:
    customer = await client.made("/v1/customers", {"name": "Ada", "currency": "EUR"})

    async def told(*lines: dict[str, object]) -> str:
        body = {
            "customer": customer["id"],
            "currency": "EUR",
            "lines": [{"description": "L", **line} for line in lines],
        }
        refused = await client.post("/v1/invoices", body)
        assert refused.status_code == 422
        detail: str = refused.json()["detail"]
        return detail

    def euros(amount: int) -> dict[str, object]:
        return {"amount": {"amount": amount, "currency": "EUR"}}

    other = await told(euros(1), {"amount": {"amount": 1, "currency": "USD"}})
    assert "another currency than its invoice" in other
    assert "currency=USD, invoice_currency=EUR" in other
    assert "less than zero" in await told(euros(1), euros(-2))
    assert "more than an invoice holds" in await told(euros(999_999_999_999), euros(1))
    start, end = {"period_start": "2026-02-01T00:00:00Z"}, {"period_end": "2026-01-01T01:00:00+01:00"}
    assert "a start and no end" in await told({**euros(1), **start})
    assert "an end and no start" in await told({**euros(1), **end})
    backwards = await told({**euros(1), **start, **end})
    assert "does not end after its start" in backwards
    assert "period_start=2026-02-01T00:00:00Z, period_end=2026-01-01T00:00:00Z" in backwards


async def test_a_payment_method_is_of_its_tokens_type(client: Client) -> None:
    customer = await client.made("/v1/customers", {"name": "Ada", "currency": "EUR"})
    for kind, token in (("bank_account", "tok_visa"), ("card", "tok_sepa_debit")):
        refused = await client.post("/v1/payment-methods", {"customer": customer["id"], "type": kind, "token": token})
        assert refused.status_code == 422
        assert (refused.json()["code"], refused.json()["param"]) == ("payment_method_type_mismatch", "type")
    key = uuid.uuid4().hex
    body = {"customer": customer["id"], "type": "bank_account", "token": "tok_visa"}
    assert (await client.post("/v1/payment-methods", body, idempotency_key=key)).status_code == 422
    mended = await client.post("/v1/payment-methods", body | {"type": "card"}, idempotency_key=key)
    assert mended.status_code == 201, "a refused request has not used its key"
    renewed = await client.send("PATCH", f"/v1/payment-methods/{mended.json()['id']}", {"token": "tok_sepa_debit"})
    assert (renewed.json()["code"], renewed.json()["param"]) == ("payment_method_type_mismatch", "token")
    assert (await client.get(f"/v1/payment-methods/{mended.json()['id']}")).json()["brand"] == "visa"
