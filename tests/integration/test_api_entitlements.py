"""What customers may have, asked by feature: by all that they subscribe to, until it ends."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, project, running_api
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

FLAT = {"type": "flat", "amount": {"amount": 100, "currency": "EUR"}}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def shop(api: Api) -> Shop:
    return await Shop.opened(await api.tenant("acme"))


async def entitled(shop: Shop, customer: str, feature: str) -> tuple[bool, int | None, int]:
    answer = await shop.client.get(f"/v1/customers/{customer}/entitlements/{feature}")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["object"], told["customer"], told["feature"]) == ("entitlement", customer, feature)
    return told["granted"], told["limit"], told["subscriptions"]


async def test_a_customer_has_what_all_their_subscriptions_grant_until_they_end(api: Api, shop: Shop) -> None:
    path = f"/v1/plans/{shop.plan}"
    features = [{"key": "seats", "limit": 10}, {"key": "audit_log"}, {"key": "exports", "limit": 0}]
    changed = await shop.client.send("PATCH", path, {"features": features})
    assert changed.json()["features"][1] == {"key": "audit_log", "limit": None, "meter": None, "limit_kind": "hard"}
    price, customer, other = await shop.price(FLAT), await shop.customer(), await shop.customer()
    first = await shop.subscribed(customer, price)
    assert first["features"] == sorted(changed.json()["features"], key=lambda feature: str(feature["key"]))
    await shop.client.send("PATCH", path, {"features": [{"key": "seats", "limit": 7}]})
    second = await shop.subscribed(customer, price, trial_days=14)
    await project(api.database, api.parts.settings)

    assert await entitled(shop, customer, "seats") == (True, 17, 2)
    assert await entitled(shop, customer, "audit_log") == (True, None, 1)
    assert await entitled(shop, customer, "exports") == (False, 0, 1)
    assert await entitled(shop, customer, "unheard.of") == (False, 0, 0)
    assert await entitled(shop, other, "seats") == (False, 0, 0)

    await shop.client.post(f"/v1/subscriptions/{first['id']}/cancel", {"at_period_end": True})
    await shop.client.post(f"/v1/subscriptions/{second['id']}/cancel", {"at_period_end": False})
    await project(api.database, api.parts.settings)
    assert await entitled(shop, customer, "seats") == (True, 10, 1)
    await shop.client.post(f"/v1/subscriptions/{first['id']}/suspend", {})
    await project(api.database, api.parts.settings)
    assert await entitled(shop, customer, "seats") == (False, 0, 0)
    await shop.client.post(f"/v1/subscriptions/{first['id']}/cancel", {"at_period_end": False})
    await project(api.database, api.parts.settings)
    assert await entitled(shop, customer, "seats") == (False, 0, 0)


BAD: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"key": "Seats"}], "wrong_form", "features.0.key"),
    ([{"key": "seats", "limit": -1}], "out_of_range", "features.0.limit"),
    ([{"key": "seats", "limit": True}], "not_a_whole_number", "features.0.limit"),
    ([{"key": "seats", "most": 1}], "unknown_name", "features.0.most"),
    ([{"key": "seats", "limit_kind": "firm"}], "not_one_of", "features.0.limit_kind"),
    ([{"key": f"f{nth}"} for nth in range(51)], "too_long", "features"),
]


async def test_what_is_no_feature_is_refused_and_nothing_is_written(api: Api, shop: Shop) -> None:
    customer, head = await shop.customer(), await api.head()
    path = f"/v1/plans/{shop.plan}"
    for features, code, param in BAD:
        refused = await shop.client.send("PATCH", path, {"features": features})
        errors = [(error["code"], error["param"]) for error in refused.json()["errors"]]
        assert (refused.status_code, errors) == (422, [(code, param)])
    twice = await shop.client.send("PATCH", path, {"features": [{"key": "seats"}, {"key": "seats"}]})
    assert (twice.status_code, twice.json()["code"]) == (422, "invalid_features")
    assert twice.json()["param"] == "features.1.key"
    for facts, code, param in (
        ({"limit_kind": "soft"}, "invalid_features", "features.0.limit_kind"),
        ({"meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7"}, "meter_not_found", "features.0.meter"),
    ):
        refused = await shop.client.send("PATCH", path, {"features": [{"key": "seats", "limit": 1, **facts}]})
        assert (refused.json()["code"], refused.json()["param"]) == (code, param)
    for wrong, code in (
        (f"{customer}/entitlements/Seats", "feature_not_found"),
        (f"{customer}/entitlements/{'s' * 65}", "feature_not_found"),
        ("cus_01m7ywe9z7e398x54gfbrtqnk7/entitlements/seats", "customer_not_found"),
    ):
        missing = await shop.client.get(f"/v1/customers/{wrong}")
        assert (missing.status_code, missing.json()["code"]) == (404, code)
    assert await api.head() == head


async def test_a_customer_has_nothing_before_the_read_models_have_them_and_one_that_is_not_there_is_not_found(
    shop: Shop,
) -> None:
    customer = await shop.customer()
    assert await entitled(shop, customer, "seats") == (False, 0, 0)
    for other in ("cus_01m7ywe9z7e398x54gfbrtqnk7", customer.replace("cus_", "inv_")):
        answer = await shop.client.get(f"/v1/customers/{other}/entitlements/seats")
        assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")
