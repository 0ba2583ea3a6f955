"""Signing in with a second factor, over the real parts: a stolen password signs nobody in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from asyncpg.connection import LoggedQuery

from api.http.callers import own_origin
from infra.event_store.port import Outcome, Request
from testing.api_client import Api, running_api
from testing.authenticator import Authenticator
from testing.authenticator_app import AuthenticatorApp
from testing.people import PASSWORD, Browser, admin, browser
from testing.services import FreshDatabase

ADA = "ada@example.com"
PATH = "/v1/auth/second-factors"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        await admin(running, ADA)
        yield running


async def sign_in(api: Api, **more: object) -> httpx2.Response:
    body = {"email": ADA, "password": PASSWORD, "kind": "browser", **more}
    return await Browser(http=api.http).send("POST", "/v1/auth/login", body)


async def with_app(api: Api, page: Browser) -> tuple[AuthenticatorApp, list[str], str]:
    """The telephone, added as second factor, its recovery codes and its id."""
    offer = (await page.send("POST", f"{PATH}/totp", {"name": "Telephone"})).json()
    assert offer["uri"].startswith("otpauth://totp/Tallybook:ada%40example.com?"), offer
    phone = AuthenticatorApp(offer["secret"])
    added = await page.send("POST", f"{PATH}/totp/confirm", {"id": offer["id"], "code": await phone.code()})
    assert added.status_code == 200, added.text
    return phone, added.json()["recovery_codes"], offer["id"]


def told(response: httpx2.Response) -> tuple[int, Any]:
    return response.status_code, response.json().get("code")


async def test_from_the_first_factor_on_the_password_is_not_enough(api: Api) -> None:
    page = await browser(api, ADA)
    offer = (await page.send("POST", f"{PATH}/totp", {})).json()
    assert (await sign_in(api)).status_code == 200, "an offer that nobody took up is none"
    assert offer["secret"] not in (await page.send("GET", PATH)).text
    phone, codes, _ = await with_app(api, page)
    assert len(set(codes)) == 10
    assert told(await sign_in(api)) == (401, "second_factor_required")
    assert told(await sign_in(api, code="000000")) == (401, "wrong_second_factor")
    assert told(await sign_in(api, password="wrong", code=await phone.code())) == (401, "wrong_credentials")
    code = await phone.code()
    assert (await sign_in(api, code=code)).status_code == 200
    assert told(await sign_in(api, code=code)) == (401, "wrong_second_factor"), "each code is good once"
    (factor,) = (await page.send("GET", PATH)).json()["data"]
    assert (factor["kind"], factor["name"]) == ("totp", "Telephone")
    assert factor["last_used_at"] is not None


async def test_a_recovery_code_stands_in_once(api: Api) -> None:
    page = await browser(api, ADA)
    _, codes, _ = await with_app(api, page)
    assert (await sign_in(api, code=codes[0])).status_code == 200
    assert told(await sign_in(api, code=codes[0])) == (401, "wrong_second_factor")
    made = (await page.send("POST", "/v1/auth/recovery-codes", {})).json()["recovery_codes"]
    assert told(await sign_in(api, code=codes[1])) == (401, "wrong_second_factor")
    assert (await sign_in(api, code=made[1])).status_code == 200
    assert (await page.send("GET", PATH)).json()["recovery_codes_left"] == 9


async def test_a_first_factor_has_recovery_codes_though_nothing_happened_after_its_commit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, submit = await browser(api, ADA), api.parts.writer.submit

    async def and_no_further(asked: Request) -> Outcome:
        await submit(asked)
        raise ConnectionResetError

    offer = (await page.send("POST", f"{PATH}/totp", {})).json()
    body = {"id": offer["id"], "code": await AuthenticatorApp(offer["secret"]).code()}
    with monkeypatch.context() as killed:
        killed.setattr(api.parts.writer, "submit", and_no_further)
        assert (await page.send("POST", f"{PATH}/totp/confirm", body)).status_code == 503
    found = (await page.send("GET", PATH)).json()
    assert [each["id"] for each in found["data"]] == [offer["id"]]
    assert found["recovery_codes_left"] == 10
    # Whoever asks again learns that it is done, and what to do about codes that nobody saw.
    assert told(await page.send("POST", f"{PATH}/totp/confirm", body)) == (409, "second_factor_already_exists")
    made = (await page.send("POST", "/v1/auth/recovery-codes", {})).json()["recovery_codes"]
    assert (await sign_in(api, code=made[0])).status_code == 200


async def test_of_first_factors_that_are_confirmed_at_once_one_brings_recovery_codes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, device = await browser(api, ADA), Authenticator(own_origin(api.parts.settings))
    offers = [(await page.send("POST", f"{PATH}/totp", {})).json() for _ in range(3)]
    asked = [
        (f"{PATH}/totp/confirm", {"id": offer["id"], "code": await AuthenticatorApp(offer["secret"]).code()})
        for offer in offers
    ]
    options = (await page.send("POST", f"{PATH}/passkey", {})).json()
    asked.append((f"{PATH}/passkey/confirm", {"answer": device.create(options)}))
    submit, all_here = api.parts.writer.submit, asyncio.Barrier(len(asked))

    async def all_at_once(request: Request) -> Outcome:
        await all_here.wait()
        return await submit(request)

    with monkeypatch.context() as held:
        held.setattr(api.parts.writer, "submit", all_at_once)
        answers = await asyncio.gather(*(page.send("POST", path, body) for path, body in asked))
    assert [answer.status_code for answer in answers] == [200] * len(asked)
    (codes,) = [found for answer in answers if (found := answer.json()["recovery_codes"]) is not None]
    assert (await page.send("GET", PATH)).json()["recovery_codes_left"] == 10
    assert (await sign_in(api, code=codes[0])).status_code == 200


async def test_who_confirms_a_factor_that_they_have_is_told_so(api: Api) -> None:
    page, device = await browser(api, ADA), Authenticator(own_origin(api.parts.settings))
    phone, _, factor_id = await with_app(api, page)
    again = await page.send("POST", f"{PATH}/totp/confirm", {"id": factor_id, "code": await phone.code()})
    assert told(again) == (409, "second_factor_already_exists")
    options = (await page.send("POST", f"{PATH}/passkey", {})).json()
    body = {"answer": device.create(options)}
    first = await page.send("POST", f"{PATH}/passkey/confirm", body)
    assert (first.status_code, first.json()["recovery_codes"]) == (200, None)
    assert told(await page.send("POST", f"{PATH}/passkey/confirm", body)) == (409, "second_factor_already_exists")


async def test_a_log_in_reads_the_second_factors_once(api: Api) -> None:
    page = await browser(api, ADA)
    phone, _, _ = await with_app(api, page)
    queries: list[str] = []

    def noted(query: LoggedQuery) -> None:
        queries.append(query.query)

    connections = [await api.parts.access_pool.acquire() for _ in range(api.parts.access_pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(noted)
    for connection in connections:
        await api.parts.access_pool.release(connection)
    assert (await sign_in(api, code=await phone.code())).status_code == 200
    of_hers = [query for query in queries if "access.second_factors" in query and "user_id = $1" in query]
    assert len(of_hers) == 1, of_hers


async def test_a_passkey_signs_in_and_confirms(api: Api) -> None:
    page, device = await browser(api, ADA), Authenticator(own_origin(api.parts.settings))
    options = (await page.send("POST", f"{PATH}/passkey", {})).json()
    body = {"name": "Key on my ring", "answer": device.create(options)}
    assert (await page.send("POST", f"{PATH}/passkey/confirm", body)).status_code == 200
    assert told(await sign_in(api)) == (401, "second_factor_required")

    async def answer() -> str:
        asked = await Browser(http=api.http).send(
            "POST", "/v1/auth/passkey-options", {"email": ADA, "password": PASSWORD}
        )
        assert asked.status_code == 200, asked.text
        return device.get(asked.json())

    shown = await answer()
    assert (await sign_in(api, passkey=shown)).status_code == 200
    assert told(await sign_in(api, passkey=shown)) == (401, "wrong_second_factor")
    confirm = "/v1/auth/confirm-password"
    assert told(await page.send("POST", confirm, {"password": PASSWORD})) == (401, "second_factor_required")
    assert (await page.send("POST", confirm, {"password": PASSWORD, "passkey": await answer()})).status_code == 200
    wrong = {"email": ADA, "password": "wrong"}
    assert told(await page.send("POST", "/v1/auth/passkey-options", wrong)) == (401, "wrong_credentials")


async def test_a_mistyped_first_code_is_tried_again_with_the_same_offer(api: Api) -> None:
    page = await browser(api, ADA)
    offer = (await page.send("POST", f"{PATH}/totp", {})).json()
    mistyped = await page.send("POST", f"{PATH}/totp/confirm", {"id": offer["id"], "code": "aaaaa-aaaaa"})
    assert told(mistyped) == (422, "second_factor_not_shown")
    assert "try again" in mistyped.json()["detail"]
    right = {"id": offer["id"], "code": await AuthenticatorApp(offer["secret"]).code()}
    assert (await page.send("POST", f"{PATH}/totp/confirm", right)).status_code == 200


async def test_guesses_are_held_back_though_the_password_is_right_each_time(api: Api) -> None:
    page = await browser(api, ADA)
    phone, _, _ = await with_app(api, page)
    answers = [told(await sign_in(api, code=f"{number:06}")) for number in range(12)]
    assert (429, "log_in_held_back") in answers
    assert told(await sign_in(api, code=await phone.code()))[0] in (200, 429), "at most told to wait"
    # The password's own count is another: it is not what fails.
    assert told(await sign_in(api)) == (401, "second_factor_required")


async def test_a_factor_is_removed_by_its_user_alone_and_the_codes_go_with_the_last(api: Api) -> None:
    await admin(api, "bob@example.com", tenant="other")
    page, bob = await browser(api, ADA), await browser(api, "bob@example.com")
    _, codes, factor_id = await with_app(api, page)
    assert told(await bob.send("DELETE", f"{PATH}/{factor_id}", {})) == (404, "second_factor_not_found")
    assert (await page.send("DELETE", f"{PATH}/{factor_id}", {})).status_code == 200
    assert (await page.send("GET", PATH)).json() == {"object": "second_factors", "data": [], "recovery_codes_left": 0}
    assert (await sign_in(api)).status_code == 200
    assert (await sign_in(api, code=codes[0])).status_code == 200, "nothing is asked for, so nothing is looked at"


async def test_factors_change_after_a_password_was_entered_lately(api: Api) -> None:
    page = await browser(api, ADA)
    async with api.parts.access_pool.acquire() as connection:
        await connection.execute("UPDATE access.sessions SET confirmed_at = confirmed_at - interval '16 minutes'")
    api.parts.credentials.forget_sessions()
    for method, path in (
        ("POST", f"{PATH}/totp"),
        ("POST", f"{PATH}/passkey"),
        ("POST", "/v1/auth/recovery-codes"),
        ("DELETE", f"{PATH}/fac_01m7ywe9z7e398x54gfbrtqnk7"),
    ):
        assert told(await page.send(method, path, {})) == (403, "password_confirmation_required"), path
    await page.send("POST", "/v1/auth/confirm-password", {"password": PASSWORD})
    assert (await page.send("POST", f"{PATH}/totp", {})).status_code == 200


async def test_the_log_knows_that_there_is_a_factor_and_nothing_of_it(api: Api) -> None:
    page = await browser(api, ADA)
    await with_app(api, page)
    async with api.parts.reader.of("platform") as connection:
        rows = await connection.fetch("SELECT event_type FROM log.events WHERE stream_type = 'user' ORDER BY position")
    assert [row[0] for row in rows][-1] == "user.second_factor_added"
