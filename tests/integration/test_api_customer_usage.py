"""What a customer has used, through the API: by meter, window and group, as it is counted, and what it comes to."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.people import Browser
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, STARTED, UsageShop, at, quantities, utc


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[UsageShop]:
    async with counting_api(database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS) as api:
        yield UsageShop(api, await api.tenant("acme"))


async def test_what_is_used_is_shown_with_what_the_next_invoice_bills_of_it(scene: UsageShop) -> None:
    meter, customer = await scene.meter("traffic", unit="GB", group_by=["region"]), await scene.customer()
    subscription = await scene.subscribed(customer, meter)
    await scene.used(customer, "traffic", (at(-1), 99), (at(1), "7.5"), (at(2), 3), region="eu")
    await scene.used(customer, "traffic", (at(2), "1.5"), region="us")

    shown = await scene.shown(customer, "traffic")
    assert (shown["meter"], shown["code"], shown["aggregation"], shown["unit"]) == (meter, "traffic", "sum", "GB")
    assert (shown["quantity"], shown["events"], shown["start"]) == ("12", 3, utc(STARTED))
    preview = (await scene.client.post("/v1/invoices/preview", {"subscription": subscription})).json()
    (line,) = preview["invoice"]["lines"]
    bill = shown["bill"]
    assert bill == {
        "subscription": subscription,
        "price": line["price"],
        "period_start": line["period_start"],
        "period_end": line["period_end"],
        "quantity": line["quantity"],
        "events": line["usage"]["events"],
        "amount": line["amount"],
        "invoiced": {"amount": 0, "currency": "EUR"},
        "remaining": line["amount"],
    }
    assert bill["amount"]["amount"] == 10 * 100 + 2 * 50

    groups = {each["properties"]["region"]: each for each in shown["groups"]}
    assert {region: (each["quantity"], each["events"]) for region, each in groups.items()} == {
        "eu": ("10.5", 2), "us": ("1.5", 1),
    }  # fmt: skip
    assert (shown["more_groups"], len(shown["windows"])) == (0, 1)

    by_day = await scene.shown(customer, meter, "?interval=day")
    assert quantities(by_day["windows"]) == {utc(at(1, 0)): "7.5", utc(at(2, 0)): "4.5"}
    us = next(each for each in by_day["groups"] if each["properties"] == {"region": "us"})
    assert quantities(us["windows"]) == {utc(at(2, 0)): "1.5"}
    before = await scene.shown(customer, "traffic", f"?from={at(-1):%Y-%m-%d}&to={at(1):%Y-%m-%d}&interval=hour")
    assert (before["quantity"], quantities(before["windows"])) == ("106.5", {utc(at(-1)): "99", utc(at(1)): "7.5"})
    assert len(before["windows"]) == 72

    (listed,) = (await scene.listed(customer))["data"]
    whole = {name: value for name, value in shown.items() if name not in {"windows", "groups", "more_groups"}}
    assert {**listed, "counted_until": None} == {**whole, "counted_until": None}


async def test_what_is_late_or_taken_back_is_in_the_figures_of_its_own_time(scene: UsageShop) -> None:
    customer = await scene.customer()
    await scene.meter("traffic")
    query = f"?from={STARTED:%Y-%m-%d}&interval=day"
    await scene.used(customer, "traffic", (at(5), 5))
    await scene.used(customer, "traffic", (at(3), 2))
    taken_back = await scene.client.post("/v1/usage/events/void", {"customer": customer, "id": "e1"})
    assert taken_back.status_code == 202

    async def gone() -> bool:
        return quantities((await scene.shown(customer, "traffic", query))["windows"]) == {utc(at(3, 0)): "2"}

    await until(gone, what="the void to be counted")
    shown = await scene.shown(customer, "traffic", query)
    assert (shown["quantity"], shown["events"], shown["bill"]) == ("2", 1, None)


async def test_of_many_groups_those_with_the_most_events_are_told_and_how_many_there_are_besides(
    scene: UsageShop,
) -> None:
    customer = await scene.customer()
    await scene.meter("calls", "count", group_by=["region", "plan"])
    name = {"meter": "calls", "customer": customer, "timestamp": at(1).isoformat()}
    events: list[dict[str, Any]] = [
        {**name, "id": f"{region}/{nth}", "properties": {"region": f"r{region}"}}
        for region in range(60)
        for nth in range(1 + (region >= 20))
    ]
    await scene.counted(customer, "calls", events)
    shown = await scene.shown(customer, "calls", f"?from={at(0):%Y-%m-%d}")
    assert (shown["events"], len(shown["groups"]), shown["more_groups"]) == (100, 50, 10)
    regions = {each["properties"]["region"]: each["events"] for each in shown["groups"]}
    assert [regions[f"r{region}"] for region in range(20, 60)] == [2] * 40
    assert {each["properties"]["plan"] for each in shown["groups"]} == {None}


async def test_days_are_those_of_the_customer_or_of_the_seller(scene: UsageShop) -> None:
    customer = await scene.customer("Asia/Tokyo")
    await scene.meter("traffic")
    settings = f"/v1/tenants/{scene.client.tenant_id}/billing-settings"
    assert (await scene.client.send("PATCH", settings, {"time_zone": "America/Lima"})).status_code == 200
    await scene.used(customer, "traffic", (at(2, 1), 1), (at(2, 22), 2))
    for zone, name, days in (
        ("", "Asia/Tokyo", {at(2, -9): "1", at(3, -9): "2"}),
        ("&zone=seller", "America/Lima", {at(1, 5): "1", at(2, 5): "2"}),
    ):
        shown = await scene.shown(customer, "traffic", f"?interval=day&from={at(0):%Y-%m-%d}&to={at(4):%Y-%m-%d}{zone}")
        assert shown["time_zone"] == name
        assert quantities(shown["windows"]) == {utc(day): quantity for day, quantity in days.items()}


async def test_a_level_is_held_until_now_and_no_longer(scene: UsageShop) -> None:
    customer = await scene.customer()
    await scene.meter("disk", "time_weighted_sum", unit="GB")
    await scene.used(customer, "disk", (at(0, 0), 2), (at(1, 0), 5))
    before = datetime.now(UTC)
    shown = await scene.shown(customer, "disk", f"?interval=day&from={at(-1):%Y-%m-%d}&to={at(13):%Y-%m-%d}")
    after = datetime.now(UTC)
    days = [float(each["quantity"]) for each in shown["windows"]]
    assert days[:11] == [0, 48, *[120] * 9], "a level is held without further events"
    held = [2 * 24 + 5 * ((now - at(1, 0)) / timedelta(hours=1)) for now in (before, after)]
    assert held[0] <= float(shown["quantity"]) <= held[1]
    assert sum(days) == pytest.approx(float(shown["quantity"]))


async def test_each_group_has_a_level_or_a_last_value_of_its_own_and_the_total_is_their_sum(scene: UsageShop) -> None:
    customer = await scene.customer()
    disks = await scene.meter("disks", "time_weighted_sum", unit="GB", group_by=["disk"])
    subscription = await scene.subscribed(customer, disks)
    await scene.meter("seats", "latest", group_by=["team"])
    for disk, gigabytes in (("a", 100), ("b", 200), ("c", 300)):
        await scene.used(customer, "disks", (at(0, 0), gigabytes), disk=disk)
        await scene.used(customer, "seats", (at(1), 9), (at(2), gigabytes / 100), team=disk)
    shown = await scene.shown(customer, "disks", f"?interval=day&from={at(0):%Y-%m-%d}&to={at(1):%Y-%m-%d}")
    assert [each["quantity"] for each in shown["windows"]] == [str(600 * 24)] * 2
    groups = {each["properties"]["disk"]: each["quantity"] for each in shown["groups"]}
    assert groups == {"a": "4800", "b": "9600", "c": "14400"}
    seats = await scene.shown(customer, "seats", f"?from={at(0):%Y-%m-%d}")
    assert (seats["quantity"], sorted(each["quantity"] for each in seats["groups"])) == ("6", ["1", "2", "3"])

    bill = (await scene.shown(customer, "disks"))["bill"]
    begun, over = (datetime.fromisoformat(bill[name]) for name in ("period_start", "period_end"))
    assert int(bill["quantity"]) == 600 * ((over - begun) // timedelta(hours=1))
    preview = (await scene.client.post("/v1/invoices/preview", {"subscription": subscription})).json()["invoice"]
    assert [(each["quantity"], each["amount"]) for each in preview["lines"]] == [(bill["quantity"], bill["amount"])]
    refused = await scene.client.post(f"/v1/meters/{disks}/revise", {"group_by": ["disk", "region"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "meter_keeps_groups")


async def test_a_customer_at_the_portal_sees_their_own_usage_and_no_others(scene: UsageShop) -> None:
    ada, bob = await scene.customer(), await scene.customer()
    meter = await scene.meter("traffic", group_by=["region"])
    await scene.meter("secret")
    subscription = await scene.subscribed(ada, meter)
    await scene.used(ada, "traffic", (at(1), 4), region="eu")
    await scene.used(bob, "traffic", (at(1), 8), region="us")
    await scene.used(bob, "secret", (at(1), 1))
    link = await scene.client.made(f"/v1/customers/{ada}/portal-sessions", {})
    visitor = Browser(http=scene.api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    own = await visitor.send("GET", f"/v1/customers/{ada}/usage/traffic")
    assert own.status_code == 200, own.text
    assert [own.json()[name] for name in ("quantity", "name")] == ["4", "Traffic"]
    assert own.json()["bill"]["amount"]["amount"] == 400
    assert [each["properties"] for each in own.json()["groups"]] == [{"region": "eu"}]
    preview = await visitor.send("POST", "/v1/invoices/preview", {"subscription": subscription})
    assert (preview.status_code, preview.json()["invoice"]["total"]["amount"]) == (200, 400), preview.text
    listed = (await visitor.send("GET", f"/v1/customers/{ada}/usage")).json()["data"]
    assert [each["code"] for each in listed] == ["traffic"]
    for path, code in (
        (f"{bob}/usage", "customer_not_found"),
        (f"{bob}/usage/traffic", "customer_not_found"),
        (f"{ada}/usage/secret", "meter_not_found"),
    ):
        refused = await visitor.send("GET", f"/v1/customers/{path}")
        assert (refused.status_code, refused.json()["code"]) == (404, code), path


async def test_meters_are_listed_page_by_page_and_what_is_no_question_is_refused(scene: UsageShop) -> None:
    customer, billed = await scene.customer(), await scene.meter("never")
    await scene.subscribed(customer, billed)
    for code in ("calls", "traffic"):
        await scene.meter(code)
        await scene.used(customer, code, (at(1), 1))
    codes: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await scene.listed(customer, f"?limit=1{cursor and f'&starting_after={cursor}'}")
        codes += [each["code"] for each in page["data"]]
        cursor = page["next_cursor"]
    assert codes == ["never", "calls", "traffic"], "by their ids, which are in the order of time"
    nothing = await scene.shown(customer, "never")
    assert (nothing["quantity"], nothing["events"], nothing["bill"]["amount"]["amount"]) == ("0", 0, 0)
    for query, param in (
        ("?to=2026-01-01", "to"),
        ("?from=2026-01-02&to=2026-01-01", "to"),
        ("?from=1970-01-01&to=2100-01-01", "to"),
        ("?from=2026-01-01&to=2026-03-01&interval=hour", "interval"),
        ("?interval=week", "interval"),
        ("?zone=moon", "zone"),
    ):
        answer = await scene.client.get(f"/v1/customers/{customer}/usage/never{query}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param), query
    for path, code in (
        (f"{customer}/usage/unheard.of", "meter_not_found"),
        (f"{customer}/usage/mtr_01m7ywe9z7e398x54gfbrtqnk7", "meter_not_found"),
        ("cus_01m7ywe9z7e398x54gfbrtqnk7/usage", "customer_not_found"),
        ("cus_01m7ywe9z7e398x54gfbrtqnk7/usage/never", "customer_not_found"),
    ):
        missing = await scene.client.get(f"/v1/customers/{path}")
        assert (missing.status_code, missing.json()["code"]) == (404, code), path
