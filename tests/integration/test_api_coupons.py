"""Coupons and discounts through the API: redeemed under concurrency, counted once, explained, tried dry, refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.kept import kept
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop

CALLERS = 64
MOST = 9
FLAT = {"type": "flat", "amount": {"amount": 1_000, "currency": "EUR"}}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def coupon(client: Client, **facts: Any) -> str:
    off = {} if "amount_off" in facts else {"percent_off": 10}
    return str((await client.made("/v1/coupons", {"name": "Ten", **off, **facts}))["id"])


async def refused(client: Client, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = await client.send(method, path, {} if body is None else body)
    return answer.status_code, answer.json().get("code")


async def test_of_many_callers_at_once_so_many_redeem_a_coupon_as_may(client: Client) -> None:
    limited = await coupon(client, max_redemptions=MOST)
    people = [str((await client.made("/v1/customers", {"currency": "EUR"}))["id"]) for _ in range(CALLERS)]
    answers = await asyncio.gather(
        *(client.post("/v1/discounts", {"coupon": limited, "customer": person}) for person in people)
    )
    told = [answer.status_code if answer.is_success else answer.json()["code"] for answer in answers]
    assert sorted(map(str, told)) == sorted(["201"] * MOST + ["coupon_exhausted"] * (CALLERS - MOST))
    assert (await client.get(f"/v1/coupons/{limited}")).json()["times_redeemed"] == MOST


async def test_two_processes_redeem_a_coupon_no_more_often_than_it_may_be(database: FreshDatabase) -> None:
    async with running_api(database) as one, running_api(database) as other:
        client = await one.tenant("acme")
        second = Client(http=(await other.tenant("other")).http, key=client.key, tenant_id="acme", parts=other.parts)
        limited = await coupon(client, max_redemptions=MOST)
        people = [str((await client.made("/v1/customers", {"currency": "EUR"}))["id"]) for _ in range(2 * MOST)]
        answers = await asyncio.gather(
            *(
                (client, second)[nth % 2].post("/v1/discounts", {"coupon": limited, "customer": person})
                for nth, person in enumerate(people)
            )
        )
        assert sum(answer.is_success for answer in answers) == MOST


async def test_a_repeated_request_redeems_once(client: Client) -> None:
    code = await coupon(client)
    person = (await client.made("/v1/customers", {"currency": "EUR"}))["id"]
    asked = {"coupon": code, "customer": person}
    first, again = [await client.post("/v1/discounts", asked, idempotency_key="once") for _ in range(2)]
    assert (first.content, again.headers["idempotent-replayed"]) == (again.content, "true")
    assert (await client.get(f"/v1/coupons/{code}")).json()["times_redeemed"] == 1


async def test_periods_of_a_subscription_are_discounted_explained_and_counted(client: Client) -> None:
    shop = await Shop.opened(client)
    person = await shop.customer()
    code = await coupon(client, duration="repeating", periods=2)
    subscription = await shop.subscribed(person, await shop.price(FLAT), coupons=[code])
    (discount,) = subscription["discounts"] or [None]
    explained = await shop.explained(subscription["latest_invoice"])
    (line,) = explained["lines"]
    assert line["discounts"] == [{"discount": discount, "coupon": code, "amount": {"amount": 100, "currency": "EUR"}}]
    (said,) = explained["discounts"]
    assert said | {"name": "Ten", "percent_off": "10", "periods": 2, "periods_used": 1} == said
    totals = [(await shop.billed(subscription["latest_invoice"]))["total"]["amount"]]
    for _ in range(2):
        await shop.advance(subscription["current_period_end"])
        subscription = (await client.post(f"/v1/subscriptions/{subscription['id']}/renew", {})).json()
        totals.append((await shop.billed(subscription["latest_invoice"]))["total"]["amount"])
    assert totals == [900, 900, 1_000]
    assert subscription["discounts"] == []
    shown = (await client.get(f"/v1/discounts/{discount}")).json()
    assert (shown["periods_used"], shown["total_discount"]["amount"], shown["end_reason"]) == (2, 200, "used_up")


async def test_discounts_are_found_by_whose_they_are(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    person = await shop.customer()
    both = [await coupon(client, duration="forever") for _ in range(2)]
    of_customer = await client.made("/v1/discounts", {"coupon": both[0], "customer": person})
    subscription = await shop.subscribed(person, await shop.price(FLAT), coupons=[both[1]])
    (of_subscription,) = subscription["discounts"]
    await project(api.database, api.parts.settings)

    async def found(query: str) -> list[object]:
        answer = await client.get(f"/v1/discounts?{query}")
        return sorted(each["id"] for each in answer.json()["data"])

    assert await found(f"customer={person}") == sorted([of_customer["id"], of_subscription])
    assert await found(f"subscription={subscription['id']}") == [of_subscription]
    assert await found(f"coupon={both[0]}") == [of_customer["id"]]
    opened = (await client.get(f"/v1/discounts/{of_subscription}?expand[]=coupon")).json()
    assert opened["coupon"]["times_redeemed"] == 1
    assert (await client.get(f"/v1/customers/{person}")).json()["discounts"] == [of_customer["id"]]


async def test_a_dry_run_of_a_redemption_redeems_nothing(client: Client, database: FreshDatabase) -> None:
    code = await coupon(client, max_redemptions=1)
    person = (await client.made("/v1/customers", {"currency": "EUR"}))["id"]
    before = await kept(database.dsn)
    headers = {"Authorization": f"Bearer {client.key}", "Tallybook-Dry-Run": "true"}
    tried = await client.http.post("/v1/discounts", json={"coupon": code, "customer": person}, headers=headers)
    assert tried.status_code == 200, tried.text
    assert [each["type"] for each in tried.json()["events"]] == [
        "coupon.redeemed",
        "discount.attached",
        "customer.discount_attached",
    ]
    assert await kept(database.dsn) == before
    await client.made("/v1/discounts", {"coupon": code, "customer": person})


async def test_what_cannot_be_is_refused_with_the_field_it_is_about(client: Client) -> None:
    shop = await Shop.opened(client)
    person, code = await shop.customer(), await coupon(client, duration="forever")
    yen = await coupon(client, amount_off={"amount": 5, "currency": "JPY"})
    for body, field in (
        ({"name": "None"}, "percent_off"),
        ({"name": "Both", "percent_off": 5, "amount_off": {"amount": 5, "currency": "EUR"}}, "percent_off"),
        ({"name": "Nothing", "percent_off": 0}, "percent_off"),
        ({"name": "Less", "amount_off": {"amount": -5, "currency": "EUR"}}, "amount_off"),
        ({"name": "Once", "percent_off": 5, "periods": 3}, "periods"),
    ):
        answer = await client.post("/v1/coupons", body)
        assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "invalid_coupon", field)
    assert await refused(client, "POST", "/v1/discounts", {"coupon": code}) == (422, "ambiguous_discount")
    on_yen = {"coupon": yen, "customer": person}
    assert await refused(client, "POST", "/v1/discounts", on_yen) == (409, "coupon_in_other_currency")
    given = await client.made("/v1/discounts", {"coupon": code, "customer": person})
    again = {"coupon": code, "customer": person}
    assert await refused(client, "POST", "/v1/discounts", again) == (409, "coupon_already_applied")
    assert await refused(client, "DELETE", f"/v1/coupons/{code}") == (409, "coupon_in_use")
    assert (await client.send("DELETE", f"/v1/discounts/{given['id']}", {})).status_code == 200
    assert await refused(client, "DELETE", f"/v1/discounts/{given['id']}") == (409, "discount_ended")
    assert (await client.send("DELETE", f"/v1/coupons/{yen}", {})).json()["active"] is False
    assert await refused(client, "POST", "/v1/discounts", on_yen) == (409, "coupon_deleted")
