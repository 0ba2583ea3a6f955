"""Invoices of another system through the API: whose numbers they keep apart from, and how they are credited."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pypdf import PdfReader

from infra.database import Role, open_pool
from processors.invariants.entries import check_entries
from processors.invariants.findings import Invariant
from schemas.codec import default_codec
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

SETTINGS = "/v1/tenants/acme/billing-settings"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


def billed_there(customer: str, number: str, amount: int = 11_900, **facts: Any) -> dict[str, Any]:
    return {
        "customer": customer,
        "number": number,
        "currency": "EUR",
        "lines": [{"description": "Before", "amount": eur(amount)}],
        "issued_at": "2025-12-01T00:00:00Z",
        "due_at": "2025-12-31T00:00:00Z",
        **facts,
    }


async def buyer(client: Client) -> str:
    facts = {"currency": "EUR", "name": "Ada", "address": {"country": "DE"}}
    return str((await client.made("/v1/customers", facts))["id"])


def prefixed(prefix: str) -> dict[str, Any]:
    return {"number_series": [{"name": "INV", "prefix": prefix, "digits": 1}, {"name": "CN", "prefix": "CN-"}]}


async def credited(client: Client, invoice: str, **facts: Any) -> dict[str, Any]:
    return await client.made("/v1/credit-notes", {"invoice": invoice, **facts})


async def test_a_number_of_ours_is_not_imported_and_says_what_to_do(client: Client) -> None:
    customer = await buyer(client)
    refused = await client.post("/v1/invoices/import", billed_there(customer, "INV-000042"))
    assert (refused.status_code, refused.json()["code"]) == (409, "imported_number_of_series")
    assert refused.json()["param"] == "number"
    assert "prefix" in refused.json()["detail"]
    await client.made("/v1/invoices/import", billed_there(customer, "OLD-42"))
    taken = await client.send("PATCH", SETTINGS, prefixed("OLD-"))
    assert (taken.status_code, taken.json()["code"]) == (422, "number_series_imported")


async def test_nothing_was_paid_of_it_there_may_be_said_as_zero(client: Client) -> None:
    ada = await buyer(client)
    unpaid = await client.made("/v1/invoices/import", billed_there(ada, "OLD-1", amount_paid=eur(0)))
    silent = await client.made("/v1/invoices/import", billed_there(ada, "OLD-2"))
    told = ("status", "amount_due", "amount_paid", "paid_at")
    assert [unpaid[name] for name in told] == [silent[name] for name in told] == ["open", eur(11_900), eur(0), None]
    below = await client.post("/v1/invoices/import", billed_there(ada, "OLD-3", amount_paid=eur(-1)))
    assert (below.status_code, below.json()["param"]) == (422, "amount_paid.amount")


@pytest.mark.parametrize("turn", range(4))
async def test_an_import_and_a_series_that_would_print_its_number_race(api: Api, client: Client, turn: int) -> None:
    """Through two processes' writers, both ways round: one of them is refused, whichever comes first."""
    async with running_api(api.database) as other:
        second = await other.tenant("acme")
        customer = await buyer(client)
        deeds = [
            client.post("/v1/invoices/import", billed_there(customer, "OLD-1")),
            second.send("PATCH", SETTINGS, prefixed("OLD-")),
        ]
        told = await asyncio.gather(*(deeds if turn % 2 else reversed(deeds)))
        codes = {answer.json().get("code") for answer in told if answer.status_code >= 300}
        assert codes in ({"imported_number_of_series"}, {"number_series_imported"})


async def test_credited_it_owes_less_and_its_tax_stays_where_it_was_booked(api: Api, client: Client) -> None:
    """Open, paid there and paid here; credited whole, in part, void again. The tax report says nothing of any."""
    await client.send("PATCH", "/v1/tenants/acme/tax-settings", {"seller_country": "DE"})
    await client.made("/v1/tax-rates", {"country": "DE", "percent": "19", "kind": "vat", "valid_from": "2020-01-01"})
    await client.made("/v1/tax-registrations", {"country": "DE", "number": "DE136695976", "valid_from": "2020-01-01"})
    customer = await buyer(client)
    made = [
        await client.made("/v1/invoices/import", billed_there(customer, f"OLD-{nth}", amount_paid=paid))
        for nth, paid in enumerate((None, eur(5_000), eur(11_900)))
    ]
    unpaid, part, paid = [str(each["id"]) for each in made]
    note = await credited(client, unpaid)
    assert (note["amount_off_due"], note["amount_to_balance"]) == (eur(11_900), eur(0))
    assert note["total_tax"] == eur(0)
    some = await credited(client, part, amount=eur(8_000))
    assert (some["amount_off_due"], some["amount_to_balance"]) == (eur(6_900), eur(1_100))
    back = await credited(client, paid, amount=eur(900))
    assert (back["amount_off_due"], back["amount_to_balance"]) == (eur(0), eur(900))
    refused = await client.post("/v1/credit-notes", {"invoice": paid, "give_back": "refund"})
    assert refused.json()["code"] == "nothing_to_refund", "what was paid there is not refunded through a gateway here"
    voided = await client.post(f"/v1/credit-notes/{back['id']}/void")
    assert voided.status_code == 200, voided.text
    shown = (await client.get(f"/v1/invoices/{part}")).json()
    assert (shown["amount_due"], shown["amount_credited"]) == (eur(0), eur(8_000))
    assert (await client.get(f"/v1/customers/{customer}")).json()["balance"] == eur(1_100)
    await project(api.database, api.parts.settings)
    report = (await client.get("/v1/reports/tax?from=2020-01-01&to=2199-01-01")).json()
    assert report["rows"] == []
    await the_books_agree(api)


async def test_paid_here_through_a_gateway_it_is_refunded_and_its_credit_note_has_a_page(
    api: Api, client: Client
) -> None:
    customer = await buyer(client)
    imported = await client.made("/v1/invoices/import", billed_there(customer, "OLD-1", amount_paid=eur(1_900)))
    method = {"customer": customer, "type": "card", "gateway": "sandbox", "token": "tok_visa"}
    card = await client.made("/v1/payment-methods", method)
    paying = await client.post(f"/v1/invoices/{imported['id']}/pay", {"payment_method": card["id"]})
    assert paying.status_code == 200, paying.text
    await client.captured(paying.json()["payment"])
    note = await credited(client, str(imported["id"]), give_back="refund", amount=eur(11_000))
    assert (note["amount_refunded"], note["amount_to_balance"]) == (eur(10_000), eur(1_000))
    refund = (await client.get(f"/v1/refunds/{note['refund']}")).json()
    assert (refund["amount"], refund["payment"]) == (eur(10_000), paying.json()["payment"])
    for refused in (
        await client.get(f"/v1/invoices/{imported['id']}/pdf"),
        await client.post(f"/v1/invoices/{imported['id']}/pdf-link"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_imported")
    page = await client.http.get(
        f"/v1/credit-notes/{note['id']}/pdf", headers={"Authorization": f"Bearer {client.key}"}
    )
    assert page.status_code == 200, page.text
    reader = PdfReader(io.BytesIO(page.content))
    text = " ".join(" ".join(each.extract_text() for each in reader.pages).split())
    assert "OLD-1" in text, "it names the invoice that it credits"
    assert not reader.attachments, "nothing is known of its tax, so there is no file for machines"
    await the_books_agree(api)


async def the_books_agree(api: Api) -> None:
    """What was posted about each invoice is what it says."""
    pool = await open_pool(api.database.dsn, Role.OWNER, api.parts.settings.database)
    try:
        found = await check_entries(pool, default_codec())
    finally:
        await pool.close()
    assert [difference for checked in found.values() for difference in checked.named] == []
    assert found[Invariant.DOCUMENTS].counts["invoices"]
