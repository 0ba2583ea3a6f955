"""Alerts and limits through the API: usage is counted by a real aggregator, and each threshold is told of once."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.people import Browser
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_shop import STARTED, at, utc
from tests.integration.watched_shop import Watched, watched_shop


@pytest.fixture
async def shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Watched]:
    async with watched_shop(database, kafka_server, topic_prefix, tmp_path) as opened:
        yield opened


async def test_each_threshold_is_told_once_in_a_period_whatever_is_voided(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    subscription = await shop.subscribed(customer, meter)
    alert = await shop.alert(meter=meter, thresholds=[{"quantity": 10}, {"quantity": "20.5"}])
    await shop.used(customer, "traffic", (at(1), "9.999"))
    await shop.look()
    assert await shop.told() == []
    await shop.used(customer, "traffic", (at(2), "0.001"))
    await shop.look()
    (told,) = await shop.told()
    assert (told["usage_alert"], told["customer"], told["meter"], told["feature"]) == (alert, customer, meter, None)
    bill = (await shop.shown(customer, "traffic"))["bill"]
    assert (bill["subscription"], told["since"], told["period_end"]) == (
        subscription, utc(STARTED), bill["period_end"],
    )  # fmt: skip
    assert [(each["threshold"], each["used"], each["percent"]) for each in told["reached"]] == [("10", "10", None)]
    assert await shop.found(f"/v1/usage/triggered-alerts/{told['id']}") == told
    assert (await shop.found(f"/v1/usage/alerts/{alert}"))["triggered"] == [told]

    void = await shop.client.post("/v1/usage/events/void", {"customer": customer, "id": "e2"})
    assert void.status_code == 202, void.text
    await shop.used(customer, "traffic", (at(3), 5))
    await shop.look()
    await shop.used(customer, "traffic", (at(3), 100))
    await shop.look()
    assert await shop.reached() == [("10", "10"), ("20.5", "114.999")]
    shown = (await shop.shown(customer, "traffic"))["alerts"]
    assert [(each["usage_alert"], each["triggered_alert"], each["threshold"]) for each in shown] == [
        (alert, told["id"], "10"), (alert, told["id"], "20.5"),
    ]  # fmt: skip
    (first, second) = reversed(await shop.events("usage_alert.triggered"))
    assert (first["data"]["threshold"], second["data"]["threshold"]) == ("10", "20.5")
    assert first["data"]["customer_id"] == customer


async def test_alerts_are_of_one_customer_or_of_each_and_count_by_month_or_for_ever(shop: Watched) -> None:
    ada, bob, meter = await shop.customer(), await shop.customer(), await shop.meter("calls", "count")
    only_ada = await shop.alert(meter=meter, customer=ada, every=2, period="lifetime")
    month = await shop.alert(meter=meter, thresholds=[{"quantity": 1}], period="month")
    other = await shop.meter("others", "count")
    await shop.alert(meter=other, every=1)
    ended = await shop.alert(meter=meter, every=1)
    assert (await shop.client.post(f"/v1/usage/alerts/{ended}/archive")).status_code == 200
    today = datetime.now(UTC)
    await shop.used(ada, "calls", (today, 1), (today, 1), (today - timedelta(days=32), 1), (today, 1), (today, 1))
    await shop.used(bob, "calls", (today, 1), (today, 1))
    await shop.look()
    (ever,) = await shop.told(f"&usage_alert={only_ada}")
    assert (ever["customer"], ever["period_start"], ever["since"]) == (ada, None, None)
    assert [each["threshold"] for each in ever["reached"]] == ["4"]
    assert {each["customer"] for each in await shop.told(f"&usage_alert={month}")} == {ada, bob}
    assert len(await shop.told(f"&usage_alert={month}&customer={ada}")) == 2, "of two months"
    assert {each["usage_alert"] for each in await shop.told()} == {only_ada, month}


async def test_a_limit_is_told_of_without_an_alert_and_a_reset_begins_anew(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    features = [{"key": "burst", "limit": 10, "meter": meter, "limit_kind": "soft"}]
    await shop.subscribed(customer, meter, features)
    alert = await shop.alert(feature="burst", thresholds=[{"percent": 80}, {"percent": 100}])
    path = f"/v1/customers/{customer}/entitlements/burst"
    await shop.used(customer, "traffic", (at(1), "8.5"))
    await shop.look()
    assert (await shop.reached(), await shop.events("entitlement.limit_reached")) == ([("8", "8.5")], [])
    await shop.used(customer, "traffic", (at(1), 4))
    await shop.look()
    await shop.look()
    (reached,) = await shop.events("entitlement.limit_reached")
    data = reached["data"]
    assert (data["limit"], data["limit_kind"], data["used"], data["feature"]) == (10, "soft", "12.5", "burst")
    shown = await shop.found(path)
    assert (shown["granted"], shown["used"], shown["reset_at"]) == (True, "12.5", None)
    assert shown["limit_reached_at"] == data["reached_at"]

    reset = await shop.client.post(f"{path}/reset")
    assert reset.status_code == 200, reset.text
    assert await shop.found(path) == reset.json()
    after = reset.json()
    assert (after["used"], after["remaining"], after["limit_reached_at"]) == ("0", "10", None)
    assert after["reset_at"] is not None
    bill = (await shop.shown(customer, "traffic"))["bill"]
    assert bill["quantity"] == "12.5", "what is billed stays"
    await shop.used(customer, "traffic", (at(2), "9.5"))
    await shop.look()
    assert (await shop.found(path))["used"] == "9.5"
    (since_reset, before) = await shop.told(f"&usage_alert={alert}")
    assert [each["threshold"] for each in before["reached"]] == ["8", "10"]
    assert [(each["threshold"], each["limit"]) for each in since_reset["reached"]] == [("8", 10)]
    assert since_reset["since"] == after["reset_at"]
    await shop.used(customer, "traffic", (at(2), 1))
    await shop.look()
    assert len(await shop.events("entitlement.limit_reached")) == 2
    assert (await shop.events("entitlement.reset"))[0]["data"]["used_before"] == "25/2"


async def test_what_is_not_counted_is_not_reset(shop: Watched) -> None:
    customer, meter, top = await shop.customer(), await shop.meter("traffic"), await shop.meter("top", "max")
    await shop.subscribed(customer, meter, [{"key": "seats", "limit": 3}, {"key": "peak", "limit": 5, "meter": top}])
    for feature, status, code in (
        ("seats", 409, "entitlement_not_metered"),
        ("unheard.of", 409, "entitlement_not_metered"),
        ("peak", 409, "entitlement_not_resettable"),
        ("No", 404, "feature_not_found"),
    ):
        answer = await shop.client.post(f"/v1/customers/{customer}/entitlements/{feature}/reset")
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_what_is_used_already_is_told_once_an_alert_is_there(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    await shop.subscribed(customer, meter)
    await shop.used(customer, "traffic", (at(1), 50))
    await shop.look()
    alert = await shop.alert(meter=meter, thresholds=[{"quantity": 10}])
    await shop.look()
    assert await shop.told() == []
    await shop.hear()
    await shop.look()
    assert [each["usage_alert"] for each in await shop.told()] == [alert]
    lower = await shop.client.send("PATCH", f"/v1/usage/alerts/{alert}", {"thresholds": [{"quantity": 5}], "every": 40})
    assert lower.status_code == 200, lower.text
    await shop.used(customer, "traffic", (at(1), 1))
    await shop.look()
    assert await shop.reached() == [("10", "50"), ("5", "51"), ("45", "51")]


async def test_who_looks_after_a_boundary_finds_the_period_before_it_as_it_was(shop: Watched) -> None:
    customer, clock = await shop.customer_on_clock(STARTED)
    meter = await shop.meter("traffic")
    features = [{"key": "traffic", "limit": 10, "meter": meter}]
    subscription = await shop.subscribed(customer, meter, features)
    alert = await shop.alert(meter=meter, thresholds=[{"quantity": 5}, {"quantity": 100}])
    await shop.advance(clock, 1, at(1, 13))
    await shop.used(customer, "traffic", (at(1), 60))
    end = datetime.fromisoformat((await shop.found(f"/v1/subscriptions/{subscription}"))["current_period_end"])
    await shop.advance(clock, 2, end)
    assert (await shop.client.post(f"/v1/subscriptions/{subscription}/renew")).status_code == 200
    await shop.look()
    (told,) = await shop.told(f"&usage_alert={alert}")
    assert (told["since"], told["period_end"]) == (utc(STARTED), utc(end))
    assert [each["used"] for each in told["reached"]] == ["60"]
    (limit,) = await shop.events("entitlement.limit_reached")
    assert (limit["data"]["since"], limit["data"]["limit_kind"]) == (utc(STARTED), "hard")

    await shop.advance(clock, 3, end + timedelta(hours=2))
    await shop.used(customer, "traffic", (end + timedelta(hours=1), 7), (end - timedelta(hours=1), 41))
    await shop.look()
    assert await shop.reached(f"&usage_alert={alert}") == [("5", "7"), ("5", "60"), ("100", "101")]
    (running, before) = await shop.told(f"&usage_alert={alert}")
    assert (running["since"], before["since"]) == (utc(end), utc(STARTED))


async def test_a_customer_at_the_portal_sees_what_was_told_of_them(shop: Watched) -> None:
    ada, bob, meter = await shop.customer(), await shop.customer(), await shop.meter("calls", "count")
    await shop.alert(meter=meter, every=1, period="month")
    own = await shop.alert(meter=meter, customer=ada, every=1)
    for customer in (ada, bob):
        await shop.used(customer, "calls", (datetime.now(UTC), 1))
    await shop.look()
    link = await shop.client.made(f"/v1/customers/{ada}/portal-sessions", {})
    visitor = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    seen = (await visitor.send("GET", "/v1/usage/triggered-alerts")).json()["data"]
    assert {each["customer"] for each in seen} == {ada}
    assert len(seen) == 2
    alerts = (await visitor.send("GET", "/v1/usage/alerts")).json()["data"]
    assert [each["id"] for each in alerts] == [own]
    stranger = await shop.api.tenant("other")
    assert (await stranger.get("/v1/usage/triggered-alerts")).json()["data"] == []
    assert (await stranger.get(f"/v1/usage/alerts/{own}")).status_code == 404
