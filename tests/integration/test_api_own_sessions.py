"""What users do with their sessions and passwords, over the real parts, with the letters that they get."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.identity.permissions import Role
from domain.identity.team import InviteMember
from infra.event_store.port import Request
from infra.identity.one_time_tokens import Grant, Purpose
from infra.ids import new_id
from testing import mailbox
from testing.api_client import Api, running_api
from testing.people import PASSWORD, Browser, admin, browser, program
from testing.services import FreshDatabase

ADA = "ada@example.com"
NEW = "another sentence that only Ada knows"
LOGGED = "SELECT event_type FROM log.events WHERE stream_type = $1 ORDER BY position"
PRODUCT = {"name": "P"}


@pytest.fixture
async def api(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        mailbox.keep_letters(running, tmp_path)
        yield running


async def logged(api: Api, stream_type: str = "session") -> list[str]:
    async with api.parts.reader.of("platform") as connection:
        return [row[0] for row in await connection.fetch(LOGGED, stream_type)]


async def letters(api: Api, folder: Path) -> list[str]:
    """The texts of the letters that were sent, oldest first."""
    return [letter.get_content() for letter in await mailbox.letters(api, folder)]


def token_in(letter: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:8080/[a-z-]+#token=([a-z2-7]{52})\b", letter)
    assert found is not None, letter
    return found[1]


async def test_a_program_refreshes_and_the_token_before_gets_the_current_one_for_a_moment(api: Api) -> None:
    await admin(api, ADA)
    asks = await program(api, ADA)
    first = await api.http.post("/v1/auth/refresh", json={"refresh_token": asks.refresh_token})
    assert first.status_code == 200, first.text
    again = await api.http.post("/v1/auth/refresh", json={"refresh_token": asks.refresh_token})
    assert again.json()["refresh_token"] == first.json()["refresh_token"]
    assert first.json()["session"] == asks.session
    asks.access_token = again.json()["access_token"]
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 200
    for nonsense in ("tbr_x", asks.refresh_token[:-1] + "x", asks.access_token[:200]):
        refused = await api.http.post("/v1/auth/refresh", json={"refresh_token": nonsense})
        assert (refused.status_code, refused.json()["code"]) == (401, "refresh_token_invalid")


async def test_a_refresh_token_in_two_hands_ends_the_session_tells_the_log_and_writes_once(
    api: Api, tmp_path: Path
) -> None:
    await admin(api, ADA)
    asks = await program(api, ADA)
    tokens = [asks.refresh_token]
    for _ in range(2):
        answer = await api.http.post("/v1/auth/refresh", json={"refresh_token": tokens[-1]})
        tokens.append(answer.json()["refresh_token"])
    for token in (tokens[0], tokens[0], tokens[2]):
        refused = await api.http.post("/v1/auth/refresh", json={"refresh_token": token})
        assert (refused.status_code, refused.json()["code"]) == (401, "refresh_token_invalid")
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 401
    assert await logged(api) == ["session.started", "session.token_reuse_detected", "session.ended"]
    (letter,) = await letters(api, tmp_path)
    assert "used a second time" in letter


async def test_sessions_are_listed_and_ended_one_by_one_or_all_at_once(api: Api) -> None:
    await admin(api, ADA)
    await admin(api, "bob@example.com")
    page, other, asks = await browser(api, ADA), await browser(api, ADA), await program(api, ADA)
    bobs = await browser(api, "bob@example.com")
    shown = (await page.send("GET", "/v1/auth/sessions")).json()["data"]
    assert [(each["kind"], each["is_current"]) for each in shown] == [
        ("program", False),
        ("browser", False),
        ("browser", True),
    ]
    gone = await page.send("DELETE", f"/v1/auth/sessions/{shown[1]['id']}", {})
    assert gone.status_code == 200
    assert (await other.send("GET", "/v1/auth/me")).status_code == 401
    foreign = (await bobs.send("GET", "/v1/auth/sessions")).json()["data"][0]["id"]
    for session in (foreign, shown[1]["id"], "ses_x"):
        refused = await page.send("DELETE", f"/v1/auth/sessions/{session}", {})
        assert (refused.status_code, refused.json()["code"]) == (404, "session_not_found")
    assert (await page.send("POST", "/v1/auth/logout-all", {})).status_code == 200
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 401
    assert (await bobs.send("GET", "/v1/auth/me")).status_code == 200
    assert await logged(api) == ["session.started"] * 4 + ["session.ended"] * 3


async def test_what_is_dangerous_wants_a_password_that_was_entered_lately(api: Api) -> None:
    await admin(api, ADA)
    page, client = await browser(api, ADA), await api.tenant("acme")
    erasing = f"/v1/customers/{(await client.made('/v1/customers', {'currency': 'EUR'}))['id']}/erase"
    await api.parts.identity.pool.execute("UPDATE access.sessions SET confirmed_at = confirmed_at - interval '15 min'")
    api.parts.credentials.forget_sessions()
    refused = await page.send("POST", erasing, {})
    assert (refused.status_code, refused.json()["code"]) == (403, "password_confirmation_required")
    assert "/v1/auth/confirm-password" in refused.json()["detail"]
    assert refused.json()["permission"] == "customers:erase"
    assert (await page.send("POST", "/v1/products", PRODUCT)).status_code == 201
    wrong = await page.send("POST", "/v1/auth/confirm-password", {"password": "a wrong sentence of words"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    before = page.cookie
    right = await page.send("POST", "/v1/auth/confirm-password", {"password": PASSWORD})
    assert right.status_code == 200, right.text
    assert page.cookie != before, "more rights, another secret"
    stale = Browser(http=api.http, cookie=before)
    assert (await stale.send("GET", "/v1/auth/me")).status_code == 401
    assert (await page.send("POST", erasing, {})).status_code == 200
    another = f"/v1/customers/{(await client.made('/v1/customers', {'currency': 'EUR'}))['id']}/erase"
    assert (await client.send("POST", another, {})).status_code == 200, "keys are not asked"


async def test_a_changed_password_ends_all_other_sessions_and_the_link_that_was_asked_for(
    api: Api, tmp_path: Path
) -> None:
    await admin(api, ADA)
    page, other, asks = await browser(api, ADA), await browser(api, ADA), await program(api, ADA)
    assert (await api.http.post("/v1/auth/forgot-password", json={"email": ADA})).status_code == 202
    (letter,) = await letters(api, tmp_path)
    body = {"current_password": PASSWORD, "new_password": "password"}
    weak = await page.send("POST", "/v1/auth/change-password", body)
    assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
    wrong = await page.send("POST", "/v1/auth/change-password", {**body, "current_password": "wrong words here"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    before = page.cookie
    done = await page.send("POST", "/v1/auth/change-password", {**body, "new_password": NEW})
    assert done.status_code == 200, done.text
    assert page.cookie != before
    assert (await page.send("GET", "/v1/auth/me")).status_code == 200
    for ended in (other, asks):
        assert (await ended.send("GET", "/v1/auth/me")).status_code == 401
    assert (await Browser(http=api.http).log_in(ADA)).status_code == 401
    assert (await Browser(http=api.http).log_in(ADA, NEW)).status_code == 200
    stale = await api.http.post(
        "/v1/auth/reset-password", json={"token": token_in(letter), "password": "yet another sentence"}
    )
    assert (stale.status_code, stale.json()["code"]) == (422, "one_time_token_invalid")
    assert (await logged(api, "user"))[-1] == "user.password_changed"


async def test_a_forgotten_password_is_chosen_anew_by_a_link_once(api: Api, tmp_path: Path) -> None:
    await admin(api, ADA)
    page = await browser(api, ADA)
    answers = [
        await api.http.post("/v1/auth/forgot-password", json={"email": email}, headers={"X-Request-Id": "same"})
        for email in (ADA, "nobody@example.com", ADA)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    (letter,) = await letters(api, tmp_path)
    token = token_in(letter)
    body = {"token": token, "password": NEW}
    weak = await api.http.post("/v1/auth/reset-password", json={**body, "password": ADA})
    assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
    done = await asyncio.gather(*(api.http.post("/v1/auth/reset-password", json=body) for _ in range(5)))
    assert 200 in {answer.status_code for answer in done}
    assert {answer.status_code for answer in done} <= {200, 422}
    assert (await logged(api, "user")).count("user.password_changed") == 1
    assert (await page.send("GET", "/v1/auth/me")).status_code == 401
    assert (await Browser(http=api.http).log_in(ADA)).status_code == 401
    assert (await Browser(http=api.http).log_in(ADA, NEW)).status_code == 200
    again = await api.http.post("/v1/auth/reset-password", json={**body, "password": "a third sentence of words"})
    assert (again.status_code, again.json()["code"]) == (422, "one_time_token_invalid")


async def test_nobody_registers_unless_the_cell_allows_it(api: Api) -> None:
    body = {"email": "eve@example.com", "password": PASSWORD, "name": "Eve"}
    refused = await api.http.post("/v1/auth/register", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "registration_closed")


async def test_whoever_registers_signs_in_once_the_address_is_theirs(api: Api, tmp_path: Path) -> None:
    open_cell = api.parts.settings.auth.model_copy(update={"registration": True})
    object.__setattr__(api.parts.settings, "auth", open_cell)
    await admin(api, ADA)
    eve = "eve@example.com"
    answers = []
    for email in (eve, ADA, eve):
        body = {"email": email, "password": "a sentence that Eve knows", "name": "Eve"}
        answers.append(await api.http.post("/v1/auth/register", json=body, headers={"X-Request-Id": "same"}))
        await api.parts.post.settled()
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    first, known = await letters(api, tmp_path)
    assert "already" in known
    early = await Browser(http=api.http).log_in(eve, "a sentence that Eve knows")
    assert (early.status_code, early.json()["code"]) == (409, "user_may_not_sign_in")
    assert (await Browser(http=api.http).log_in(ADA)).status_code == 200, "nobody's password was changed"
    token = token_in(first)
    body = {"token": token, "password": "a sentence that Eve knows"}
    wrong = await api.http.post("/v1/auth/verify-email", json={**body, "password": PASSWORD})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    for status in (200, 422):
        assert (await api.http.post("/v1/auth/verify-email", json=body)).status_code == status
    page = await browser(api, eve, "a sentence that Eve knows")
    me = (await page.send("GET", "/v1/auth/me")).json()
    assert (me["tenants"], me["tenant"], me["user"]["name"]) == ([], None, "Eve")
    assert (await page.send("GET", "/v1/products")).json()["code"] == "tenant_required"


async def invited(api: Api, email: str, role: Role = Role.VIEWER) -> str:
    """The token of an invitation to acme."""
    identity = api.parts.identity
    invitation_id, now = new_id("inv_"), identity.clock()
    command = InviteMember(
        user_id=None,
        tenant_id="acme",
        invitation_id=invitation_id,
        role=role,
        expires_at=now + timedelta(days=1),
        by=None,
    )
    outcome = await api.parts.writer.submit(
        Request(
            tenant_id="acme",
            idempotency_key=f"test/{invitation_id}",
            request_hash=bytes(32),
            command=command,
            actor="operator",
            correlation_id="test",
        )
    )
    assert outcome.refusal_code is None
    grant = Grant(
        purpose=Purpose.INVITATION,
        subject_id=invitation_id,
        tenant_id="acme",
        role=role,
        email_index=identity.users.index_of(email),
    )
    return await identity.one_time.make(grant, lasts=timedelta(days=1), now=now)


async def test_an_invitation_is_accepted_by_the_address_that_was_invited(api: Api) -> None:
    await admin(api, ADA)
    eve = "eve@example.com"
    token = await invited(api, eve)
    body = {"token": token, "email": eve, "password": "a sentence that Eve knows", "name": "Eve"}
    stolen = await api.http.post("/v1/auth/accept-invitation", json={**body, "email": "mallory@example.com"})
    assert (stolen.status_code, stolen.json()["code"]) == (422, "one_time_token_invalid")
    bare = await api.http.post("/v1/auth/accept-invitation", json={"token": token, "email": eve})
    assert bare.status_code == 422
    assert [each["param"] for each in bare.json()["errors"]] == ["password", "name"]
    done = await api.http.post("/v1/auth/accept-invitation", json=body)
    assert done.status_code == 200, done.text
    page = await browser(api, eve, "a sentence that Eve knows")
    me = (await page.send("GET", "/v1/auth/me")).json()
    assert (me["tenant"], me["role"]) == ("acme", "viewer")
    again = await api.http.post("/v1/auth/accept-invitation", json=body)
    assert (again.status_code, again.json()["code"]) == (422, "one_time_token_invalid")
    second = await invited(api, eve, Role.ADMIN)
    twice = await api.http.post("/v1/auth/accept-invitation", json={"token": second, "email": eve})
    assert (twice.status_code, twice.json()["code"]) == (409, "already_member")
    assert (await page.send("POST", "/v1/products", PRODUCT)).status_code == 403


async def test_whoever_registers_anothers_address_first_gets_nothing_by_it(api: Api, tmp_path: Path) -> None:
    """The owner of the address is invited, or gets the letter: neither lets the other's password in."""
    open_cell = api.parts.settings.auth.model_copy(update={"registration": True})
    object.__setattr__(api.parts.settings, "auth", open_cell)
    await admin(api, ADA)
    eve, theirs, own = "eve@example.com", "a sentence of Mallory's", "a sentence that Eve knows"
    registration = {"email": eve, "password": theirs, "name": "Eve"}
    assert (await api.http.post("/v1/auth/register", json=registration)).status_code == 202
    await api.parts.post.settled()
    (letter,) = await letters(api, tmp_path)
    verified = await api.http.post("/v1/auth/verify-email", json={"token": token_in(letter), "password": own})
    assert (verified.status_code, verified.json()["code"]) == (403, "wrong_password")
    acceptance = {"token": await invited(api, eve), "email": eve}
    bare = await api.http.post("/v1/auth/accept-invitation", json=acceptance)
    assert [each["param"] for each in bare.json()["errors"]] == ["password"]
    done = await api.http.post("/v1/auth/accept-invitation", json={**acceptance, "password": own})
    assert done.status_code == 200, done.text
    assert (await Browser(http=api.http).log_in(eve, theirs)).json()["code"] == "wrong_credentials"
    assert (await Browser(http=api.http).log_in(eve, own)).status_code == 200


async def test_a_user_changes_their_own_profile(api: Api) -> None:
    await admin(api, ADA)
    page, asks = await browser(api, ADA), await program(api, ADA)
    changed = await page.send("PATCH", "/v1/auth/profile", {"phone": "+44 20 7946 0958", "locale": "en-GB"})
    assert changed.status_code == 200, changed.text
    shown = (await asks.send("GET", "/v1/auth/me")).json()["user"]
    assert shown == changed.json()
    assert (shown["name"], shown["phone"], shown["locale"]) == ("Ada Lovelace", "+44 20 7946 0958", "en-GB")
    await page.send("PATCH", "/v1/auth/profile", {"locale": "en-GB"})
    assert (await logged(api, "user")).count("user.updated") == 1, "what is said again changes nothing"
    both = await asyncio.gather(
        page.send("PATCH", "/v1/auth/profile", {"phone": None}),
        asks.send("PATCH", "/v1/auth/profile", {"name": "Countess"}),
    )
    assert {answer.status_code for answer in both} == {200}
    shown = (await asks.send("GET", "/v1/auth/me")).json()["user"]
    assert (shown["name"], shown["phone"], shown["email"]) == ("Countess", None, ADA)


async def test_the_keys_are_published_for_an_hour(api: Api) -> None:
    answer = await api.http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=3600"
    (key,) = answer.json()["keys"]
    assert {"kty", "kid", "n", "e", "alg", "use"} == key.keys(), "no private part"


async def test_a_link_of_the_first_log_in_is_good_once_and_from_here(api: Api) -> None:
    user_id = await admin(api, ADA)
    identity = api.parts.identity
    grant = Grant(purpose=Purpose.FIRST_LOG_IN, subject_id=user_id)
    token = await identity.one_time.make(grant, lasts=timedelta(minutes=10), now=identity.clock())
    page = Browser(http=api.http)
    answers = await asyncio.gather(*(page.send("POST", "/v1/auth/login-link", {"token": token}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
    assert (await page.send("GET", "/v1/auth/me")).json()["tenant"] == "acme"
