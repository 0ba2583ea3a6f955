"""Exports: each is the API's own list, whole, as of one moment, for whoever may see it, and so many at once."""

import io
import sys
from collections.abc import AsyncIterator

import pytest
from pyarrow import parquet

from api.http.reading import TenantReader
from api.resources.exports import EXPORTS, PERSONAL, SEEN_WITH, path_of
from domain.identity.permissions import Role
from host.embedded.databases import PostgresServer
from infra.settings import ApiSettings, DatabaseSettings, Settings
from projections.reports.catalogue import REPORTS
from projections.reports.customers import CUSTOMERS
from projections.reports.reading import Wanted
from projections.reports.report import Kind
from testing.api_client import Client, project
from testing.reported import KINDS, OF_RESOURCES, Row, at, parsed
from tests.contracts.test_export_files import cells
from tests.integration.reports_scene import Scene, as_compared, everything, reports_scene, rows_of_view

BY_NAME = {report.name: report for report in REPORTS}


@pytest.fixture
async def scene(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Scene]:
    async with reports_scene(
        postgres_server, template_database, ApiSettings(exports_max=2, exports_per_tenant_max=1)
    ) as scene:
        yield scene


async def exported(client: Client, report: str, query: str = "formulas=plain") -> list[Row]:
    """The rows of an export as CSV."""
    answer = await client.get(f"{path_of(BY_NAME[report])}?{query}")
    assert answer.status_code == 200, answer.text
    names, *lines = cells(answer.content)
    assert int(answer.headers["export-rows"]) == len(lines)
    return [
        {str(name): parsed(report, str(name), cell) for name, cell in zip(names, line, strict=True)} for line in lines
    ]


def of_parquet(report: str, content: bytes) -> list[Row]:
    """The rows of an export as Parquet."""
    as_text = (Kind.DECIMAL, Kind.JSON)
    return [
        {
            name: parsed(report, name, value) if KINDS[report].get(name, Kind.JSON) in as_text else value
            for name, value in row.items()
        }
        for row in parquet.read_table(io.BytesIO(content)).to_pylist()
    ]


async def test_an_export_holds_the_rows_of_the_apis_list_in_both_forms(scene: Scene) -> None:
    for tenant, client in scene.clients.items():
        for report in OF_RESOURCES:
            listed = await scene.listed(report, tenant)
            names = set(listed[0])
            rows = await exported(client, report)
            assert as_compared(rows, names) == as_compared(listed, names), report
            columns = [column.name for column in BY_NAME[report].columns]
            assert [*rows[0]] == columns + ([column.name for column in PERSONAL] if report == "customers" else [])
            answer = await client.get(f"{path_of(BY_NAME[report])}?format=parquet")
            assert answer.headers["content-type"] == "application/vnd.apache.parquet"
            if report != "customers":
                assert of_parquet(report, answer.content) == rows, report


async def test_an_export_is_the_view_of_its_tenant(scene: Scene) -> None:
    url = await scene.login("acme")
    for report, kinds in KINDS.items():
        rows = await exported(scene.clients["acme"], report)
        assert as_compared(rows, set(kinds)) == as_compared(await rows_of_view(url, report), set(kinds)), report


async def test_rows_come_oldest_first_of_the_range_that_is_asked_for(scene: Scene) -> None:
    client = scene.clients["acme"]
    invoices = await everything(client, "/v1/invoices")
    times = sorted(invoice["created"] for invoice in invoices)
    first, last = times[len(times) // 3], times[2 * len(times) // 3]
    rows = await exported(client, "invoices", f"created[gte]={first}&created[lt]={last}")
    assert [(row["created_at"], row["invoice_id"]) for row in rows] == sorted(
        (at(invoice["created"]), invoice["id"]) for invoice in invoices if first <= invoice["created"] < last
    )
    postings = await exported(client, "ledger_postings", f"effective_at[gte]={first}")
    assert postings
    assert all(row["effective_at"] >= at(first) for row in postings)
    answer = await client.get("/v1/exports/tax-days?created[gte]=2026-01-01T00:00:00Z")
    assert answer.status_code == 422, "days have no time of creation"


async def test_people_are_exported_as_they_are_listed_masked_where_they_are_masked(scene: Scene) -> None:
    client = scene.clients["acme"]
    body = {
        "currency": "EUR",
        "name": "=HYPERLINK(1)",
        "email": "ada@example.com",
        "address": {"country": "DE", "city": "Köln"},
        "metadata": {"segment": "smb"},
    }
    customer = str((await client.made("/v1/customers", body))["id"])
    await project(scene.api.database, Settings())
    (row,) = [row for row in await exported(client, "customers") if row["customer_id"] == customer]
    shown = (await client.get(f"/v1/customers/{customer}")).json()
    assert {column.name: row[column.name] for column in PERSONAL} == {each.name: shown[each.name] for each in PERSONAL}
    (guarded,) = [row for row in await exported(client, "customers", "") if row["customer_id"] == customer]
    assert guarded["name"] == "'=HYPERLINK(1)"
    viewer = await scene.asks_as(Role.VIEWER)
    (row,) = [row for row in await exported(viewer, "customers") if row["customer_id"] == customer]
    seen = (await viewer.get(f"/v1/customers/{customer}")).json()
    assert {column.name: row[column.name] for column in PERSONAL} == {each.name: seen[each.name] for each in PERSONAL}
    assert row["email"] == "a…@…"


async def test_who_may_not_list_it_may_not_export_it(scene: Scene) -> None:
    user = await scene.asks_as(Role.USER)
    for report in REPORTS:
        answer = await user.get(path_of(report))
        may = report.name in {"invoices", "invoice_lines", "credit_notes", "discounts", "payments"} | {
            "products", "plans", "prices", "coupons",
        }  # fmt: skip
        assert answer.status_code == (200 if may else 403), report.name
    assert {operation.needs for operation in EXPORTS.declared} == set(SEEN_WITH.values())


async def test_a_customer_exports_their_own(scene: Scene) -> None:
    invoices = await everything(scene.clients["acme"], "/v1/invoices")
    own = invoices[0]["customer"]
    customer = await scene.asks_as(Role.CUSTOMER, own_id=own)
    rows = await exported(customer, "invoices")
    assert {row["invoice_id"] for row in rows} == {each["id"] for each in invoices if each["customer"] == own}
    assert [row["customer_id"] for row in await exported(customer, "customers")] == [own]


async def test_what_is_written_meanwhile_is_not_in_it(scene: Scene) -> None:
    reader = await TenantReader.open(scene.api.database.dsn, DatabaseSettings(pool_min_connections=0))
    wanted = Wanted(report=CUSTOMERS, tenant_id="acme")
    async with reader.snapshot("acme") as connection:
        number = await wanted.count(connection)
        batches = wanted.batches(connection, 1)
        seen = [await anext(batches)]
        await scene.admin.execute("DELETE FROM read.customers_v1 WHERE tenant_id = 'acme'")
        seen += [batch async for batch in batches]
        assert len(seen) == number > 1
    await reader.close()


async def test_so_many_are_made_at_once_of_one_tenant_and_of_all(scene: Scene) -> None:
    slots = scene.api.parts.exports
    acme, other = scene.clients.values()
    async with slots.snapshot(await scene.principal_of(acme)):
        refused = await acme.get("/v1/exports/products")
        assert (refused.status_code, refused.json()["code"]) == (503, "exports_busy")
        assert int(refused.headers["retry-after"]) > 0
        assert (await other.get("/v1/exports/products")).status_code == 200
        async with slots.snapshot(await scene.principal_of(other)):
            assert (await other.get("/v1/exports/products")).status_code == 503
    assert slots.under_way == 0
    assert (await acme.get("/v1/exports/products")).status_code == 200


async def test_without_pyarrow_parquet_is_refused_and_csv_is_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    client = scene.clients["acme"]
    refused = await client.get("/v1/exports/products?format=parquet")
    assert (refused.status_code, refused.json()["code"]) == (501, "parquet_not_installed")
    assert (await client.get("/v1/exports/products")).status_code == 200
    assert scene.api.parts.exports.under_way == 0


async def test_what_is_no_form_is_refused(scene: Scene) -> None:
    client = scene.clients["acme"]
    for query in ("format=xlsx", "formulas=run", "limit=5", "created[gte]=soon"):
        answer = await client.get(f"/v1/exports/invoices?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), query
    assert (await client.get("/v1/exports/everything")).status_code == 404
