"""Test clocks through the API: in test tenants only, found by filter, deleted with what was on them."""

from collections.abc import AsyncIterator

import pytest

from cli.api_keys import create_key
from domain.kernel.tenant_mode import TenantMode
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

CLOCK = {"name": "A year in a minute", "frozen_time": "2026-01-01T00:00:00Z"}
LISTS = ("/v1/customers", "/v1/subscriptions", "/v1/invoices", "/v1/payments")


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def test_a_live_tenant_refuses_a_test_clock_and_says_where_they_are(api: Api) -> None:
    live = await api.tenant("acme", TenantMode.LIVE)
    refused = await live.post("/v1/test-clocks", CLOCK)
    assert refused.status_code == 409, refused.text
    assert refused.json()["code"] == "test_clock_in_live_tenant"
    assert "tbk_test_" in refused.json()["detail"]
    rehearsal = await api.tenant("acme-test", TenantMode.TEST)
    assert (await rehearsal.post("/v1/test-clocks", CLOCK)).status_code == 201


async def test_a_key_says_what_its_tenant_is_for_and_no_key_says_otherwise(api: Api) -> None:
    for tenant_id, mode in (("acme", TenantMode.LIVE), ("acme-test", TenantMode.TEST)):
        first = await api.tenant(tenant_id, mode)
        second = await create_key(api.database.dsn, api.parts.settings, tenant_id=tenant_id)
        for secret in (first.key, second.secret):
            assert secret.startswith(f"tbk_{mode}_")
            assert (
                await Client(http=api.http, key=secret, tenant_id=tenant_id, parts=api.parts).get("/v1/customers")
            ).status_code == 200
        other = TenantMode.TEST if mode is TenantMode.LIVE else TenantMode.LIVE
        forged = Client(http=api.http, key=first.key.replace(mode, other, 1), tenant_id=tenant_id, parts=api.parts)
        assert (await forged.get("/v1/customers")).status_code == 401


async def on_clock(client: Client, clock: dict[str, object] | None) -> dict[str, str]:
    """A customer on a clock (in real time without one), with one of each in every list: their ids by the list."""
    clock_id = {} if clock is None else {"test_clock": clock["id"]}
    customer = await client.made("/v1/customers", {"currency": "USD", **clock_id})
    method = {"customer": customer["id"], "type": "card", "token": "tok_visa", "set_default": True}
    await client.made("/v1/payment-methods", method)
    product = await client.made("/v1/products", {"name": "Phone"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "Monthly", "interval": {"unit": "month"}})
    model = {"type": "flat", "amount": {"amount": 1999, "currency": "USD"}}
    price = await client.made("/v1/prices", {"plan": plan["id"], "model": model})
    order = {"customer": customer["id"], "plan": plan["id"], "items": [{"price": price["id"]}]}
    subscription = await client.made("/v1/subscriptions", order)
    payment = {"customer": customer["id"], "amount": {"amount": 500, "currency": "USD"}}
    made = (customer["id"], subscription["id"], subscription["latest_invoice"])
    return dict(zip(LISTS, (*map(str, made), str((await client.made("/v1/payments", payment))["id"])), strict=True))


async def listed(client: Client, path: str, query: str = "") -> list[str]:
    answer = await client.get(f"{path}?limit=100{query}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def test_what_lives_on_a_clock_is_found_by_it_and_leaves_the_lists_when_it_is_deleted(api: Api) -> None:
    client = await api.tenant("acme-test")
    first, second = [await client.made("/v1/test-clocks", CLOCK) for _ in range(2)]
    on_first, on_second = await on_clock(client, first), await on_clock(client, second)
    in_real_time = await on_clock(client, None)
    await project(api.database, api.parts.settings)
    for path in LISTS:
        assert await listed(client, path) == [in_real_time[path], on_second[path], on_first[path]]
        assert await listed(client, path, f"&test_clock={first['id']}") == [on_first[path]]

    deleting = await client.send("DELETE", f"/v1/test-clocks/{first['id']}", {})
    assert (deleting.status_code, deleting.json()["status"]) == (200, "deleting")
    await project(api.database, api.parts.settings)
    for path in LISTS:
        assert await listed(client, path) == [in_real_time[path], on_second[path]]
        assert await listed(client, path, f"&test_clock={first['id']}") == [on_first[path]]
        assert (await client.get(f"{path}/{on_first[path]}")).status_code == 200, "by its id it is still read"
    clocks = (await client.get("/v1/test-clocks")).json()["data"]
    assert {each["id"]: each["status"] for each in clocks} == {first["id"]: "deleting", second["id"]: "ready"}

    for path, body in (
        ("/v1/customers", {"currency": "USD", "test_clock": first["id"]}),
        (f"/v1/test-clocks/{first['id']}/advance", {"frozen_time": "2027-01-01T00:00:00Z"}),
        (f"/v1/test-clocks/{first['id']}/cancel-advance", {}),
        ("/v1/payments", {"customer": on_first["/v1/customers"], "amount": {"amount": 1, "currency": "USD"}}),
    ):
        refused = await client.post(path, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "test_clock_deleted"), path


async def test_an_advance_is_cancelled_at_the_instant_that_is_reached(api: Api) -> None:
    client = await api.tenant("acme-test")
    clock = await client.made("/v1/test-clocks", CLOCK)
    path = f"/v1/test-clocks/{clock['id']}"
    resting = await client.post(f"{path}/cancel-advance", {})
    assert (resting.status_code, resting.json()["code"]) == (409, "test_clock_not_advancing")
    await client.post(f"{path}/advance", {"frozen_time": "2027-01-01T00:00:00Z"})
    cancelled = await client.post(f"{path}/cancel-advance", {})
    assert cancelled.status_code == 200, cancelled.text
    assert cancelled.json()["advancing_to"] == CLOCK["frozen_time"]
