"""Features that a meter counts: how much of the limit is used and left, and what is said once nothing is."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.people import Browser
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, STARTED, UsageShop, at, utc


@pytest.fixture
async def shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[UsageShop]:
    async with counting_api(database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS) as api:
        yield UsageShop(api, await api.tenant("acme"))


async def entitled(shop: UsageShop, customer: str, feature: str) -> tuple[Any, ...]:
    told = await shop.found(f"/v1/customers/{customer}/entitlements/{feature}")
    return tuple(told[name] for name in ("granted", "limit", "limit_kind", "used", "remaining"))


async def test_a_hard_limit_grants_until_it_is_used_up_and_a_soft_one_goes_on(shop: UsageShop) -> None:
    customer, meter, other = await shop.customer(), await shop.meter("traffic"), await shop.meter("calls", "count")
    features: list[dict[str, Any]] = [
        {"key": "traffic", "limit": 10, "meter": meter},
        {"key": "burst", "limit": 4, "meter": meter, "limit_kind": "soft"},
        {"key": "calls", "meter": other},
        {"key": "seats", "limit": 3},
    ]
    await shop.subscribed(customer, meter, features)
    assert await entitled(shop, customer, "traffic") == (True, 10, "hard", "0", "10")
    await shop.used(customer, "traffic", (at(-1), 100), (at(1), "9.75"))
    await shop.used(customer, "calls", (at(1), 1), (at(2), 1))
    assert await entitled(shop, customer, "traffic") == (True, 10, "hard", "9.75", "0.25")
    assert await entitled(shop, customer, "burst") == (True, 4, "soft", "9.75", "0")
    assert await entitled(shop, customer, "calls") == (True, None, "hard", "2", None)
    assert await entitled(shop, customer, "seats") == (True, 3, None, None, None)
    assert await entitled(shop, customer, "unheard.of") == (False, 0, None, None, None)
    await shop.used(customer, "traffic", (at(2), "0.25"))
    assert await entitled(shop, customer, "traffic") == (False, 10, "hard", "10", "0")

    whole = await shop.found(f"/v1/customers/{customer}/entitlements/traffic")
    bill = (await shop.shown(customer, "traffic"))["bill"]
    assert (whole["meter"], whole["period_start"], whole["period_end"]) == (
        meter, utc(STARTED), bill["period_end"],
    )  # fmt: skip
    assert whole["used"] == bill["quantity"]


@pytest.mark.parametrize(
    ("aggregation", "facts", "used"),
    [("max", {}, "7"), ("latest", {}, "2"), ("unique", {"unique_property": "user"}, "2")],
)
async def test_whatever_a_meter_makes_of_events_is_what_is_used(
    shop: UsageShop, aggregation: str, facts: dict[str, str], used: str
) -> None:
    customer, meter = await shop.customer(), await shop.meter("it", aggregation, **facts)
    await shop.subscribed(customer, meter, [{"key": "it", "limit": 7, "meter": meter}])
    await shop.used(customer, "it", (at(1), 7), user="ada")
    await shop.used(customer, "it", (at(2), 2), user="bob")
    await shop.used(customer, "it", (at(1, 13), 3), user="ada")
    left = str(7 - int(used))
    assert await entitled(shop, customer, "it") == (left != "0", 7, "hard", used, left)


async def test_limits_of_several_subscriptions_add_up_over_the_period_of_the_oldest(shop: UsageShop) -> None:
    customer, meter, other = await shop.customer(), await shop.meter("traffic"), await shop.meter("other")
    await shop.subscribed(customer, meter, [{"key": "traffic", "limit": 5, "meter": meter, "limit_kind": "soft"}])
    await shop.subscribed(customer, other, [{"key": "traffic", "limit": 2, "meter": meter}])
    await shop.used(customer, "traffic", (at(1), 6))
    assert await entitled(shop, customer, "traffic") == (True, 7, "hard", "6", "1")


async def test_a_customer_at_the_portal_sees_what_is_left_of_their_own(shop: UsageShop) -> None:
    ada, bob, meter = await shop.customer(), await shop.customer(), await shop.meter("traffic")
    await shop.subscribed(ada, meter, [{"key": "traffic", "limit": 5, "meter": meter}])
    await shop.used(ada, "traffic", (at(1), 2))
    await shop.used(bob, "traffic", (at(1), 1))
    link = await shop.client.made(f"/v1/customers/{ada}/portal-sessions", {})
    visitor = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    own = await visitor.send("GET", f"/v1/customers/{ada}/entitlements/traffic")
    assert (own.status_code, own.json()["used"], own.json()["remaining"]) == (200, "2", "3")
    assert (await visitor.send("GET", f"/v1/customers/{bob}/entitlements/traffic")).status_code == 404
