"""What the reports say of two tenants' random histories, held against entries and movements one by one."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from host.embedded.databases import PostgresServer
from tests.integration.reports_scene import TENANTS, Scene, everything, reports_scene

DAYS = "from=2026-01-01&to=2045-12-31"


@pytest.fixture
async def scene(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Scene]:
    async with reports_scene(postgres_server, template_database) as scene:
        yield scene


async def asked(scene: Scene, tenant: str, path: str) -> dict[str, Any]:
    answer = await scene.clients[tenant].get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def earned_before(scene: Scene, tenant: str, day: date) -> Counter[str]:
    """Net revenue by currency, from the entries that took effect before a day."""
    balance = await asked(scene, tenant, f"/v1/ledger/trial-balance?as_of={day}T00:00:00Z")
    found: Counter[str] = Counter()
    for currency in balance["currencies"]:
        for account in currency["accounts"]:
            if account["code"] in {"revenue", "breakage_revenue", "allowances"}:
                found[currency["currency"]] += account["balance"]["amount"]
    return found


async def test_each_months_revenue_is_what_the_entries_of_that_month_moved(scene: Scene) -> None:
    for tenant in TENANTS:
        report = await asked(scene, tenant, f"/v1/reports/revenue?{DAYS}")
        assert report["currencies"], f"{tenant} earned something"
        for currency in report["currencies"]:
            moving = [each for each in currency["periods"] if each["revenue"]["amount"] or each["allowances"]["amount"]]
            for period in moving:
                first, last = (date.fromisoformat(period[each]) for each in ("first_day", "last_day"))
                before = await earned_before(scene, tenant, first)
                after = await earned_before(scene, tenant, last + timedelta(days=1))
                code = currency["currency"]
                assert period["net"]["amount"] == after[code] - before[code]
            assert currency["net"]["amount"] == sum(period["net"]["amount"] for period in moving)


async def test_each_months_mrr_is_what_its_subscriptions_moved(scene: Scene) -> None:
    for tenant in TENANTS:
        listed: Counter[tuple[str, str, str]] = Counter()
        for each in await everything(scene.clients[tenant], f"/v1/reports/mrr/movements?{DAYS}"):
            listed[each["change"]["currency"], each["day"][:7], each["movement"]] += each["change"]["amount"]
        reported: Counter[tuple[str, str, str]] = Counter()
        for currency in (await asked(scene, tenant, f"/v1/reports/mrr?{DAYS}"))["currencies"]:
            for period in currency["periods"]:
                for kind in ("new", "expansion", "contraction", "churn", "reactivation"):
                    reported[currency["currency"], period["first_day"][:7], kind] += period[kind]["amount"]
        assert {key: amount for key, amount in reported.items() if amount} == {
            key: amount for key, amount in listed.items() if amount
        }
        assert len({kind for _, _, kind in +reported}) > 1
