"""Customers in the portal, over the real parts: let in once, to what is their own, for an hour at most."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from cli.tenants import suspend_tenant
from domain.identity.browser import PORTAL_COOKIE, SESSION_COOKIE
from domain.identity.permissions import Scope
from infra.database import Pool
from testing.api_client import Api, Client, running_api
from testing.people import Browser, admin, browser
from testing.services import FreshDatabase

ADA = "ada@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A merchant with two customers, each with an invoice."""

    api: Api
    client: Client
    customer: str
    other: str

    async def link(self, customer: str | None = None) -> str:
        """The code of a new link."""
        made = await self.client.made(f"/v1/customers/{customer or self.customer}/portal-sessions", {})
        assert str(made["url"]).endswith(f"/portal#code={made['code']}"), "no server and no log sees a fragment"
        return str(made["code"])

    async def ends(self) -> httpx2.Response:
        """What is told of the end of the first customer's visits."""
        return await self.client.send("DELETE", f"/v1/customers/{self.customer}/portal-sessions", {})

    async def enters(self, code: str) -> Browser:
        """A browser in which the portal's page sends the code."""
        visitor = Browser(http=self.api.http, keeps=PORTAL_COOKIE)
        answer = await visitor.send("POST", "/v1/portal/login", {"code": code})
        assert answer.status_code == 200, answer.text
        return visitor


@pytest.fixture
async def shop(database: FreshDatabase) -> AsyncIterator[Shop]:
    async with running_api(database) as api:
        client = await api.tenant("acme")
        ids = [str((await client.made("/v1/customers", {"currency": "EUR", "name": name}))["id"]) for name in "AB"]
        yield Shop(api=api, client=client, customer=ids[0], other=ids[1])


async def test_a_customer_subscribes_to_the_plans_of_their_link_alone(shop: Shop) -> None:
    product = await shop.client.made("/v1/products", {"name": "Team"})
    flat = {"type": "flat", "amount": {"amount": 900, "currency": "EUR"}}
    orders: list[dict[str, Any]] = []
    for is_add_on in (False, False, True):
        terms = {"product": product["id"], "name": "Team", "interval": {"unit": "month"}, "add_on": is_add_on}
        plan = await shop.client.made("/v1/plans", terms)
        price = await shop.client.made("/v1/prices", {"plan": plan["id"], "model": flat})
        orders.append({"customer": shop.customer, "plan": plan["id"], "items": [{"price": price["id"]}]})
    offered, other, add_on = orders
    path = f"/v1/customers/{shop.customer}/portal-sessions"
    code = str((await shop.client.made(path, {"plans": [offered["plan"]]}))["code"])
    visitor = await shop.enters(code)
    assert (await visitor.send("GET", "/v1/portal/me")).json()["plans"] == [offered["plan"]]
    with_add_on = {**offered, "items": [*offered["items"], *add_on["items"]]}
    for refused in (other, with_add_on):
        answer = await visitor.send("POST", "/v1/subscriptions", refused)
        assert (answer.status_code, answer.json()["code"]) == (404, "plan_not_found")
    assert (await visitor.send("POST", "/v1/subscriptions", offered)).status_code == 201
    nothing = await shop.enters(str((await shop.client.made(path, {"plans": []}))["code"]))
    assert (await nothing.send("POST", "/v1/subscriptions", offered)).json()["code"] == "plan_not_found"
    whichever = await shop.enters(await shop.link())
    assert (await whichever.send("POST", "/v1/subscriptions", other)).status_code == 201
    unknown = await shop.client.post(path, {"plans": ["plan_01m7ywe9z7e398x54gfbrtqnk7"]})
    assert (unknown.status_code, unknown.json()["code"], unknown.json()["param"]) == (404, "plan_not_found", "plans.0")


async def test_a_customer_enters_sees_and_changes_their_own_and_leaves(shop: Shop) -> None:
    visitor = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    entered = await visitor.send("POST", "/v1/portal/login", {"code": await shop.link()})
    told = entered.headers["set-cookie"]
    for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in told.split("; "), told
    assert visitor.cookie not in entered.text
    me = (await visitor.send("GET", "/v1/portal/me")).json()
    assert (me["tenant"], me["customer"]) == ("acme", shop.customer)
    own, others = f"/v1/customers/{shop.customer}", f"/v1/customers/{shop.other}"
    changed = await visitor.send("PATCH", own, {"name": "Ada Lovelace"})
    assert changed.json()["name"] == "Ada Lovelace", changed.text
    assert (await visitor.send("GET", others)).status_code == 404
    assert (await visitor.send("PATCH", others, {"name": "Eve"})).status_code == 404
    assert (await visitor.send("POST", "/v1/products", {"name": "P"})).json()["code"] == "permission_denied"
    async with shop.api.parts.reader.of("acme") as connection:
        actor = await connection.fetchval("SELECT actor FROM log.events ORDER BY position DESC LIMIT 1")
    assert actor == f"customer:{shop.customer}"
    kept = visitor.cookie
    assert (await visitor.send("POST", "/v1/portal/logout", {})).status_code == 200
    visitor.cookie = kept
    assert (await visitor.send("GET", "/v1/portal/me")).status_code == 401


async def test_a_link_works_once_and_only_the_newest(shop: Shop) -> None:
    first, code = await shop.link(), await shop.link()
    visitors = [Browser(http=shop.api.http, keeps=PORTAL_COOKIE) for _ in range(10)]
    answers = await asyncio.gather(*(each.send("POST", "/v1/portal/login", {"code": code}) for each in visitors))
    assert sorted(each.status_code for each in answers) == [200, *[401] * 9]
    for used in (first, code, "a" * 52, "nonsense"):
        refused = await visitors[0].send("POST", "/v1/portal/login", {"code": used}, {"Cookie": "a=b"})
        assert (refused.status_code, refused.json()["code"]) == (401, "portal_code_invalid")


async def test_link_and_visit_are_over_in_time(shop: Shop) -> None:
    identity = shop.api.parts.identity
    grant_made = await shop.link()
    async with shop.api.parts.access_pool.acquire() as connection:
        await connection.execute("UPDATE access.one_time_tokens SET expires_at = now() - interval '1 ms'")
    late = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    assert (await late.send("POST", "/v1/portal/login", {"code": grant_made})).status_code == 401
    visitor = await shop.enters(await shop.link())
    hour = timedelta(seconds=shop.api.parts.settings.auth.portal_session_s)
    now = identity.clock()
    assert await identity.portal.by_cookie(visitor.cookie, now + hour - timedelta(minutes=1)) is not None
    assert await identity.portal.by_cookie(visitor.cookie, now + hour) is None


async def test_an_erased_customer_is_out_and_comes_in_no_more(shop: Shop) -> None:
    visitor, unused = await shop.enters(await shop.link()), await shop.link()
    assert (await visitor.send("GET", "/v1/portal/me")).status_code == 200, "it is remembered"
    assert (await shop.client.post(f"/v1/customers/{shop.customer}/erase")).status_code == 200
    identity = shop.api.parts.identity
    assert await identity.portal.by_cookie(visitor.cookie, identity.clock()) is None
    async with asyncio.timeout(30):
        while (await visitor.send("GET", "/v1/portal/me")).status_code == 200:
            await asyncio.sleep(0.05)
    again = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    assert (await again.send("POST", "/v1/portal/login", {"code": unused})).status_code == 401
    refused = await shop.client.post(f"/v1/customers/{shop.customer}/portal-sessions")
    assert refused.json()["code"] == "customer_erased"


class Held:
    """A pool whose statements that begin a visit wait until they are let go."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    async def fetchval(self, query: str, *values: object) -> object:
        if "INSERT INTO access.portal_sessions" in query:
            self.reached.set()
            await self.let_go.wait()
        return await self.pool.fetchval(query, *values)


async def test_a_code_that_is_used_while_the_visits_are_ended_begins_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = shop.api.parts.identity.portal
    held = Held(portal._pool)
    monkeypatch.setattr(portal, "_pool", held)
    visitor = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    entering = asyncio.create_task(visitor.send("POST", "/v1/portal/login", {"code": await shop.link()}))
    await asyncio.wait_for(held.reached.wait(), timeout=30)
    assert (await shop.ends()).status_code == 200
    held.let_go.set()
    assert (await entering).status_code == 401
    assert (await visitor.send("GET", "/v1/portal/me")).status_code == 401


async def test_the_merchant_ends_a_customers_visits_at_once(shop: Shop) -> None:
    visitor, other = await shop.enters(await shop.link()), await shop.enters(await shop.link(shop.other))
    unused = await shop.link()
    ended = await shop.ends()
    assert ended.json() == {"object": "portal_exit", "ended": 1}
    assert (await visitor.send("GET", "/v1/portal/me")).status_code == 401
    assert (await other.send("GET", "/v1/portal/me")).status_code == 200
    assert (await visitor.send("POST", "/v1/portal/login", {"code": unused}, {"Cookie": "a=b"})).status_code == 401


async def test_who_may_let_customers_in(shop: Shop) -> None:
    path = f"/v1/customers/{shop.customer}/portal-sessions"
    reads = await shop.api.tenant("acme", scope=Scope.READ)
    assert (await reads.post(path)).json()["permission"] == "customers:create"
    other = await shop.api.tenant("other")
    assert (await other.post(path)).json()["code"] == "customer_not_found"
    assert (await other.send("DELETE", path, {})).json()["code"] == "customer_not_found"
    visitor = await shop.enters(await shop.link())
    assert (await visitor.send("POST", path, {})).json()["code"] == "permission_denied"


async def test_another_sites_page_neither_enters_nor_changes_anything(shop: Shop) -> None:
    visitor, own = await shop.enters(await shop.link()), f"/v1/customers/{shop.customer}"
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for headers in (foreign, {"Sec-Fetch-Site": "same-site"}):
        refused = await visitor.send("PATCH", own, {"name": "Eve"}, headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request")
    refused = await visitor.send("PATCH", own, {"name": "Eve"}, {"X-CSRF-Token": "a" * 52})
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_token_invalid")
    code = await shop.link()
    attacked = Browser(http=shop.api.http, keeps=PORTAL_COOKIE)
    assert (await attacked.send("POST", "/v1/portal/login", {"code": code}, foreign)).status_code == 403
    assert (await attacked.send("POST", "/v1/portal/login", {"code": code})).status_code == 200


async def test_in_a_browser_with_both_cookies_each_page_says_which_it_means(shop: Shop) -> None:
    await admin(shop.api, ADA)
    merchant, visitor = await browser(shop.api, ADA), await shop.enters(await shop.link())
    both = {"Cookie": f"{SESSION_COOKIE}={merchant.cookie}; {PORTAL_COOKIE}={visitor.cookie}"}
    assert (await merchant.send("GET", "/v1/auth/me", headers=both)).status_code == 200
    meant = {**both, "Tallybook-Portal": "1"}
    assert (await visitor.send("GET", "/v1/portal/me", headers=meant)).json()["customer"] == shop.customer
    key = {**both, "Authorization": f"Bearer {shop.client.key}"}
    assert (await visitor.send("GET", "/v1/portal/me", headers=key)).status_code == 400


async def test_a_program_is_not_in_the_portal(shop: Shop) -> None:
    await admin(shop.api, ADA)
    merchant = await browser(shop.api, ADA)
    assert (await merchant.send("GET", "/v1/portal/me")).json()["code"] == "not_in_portal"
    assert (await merchant.send("POST", "/v1/portal/logout", {})).json()["code"] == "not_in_portal"


async def test_a_customer_of_a_suspended_tenant_looks_changes_nothing_and_may_leave(shop: Shop) -> None:
    visitor = await shop.enters(await shop.link())
    await suspend_tenant(shop.api.database.dsn, shop.api.parts.settings, tenant_id="acme", reason="unpaid")
    own = f"/v1/customers/{shop.customer}"

    async def is_told() -> bool:
        refused = await visitor.send("PATCH", own, {"name": "Ada"})
        return bool(refused.json().get("code") == "tenant_suspended")

    async with asyncio.timeout(30):
        while not await is_told():
            await asyncio.sleep(0.05)
    assert (await visitor.send("GET", own)).status_code == 200
    assert (await visitor.send("POST", "/v1/portal/logout", {})).status_code == 200


async def test_a_customer_sets_no_terms_of_the_merchants(shop: Shop) -> None:
    """What is their own may be theirs to change, and still be the merchant's to say how it is billed."""
    visitor = await shop.enters(await shop.link())
    method = {"customer": shop.customer, "type": "card", "token": "tok_visa"}
    subscription = {
        "customer": shop.customer,
        "plan": "plan_01m7ywe9z7e398x54gfbrtqnk7",
        "items": [{"price": "price_01m7ywe9z7e398x54gfbrtqnk7"}],
    }
    asked = await visitor.send("POST", "/v1/subscriptions", subscription)
    assert asked.json()["code"] == "plan_not_found", "a plan as it is may be subscribed to"
    kept = await visitor.send("POST", "/v1/payment-methods", method)
    assert kept.status_code == 201, kept.text
    own = f"/v1/customers/{shop.customer}"
    for http_method, path, body, param in (
        ("POST", "/v1/subscriptions", {**subscription, "trial_days": 730}, "trial_days"),
        ("POST", "/v1/subscriptions", {**subscription, "collection_method": "send_invoice"}, "collection_method"),
        ("POST", "/v1/subscriptions", {**subscription, "days_until_due": 365}, "days_until_due"),
        ("POST", "/v1/subscriptions", {**subscription, "metadata": {"plan": "gold"}}, "metadata"),
        ("PATCH", own, {"metadata": {"segment": "gold"}}, "metadata"),
        ("PATCH", own, {"tax_exempt": True}, "tax_exempt"),
        ("POST", "/v1/payment-methods", {**method, "metadata": {"trusted": "yes"}}, "metadata"),
        ("PATCH", f"/v1/payment-methods/{kept.json()['id']}", {"metadata": {"trusted": "yes"}}, "metadata"),
    ):
        refused = await visitor.send(http_method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied"), (path, refused.text)
        assert refused.json()["param"] == param
    changed = await shop.client.send("PATCH", own, {"metadata": {"segment": "gold"}})
    assert changed.json()["metadata"] == {"segment": "gold"}, changed.text
