"""A tax service through the API: who computes taxes, what waits and why, and previews that ask, too."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from domain.identity.permissions import Scope
from infra.settings import gateway_api_key
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

TAXES = "/v1/tenants/acme/tax-settings"
BERTA = {"name": "Berta", "currency": "EUR", "address": {"country": "DE", "postal_code": "10115"}}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def opened(api: Api) -> Client:
    """A tenant that leaves its taxes to the service, which takes 19 % where its own table takes 7."""
    client = await api.tenant("acme")
    assert (await client.send("PATCH", TAXES, {"seller_country": "DE"})).status_code == 200
    german = {"country": "DE", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-rates", {**german, "percent": "7"})
    await client.made("/v1/tax-registrations", {**german, "number": "DE136695976"})
    answer = await client.send("PATCH", TAXES, {"tax_calculator": "remote"})
    assert answer.json()["tax_calculator"] == "remote"
    assert (await client.get(TAXES)).json() == answer.json()
    return client


async def finalized(client: Client) -> dict[str, Any]:
    """An invoice of 100.00 of which somebody has said that it is final."""
    berta = await client.made("/v1/customers", BERTA)
    line = {"description": "Set-up", "amount": {"amount": 10_000, "currency": "EUR"}}
    order = {"customer": berta["id"], "currency": "EUR", "lines": [line]}
    draft = await client.made("/v1/invoices", order)
    answer = await client.post(f"/v1/invoices/{draft['id']}/finalize")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def subscribed(client: Client) -> dict[str, Any]:
    """Ten euros a month."""
    product = await client.made("/v1/products", {"name": "Team"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "Team", "interval": {"unit": "month"}})
    model = {"type": "per_unit", "currency": "EUR", "unit_amount": "1000"}
    price = await client.made("/v1/prices", {"plan": plan["id"], "model": model})
    berta = await client.made("/v1/customers", BERTA)
    items = [{"price": price["id"]}]
    terms = {"customer": berta["id"], "plan": plan["id"], "items": items, "collection_method": "send_invoice"}
    return await client.made("/v1/subscriptions", terms)


async def faults(api: Api, plan: dict[str, float]) -> None:
    settings = api.parts.settings
    headers = {"Authorization": f"Bearer {gateway_api_key(settings)}"}
    async with httpx2.AsyncClient(base_url=str(settings.gateway.url), headers=headers) as http:
        assert (await http.put("/faults", json=plan)).status_code == 200


async def test_an_invoice_that_is_finalized_waits_for_its_tax_and_is_found_by_that(api: Api) -> None:
    client = await opened(api)
    waiting = await finalized(client)
    assert (waiting["status"], waiting["waiting_for"], waiting["number"]) == ("draft", "tax", None)
    asked = waiting["tax_request"]
    assert asked["place"] == {"country": "DE", "region": None, "postal_prefix": "101"}
    assert (asked["attempt"], asked["unanswered"]) == (1, None)
    shown = (await client.get(f"/v1/invoices/{waiting['id']}")).json()
    assert shown == waiting
    await project(api.database, api.parts.settings)
    (listed,) = (await client.get("/v1/invoices?waiting_for=tax")).json()["data"]
    assert listed == waiting
    paid = await client.post(f"/v1/invoices/{waiting['id']}/pay", {"paid_out_of_band": True})
    assert (paid.status_code, paid.json()["code"]) == (409, "invoice_not_open")
    assert (await client.get(f"/v1/invoices/{waiting['id']}/pdf")).json()["code"] == "invoice_not_finalized"


async def test_by_the_table_it_is_finalized_by_whoever_may_change_billing_settings(api: Api) -> None:
    client = await opened(api)
    waiting = await finalized(client)
    path, by_table = f"/v1/invoices/{waiting['id']}/finalize", {"tax_calculator": "table"}
    writer = await api.tenant("acme", scope=Scope.WRITE)
    refused = await writer.post(path, by_table)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    again = (await writer.post(path)).json()
    assert (again["waiting_for"], again["tax_request"]["attempt"]) == ("tax", 2)
    answer = await client.post(path, by_table)
    final = answer.json()
    assert (final["status"], final["waiting_for"]) == ("open", None)
    assert (final["total"]["amount"], final["tax"]["calculation"]) == (10_700, None)
    assert final["finalized_at"] is not None
    await project(api.database, api.parts.settings)
    assert (await client.get("/v1/invoices?waiting_for=tax")).json()["data"] == []


async def test_a_preview_asks_the_service_and_nothing_is_kept(api: Api) -> None:
    client = await opened(api)
    subscription = await subscribed(client)
    head = await api.head()
    answer = await client.post("/v1/invoices/preview", {"subscription": subscription["id"]})
    assert answer.status_code == 200, answer.text
    shown = answer.json()["invoice"]
    assert (shown["status"], shown["total"]["amount"], shown["waiting_for"]) == ("open", 1_190, None)
    assert shown["tax"]["calculation"].startswith("txc_")
    assert (await client.post("/v1/invoices/preview", {"subscription": subscription["id"]})).json() == answer.json()
    items = [{"price": subscription["items"][0]["price"], "quantity": "3"}]
    path = f"/v1/subscriptions/{subscription['id']}/preview-change"
    changed = await client.post(path, {"items": items, "proration": "none"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["invoice"]["total"]["amount"] == 3_570
    assert await api.head() == head


async def test_a_preview_without_an_answer_says_so_in_time(api: Api) -> None:
    client = await opened(api)
    subscription = await subscribed(client)
    for plan in ({"timeout_before_charge": 1.0}, {"error_before_charge": 1.0}, {"rate_limit": 1.0}):
        await faults(api, plan)
        answer = await client.post("/v1/invoices/preview", {"subscription": subscription["id"]})
        assert (answer.status_code, answer.json()["code"]) == (503, "tax_service_silent")
        assert int(answer.headers["retry-after"]) >= 1
    await faults(api, {})


async def test_where_no_tax_service_is_configured_the_table_it_is(api: Api) -> None:
    client = await api.tenant("acme")
    api.parts.tax_service = None
    refused = await client.send("PATCH", TAXES, {"tax_calculator": "remote"})
    assert (refused.status_code, refused.json()["code"]) == (409, "tax_service_not_configured")
    assert (await client.get(TAXES)).json()["tax_calculator"] == "table"


async def test_a_finalization_that_is_tried_shows_that_it_would_wait(api: Api) -> None:
    client = await opened(api)
    berta = await client.made("/v1/customers", BERTA)
    line = {"description": "Set-up", "amount": {"amount": 10_000, "currency": "EUR"}}
    draft = await client.made("/v1/invoices", {"customer": berta["id"], "currency": "EUR", "lines": [line]})
    tried = await client.send("POST", f"/v1/invoices/{draft['id']}/finalize", {}, headers={"Tallybook-Dry-Run": "true"})
    assert tried.status_code == 200, tried.text
    assert [each["type"] for each in tried.json()["events"]] == ["invoice.tax_requested"]
    assert tried.json()["result"]["waiting_for"] == "tax"
