"""Over which periods thresholds are told: whatever becomes of a subscription, and whenever somebody looks."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.metering.usage_window import month_window
from processors.usage_alerts.looking import look_at
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_shop import STARTED, TODAY, utc
from tests.integration.watched_shop import Watched, watched_shop
from usage.looks import NO_EARLIER
from usage.partials import bucket_of

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MONTH = month_window(TODAY, "UTC")
ENDS: dict[str, dict[str, object]] = {"cancel": {"at_period_end": False}, "pause": {}, "suspend": {}}
"""What keeps a subscription from going on at once, and how it is asked for."""


@pytest.fixture
async def shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Watched]:
    async with watched_shop(database, kafka_server, topic_prefix, tmp_path) as opened:
        yield opened


async def done(shop: Watched, path: str, **body: object) -> None:
    """A command that is taken, and what asks for looks because of it."""
    answer = await shop.client.post(path, body)
    assert answer.status_code in {200, 202}, answer.text
    await shop.hear()


async def test_a_level_is_looked_at_when_it_reaches_what_is_watched_and_in_each_month_anew(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("stored", "time_weighted_sum")
    alert = await shop.alert(meter=meter, thresholds=[{"quantity": 12}], period="month")
    await shop.used(customer, "stored", (TODAY, 4))
    await shop.look_again(TODAY + HOUR)
    ((look, due_s),) = await shop.put_off()
    assert (look.first_bucket, await shop.told()) == (bucket_of(TODAY + HOUR), [])
    assert 2 * 3_600 - 60 < due_s <= 2 * 3_600 + 1, "at 4 an hour, 4 of 12 are there"
    await shop.look_again(TODAY + 3 * HOUR)
    assert await shop.reached() == [("12", "12")]
    lower = await shop.client.send("PATCH", f"/v1/usage/alerts/{alert}", {"thresholds": [{"quantity": 20}]})
    assert lower.status_code == 200, lower.text
    await shop.hear()
    await shop.look()
    ((look, due_s),) = await shop.put_off()
    assert 2 * 3_600 - 60 < due_s <= 2 * 3_600 + 1, "another threshold, though one was told of"
    await shop.look_again(MONTH.end + HOUR)
    assert await shop.reached() == [("12", "12"), ("20", str(4 * int((MONTH.end - TODAY) / HOUR)))], (
        "of the month before"
    )
    await shop.look_again(MONTH.end + 6 * HOUR)
    assert (await shop.reached())[0] == ("20", "24")
    assert (await shop.told())[0]["since"] == utc(MONTH.end)
    assert len(await shop.put_off()) == 1


async def test_what_a_level_reached_before_its_period_ended_is_told_though_only_the_running_one_was_asked_for(
    shop: Watched,
) -> None:
    customer, meter = await shop.customer(), await shop.meter("stored", "time_weighted_sum")
    await shop.used(customer, "stored", (TODAY, 4))
    await shop.look()
    assert await shop.put_off() == [], "nobody watches it"
    await shop.alert(meter=meter, thresholds=[{"quantity": 5}], period="month")
    shop.clock.stands_at = TODAY + HOUR
    await shop.hear()
    assert [look.first_bucket for look, _ in await shop.put_off()] == [NO_EARLIER]
    await shop.look()
    await shop.look_again(MONTH.end + HOUR)
    (told,) = await shop.told()
    assert told["since"] == utc(MONTH.start)


async def test_what_is_over_is_not_waited_for(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("stored", "time_weighted_sum")
    await shop.alert(meter=meter, thresholds=[{"quantity": 100_000}], period="month")
    await shop.used(customer, "stored", (TODAY, 4), (TODAY + MINUTE, 0))
    await shop.look_again(TODAY + HOUR)
    assert await shop.put_off() == []


@pytest.mark.parametrize("end", ENDS)
async def test_what_becomes_of_a_subscription_begins_no_other_period_of_what_was_used(shop: Watched, end: str) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    subscription = await shop.subscribed(customer, meter)
    alert = await shop.alert(meter=meter, thresholds=[{"quantity": 10}, {"quantity": 55}])
    await shop.used(customer, "traffic", (TODAY, 50))
    await shop.hear()
    await shop.look()
    await done(shop, f"/v1/subscriptions/{subscription}/{end}", **ENDS[end])
    await shop.look()
    await shop.used(customer, "traffic", (TODAY, 6))
    await shop.look()
    assert await shop.reached() == [("10", "50"), ("55", "56")]
    assert [each["since"] for each in await shop.told(f"&usage_alert={alert}")] == [utc(STARTED)]


async def test_a_price_that_is_taken_away_begins_no_other_period_of_what_was_used(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    subscription = await shop.subscribed(customer, meter)
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}])
    await shop.used(customer, "traffic", (TODAY, 50))
    await shop.look()
    sold = await shop.found(f"/v1/subscriptions/{subscription}")
    flat = {"type": "per_unit", "currency": "EUR", "unit_amount": "100"}
    price = await shop.client.made("/v1/prices", {"plan": sold["plan"], "timing": "in_advance", "model": flat})
    items = [{"price": price["id"], "quantity": "1"}]
    await done(shop, f"/v1/subscriptions/{subscription}/change", items=items, remove=[sold["items"][0]["price"]])
    await shop.look()
    assert await shop.reached() == [("10", "50")]


async def test_once_the_last_period_is_over_the_rest_of_the_month_is_counted(shop: Watched) -> None:
    customer, clock = await shop.customer_on_clock(STARTED)
    meter = await shop.meter("traffic")
    subscription = await shop.subscribed(customer, meter)
    end = datetime.fromisoformat((await shop.found(f"/v1/subscriptions/{subscription}"))["current_period_end"])
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}])
    await shop.used(customer, "traffic", (STARTED, 20))
    await done(shop, f"/v1/subscriptions/{subscription}/cancel", at_period_end=False)
    await shop.advance(clock, 1, end + HOUR)
    await shop.used(customer, "traffic", (end - MINUTE, 1), (end, 11))
    await shop.look()
    before, later = sorted(await shop.told(), key=lambda each: each["since"])
    assert [(each["since"], each["reached"][0]["used"]) for each in (later, before)] == [
        (utc(end), "11"), (utc(STARTED), "21"),
    ]  # fmt: skip
    assert later["period_end"] == utc(month_window(end, "UTC").end)


async def test_another_time_zone_of_the_customer_does_not_tell_of_a_month_again(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}], period="month")
    await shop.used(customer, "traffic", (TODAY, 50))
    await shop.look()
    assert await shop.reached() == [("10", "50")]
    for zone in ("Asia/Tokyo", "America/New_York"):
        moved = await shop.client.send("PATCH", f"/v1/customers/{customer}", {"time_zone": zone})
        assert moved.status_code == 200, moved.text
        await shop.hear()
        await shop.look()
    assert await shop.reached() == [("10", "50")]


@pytest.mark.parametrize("end", ENDS)
async def test_a_limit_that_was_reached_is_told_though_nobody_looked_before_the_end(shop: Watched, end: str) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    features = [{"key": "traffic", "limit": 10, "meter": meter}]
    subscription = await shop.subscribed(customer, meter, features)
    await shop.used(customer, "traffic", (TODAY, 50))
    await done(shop, f"/v1/subscriptions/{subscription}/{end}", **ENDS[end])
    await shop.look()
    assert [each["data"]["used"] for each in await shop.events("entitlement.limit_reached")] == ["50"]


async def test_a_renewal_that_is_late_changes_nothing_of_what_is_told(shop: Watched) -> None:
    customer, clock = await shop.customer_on_clock(STARTED)
    meter = await shop.meter("traffic")
    subscription = await shop.subscribed(customer, meter)
    end = datetime.fromisoformat((await shop.found(f"/v1/subscriptions/{subscription}"))["current_period_end"])
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}, {"quantity": 20}])
    await shop.advance(clock, 1, end + HOUR)
    await shop.used(customer, "traffic", (end, 15))
    await shop.look()
    await done(shop, f"/v1/subscriptions/{subscription}/renew")
    await shop.look()
    await shop.used(customer, "traffic", (end + MINUTE, 5))
    await shop.look()
    assert [(each["since"], [of["used"] for of in each["reached"]]) for each in await shop.told()] == [
        (utc(end), ["15", "20"])
    ]


async def test_an_event_of_the_month_that_comes_next_is_told_of_then(shop: Watched) -> None:
    frozen_at = MONTH.end - 2 * MINUTE
    customer, clock = await shop.customer_on_clock(frozen_at)
    meter = await shop.meter("traffic")
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}], period="month")
    await shop.used(customer, "traffic", (frozen_at, 3), (MONTH.end + MINUTE, 12))
    await shop.look()
    assert await shop.told() == []
    await shop.advance(clock, 1, MONTH.end + HOUR)
    await shop.hear()
    await shop.look()
    (told,) = await shop.told()
    assert (told["since"], told["reached"][0]["used"]) == (utc(MONTH.end), "12")


async def test_a_level_of_a_customer_on_a_test_clock_is_looked_at_as_the_clock_moves(shop: Watched) -> None:
    customer, clock = await shop.customer_on_clock(STARTED)
    meter = await shop.meter("stored", "time_weighted_sum")
    await shop.alert(meter=meter, thresholds=[{"quantity": 12}], period="lifetime")
    await shop.used(customer, "stored", (STARTED, 4))
    await shop.look()
    await shop.advance(clock, 1, STARTED + 2 * HOUR)
    await shop.hear()
    await shop.look()
    assert await shop.told() == []
    await shop.advance(clock, 2, STARTED + 3 * HOUR)
    await shop.hear()
    await shop.look()
    assert await shop.reached() == [("12", "12")]


async def test_a_reset_level_counts_by_the_time_from_then_on_and_is_told_anew(shop: Watched) -> None:
    customer, clock = await shop.customer_on_clock(STARTED)
    meter = await shop.meter("stored", "time_weighted_sum")
    features = [{"key": "stored", "limit": 12, "meter": meter}]
    await shop.subscribed(customer, meter, features)
    await shop.used(customer, "stored", (STARTED, 4))
    await shop.advance(clock, 1, STARTED + 3 * HOUR)
    await shop.look()
    await done(shop, f"/v1/customers/{customer}/entitlements/stored/reset")
    await shop.look()
    await shop.advance(clock, 2, STARTED + 6 * HOUR)
    await shop.hear()
    assert (await shop.found(f"/v1/customers/{customer}/entitlements/stored"))["used"] == "12"
    await shop.look()
    told = [each["data"] for each in await shop.events("entitlement.limit_reached")]
    assert [each["used"] for each in told] == ["12", "12"]
    assert told[0]["since"] == utc(STARTED + 3 * HOUR)


async def test_an_alert_asks_for_looks_at_what_it_watches_alone(shop: Watched) -> None:
    ada, bob = await shop.customer(), await shop.customer()
    meter, other = await shop.meter("traffic"), await shop.meter("calls", "count")
    await shop.subscribed(ada, meter, [{"key": "traffic", "limit": 10, "meter": meter}])
    for customer in (ada, bob):
        await shop.used(customer, "traffic", (TODAY, 1))
        await shop.used(customer, "calls", (TODAY, 1))
    await shop.hear()
    await shop.look()

    async def asked_for(**facts: Any) -> set[tuple[str, str]]:
        await shop.alert(**facts)
        await shop.hear()
        found = {(look.customer_id, look.meter_id) for look, _ in await shop.put_off()}
        await shop.look()
        return found

    of_one = await asked_for(meter=other, customer=ada, every=5)
    assert of_one == {(ada, other)}
    assert await asked_for(meter=meter, every=5) == {(ada, meter), (bob, meter)}
    assert await asked_for(feature="traffic", thresholds=[{"percent": 90}]) == {(ada, meter), (bob, meter)}
    assert await asked_for(feature="unheard.of", thresholds=[{"percent": 90}]) == set()


async def test_a_look_that_fails_holds_up_no_other(shop: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob, meter = await shop.customer(), await shop.customer(), await shop.meter("traffic")
    await shop.alert(meter=meter, every=1, period="month")
    for customer in (ada, bob):
        await shop.used(customer, "traffic", (TODAY, 1))

    async def fails_for_ada(scene: Any, look: Any) -> Any:
        if look.customer_id == ada:
            raise RuntimeError("it cannot be counted")
        return await look_at(scene, look)

    monkeypatch.setattr("processors.usage_alerts.watch.look_at", fails_for_ada)
    await shop.look()
    assert [each["customer"] for each in await shop.told()] == [bob]
    assert [look.customer_id for look, _ in await shop.put_off()] == [ada]
    assert "it cannot be counted" in shop.watches[0].health().detail + shop.watches[1].health().detail
    monkeypatch.undo()
    await shop.look_again()
    assert {each["customer"] for each in await shop.told()} == {ada, bob}


async def test_time_before_a_backdated_subscription_was_made_is_looked_at_as_it_was(shop: Watched) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    await shop.alert(meter=meter, thresholds=[{"quantity": 10}])
    early = STARTED - HOUR
    await shop.used(customer, "traffic", (early, 11))
    await shop.subscribed(customer, meter)
    await shop.hear()
    await shop.look()
    (told,) = await shop.told()
    month = month_window(early, "UTC")
    assert (told["since"], told["period_end"]) == (utc(month.start), utc(min(month.end, STARTED)))


async def test_what_is_taken_back_of_the_time_before_a_reset_hides_no_use_since(
    shop: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, meter = await shop.customer(), await shop.meter("traffic")
    await shop.subscribed(customer, meter, [{"key": "burst", "limit": 20, "meter": meter}])
    alert = await shop.alert(feature="burst", thresholds=[{"quantity": 5}])
    path = f"/v1/customers/{customer}/entitlements/burst"

    async def used_since(value: object) -> str:
        """What the entitlement shows once so much more is used, which is counted behind what was sent before."""
        await shop.used(customer, "traffic", (TODAY, value))
        return str((await shop.found(path))["used"])

    await shop.used(customer, "traffic", (TODAY, 8), (TODAY, 3), (TODAY - HOUR, 2))
    await done(shop, f"{path}/reset")
    assert await used_since(4) == "4"
    await done(shop, "/v1/usage/events/void", customer=customer, id="e1")
    assert await used_since("0.5") == "4.5", "what was used before the reset is voided"
    instead = {"id": "e2b", "meter": "traffic", "customer": customer, "timestamp": TODAY.isoformat()}
    for event_id, properties in (("e2", {"gb": 7}), ("e2b", {"gb": 1})):
        corrected = {**instead, "id": f"{event_id}b", "properties": properties}
        await done(shop, "/v1/usage/events/correct", customer=customer, id=event_id, instead=corrected)
        before = (await shop.found(path))["used"]
        assert await used_since("0.25") in {"4.75", "5"}, f"what was used before is put right ({before})"
    await done(shop, "/v1/usage/events/void", customer=customer, id="e4")
    assert await used_since(1) == "2", "what was used since is voided"
    await done(shop, "/v1/usage/events/void", customer=customer, id="e3")
    assert await used_since(4) == "6", "of another quarter hour"
    await shop.look()
    assert await shop.reached(f"&usage_alert={alert}") == [("5", "6")]
    stopped = await shop.found(f"/v1/customers/{customer}/usage/traffic")
    assert stopped["quantity"] == "7", "all that is left"
    monkeypatch.setattr("usage.taken_back.reading", None)
    assert (await shop.found(path))["used"] == "6", "brokers are asked of a void once"
