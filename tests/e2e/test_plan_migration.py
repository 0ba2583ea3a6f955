"""A plan is migrated through the API by real processors that are killed meanwhile: each subscription is moved once, and
the lists, the invoices and the books say so.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from host.embedded.databases import PostgresServer
from processors.invariants.findings import Invariant
from testing.cell import Whole, open_whole
from testing.processors_cell import until
from testing.requests import TENANT
from testing.services import KafkaServer
from tests.lengths import LENGTH

KILLS = max(2, LENGTH.kills // 2)
SUBSCRIPTIONS = 150
"""More than are found, and many more than are moved, at once."""
CHANGED = "SELECT stream_id, count(*) FROM log.events WHERE event_type = $1 AND stream_id = ANY($2) GROUP BY stream_id"
OLD, NEW = 3100, 6200


class Plan(NamedTuple):
    """A plan, its price, and its subscriptions, paid by hand."""

    plan_id: str
    price_id: str
    subscription_ids: list[str]


@pytest.fixture(scope="module")
async def whole(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Whole]:
    async with open_whole(postgres_server, template_database, kafka_server, services_folder, instances=1) as running:
        yield running


def flat(amount: int) -> dict[str, Any]:
    return {"type": "flat", "amount": {"amount": amount, "currency": "EUR"}}


async def sold(whole: Whole, subscriptions: int) -> Plan:
    product_id = (await whole.post("/v1/products", {"name": "Team"})).id
    terms = {"product": product_id, "name": "Monthly", "interval": {"unit": "month"}}
    plan_id = (await whole.post("/v1/plans", terms)).id
    price_id = (await whole.post("/v1/prices", {"plan": plan_id, "model": flat(OLD)})).id
    customer_id = (await whole.post("/v1/customers", {"currency": "EUR", "name": "Ada"})).id
    order = {"customer": customer_id, "plan": plan_id, "collection_method": "send_invoice"}
    made = [whole.post("/v1/subscriptions", {**order, "items": [{"price": price_id}]}) for _ in range(subscriptions)]
    return Plan(plan_id, price_id, [each.id for each in await asyncio.gather(*made)])


async def raised(whole: Whole, plan: Plan) -> str:
    """A new price in the place of the old one, which is archived."""
    newer = (await whole.post("/v1/prices", {"plan": plan.plan_id, "model": flat(NEW)})).id
    assert (await whole.post(f"/v1/prices/{plan.price_id}/archive", {})).status == 200
    return newer


async def shown(whole: Whole, path: str) -> dict[str, Any]:
    answer = await whole.send("GET", path)
    assert answer.status == 200, answer.body
    return dict(answer.body)


async def listed(whole: Whole, path: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": None, "has_more": True}
    while page["has_more"]:
        more = "" if page["next_cursor"] is None else f"&starting_after={page['next_cursor']}"
        page = await shown(whole, f"{path}{'&' if '?' in path else '?'}limit=100{more}")
        found += page["data"]
    return found


async def ends(whole: Whole, migration_id: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def ended() -> bool:
        found.update(await shown(whole, f"/v1/plan-migrations/{migration_id}"))
        return bool(found["status"] == status)

    await until(ended, f"a migration that is {status}")
    return found


async def test_processors_are_killed_and_each_subscription_is_moved_and_billed_once(whole: Whole) -> None:
    plan = await sold(whole, SUBSCRIPTIONS)
    newer = await raised(whole, plan)
    paused, leaves, *others = plan.subscription_ids
    assert (await whole.post(f"/v1/subscriptions/{paused}/pause", {})).status == 200
    assert (await whole.post(f"/v1/subscriptions/{leaves}/cancel", {"at_period_end": True})).status == 200
    wanted = {"proration": "next_invoice"}
    migration_id = (await whole.post(f"/v1/plans/{plan.plan_id}/migrations", wanted)).id
    for nth in range(KILLS):
        at_least = 1 + nth * (SUBSCRIPTIONS // (KILLS + 1))

        async def some_moved(at_least: int = at_least) -> bool:
            return await whole.cell.count("plan_migration.subscription_settled") >= at_least

        await until(some_moved, f"{at_least} moves")
        await whole.cell.supervisor.kill("processors-0")
        if nth == 0:
            meanwhile = {"items": [{"price": newer}], "remove": [plan.price_id], "proration": "none"}
            assert (await whole.post(f"/v1/subscriptions/{others[-1]}/change", meanwhile)).status in (200, 422)
    done = await ends(whole, migration_id, "completed")
    counts = done["counts"]
    assert counts["total"] == SUBSCRIPTIONS
    assert counts["refused"] == 2
    assert counts["moved"] + counts["already_there"] == SUBSCRIPTIONS - 2
    assert counts["pending"] == 0

    rows = await whole.cell.pool.fetch(CHANGED, "subscription.changed", plan.subscription_ids)
    changed = {row["stream_id"]: row["count"] for row in rows}
    assert changed == dict.fromkeys(others, 1), "each is changed once, whoever did it"
    settled = [each for each in await whole.cell.events(migration_id) if each == "plan_migration.subscription_settled"]
    assert len(settled) == SUBSCRIPTIONS

    await whole.cell.prove()
    moves = await listed(whole, f"/v1/plan-migrations/{migration_id}/subscriptions")
    assert Counter(each["subscription"] for each in moves) == Counter(plan.subscription_ids)
    refused = await listed(whole, f"/v1/plan-migrations/{migration_id}/subscriptions?outcome=refused")
    told = {each["subscription"]: each["code"] for each in refused}
    assert told == {paused: "subscription_paused", leaves: "cancellation_scheduled"}
    assert all(each["subscription"] in each["detail"] for each in refused)
    subscriptions = await listed(whole, "/v1/subscriptions")
    items = {each["id"]: each["items"][0]["price"] for each in subscriptions if each["id"] in plan.subscription_ids}
    assert items == {**dict.fromkeys(others, newer), paused: plan.price_id, leaves: plan.price_id}


async def test_what_waits_for_the_periods_end_is_taken_back_while_processors_are_killed(whole: Whole) -> None:
    plan = await sold(whole, 40)
    await raised(whole, plan)
    await whole.cell.prove(Invariant.READ_MODELS)  # by which it is foretold how many there are
    tried = await whole.send("GET", f"/v1/plan-migrations?plan={plan.plan_id}")
    assert tried.body["data"] == []
    migration_id = (await whole.post(f"/v1/plans/{plan.plan_id}/migrations", {})).id
    done = await ends(whole, migration_id, "completed")
    assert (done["counts"]["scheduled"], done["expected"]) == (40, {"subscriptions": 40, "moves": 40})
    waiting = await shown(whole, f"/v1/subscriptions/{plan.subscription_ids[0]}")
    assert waiting["scheduled_change"]["migration"] == migration_id
    assert (await whole.post(f"/v1/plan-migrations/{migration_id}/cancel", {})).body["status"] == "canceling"
    await whole.cell.reaches(migration_id, "plan_migration.subscription_taken_back")
    await whole.cell.supervisor.kill("processors-0")
    assert (await ends(whole, migration_id, "canceled"))["counts"]["taken_back"] == 40
    for subscription_id in plan.subscription_ids:
        assert (await whole.cell.events(subscription_id)).count("subscription.change_unscheduled") == 1
    await whole.cell.prove()
    (found,) = (await shown(whole, f"/v1/plan-migrations?plan={plan.plan_id}&status=canceled"))["data"]
    assert found["id"] == migration_id


async def test_what_the_store_refuses_is_refused_and_holds_up_no_other(whole: Whole) -> None:
    """No rule says no: a value that the change would claim is somebody else's."""
    plan = await sold(whole, 3)
    await raised(whole, plan)
    held_up = plan.subscription_ids[1]
    claim = (TENANT, "subscription.period", f"{held_up}:1")
    await whole.cell.pool.execute("INSERT INTO log.claims VALUES ($1, $2, $3, 'somebody')", *claim)
    wanted = {"proration": "invoice_now", "reset_anchor": True}
    migration_id = (await whole.post(f"/v1/plans/{plan.plan_id}/migrations", wanted)).id
    done = await ends(whole, migration_id, "completed")
    assert (done["counts"]["moved"], done["counts"]["refused"]) == (2, 1)
    await whole.cell.prove(Invariant.READ_MODELS)
    (refused,) = await listed(whole, f"/v1/plan-migrations/{migration_id}/subscriptions?outcome=refused")
    assert (refused["subscription"], refused["code"]) == (held_up, "period_already_billed")
    await whole.cell.pool.execute("DELETE FROM log.claims WHERE tenant_id = $1 AND kind = $2 AND value = $3", *claim)
