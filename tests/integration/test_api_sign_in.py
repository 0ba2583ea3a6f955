"""Signing in and out over the real parts: cookies, tokens, tenants, and what is in the log of it."""

from collections.abc import AsyncIterator

import pytest

from domain.identity.browser import SESSION_COOKIE
from testing.api_client import Api, running_api
from testing.people import PAGE, PASSWORD, Browser, admin, browser, program
from testing.services import FreshDatabase

ADA = "ada@example.com"
LOGGED = "SELECT event_type FROM log.events WHERE stream_type = 'session' ORDER BY position"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def logged(api: Api) -> list[str]:
    async with api.parts.reader.of("platform") as connection:
        return [row[0] for row in await connection.fetch(LOGGED)]


async def test_a_browser_signs_in_sees_who_it_is_changes_something_and_signs_out(api: Api) -> None:
    user_id = await admin(api, ADA)
    page = Browser(http=api.http)
    answer = await page.log_in("Ada@Example.com ".strip())
    assert answer.status_code == 200, answer.text
    told = answer.headers["set-cookie"]
    assert told.startswith(f"{SESSION_COOKIE}=")
    for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in told.split("; "), told
    assert "Domain" not in told
    assert answer.json()["access_token"] is None
    assert page.cookie not in answer.text, "the secret is in the cookie alone"
    assert await logged(api) == ["session.started"]
    me = (await page.send("GET", "/v1/auth/me")).json()
    assert me["user"] == {
        "id": user_id,
        "object": "profile",
        "email": ADA,
        "name": "Ada Lovelace",
        "phone": None,
        "locale": None,
    }
    assert (me["tenant"], me["role"]) == ("acme", "admin")
    assert "customers:write" in me["permissions"]
    made = await page.send("POST", "/v1/products", {"name": "P"})
    assert made.status_code == 201, made.text
    async with api.parts.reader.of("acme") as connection:
        actor = await connection.fetchval("SELECT actor FROM log.events ORDER BY position DESC LIMIT 1")
    assert actor == f"user:{user_id}"
    kept = page.cookie
    out = await page.send("POST", "/v1/auth/logout", {})
    assert out.status_code == 200
    assert page.cookie == ""
    assert "Max-Age=0" in out.headers["set-cookie"]
    page.cookie = kept
    assert (await page.send("GET", "/v1/auth/me")).status_code == 401, "at once, whatever was remembered"
    assert await logged(api) == ["session.started", "session.ended"]


async def test_a_program_signs_in_and_asks_with_its_access_token(api: Api) -> None:
    user_id = await admin(api, ADA)
    asks = await program(api, ADA)
    assert (await asks.send("POST", "/v1/products", {"name": "P"})).status_code == 201
    me = (await asks.send("GET", "/v1/auth/me")).json()
    assert (me["user"]["id"], me["tenant"], me["csrf_token"]) == (user_id, "acme", None)
    assert (await asks.send("GET", "/v1/products", headers={"X-Tenant-ID": "acme"})).status_code == 200
    for tenant in ("other", "nobody"):
        refused = await asks.send("GET", "/v1/products", headers={"X-Tenant-ID": tenant})
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant_mismatch")
    assert (await asks.send("POST", "/v1/auth/logout", {})).status_code == 200
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 401, "a token ends with its session"


async def test_a_user_of_several_tenants_names_the_one_that_they_mean(api: Api) -> None:
    await admin(api, ADA, tenant="acme")
    await admin(api, ADA, tenant="other")
    await api.tenant("third")
    page = await browser(api, ADA)
    me = (await page.send("GET", "/v1/auth/me")).json()
    assert (me["tenant"], [each["id"] for each in me["tenants"]]) == (None, ["acme", "other"])
    assert me["permissions"] == ["profile:read", "profile:write"]
    unnamed = await page.send("GET", "/v1/products")
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "tenant_required")
    for tenant in ("acme", "other"):
        assert (await page.send("GET", "/v1/products", headers={"X-Tenant-ID": tenant})).status_code == 200
    answers = [
        await page.send("GET", "/v1/products", headers={"X-Tenant-ID": tenant, "X-Request-Id": "same"})
        for tenant in ("third", "nobody", "")
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert {answer.content for answer in answers} == {answers[0].content}
    body = {"email": ADA, "password": PASSWORD, "kind": "program"}
    unnamed = await api.http.post("/v1/auth/login", json=body)
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "tenant_required")
    named = await program(api, ADA, tenant="other")
    assert (await named.send("GET", "/v1/auth/me")).json()["tenant"] == "other"
    refused = await named.send("GET", "/v1/products", headers={"X-Tenant-ID": "acme"})
    assert refused.json()["code"] == "tenant_mismatch", "a token is of the tenant that it was given for"


async def test_unknown_and_wrong_are_answered_alike(api: Api) -> None:
    await admin(api, ADA)
    answers = [
        await api.http.post(
            "/v1/auth/login",
            json={"email": email, "password": password, "kind": "program"},
            headers={"X-Request-Id": "same"},
        )
        for email, password in ((ADA, "wrong sentence of words"), ("nobody@example.com", PASSWORD))
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert answers[0].json()["code"] == "wrong_credentials"
    assert await logged(api) == []


async def test_a_cookie_and_a_token_do_not_go_together(api: Api) -> None:
    await admin(api, ADA)
    page, asks = await browser(api, ADA), await program(api, ADA)
    both = await page.send("GET", "/v1/auth/me", headers={"Authorization": f"Bearer {asks.access_token}"})
    assert (both.status_code, both.json()["code"]) == (400, "two_credentials")
    another = await asks.send("GET", "/v1/auth/me", headers={"Cookie": "theme=dark"})
    assert another.status_code == 200


async def test_a_browser_has_one_session(api: Api) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    first = page.cookie
    assert (await page.log_in(ADA)).status_code == 200
    assert page.cookie != first, "whoever planted a cookie knows nothing of the session that begins"
    page.cookie, second = first, page.cookie
    assert (await page.send("GET", "/v1/auth/me")).status_code == 401
    page.cookie = second
    assert (await page.send("GET", "/v1/auth/me")).status_code == 200


async def test_a_session_that_is_over_is_no_hindrance_to_sign_in_again(api: Api) -> None:
    await admin(api, ADA)
    page = Browser(http=api.http, cookie="a" * 52)
    assert (await page.log_in(ADA)).status_code == 200


async def test_an_api_key_has_no_profile(api: Api) -> None:
    client = await api.tenant("acme")
    refused = await client.get("/v1/auth/me")
    assert (refused.status_code, refused.json()["permission"]) == (403, "profile:read")


async def test_a_browsers_log_in_comes_from_our_own_page(api: Api) -> None:
    await admin(api, ADA)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        page = Browser(http=api.http, headers=headers)
        refused = await page.log_in(ADA)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request"), headers
    assert await logged(api) == []
    assert (await Browser(http=api.http, headers=dict(PAGE)).log_in(ADA)).status_code == 200
