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
    assert refused.json()["code"] == "payment_not_refundable"


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
    line = {"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}
    method = f"pm_{nothing}"
    euro, dollar = line["amount"], {"amount": 100, "currency": "USD"}
    for path, body, code, param in (
        ("subscriptions", {"plan": plan["id"], "items": items}, "price_not_found", "items.1.price"),
        ("subscriptions", {"plan": f"plan_{nothing}", "items": items}, "plan_not_found", "plan"),
        (
            "invoices",
            {"currency": "EUR", "lines": [line, {**line, "product": f"prod_{nothing}"}]},
            "product_not_found",
            "lines.1.product",
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
    await client.send("DELETE", f"/v1/customers/{customer['id']}", {})
    deleted = await client.send("PATCH", f"/v1/customers/{customer['id']}", {"time_zone": "Asia/Tokyo"})
    assert (deleted.json()["code"], deleted.json()["param"]) == ("customer_deleted", "customer")
