"""An invoice as PDF over HTTP: what it says, that its bytes stay, and who gets to see it."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from pypdf import PdfReader

from api.http.principal import PrincipalKind, principal_of
from documents.renderer import Renderer
from domain.identity.permissions import Role, Scope
from domain.kernel.tenant_mode import TenantMode
from infra.identity.document_links import DocumentLink, link_of, link_token
from infra.settings import DocumentSettings
from testing.api_client import Api, Client, running_api
from testing.made_credentials import MadeCredentials
from testing.services import FreshDatabase

SETTINGS = "/v1/tenants/acme/billing-settings"
SELLER = {
    "name": "Example GmbH",
    "address": ["Musterstraße 1", "10115 Berlin"],
    "email": "billing@example.com",
    "tax_id": "USt-IdNr. DE123456789",
    "footer": "HRB 12345",
}
ADA = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "address": {"line1": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"},
    "tax_ids": [{"type": "gb_vat", "value": "GB987654321"}],
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "locale": "de-DE",
}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def invoiced(client: Client, customer: object, *, amount: int = 123_456, finalize: bool = True) -> dict[str, Any]:
    line = {
        "description": "Set-up",
        "amount": {"amount": amount, "currency": "EUR"},
        "quantity": "2.5",
        # A month in Berlin, whose days begin an hour before those of UTC.
        "period_start": "2025-12-31T23:00:00Z",
        "period_end": "2026-01-31T23:00:00Z",
    }
    invoice = await client.made("/v1/invoices", {"customer": customer, "currency": "EUR", "lines": [line]})
    if finalize:
        assert (await client.post(f"/v1/invoices/{invoice['id']}/finalize")).status_code == 200
    return (await client.get(f"/v1/invoices/{invoice['id']}")).json()  # type: ignore[no-any-return]


async def pdf(client: Client, invoice: dict[str, Any]) -> bytes:
    answer = await client.get(f"/v1/invoices/{invoice['id']}/pdf")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == f'inline; filename="{invoice["number"]}.pdf"'
    return answer.content


async def note_pdf(client: Client, note: dict[str, Any]) -> bytes:
    answer = await client.get(f"/v1/credit-notes/{note['id']}/pdf")
    assert answer.status_code == 200, answer.text
    return answer.content


def text_of(made: bytes) -> str:
    pages = PdfReader(io.BytesIO(made)).pages
    return " ".join("\n".join(page.extract_text() for page in pages).split())


async def test_it_says_who_sells_to_whom_what_for_how_much_in_the_customers_language(api: Api) -> None:
    client = await api.tenant("acme")
    assert (await client.send("PATCH", SETTINGS, {"seller": SELLER})).status_code == 200
    tax_settings = "/v1/tenants/acme/tax-settings"
    assert (await client.send("PATCH", tax_settings, {"seller_country": "DE"})).status_code == 200
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    said = text_of(await pdf(client, invoice))
    for each in (
        *(f"Rechnung {invoice['number']}", "Example GmbH", "Musterstraße 1", "10115 Berlin", "Deutschland"),
        *("billing@example.com", "USt-IdNr. DE123456789", "HRB 12345"),
        *("Ada Lovelace", "12 St James", "SW1Y 4JH London", "Vereinigtes Königreich", "GB987654321"),
        *("Set-up", "2,5", "1.–31. Jan. 2026", "1.234,56 €", "Gesamtbetrag", "Offener Betrag", "Seite 1 von 1"),
    ):
        assert each in said, (each, said)
    assert said.count("1.234,56 €") == 3, "the line, the total, what is due"
    assert "Bezahlt" not in said
    await client.post(f"/v1/invoices/{invoice['id']}/pay", {"paid_out_of_band": True})
    paid = text_of(await pdf(client, invoice))
    assert "Bezahlt 1.234,56 €" in paid
    assert "Offener Betrag 0,00 €" in paid


async def test_a_void_invoice_says_so_on_each_page(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    assert "STORNIERT" not in text_of(await pdf(client, invoice))
    await client.post(f"/v1/invoices/{invoice['id']}/void")
    said = text_of(await pdf(client, invoice))
    assert "STORNIERT" in said
    assert "Offener Betrag 0,00 €" in said


async def test_what_is_changed_later_changes_nothing_of_an_invoice_but_of_the_next_one(api: Api) -> None:
    client = await api.tenant("acme")
    await client.send("PATCH", SETTINGS, {"seller": SELLER, "locale": "fr-FR"})
    ada = await client.made("/v1/customers", {**ADA, "locale": None})
    invoice = await invoiced(client, ada["id"])
    before = await pdf(client, invoice)
    assert "Facture" in text_of(before), "who has no language of their own has the tenant's"
    await client.send("PATCH", SETTINGS, {"seller": {"name": "Another Ltd"}, "locale": "en-US"})
    moved = {"name": "Countess of Lovelace", "address": {"city": "Paris"}, "time_zone": "Asia/Tokyo", "locale": "ja"}
    assert (await client.send("PATCH", f"/v1/customers/{ada['id']}", moved)).status_code == 200
    assert await pdf(client, invoice) == before
    after = text_of(await pdf(client, await invoiced(client, ada["id"])))
    assert "Another Ltd" in after
    assert "Countess of Lovelace" in after
    assert "請求書" in after


async def test_the_bytes_are_the_same_by_another_process_and_are_not_sent_to_who_has_them(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    path = f"/v1/invoices/{invoice['id']}/pdf"
    first = await client.get(path)
    await api.parts.renderer.close()
    again = await client.get(path)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        kept = await client.get(path, **{"If-None-Match": tag})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await client.get(path, **{"If-None-Match": '"other"'})).content == first.content
    await client.post(f"/v1/invoices/{invoice['id']}/void")
    changed = await client.get(path, **{"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_without_settings_the_tenant_sells_and_without_a_name_the_customer_has_their_number(api: Api) -> None:
    client = await api.tenant("acme")
    nobody = await client.made("/v1/customers", {"currency": "EUR", "external_id": "crm-1"})
    said = text_of(await pdf(client, await invoiced(client, nobody["id"])))
    assert "Invoice" in said
    assert "acme" in said
    assert "crm-1" in said
    assert "€1,234.56" in said


async def test_a_draft_has_no_document_and_no_link(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    draft = await invoiced(client, ada["id"], finalize=False)
    for _ in ("a draft", "one that was voided as a draft"):
        refused = await client.get(f"/v1/invoices/{draft['id']}/pdf")
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_finalized")
        refused = await client.post(f"/v1/invoices/{draft['id']}/pdf-link")
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_finalized")
        await client.post(f"/v1/invoices/{draft['id']}/void")
    nothing = "/v1/invoices/in_01m7ywe9z7e398x54gfbrtqnk7"
    for answer in (await client.get(f"{nothing}/pdf"), await client.post(f"{nothing}/pdf-link")):
        assert (answer.status_code, answer.json()["code"]) == (404, "invoice_not_found")


async def test_of_an_erased_customer_it_says_that_and_no_link_leads_to_it(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    link = (await client.post(f"/v1/invoices/{invoice['id']}/pdf-link")).json()
    assert (await api.http.get(link["url"])).status_code == 200
    assert (await client.post(f"/v1/customers/{ada['id']}/erase")).status_code == 200
    said = text_of(await pdf(client, invoice))
    assert "Die personenbezogenen Daten des Kunden wurden gelöscht." in said
    assert "1.234,56 €" in said
    for each in ("Lovelace", "London", "GB987654321"):
        assert each not in said
    over = await api.http.get(link["url"])
    assert (over.status_code, over.json()["code"]) == (404, "document_link_invalid")


async def test_a_customer_sees_their_own_and_who_sees_no_personal_data_sees_none_here(api: Api) -> None:
    client = await api.tenant("acme")
    await client.send("PATCH", SETTINGS, {"seller": SELLER})
    await client.send("PATCH", "/v1/tenants/acme/tax-settings", {"seller_country": "GB"})
    british = {"country": "GB", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-rates", {**british, "percent": "20"})
    await client.made("/v1/tax-registrations", {**british, "number": "GB980780684"})
    ada, bob = await client.made("/v1/customers", ADA), await client.made("/v1/customers", {"currency": "EUR"})
    invoice, bobs = await invoiced(client, ada["id"]), await invoiced(client, bob["id"])
    plain = await pdf(client, invoice)
    (inside,) = PdfReader(io.BytesIO(plain)).attachments["factur-x.xml"]
    assert b"<ram:Name>Ada Lovelace</ram:Name>" in inside
    note = await client.made(
        "/v1/credit-notes", {"invoice": invoice["id"], "amount": {"amount": 100, "currency": "EUR"}}
    )
    (credited,) = PdfReader(io.BytesIO(await note_pdf(client, note))).attachments["factur-x.xml"]
    assert f"<ram:IssuerAssignedID>{invoice['number']}</ram:IssuerAssignedID>".encode() in credited
    plain = await pdf(client, invoice)
    made = api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)
    for name, kind, role, own in (
        ("portal", PrincipalKind.CUSTOMER, Role.CUSTOMER, str(ada["id"])),
        ("viewer", PrincipalKind.USER, Role.VIEWER, "user_1"),
    ):
        made.principals[name] = principal_of(
            kind, role, tenant_id="acme", principal_id=own, mode=TenantMode.TEST, session="ses_1"
        )
    portal, viewer = (
        Client(http=api.http, key=name, tenant_id="acme", parts=api.parts) for name in ("portal", "viewer")
    )
    assert await pdf(portal, invoice) == plain, "with the seller, whose settings are not the customer's to read"
    assert (await portal.get(f"/v1/invoices/{bobs['id']}/pdf")).status_code == 404
    assert (await portal.post(f"/v1/invoices/{invoice['id']}/pdf-link")).status_code == 403
    hidden = await pdf(viewer, invoice)
    assert not PdfReader(io.BytesIO(hidden)).attachments
    assert not PdfReader(io.BytesIO(await note_pdf(viewer, note))).attachments
    masked = text_of(hidden)
    assert "Lovelace" not in masked
    assert "London" not in masked
    assert "1.234,56 €" in masked
    assert (await viewer.post(f"/v1/invoices/{invoice['id']}/pdf-link")).status_code == 403


async def test_a_link_opens_one_invoice_without_a_key_until_it_is_over(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    made = await client.post(f"/v1/invoices/{invoice['id']}/pdf-link")
    assert made.status_code == 201
    link = made.json()
    opened = await api.http.get(link["url"])
    assert opened.status_code == 200
    assert opened.content == await pdf(client, invoice)
    assert "no-cache" in opened.headers["cache-control"]
    assert (await client.get(link["url"])).content == opened.content, "with a key besides"
    other = await api.tenant("other")
    assert (await other.get(link["url"])).content == opened.content
    until = datetime.fromisoformat(link["expires_at"])
    token = link["url"].rpartition("/")[2]
    keyring = api.parts.identity.keyring
    assert link_of(keyring, token, until - timedelta(microseconds=1)) == DocumentLink("acme", invoice["id"], until)
    assert link_of(keyring, token, until) is None


async def _refused(api: Api, token: str) -> None:
    answer = await api.http.get(f"/v1/invoice-pdfs/{token}")
    assert (answer.status_code, answer.json()["code"]) == (404, "document_link_invalid"), token


async def test_no_token_that_we_did_not_make_opens_anything(api: Api) -> None:
    client, other = await api.tenant("acme"), await api.tenant("other")
    ada = await client.made("/v1/customers", ADA)
    first, second = await invoiced(client, ada["id"]), await invoiced(client, ada["id"])
    keyring = api.parts.identity.keyring
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    good = link_token(keyring, DocumentLink("acme", first["id"], until))
    assert (await api.http.get(f"/v1/invoice-pdfs/{good}")).status_code == 200
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    mac, said = raw[:32], raw[32:]

    def encoded(of: bytes) -> str:
        return base64.urlsafe_b64encode(of).rstrip(b"=").decode()

    assert encoded(mac + said) == good
    await _refused(api, encoded(mac + said.replace(first["id"].encode(), second["id"].encode())))
    await _refused(api, encoded(mac + said.replace(b'"acme"', b'"other"')))
    later = str(int(until.timestamp()) + 3_600_000).encode()
    await _refused(api, encoded(mac + said.replace(str(int(until.timestamp())).encode(), later)))
    await _refused(api, encoded(mac + said + b" "))
    for nth in range(32):
        flipped = bytes([*mac[:nth], mac[nth] ^ 1, *mac[nth + 1 :]])
        await _refused(api, encoded(flipped + said))
    await _refused(api, encoded(bytes(32) + said))
    await _refused(api, encoded(mac[:16] + said))
    for of in (b"[]", b"{}", b"[1,2,3]", b'["acme",null,1e999]', b"[" * 300, b"\xff", b""):
        await _refused(api, encoded(mac + of))
    for token in ("x", "=", "A" * 600, good + "A", good[:-1], "é", "%2e%2e", good.swapcase()):
        await _refused(api, token)
    await _refused(
        api, link_token(keyring, DocumentLink("acme", first["id"], datetime.now(UTC) - timedelta(seconds=1)))
    )
    # What we made, of what is not there: another tenant's, nothing, a draft.
    await _refused(api, link_token(keyring, DocumentLink(other.tenant_id, first["id"], until)))
    await _refused(api, link_token(keyring, DocumentLink("acme", "in_01m7ywe9z7e398x54gfbrtqnk7", until)))
    draft = await invoiced(client, ada["id"], finalize=False)
    await _refused(api, link_token(keyring, DocumentLink("acme", draft["id"], until)))


async def test_beyond_what_may_wait_a_document_is_refused_and_commands_go_on(api: Api) -> None:
    client = await api.tenant("acme")
    ada = await client.made("/v1/customers", ADA)
    invoice = await invoiced(client, ada["id"])
    whole = api.parts.renderer
    api.parts.renderer = Renderer(DocumentSettings(processes=1, queue_max=1))
    try:
        answers = await asyncio.gather(*(client.get(f"/v1/invoices/{invoice['id']}/pdf") for _ in range(12)))
        codes = [each.status_code for each in answers]
        assert codes.count(200) >= 2
        assert codes.count(503) >= 1
        for each in answers:
            if each.status_code == 503:
                assert each.json()["code"] == "documents_busy"
                assert int(each.headers["retry-after"]) >= 1
        assert (await client.post(f"/v1/invoices/{invoice['id']}/void")).status_code == 200
    finally:
        await api.parts.renderer.close()
        api.parts.renderer = whole


async def test_settings_are_read_and_changed_by_those_who_may(api: Api) -> None:
    client = await api.tenant("acme")
    series = {"name": "INV", "prefix": "INV-", "format": "{prefix}{number}", "digits": 6}
    at_first = {
        "object": "billing_settings",
        "tenant": "acme",
        "seller": None,
        "locale": "en-US",
        "time_zone": "UTC",
        "grace_seconds": 0,
        "days_until_due": 30,
        "memo": None,
        "number_series": [series, {**series, "name": "CN", "prefix": "CN-"}],
        "invoice_series": "INV",
    }
    assert (await client.get(SETTINGS)).json() == at_first
    changed: httpx2.Response = await client.send("PATCH", SETTINGS, {"seller": SELLER, "locale": "de"})
    assert changed.json() == {**at_first, "seller": SELLER, "locale": "de"}
    assert (await client.get(SETTINGS)).json() == changed.json()
    assert (await client.send("PATCH", SETTINGS, {})).json() == changed.json()
    cleared = await client.send("PATCH", SETTINGS, {"seller": None})
    assert cleared.json() == {**at_first, "locale": "de"}
    shown = (await client.get("/v1/events?stream=billing_settings/billing")).json()["data"]
    assert [each["type"] for each in shown] == ["billing_settings.changed"] * 2
    assert (await client.get("/v1/tenants/other/billing-settings")).status_code == 404
    refused: tuple[dict[str, Any], ...] = (
        {"locale": None},
        {"locale": "fi"},
        {"seller": {"name": ""}},
        {"seller": {"name": "A", "country": "DE"}},
        {"time_zone": "Mars/Olympus"},
        {"days_until_due": 366},
        {"grace_seconds": -1},
        {"grace_seconds": 2_592_001},
        {"memo": "x" * 1_001},
        {"number_series": []},
        {"number_series": [series]},
        {"number_series": [{**series, "format": "{number}"}]},
        {"invoice_series": "EU"},
    )
    for bad in refused:
        assert (await client.send("PATCH", SETTINGS, bad)).status_code == 422, bad
    writes = await api.tenant("acme", scope=Scope.WRITE)
    assert (await writes.send("PATCH", SETTINGS, {"locale": "en"})).status_code == 403
    assert (await writes.get(SETTINGS)).json() == cleared.json()
