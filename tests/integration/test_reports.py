"""The views of the schema `reporting`: they say what the API says, and swaps of the tables under them leave them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from domain.kernel.currency import EXPONENTS
from host.embedded.databases import PostgresServer
from infra.database import REPORTERS
from infra.settings import DatabaseSettings, Settings
from projections.catalogue import BY_NAME, READ_MODELS
from projections.folding.rebuild import rebuild
from projections.folding.tables import prepare
from projections.reports import views
from projections.reports.catalogue import REPORTS
from projections.reports.logins import (
    LoginTaken,
    NoLogin,
    NoTenant,
    grant_login,
    list_logins,
    revoke_login,
    scram_verifier,
)
from projections.reports.page import reports_markdown
from testing.reported import KINDS, NOT_IN_THE_API, OF_RESOURCES, SUMMED
from tests.integration.reports_scene import Scene, as_compared, reports_scene, rows_of_view

NAMES = [report.name for report in REPORTS]
DATABASE = DatabaseSettings()


@pytest.fixture
async def scene(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Scene]:
    async with reports_scene(postgres_server, template_database) as scene:
        yield scene


def test_every_report_is_held_against_the_api() -> None:
    assert set(OF_RESOURCES) | SUMMED == set(NAMES)


async def test_a_view_holds_the_rows_of_the_apis_list_and_each_login_sees_its_own_tenants(scene: Scene) -> None:
    for tenant in scene.clients:
        url = await scene.login(tenant)
        for report in OF_RESOURCES:
            listed = await scene.listed(report, tenant)
            assert listed, f"{tenant} has none of {report}"
            names = set(listed[0])
            assert names <= set(KINDS[report])
            shown = await rows_of_view(url, report)
            assert as_compared(shown, names) == as_compared(listed, names), report


async def test_what_no_resource_shows_is_little(scene: Scene) -> None:
    """Columns that are compared with nothing: whole prices and places in the log."""
    unseen = {"price", "currency_options", "postings", "subject_type", "account_name", "account_type"}
    for report in OF_RESOURCES:
        listed = await scene.listed(report)
        assert set(KINDS[report]) - set(listed[0]) - NOT_IN_THE_API <= unseen, report


async def test_days_add_up_to_what_the_api_says(scene: Scene) -> None:
    url = await scene.login("acme")
    balances: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in await rows_of_view(url, "account_days"):
        sums = balances[row["account"], row["currency"]]
        sums[0] += row["debit_minor"]
        sums[1] += row["credit_minor"]
    listed = {
        (row["account"], row["currency"]): [row["debit_minor"], row["credit_minor"]]
        for row in await scene.listed("account_balances")
    }
    assert balances == listed
    client = scene.clients["acme"]
    report = (await client.get("/v1/reports/tax?from=2000-01-01&to=2199-12-31")).json()["rows"]
    taxes: dict[tuple[object, ...], int] = defaultdict(int)
    for row in await rows_of_view(url, "tax_days"):
        taxes[row["jurisdiction"], row["treatment"], row["rate_id"], row["percent"], row["currency"]] += row[
            "tax_minor"
        ]
    assert taxes == {
        (
            each["jurisdiction"],
            each["treatment"],
            each["tax_rate"],
            None if each["percent"] is None else Decimal(each["percent"]),
            each["tax"]["currency"],
        ): each["tax"]["amount"]
        for each in report
    }
    assert taxes


async def test_what_is_owed_adds_up_to_the_ageing_of_any_day(scene: Scene) -> None:
    url = await scene.login("acme")
    rows = await rows_of_view(url, "receivables")
    changes = sorted({at.date() for row in rows for at in (row["stood_from"], row["stood_until"]) if at is not None})
    assert len(changes) > 3
    owing = 0
    for day in (changes[0] - timedelta(days=1), *changes, changes[-1] + timedelta(days=100)):
        moment = datetime.combine(day + timedelta(days=1), time.min, UTC)
        owed: dict[tuple[str, str], int] = defaultdict(int)
        for row in rows:
            if row["stood_from"] < moment and (row["stood_until"] is None or row["stood_until"] >= moment):
                owed[row["customer_id"], row["currency"]] += row["amount_minor"]
        report = (await scene.clients["acme"].get(f"/v1/reports/ageing?as_of={day}&limit=100")).json()
        assert report["time_zone"] == "UTC"
        assert not report["customers"]["has_more"]
        owing += len(owed)
        assert {key: amount for key, amount in owed.items() if amount} == {
            (each["customer"], part["currency"]): part["total"]["amount"]
            for each in report["customers"]["data"]
            for part in each["owed"]
        }, day
    assert owing


async def test_amounts_have_the_decimals_of_their_currency(scene: Scene) -> None:
    rows = await scene.admin.fetch(
        "SELECT c, reporting.major_units(1234567, c)::text AS major FROM unnest($1::text[]) c", list(EXPONENTS)
    )
    assert {row["c"]: row["major"] for row in rows} == {
        code: format(Decimal(1234567).scaleb(-decimals), "f") for code, decimals in EXPONENTS.items()
    }


async def test_every_view_and_column_says_what_it_is(scene: Scene) -> None:
    rows = await scene.admin.fetch(
        """SELECT c.relname, a.attname, obj_description(c.oid) AS about, col_description(c.oid, a.attnum) AS says
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
           WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind = 'v' ORDER BY c.relname, a.attnum"""
    )
    told = {(row["relname"], row["attname"]): (row["about"], row["says"]) for row in rows}
    assert told == {
        (report.name, column.name): (report.about, column.about) for report in REPORTS for column in report.columns
    }
    assert [row["attname"] for row in rows if row["relname"] == "invoices"] == [*KINDS["invoices"]]


async def test_a_rebuild_swaps_every_table_under_the_views_and_they_say_the_same(scene: Scene) -> None:
    url = await scene.login("acme")
    before = {report: await rows_of_view(url, report) for report in NAMES}
    made = await rebuild(Settings(), READ_MODELS, owner_dsn=scene.api.database.dsn)
    assert all(table.endswith("_v2") for table in made.tables)
    for report in NAMES:
        names = set(KINDS[report])
        assert as_compared(await rows_of_view(url, report), names) == as_compared(before[report], names), report
    assert await scene.admin.fetchval("SELECT count(*) FROM pg_class WHERE relname ~ '_v1$' AND relkind = 'r'") == 0
    rights = await scene.admin.fetch(
        "SELECT table_name FROM information_schema.role_table_grants WHERE grantee = $1", REPORTERS
    )
    assert {row[0] for row in rights} == set(NAMES)


async def test_a_rebuild_of_one_read_model_makes_the_views_over_it_anew_and_no_others(scene: Scene) -> None:
    of_view = "SELECT relname AS name, oid FROM pg_class WHERE relnamespace = 'reporting'::regnamespace"
    before = {row["name"]: row["oid"] for row in await scene.admin.fetch(of_view)}
    await rebuild(Settings(), [BY_NAME["refunds"]], owner_dsn=scene.api.database.dsn)
    after = {row["name"]: row["oid"] for row in await scene.admin.fetch(of_view)}
    assert before.keys() == after.keys()
    assert {name for name in after if before[name] != after[name]} == {"refunds"}


async def test_who_reads_a_report_for_long_holds_no_swap_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PATIENCE_S", 0)
    reader = await asyncpg.connect(await scene.login("acme"))
    await reader.execute("BEGIN; SELECT * FROM invoices; SET statement_timeout = 0")
    await rebuild(Settings(), [BY_NAME["invoices"]], owner_dsn=scene.api.database.dsn)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError)):
        await reader.fetch("SELECT 1")


async def test_a_view_of_another_text_is_made_anew_and_one_that_is_no_report_goes(scene: Scene) -> None:
    admin, dsn = scene.admin, scene.api.database.dsn
    await admin.execute(
        "CREATE VIEW reporting.of_old AS SELECT 1; INSERT INTO reporting.definitions VALUES ('of_old', 'x');"
        "UPDATE reporting.definitions SET made_of = 'another' WHERE name = 'plans'; DROP VIEW reporting.plans;"
        "CREATE VIEW reporting.plans AS SELECT 1"
    )
    await admin.execute("DROP VIEW reporting.prices; DELETE FROM reporting.definitions WHERE name = 'coupons'")
    untouched = await admin.fetchval("SELECT 'reporting.invoices'::regclass::oid")
    await asyncio.gather(prepare(dsn, DATABASE), prepare(dsn, DATABASE))
    url = await scene.login("acme")
    for report in ("plans", "prices", "coupons"):
        assert await rows_of_view(url, report), report
    assert await admin.fetchval("SELECT to_regclass('reporting.of_old')") is None
    assert await admin.fetchval("SELECT 'reporting.invoices'::regclass::oid") == untouched


async def test_a_view_waits_for_a_read_model_that_is_another_releases(scene: Scene) -> None:
    """It is made as soon as that is swapped in."""
    dsn = scene.api.database.dsn
    await scene.admin.execute(
        "DROP VIEW reporting.coupons; DELETE FROM reporting.definitions WHERE name = 'coupons'; "
        "ALTER TABLE read.coupons_v1 RENAME COLUMN times_redeemed TO of_another_release"
    )
    await prepare(dsn, DATABASE)
    assert await scene.admin.fetchval("SELECT to_regclass('reporting.coupons')") is None
    await rebuild(Settings(), [BY_NAME["coupons"]], owner_dsn=dsn)
    assert await rows_of_view(await scene.login("acme"), "coupons")


async def test_a_login_is_one_tenants_and_ends_at_once(scene: Scene) -> None:
    dsn = scene.api.database.dsn
    url = await scene.login("acme")
    name = f"acme_{scene.api.database.name}"
    with pytest.raises(LoginTaken):
        await grant_login(dsn, DATABASE, tenant_id="other", login=name)
    with pytest.raises(LoginTaken):
        await grant_login(dsn, DATABASE, tenant_id="acme", login="tallybook_reader")
    with pytest.raises(NoTenant):
        await grant_login(dsn, DATABASE, tenant_id="nobody", login=f"nobody_{scene.api.database.name}")
    assert await scene.admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname ~ '^nobody_'") == 0
    renewed = await scene.login("acme")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)
    reader = await asyncpg.connect(renewed)
    assert [(login.login, login.tenant_id) for login in await list_logins(dsn, DATABASE)] == [(name, "acme")]
    assert await revoke_login(dsn, DATABASE, login=name) == "acme"
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError)):
        await reader.fetch("SELECT * FROM invoices")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(renewed)
    with pytest.raises(NoLogin):
        await revoke_login(dsn, DATABASE, login=name)


def test_what_is_kept_of_a_password_is_as_the_standard_has_it() -> None:
    """The example of RFC 7677, section 3: the server's signature there is made of this key."""
    import base64
    import hashlib
    import hmac

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = scram_verifier("pencil", salt)
    server_key = base64.b64decode(verifier.rpartition(":")[2])
    said = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,"
        "i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(server_key, said.encode(), hashlib.sha256)
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")


async def test_the_queries_of_the_guide_are_answered(scene: Scene) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "reporting.md").read_text(encoding="utf-8")
    queries = [each for each in guide.partition("```sql\n")[2].partition("```")[0].split(";") if each.strip()]
    assert len(queries) == 2
    reader = await asyncpg.connect(await scene.login("acme"))
    for query in queries:
        assert await reader.fetch(query), query
    await reader.close()


def test_the_page_of_reports_is_as_they_are() -> None:
    page = Path(__file__).parents[2] / "docs" / "reporting.md"
    assert page.read_text(encoding="utf-8") == reports_markdown(), "write it: python -m projections.reports.page"
