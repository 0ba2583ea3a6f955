"""Tax through the API: the table and registrations, who is charged what and why, the books, and the tax report."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from infra.database import Role, open_pool
from processors.invariants.entries import check_entries
from processors.invariants.findings import Invariant
from schemas.codec import default_codec
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

ADDRESSES: Final[dict[str, dict[str, Any]]] = {
    "berlin": {"address": {"country": "DE", "postal_code": "10115"}},
    "exempt": {"address": {"country": "DE"}, "tax_exempt": True},
    "paris": {"address": {"country": "FR"}, "tax_ids": [{"type": "eu_vat", "value": "FR83404833048"}]},
    "quebec": {"address": {"country": "CA", "region": "QC"}},
    "geneva": {"address": {"country": "CH"}},
}
"""Taxed, exempt, reverse charge, two taxes of two jurisdictions, nowhere that the seller is registered."""


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


async def rate(client: Client, country: str, percent: str, **facts: Any) -> str:
    body = {"country": country, "percent": percent, "valid_from": "2020-01-01", **facts}
    return str((await client.made("/v1/tax-rates", body))["id"])


async def register(client: Client, country: str, number: str = "DE136695976") -> str:
    body = {"country": country, "number": number, "valid_from": "2020-01-01"}
    return str((await client.made("/v1/tax-registrations", body))["id"])


async def established(client: Client, country: str = "DE", **settings: Any) -> None:
    path = f"/v1/tenants/{client.tenant_id}/tax-settings"
    answer = await client.send("PATCH", path, {"seller_country": country, **settings})
    assert answer.status_code == 200, answer.text


async def table(client: Client) -> dict[str, str]:
    """A seller in Germany who is registered there and in Canada; the rates' ids by name."""
    await established(client)
    rates = {
        "vat": await rate(client, "DE", "19"),
        "books": await rate(client, "DE", "7", category="books"),
        "gst": await rate(client, "CA", "5", kind="gst"),
        "qst": await rate(client, "CA", "9.975", kind="qst", region="QC"),
    }
    await register(client, "DE")
    await register(client, "CA", "123456789RT0001")
    return rates


async def customer(client: Client, **facts: Any) -> str:
    return str((await client.made("/v1/customers", {"currency": "EUR", **facts}))["id"])


async def billed(client: Client, customer_id: str, *lines: dict[str, Any]) -> dict[str, Any]:
    """A finalized invoice of these lines."""
    stated = [{"description": f"Line {nth}", **line} for nth, line in enumerate(lines)]
    made = await client.made("/v1/invoices", {"customer": customer_id, "currency": "EUR", "lines": stated})
    answer = await client.post(f"/v1/invoices/{made['id']}/finalize")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def totals(invoice: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    return [
        (each["treatment"], each["jurisdiction"], each["taxable"]["amount"], each["tax"]["amount"])
        for each in invoice["tax"]["totals"]
    ]


async def test_who_is_where_decides_what_is_charged_and_the_invoice_says_why(api: Api, client: Client) -> None:
    await table(client)
    found = {
        name: await billed(client, await customer(client, **facts), {"amount": eur(10_000)})
        for name, facts in ADDRESSES.items()
    }
    assert {name: totals(invoice) for name, invoice in found.items()} == {
        "berlin": [("taxed", "DE", 10_000, 1_900)],
        "exempt": [("exempt", "DE", 10_000, 0)],
        "paris": [("reverse_charge", "FR", 10_000, 0)],
        "quebec": [("taxed", "CA", 10_000, 500), ("taxed", "CA-QC", 10_000, 998)],
        "geneva": [("not_registered", "CH", 10_000, 0)],
    }
    for invoice in found.values():
        assert invoice["total"]["amount"] == 10_000 + invoice["total_tax"]["amount"] == invoice["amount_due"]["amount"]
    paris = found["paris"]["tax"]
    assert (paris["vat_id_country"], paris["seller_country"], paris["seller_number"]) == ("FR", "DE", "DE136695976")
    assert found["geneva"]["tax"]["registration"] is None
    explained = (await client.get(f"/v1/invoices/{found['berlin']['id']}/explanation")).json()
    assert explained["tax"] == found["berlin"]["tax"]
    (line,) = explained["lines"]
    assert (line["tax"]["treatment"], line["total"]["amount"]) == ("taxed", 11_900)
    await project(api.database, api.parts.settings)
    for invoice in found.values():
        shown = (await client.get(f"/v1/invoices/{invoice['id']}")).json()
        assert shown == invoice


async def test_the_report_is_the_sum_of_the_invoices_and_what_the_account_holds(api: Api, client: Client) -> None:
    rates = await table(client)
    invoices = [
        await billed(
            client,
            await customer(client, **facts),
            {"amount": eur(6_833)},
            {"amount": eur(6_833)},
            {"amount": eur(11_900), "tax_inclusive": True},
        )
        for facts in ADDRESSES.values()
    ]
    answer = await client.post(f"/v1/invoices/{invoices[0]['id']}/void")
    assert answer.status_code == 200, answer.text
    again = await billed(client, invoices[0]["customer"], {"amount": eur(333)})
    await project(api.database, api.parts.settings)
    days = "from=2020-01-01&to=2199-12-31"
    report = (await client.get(f"/v1/reports/tax?{days}")).json()
    stood = [*invoices[1:], again]
    told: Counter[tuple[str, str]] = Counter()
    for invoice in stood:
        for each in invoice["tax"]["totals"]:
            told[each["jurisdiction"], each["treatment"]] += each["tax"]["amount"]
    reported = {(row["jurisdiction"], row["treatment"]): row["tax"]["amount"] for row in report["rows"]}
    assert reported == dict(told)
    assert {row["tax_rate"] for row in report["rows"]} == {rates["vat"], rates["gst"], rates["qst"], None}
    posted: Counter[str] = Counter()
    entries = (await client.get("/v1/ledger/entries?account=tax_payable&limit=100")).json()["data"]
    for posting in (posting for entry in entries for posting in entry["postings"]):
        if posting["account"] == "tax_payable":
            sign = 1 if posting["side"] == "credit" else -1
            posted[posting["jurisdiction"]] += sign * posting["amount"]["amount"]
    assert +posted == +Counter({place: amount for (place, treatment), amount in told.items() if treatment == "taxed"})
    pool = await open_pool(api.database.dsn, Role.OWNER, api.parts.settings.database)
    try:
        found = await check_entries(pool, default_codec())
    finally:
        await pool.close()
    assert [difference for checked in found.values() for difference in checked.named] == []
    assert found[Invariant.DOCUMENTS].counts["invoices"] == len(invoices) + 1


async def test_a_period_holds_what_was_finalized_in_it(api: Api, client: Client) -> None:
    await table(client)
    await billed(client, await customer(client, **ADDRESSES["berlin"]), {"amount": eur(1_000)})
    await project(api.database, api.parts.settings)
    before = (await client.get("/v1/reports/tax?from=2020-01-01&to=2020-12-31")).json()
    assert before["rows"] == []
    wrong = await client.get("/v1/reports/tax?from=2021-01-01&to=2020-12-31")
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (422, "empty_period")


async def test_rates_and_registrations_are_listed_found_archived_and_ended(api: Api, client: Client) -> None:
    rates = await table(client)
    refused = await client.post(f"/v1/tax-rates/{rates['vat']}/archive")
    assert (refused.status_code, refused.json()["code"]) == (409, "tax_rate_in_use")
    archived = (await client.post(f"/v1/tax-rates/{rates['books']}/archive")).json()
    assert (archived["active"], archived["percent"]) == (False, "7")
    assert (await client.get(f"/v1/tax-rates/{rates['books']}")).json() == archived
    await project(api.database, api.parts.settings)
    shown = (await client.get("/v1/tax-rates?country=DE")).json()["data"]
    assert [each["id"] for each in shown] == [rates["books"], rates["vat"]]
    registrations = (await client.get("/v1/tax-registrations?country=CA")).json()["data"]
    (canada,) = registrations
    ended = await client.post(f"/v1/tax-registrations/{canada['id']}/end", {"valid_until": "2190-01-01"})
    assert ended.json()["valid_until"] == "2190-01-01"
    assert (await client.get(f"/v1/tax-registrations/{canada['id']}")).json() == ended.json()
    missing = await client.get("/v1/tax-rates/txr_01m7ywe9z7e398x54gfbrtqnk7")
    assert (missing.status_code, missing.json()["code"]) == (404, "tax_rate_not_found")


async def test_a_malformed_vat_id_is_refused_and_a_well_formed_one_lies_in_the_vault(client: Client) -> None:
    wrong = {"currency": "EUR", "tax_ids": [{"type": "eu_vat", "value": "DE123456789"}]}
    refused = await client.post("/v1/customers", wrong)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "invalid_vat_id")
    greek = {"currency": "EUR", "tax_ids": [{"type": "eu_vat", "value": "EL 094259216"}]}
    made = await client.made("/v1/customers", greek)
    assert made["vat_id_country"] == "GR"
    (created,) = (await client.get(f"/v1/events?stream={made['id']}")).json()["data"]
    assert "094259216" not in str(created)
    cleared = await client.send("PATCH", f"/v1/customers/{made['id']}", {"tax_ids": None, "tax_exempt": True})
    assert (cleared.json()["vat_id_country"], cleared.json()["tax_exempt"]) == (None, True)


async def test_a_dry_run_of_a_finalization_tells_the_tax_that_is_then_charged(client: Client) -> None:
    await table(client)
    lines = [{"description": "Set-up", "amount": eur(10_000)}]
    draft = {"customer": await customer(client, **ADDRESSES["berlin"]), "currency": "EUR", "lines": lines}
    path = f"/v1/invoices/{(await client.made('/v1/invoices', draft))['id']}"
    tried = (await client.send("POST", f"{path}/finalize", {}, headers={"Tallybook-Dry-Run": "true"})).json()
    done = (await client.post(f"{path}/finalize")).json()
    assert tried["result"]["tax"] == done["tax"]
    assert tried["result"]["total"] == done["total"] == eur(11_900)


async def test_a_price_says_whether_it_includes_tax_else_the_tenants_settings_do(client: Client) -> None:
    await table(client)
    await established(client, prices_include_tax=True)
    product = await client.made("/v1/products", {"name": "Team"})
    terms = {"product": product["id"], "name": "Team", "interval": {"unit": "month", "count": 1}}
    plan = await client.made("/v1/plans", terms)
    berlin = await customer(client, **ADDRESSES["berlin"])
    model = {"type": "flat", "amount": eur(1_190)}
    for stated, total in ((None, 1_190), (False, 1_416)):
        price = await client.made("/v1/prices", {"plan": plan["id"], "model": model, "tax_inclusive": stated})
        order = {"customer": berlin, "plan": plan["id"], "collection_method": "send_invoice"}
        items = [{"price": price["id"], "quantity": "1"}]
        sold = await client.made("/v1/subscriptions", {**order, "items": items})
        invoice = (await client.get(f"/v1/invoices/{sold['latest_invoice']}")).json()
        assert (invoice["subtotal"], invoice["total"]) == (eur(1_190), eur(total))


async def test_another_tenants_settings_are_not_there(api: Api, client: Client) -> None:
    await established(client)
    other = await api.tenant("other")
    assert (await other.get("/v1/tenants/acme/tax-settings")).status_code == 404
    shown = (await other.get("/v1/tenants/other/tax-settings")).json()
    assert (shown["seller_country"], shown["prices_include_tax"]) == (None, False)
    assert (await client.get("/v1/tenants/acme/tax-settings")).json()["seller_country"] == "DE"


async def test_a_region_that_is_named_bears_its_tax_and_one_that_nobody_knows_is_refused(client: Client) -> None:
    await table(client)
    for named in ("Quebec", "québec", "CA-QC", "QC"):
        body = {"currency": "EUR", "address": {"country": "CA", "region": named}}
        made: dict[str, Any] = await client.made("/v1/customers", body)
        assert made["tax_location"]["region"] == "QC"
        assert made["address"]["region"] == named, "documents print it as it was given"
    invoice = await billed(client, made["id"], {"amount": eur(10_000)})
    assert [each["jurisdiction"] for each in invoice["tax"]["totals"]] == ["CA", "CA-QC"]
    wrong = {"address": {"country": "CA", "region": "Quebek"}}
    for refused in (
        await client.post("/v1/customers", {"currency": "EUR", **wrong}),
        await client.send("PATCH", f"/v1/customers/{made['id']}", wrong),
    ):
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["param"], error["code"]) == (422, "address.region", "unknown_region")
        assert "QC" in error["message"]


async def test_where_the_tenants_table_has_regions_a_name_that_is_no_code_is_refused(client: Client) -> None:
    """Elsewhere it may be anything: no tax depends on it."""
    await established(client, "ES")
    canary = {"currency": "EUR", "address": {"country": "ES", "region": "Islas Canarias"}}
    before: dict[str, Any] = await client.made("/v1/customers", canary)
    assert before["tax_location"]["region"] is None
    await rate(client, "ES", "21")
    await rate(client, "ES", "7", region="CN")
    refused = await client.post("/v1/customers", canary)
    assert (refused.status_code, refused.json()["errors"][0]["param"]) == (422, "address.region")
    assert "CN" in refused.json()["detail"]
    kept = await client.send("PATCH", f"/v1/customers/{before['id']}", {"name": "Ada"})
    assert (kept.status_code, kept.json()["address"]["region"]) == (200, "Islas Canarias"), "who was there before stays"
    moved = await client.send(
        "PATCH", f"/v1/customers/{before['id']}", {"address": {"country": "ES", "region": "ES-CN"}}
    )
    assert moved.json()["tax_location"]["region"] == "CN"


async def test_an_address_says_its_region_where_the_tenants_taxes_are_by_region(client: Client) -> None:
    """Without it no tax would be charged, and nobody told."""
    nowhere: dict[str, Any] = {"currency": "EUR", "address": {"country": "US", "postal_code": "90001"}}
    await established(client, "US")
    before: dict[str, Any] = await client.made("/v1/customers", nowhere)
    await rate(client, "US", "7.25", region="CA", kind="sales_tax")
    registered = {"country": "US", "region": "CA", "number": "123-456", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-registrations", registered)
    wanted = {"address": {"country": "US", "region": None}}
    for refused in (
        await client.post("/v1/customers", nowhere),
        await client.post("/v1/customers", {"currency": "EUR", **wanted}),
        await client.send("PATCH", f"/v1/customers/{before['id']}", wanted),
    ):
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["param"], error["code"]) == (422, "address.region", "region_missing")
        assert "CA" in error["message"]
    renamed = await client.send("PATCH", f"/v1/customers/{before['id']}", {"name": "Ada"})
    assert renamed.status_code == 200, "who was there before stays"
    made = await client.made("/v1/customers", {**nowhere, "address": {"country": "US", "region": "California"}})
    invoice = await billed(client, str(made["id"]), {"amount": eur(10_000)})
    assert [(each["jurisdiction"], each["tax"]["amount"]) for each in invoice["tax"]["totals"]] == [("US-CA", 725)]
    await client.made("/v1/customers", {**nowhere, "address": {"country": "CA"}})
    await client.made("/v1/customers", {"currency": "EUR", "address": {"city": "Los Angeles"}})


async def test_a_repeat_has_its_answer_whatever_the_table_asks_for_by_now(client: Client) -> None:
    """Under the same key nothing is decided again, and nothing is checked before that either."""
    await established(client, "ES")
    path, body = "/v1/customers", {"currency": "EUR", "address": {"country": "ES"}}
    first = await client.post(path, body, idempotency_key="made")
    place = f"{path}/{first.json()['id']}"
    moved = await client.send("PATCH", place, {"address": {"country": "ES"}}, idempotency_key="moved")
    together = {"mode": "all", "commands": [{"idempotency_key": f"{nth}", "path": path, "body": body} for nth in "ab"]}
    both = await client.post("/v1/commands", together, idempotency_key="both")
    assert [each.status_code for each in (first, moved, both)] == [201, 200, 200], both.text
    await rate(client, "ES", "7", region="CN")
    for before, again in (
        (first, await client.post(path, body, idempotency_key="made")),
        (moved, await client.send("PATCH", place, {"address": {"country": "ES"}}, idempotency_key="moved")),
    ):
        assert (again.status_code, again.content) == (before.status_code, before.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["ledger-position"] == before.headers["ledger-position"]
    repeated = await client.post("/v1/commands", together, idempotency_key="both")
    assert [each["answer"] for each in repeated.json()["data"]] == [each["answer"] for each in both.json()["data"]]
    other = await client.post(path, {**body, "name": "Ada"}, idempotency_key="made")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    fresh = await client.post(path, body, idempotency_key="new")
    assert fresh.json()["errors"][0]["code"] == "region_missing"
