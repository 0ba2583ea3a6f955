"""Other sites' pages, planted cookies, guesses, and links that lead elsewhere: what a browser's user is kept from."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from api.app import create_app
from domain.identity.browser import SESSION_COOKIE
from testing.api_client import Api, running_api
from testing.mailbox import keep_letters, letters
from testing.people import PAGE, PASSWORD, Browser, admin, browser
from testing.services import FreshDatabase

ADA = "ada@example.com"
PRODUCT = {"name": "P"}
WRONG = "a wrong sentence of words"


@pytest.fixture
async def api(database: FreshDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    # Longer than any machine takes between two guesses.
    monkeypatch.setenv("TALLYBOOK_AUTH_LOCKOUT_FIRST_S", "600")
    async with running_api(database) as running:
        keep_letters(running, tmp_path)
        yield running


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, "cross_site_request"),
        ({"Sec-Fetch-Site": "same-site"}, "cross_site_request"),
        ({"Sec-Fetch-Site": "none"}, "cross_site_request"),
        ({"Sec-Fetch-Site": ""}, "cross_site_request"),
        ({"Origin": "https://evil.example"}, "cross_site_request"),
        ({"Origin": "null"}, "cross_site_request"),
        ({"Origin": "http://127.0.0.1:8080.evil.example"}, "cross_site_request"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8080"}, "cross_site_request"),
        ({}, "cross_site_request"),
        ({**PAGE, "X-CSRF-Token": ""}, "csrf_token_invalid"),
        ({**PAGE, "X-CSRF-Token": "a" * 52}, "csrf_token_invalid"),
        ({**PAGE, "X-CSRF-Token": "\xff"}, "csrf_token_invalid"),
    ],
    ids=str,
)
async def test_a_change_that_our_own_page_did_not_send_is_refused(api: Api, headers: dict[str, str], code: str) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    before = await api.head()
    sent = {"Cookie": f"{SESSION_COOKIE}={page.cookie}", "X-CSRF-Token": page.csrf_token, "Idempotency-Key": "k"}
    raw = {name.encode(): value.encode("latin-1") for name, value in {**sent, **headers}.items()}
    refused = await api.http.post("/v1/products", json=PRODUCT, headers=raw)
    assert (refused.status_code, refused.json()["code"]) == (403, code)
    assert await api.head() == before


async def test_another_sessions_token_is_no_csrf_token_and_a_form_is_no_request(api: Api) -> None:
    await admin(api, ADA)
    page, other = await browser(api, ADA), await browser(api, ADA)
    refused = await page.send("POST", "/v1/products", PRODUCT, {"X-CSRF-Token": other.csrf_token})
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_token_invalid")
    form = await api.http.post(
        "/v1/auth/login",
        content=b'{"email":"ada@example.com","password":"x","kind":"browser","a":"=b"}',
        headers={"Content-Type": "text/plain", **PAGE},
    )
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")


async def test_reading_from_another_site_is_refused_too(api: Api) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    for site in ("cross-site", "same-site"):
        refused = await page.send("GET", "/v1/auth/me", headers={"Sec-Fetch-Site": site})
        assert refused.json()["code"] == "cross_site_request"
    assert (await page.send("GET", "/v1/auth/me", headers={"Sec-Fetch-Site": "none"})).status_code == 200


async def test_a_planted_or_doubled_cookie_is_nobodys(api: Api) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    good, planted = f"{SESSION_COOKIE}={page.cookie}", f"{SESSION_COOKIE}={'b' * 52}"
    for cookies in (f"{planted}; {good}", f"{good}; {planted}", f"{good}; {good}", f"X{good}", good.lower()):
        answer = await page.send("GET", "/v1/auth/me", headers={"Cookie": cookies})
        assert answer.status_code == 401, cookies
    twice = [("Cookie", good), ("Cookie", planted), *PAGE.items()]
    answer = await api.http.get("/v1/auth/me", headers=twice)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
    assert (await page.send("GET", "/v1/auth/me", headers={"Cookie": f"a=b; {good}"})).status_code == 200


async def test_a_session_of_before_the_log_in_is_not_the_one_after_it(api: Api) -> None:
    """Fixation: whoever knows the cookie that a browser came with knows nothing of the session that begins."""
    await admin(api, ADA)
    await admin(api, "mallory@example.com")
    mallory = await browser(api, "mallory@example.com")
    victim = Browser(http=api.http, cookie=mallory.cookie, csrf_token=mallory.csrf_token)
    assert (await victim.log_in(ADA)).status_code == 200
    assert victim.cookie != mallory.cookie
    assert (await mallory.send("GET", "/v1/auth/me")).status_code == 401
    assert (await victim.send("GET", "/v1/auth/me")).json()["user"]["email"] == ADA


async def test_passwords_are_not_taken_over_plain_http_from_elsewhere(api: Api) -> None:
    await admin(api, ADA)
    transport = httpx2.ASGITransport(app=create_app(api.parts), client=("192.0.2.7", 1234))
    body = {"email": ADA, "password": PASSWORD, "kind": "program"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as plain:
        for told in (
            {},
            {"X-Forwarded-Proto": "https"},
            {"X-Forwarded-For": "127.0.0.1"},
            {"Forwarded": "proto=https"},
        ):
            refused = await plain.post("/v1/auth/login", json=body, headers=told)
            assert (refused.status_code, refused.json()["code"]) == (403, "insecure_connection")
    async with httpx2.AsyncClient(transport=transport, base_url="https://api.test") as encrypted:
        assert (await encrypted.post("/v1/auth/login", json=body)).status_code == 200


async def test_guesses_from_many_addresses_at_one_account_are_held_back_and_known_and_unknown_alike(api: Api) -> None:
    await admin(api, ADA)
    app = create_app(api.parts)
    unknown = "nobody@example.com"

    async def guess(email: str, address: str, password: str = WRONG) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app, client=(address, 1234))
        async with httpx2.AsyncClient(transport=transport, base_url="https://api.test") as http:
            body = {"email": email, "password": password, "kind": "program"}
            return await http.post("/v1/auth/login", json=body, headers={"X-Request-Id": "same"})

    told: dict[str, list[tuple[int, str]]] = {}
    for email in (ADA, unknown):
        answers = [await guess(email, f"192.0.2.{number}") for number in range(7)]
        told[email] = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told[ADA] == told[unknown]
    assert told[ADA] == [(401, "wrong_credentials")] * 5 + [(429, "log_in_held_back")] * 2
    right = await guess(ADA, "192.0.2.99", PASSWORD)
    assert right.status_code == 429, "the right password is not looked at either"
    assert int(right.headers["retry-after"]) >= 1
    hashed = api.parts.identity.hashing.hashed
    many = await asyncio.gather(*(guess(ADA, f"198.51.100.{number}") for number in range(50)))
    assert {answer.status_code for answer in many} <= {401, 429}
    assert api.parts.identity.hashing.hashed - hashed <= 2, "however many come at once"


async def test_nobody_is_told_which_addresses_are_known(api: Api) -> None:
    """By what is answered, and by the work that is done: counted, not timed."""
    await admin(api, ADA)
    hashing = api.parts.identity.hashing
    for path, more in (
        ("/v1/auth/login", {"password": WRONG, "kind": "program"}),
        ("/v1/auth/forgot-password", {}),
        ("/v1/auth/register", {"password": PASSWORD, "name": "Somebody"}),
    ):
        told, costs = set(), set()
        for email in (ADA, "nobody@example.com"):
            before = hashing.hashed
            answer = await api.http.post(path, json={"email": email, **more}, headers={"X-Request-Id": "same"})
            told.add((answer.status_code, answer.content))
            costs.add(hashing.hashed - before)
        assert len(told) == len(costs) == 1, path
    await api.parts.post.settled()


async def test_a_link_leads_where_settings_say_whatever_the_request_says(api: Api, tmp_path: Path) -> None:
    await admin(api, ADA)
    elsewhere = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "Origin": "https://evil.example",
        "Referer": "https://evil.example/",
    }
    answer = await api.http.post("/v1/auth/forgot-password", json={"email": ADA}, headers=elsewhere)
    assert answer.status_code == 202
    assert "location" not in answer.headers
    (letter,) = await letters(api, tmp_path)
    assert letter["To"] == ADA
    links = [word for word in letter.get_content().split() if "://" in word]
    (link,) = links
    page, _, fragment = link.partition("#")
    assert page == "http://127.0.0.1:8080/reset-password", "the token is in no part that is sent or logged"
    assert fragment.startswith("token=")
    for name in ("redirect", "next", "return_to", "url"):
        sent = await api.http.post("/v1/auth/forgot-password", json={"email": ADA, name: "https://evil.example"})
        assert sent.status_code == 422, "there is nothing to be led elsewhere by"


async def test_a_letter_goes_to_one_address_and_a_mailbox_is_not_filled(api: Api, tmp_path: Path) -> None:
    await admin(api, ADA)
    for email in (f"{ADA}\r\nBcc: eve@example.com", f"{ADA},eve@example.com", f"{ADA} eve@example.com"):
        answer = await api.http.post("/v1/auth/forgot-password", json={"email": email})
        assert answer.status_code in (202, 422), email
    for _ in range(20):
        assert (await api.http.post("/v1/auth/forgot-password", json={"email": ADA})).status_code == 202
        await api.parts.post.settled()
    assert len(await letters(api, tmp_path)) == 1


async def test_no_log_holds_a_password_a_token_or_an_address(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    await page.send("GET", "/v1/auth/me")
    await Browser(http=api.http).log_in(ADA, WRONG)
    api.parts.access_log.close()
    written = "".join(capsys.readouterr())
    assert "/v1/auth/login" in written
    for secret in (PASSWORD, WRONG, ADA, page.cookie, page.csrf_token):
        assert secret not in written


async def test_what_a_full_queue_refuses_asks_the_database_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that in a flood of log-ins payments need not wait for it; and nobody is held back for having been refused."""
    await admin(api, ADA)
    body = {"email": ADA, "password": PASSWORD, "kind": "program"}
    with monkeypatch.context() as full:
        full.setattr(api.parts.identity.hashing, "_most", 0)
        for _ in range(30):
            refused = await api.http.post("/v1/auth/login", json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "passwords_busy")
            assert int(refused.headers["retry-after"]) >= 1
    assert await api.parts.identity.pool.fetchval("SELECT count(*) FROM access.log_in_failures") == 0
    assert (await api.http.post("/v1/auth/login", json=body)).status_code == 200
