"""Credit notes through the API: issued, refunded or kept as balance, void again, and what invoices and reports say."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pypdf import PdfReader

from cli.tenants import set_approval_limits
from domain.kernel.money import Money
from domain.payments.decline import DeclineCode
from domain.payments.refund_commands import RecordRefundFailed
from testing.api_client import Api, Client, project, running_api
from testing.requests import request
from testing.services import FreshDatabase


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


async def customer(client: Client, **facts: Any) -> str:
    return str((await client.made("/v1/customers", {"currency": "EUR", **facts}))["id"])


async def invoice(client: Client, customer_id: str, *amounts: int) -> dict[str, Any]:
    """An open invoice of a line each."""
    lines = [{"description": f"Line {nth}", "amount": eur(amount)} for nth, amount in enumerate(amounts)]
    drafted = await client.made("/v1/invoices", {"customer": customer_id, "currency": "EUR", "lines": lines})
    return await done(client, f"/v1/invoices/{drafted['id']}/finalize")


async def done(client: Client, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.post(path, body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def shown(client: Client, path: str) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def credited(client: Client, billed: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return await client.made("/v1/credit-notes", {"invoice": billed["id"], **asked})


async def paid_by_card(client: Client, billed: dict[str, Any]) -> dict[str, Any]:
    method = {"customer": billed["customer"], "type": "card", "gateway": "sandbox", "token": "tok_visa"}
    card = await client.made("/v1/payment-methods", method)
    paying = await done(client, f"/v1/invoices/{billed['id']}/pay", {"payment_method": card["id"]})
    await client.captured(paying["payment"])
    return await shown(client, f"/v1/invoices/{billed['id']}")


def text_of(pdf: bytes) -> str:
    """What the pages say, words one space apart."""
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def owed(billed: dict[str, Any]) -> tuple[str, int, int, int]:
    """Status; credited, given back, due."""
    return (billed["status"], *(billed[f"amount_{name}"]["amount"] for name in ("credited", "given_back", "due")))


def went(note: dict[str, Any]) -> tuple[int, int, int]:
    """Off what was due, to the balance, back by a refund."""
    off, to_balance, refunded = (note[f"amount_{name}"]["amount"] for name in ("off_due", "to_balance", "refunded"))
    return off, to_balance, refunded


async def taxed(client: Client, percent: str = "20") -> None:
    """A seller in Germany with one rate."""
    home = f"/v1/tenants/{client.tenant_id}/tax-settings"
    assert (await client.send("PATCH", home, {"seller_country": "DE"})).status_code == 200
    rate = {"country": "DE", "kind": "vat", "percent": percent, "valid_from": "2020-01-01"}
    await client.made("/v1/tax-rates", rate)
    await client.made("/v1/tax-registrations", {"country": "DE", "valid_from": "2020-01-01", "number": "DE136695976"})


async def test_vector_25_each_line_is_credited_with_its_tax_and_the_report_is_the_account(
    api: Api, client: Client
) -> None:
    await taxed(client)
    billed = await invoice(client, await customer(client), 6_833, 6_833)
    assert billed["total"] == eur(16_399)
    first, second = (each["id"] for each in billed["lines"])
    one = await credited(client, billed, lines=[{"line": first}])
    assert (one["total"], one["total_tax"], one["number"]) == (eur(8_200), eur(1_367), "CN-000001")
    await project(api.database, api.parts.settings)
    (row,) = (await shown(client, "/v1/reports/tax?from=2020-01-01&to=2199-01-01"))["rows"]
    assert (row["taxable"], row["tax"]) == (eur(6_833), eur(1_366))
    other = await credited(client, billed, lines=[{"line": second}])
    assert (other["total"], other["number"]) == (eur(8_199), "CN-000002")
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("paid", 16_399, 0, 0)
    await project(api.database, api.parts.settings)
    (row,) = (await shown(client, "/v1/reports/tax?from=2020-01-01&to=2199-01-01"))["rows"]
    assert (row["taxable"], row["tax"]) == (eur(0), eur(0))
    posted: Counter[str] = Counter()
    for entry in (await shown(client, "/v1/ledger/entries?account=tax_payable"))["data"]:
        for posting in entry["postings"]:
            if posting["account"] == "tax_payable":
                posted[f"{posting['side']} {posting['jurisdiction']}"] += posting["amount"]["amount"]
    assert posted == {"credit DE": 2_733, "debit DE": 2_733}


async def test_vector_26_a_refund_with_a_credit_note_leaves_nothing_due(api: Api, client: Client) -> None:
    billed = await paid_by_card(client, await invoice(client, await customer(client), 24_995))
    note = await credited(client, billed, amount=eur(100), give_back="refund", reason="A euro too much")
    assert went(note) == (0, 0, 100)
    assert note["refund_status"] == "pending"
    refund = await shown(client, f"/v1/refunds/{note['refund']}")
    assert (refund["amount"], refund["credit_note"], refund["payment"]) == (eur(100), note["id"], billed["payment"])
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("paid", 100, 100, 0)
    assert (await shown(client, f"/v1/customers/{billed['customer']}"))["balance"] == eur(0)


async def test_a_refund_that_fails_is_found_by_its_credit_note_and_asked_for_again(api: Api, client: Client) -> None:
    ada = await customer(client)
    billed = await paid_by_card(client, await invoice(client, ada, 1_000))
    note = await credited(client, billed, give_back="refund")
    failed = RecordRefundFailed(
        refund_id=note["refund"], payment_id=billed["payment"], failure_code=DeclineCode.ACCOUNT_CLOSED
    )
    await client.parts.writer.submit(request(failed, tenant_id=client.tenant_id))
    found = await shown(client, f"/v1/credit-notes/{note['id']}")
    assert (found["refund_status"], went(found)) == ("failed", (0, 1_000, 0))
    await project(api.database, api.parts.settings)
    listed = (await shown(client, "/v1/credit-notes?refund_status=failed&expand[]=refund"))["data"]
    assert [(each["id"], each["refund"]["failure_code"]) for each in listed] == [(note["id"], "account_closed")]
    assert (await shown(client, f"/v1/customers/{ada}"))["balance"] == eur(1_000)
    await client.made("/v1/refunds", {"payment": billed["payment"], "amount": eur(600)})
    assert (await shown(client, f"/v1/customers/{ada}"))["balance"] == eur(400)
    refused = await client.post(f"/v1/credit-notes/{note['id']}/void")
    assert (refused.status_code, refused.json()["code"]) == (409, "credit_note_not_voidable")


async def test_a_credit_note_is_tried_dry_issued_and_taken_back(api: Api, client: Client) -> None:
    ada = await customer(client)
    billed = await invoice(client, ada, 1_000, 500)
    body = {"invoice": billed["id"], "amount": eur(300), "reason": "Late"}
    dry = await client.http.post(
        "/v1/credit-notes",
        json=body,
        headers={"Authorization": f"Bearer {client.key}", "Tallybook-Dry-Run": "true"},
    )
    tried = dry.json()["result"]
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("open", 0, 0, 1_500)
    note = await credited(client, billed, **{name: body[name] for name in ("amount", "reason")})
    assert [tried[name] for name in ("total", "lines", "number")] == [note[n] for n in ("total", "lines", "number")]
    assert [line["total"]["amount"] for line in note["lines"]] == [200, 100]
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("open", 300, 0, 1_200)
    voided = await done(client, f"/v1/credit-notes/{note['id']}/void")
    assert (voided["status"], voided["voided_at"] is not None) == ("void", True)
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("open", 0, 0, 1_500)
    again = await credited(client, billed)
    assert (again["number"], went(again)) == ("CN-000002", (1_500, 0, 0))
    await project(api.database, api.parts.settings)
    for asked in (f"invoice={billed['id']}", f"customer={ada}", "status=void", "number=CN-000001"):
        listed = (await shown(client, f"/v1/credit-notes?{asked}"))["data"]
        assert note["id"] in {each["id"] for each in listed}, asked


async def test_what_was_paid_becomes_the_balance_that_pays_the_next_invoice(client: Client) -> None:
    ada = await customer(client)
    billed = await invoice(client, ada, 1_000)
    await done(client, f"/v1/invoices/{billed['id']}/pay", {"paid_out_of_band": True, "amount": eur(400)})
    assert went(await credited(client, billed)) == (600, 400, 0)
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("paid", 1_000, 400, 0)
    following = await invoice(client, ada, 1_000)
    assert (following["amount_applied"], following["amount_due"]) == (eur(400), eur(600))


async def test_of_two_that_credit_one_line_at_once_one_finds_what_is_left(client: Client) -> None:
    billed = await invoice(client, await customer(client), 1_000, 1_000)
    body = {"invoice": billed["id"], "lines": [{"line": billed["lines"][0]["id"], "amount": eur(600)}]}
    answers = await asyncio.gather(*(client.post("/v1/credit-notes", body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"credit_exceeds_line"}
    assert owed(await shown(client, f"/v1/invoices/{billed['id']}")) == ("open", 600, 0, 1_400)


async def test_a_credit_note_and_its_invoice_are_printed(client: Client) -> None:
    ada = await customer(client, locale="de-DE")
    billed = await invoice(client, ada, 1_000)
    await done(client, f"/v1/invoices/{billed['id']}/pay", {"paid_out_of_band": True, "amount": eur(400)})
    note = await credited(client, billed, amount=eur(750), reason="Zu spät geliefert")
    first, again = [await client.get(f"/v1/credit-notes/{note['id']}/pdf") for _ in range(2)]
    assert first.headers["content-disposition"] == 'inline; filename="CN-000001.pdf"'
    assert (first.status_code, first.content) == (200, again.content)
    text = text_of(first.content)
    for said in ("Gutschrift CN-000001", "Zur Rechnung", "INV-000001", "Zu spät geliefert", "7,50", "6,00", "1,50"):
        assert said in text, said
    page = text_of((await client.get(f"/v1/invoices/{billed['id']}/pdf")).content)
    assert "Gutgeschrieben" in page


async def test_refusals_name_the_field(client: Client) -> None:
    billed = await invoice(client, await customer(client), 1_000)
    line = billed["lines"][0]["id"]
    for asked, status, code, param in (
        ({"lines": [{"line": line, "amount": eur(1_001)}]}, 409, "credit_exceeds_line", "lines.0.amount"),
        ({"lines": [{"line": line, "quantity": "2"}]}, 409, "credit_exceeds_line", "lines.0.quantity"),
        ({"amount": eur(1_001)}, 409, "credit_exceeds_invoice", "amount"),
        ({"lines": [{"line": line}], "amount": eur(1)}, 422, "invalid_credit", "amount"),
    ):
        answer = await client.post("/v1/credit-notes", {"invoice": billed["id"], **asked})
        assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (status, code, param)
    note = await credited(client, billed, amount=eur(1))
    refused = await client.post(f"/v1/invoices/{billed['id']}/void")
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_credited")
    await done(client, f"/v1/credit-notes/{note['id']}/void")
    await done(client, f"/v1/invoices/{billed['id']}/void")


async def test_a_large_refund_by_a_credit_note_wants_a_second_person(api: Api, client: Client) -> None:
    billed = await paid_by_card(client, await invoice(client, await customer(client), 1_000))
    limits = [Money.parse("5.00", "EUR")]
    await set_approval_limits(api.database.dsn, api.parts.settings, tenant_id="acme", limits=limits)
    body = {"invoice": billed["id"], "amount": eur(501), "give_back": "refund"}
    refused = await client.post("/v1/credit-notes", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_required")
    assert went(await credited(client, billed, amount=eur(500), give_back="refund")) == (0, 0, 500)
    assert went(await credited(client, billed)) == (0, 500, 0)


async def test_who_is_owed_something_is_deleted_once_it_is_paid_out_or_said_to_stay(client: Client) -> None:
    paid = await paid_by_card(client, await invoice(client, await customer(client), 1_000))
    await credited(client, paid, amount=eur(300))
    path = f"/v1/customers/{paid['customer']}"
    refused = await client.send("DELETE", path, {})
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_unsettled")
    assert (await shown(client, path))["deleted_at"] is None
    left = await client.send("DELETE", path, {"leave_unsettled": True})
    assert (left.status_code, left.json()["balance"]) == (200, eur(300))
    await client.made("/v1/refunds", {"payment": paid["payment"], "amount": eur(300), "from_balance": True})
    assert (await shown(client, path))["balance"] == eur(0), "it can be paid out afterwards"
