"""What is taken away from somebody is gone with the next request, in every API process, with nothing projected."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from api.http.signing_in import tell_ended
from domain.identity.permissions import Role
from domain.identity.refreshing import EndReason, Refreshing
from domain.identity.team import AddMember, ChangeMemberRole, RemoveMember
from domain.identity.user import EraseUser, SuspendUser
from domain.kernel.stream import Command
from infra.event_store.port import Request
from infra.ids import new_id
from infra.settings import ApiSettings
from testing.api_client import Api, running_api
from testing.people import PASSWORD, Browser, Program, admin, browser, program
from testing.services import FreshDatabase

ADA, BOB = "ada@example.com", "bob@example.com"
PRODUCT = {"name": "P"}
PATIENCE_S = 30.0
BELIEVING = ApiSettings(key_cache_s=86_400, anonymous_rate_per_min=100_000, log_ins_per_min=100_000)
"""What was found would be believed for a day, were it not for what is told."""


@pytest.fixture
async def processes(database: FreshDatabase) -> AsyncIterator[list[Api]]:
    async with running_api(database, BELIEVING) as one, running_api(database, BELIEVING) as other:
        yield [one, other]


async def done(api: Api, command: Command, tenant_id: str = "platform") -> None:
    outcome = await api.parts.writer.submit(
        Request(
            tenant_id=tenant_id,
            idempotency_key=new_id("test_"),
            request_hash=bytes(32),
            command=command,
            actor="operator",
            correlation_id="test",
        )
    )
    assert outcome.refusal_code is None


def everywhere(processes: list[Api], page: Browser, asks: Program) -> list[Browser | Program]:
    """The same session and the same token at each process."""
    return [
        *(Browser(http=api.http, cookie=page.cookie, csrf_token=page.csrf_token) for api in processes),
        *(Program(http=api.http, access_token=asks.access_token, refresh_token="", session="") for api in processes),
    ]


async def until(asker: Browser | Program, status: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await asker.send("POST", "/v1/products", PRODUCT)).status_code != status:
            await asyncio.sleep(0.01)


async def test_a_demoted_user_a_removed_one_and_a_suspended_one_are_refused_by_every_process(
    processes: list[Api],
) -> None:
    one = processes[0]
    await admin(one, ADA)
    bob = await admin(one, BOB)
    askers = everywhere(processes, await browser(one, BOB), await program(one, BOB))
    for asker in askers:
        await until(asker, 201)
    await done(one, ChangeMemberRole(tenant_id="acme", user_id=bob, role=Role.VIEWER, by=None), "acme")
    for asker in askers:
        await until(asker, 403)
        assert (await asker.send("GET", "/v1/products")).status_code == 200
    await done(one, ChangeMemberRole(tenant_id="acme", user_id=bob, role=Role.BILLING_ADMIN, by=None), "acme")
    for asker in askers:
        await until(asker, 201)
    await done(one, RemoveMember(tenant_id="acme", user_id=bob, by=None), "acme")
    for asker in askers:
        await until(asker, 400)
    await done(one, AddMember(tenant_id="acme", user_id=bob, role=Role.BILLING_ADMIN, by=None), "acme")
    for asker in askers:
        await until(asker, 201)
    await done(one, SuspendUser(user_id=bob))
    for asker in askers:
        await until(asker, 401)


async def test_a_password_that_is_changed_at_one_process_ends_sessions_at_the_other(processes: list[Api]) -> None:
    one, other = processes
    await admin(one, ADA)
    page = await browser(one, ADA)
    askers = everywhere([other], await browser(other, ADA), await program(other, ADA))
    for asker in askers:
        await until(asker, 201)
    body = {"current_password": PASSWORD, "new_password": "another sentence that only Ada knows"}
    assert (await page.send("POST", "/v1/auth/change-password", body)).status_code == 200
    for asker in askers:
        await until(asker, 401)


async def test_an_erased_user_is_nobody(processes: list[Api]) -> None:
    one = processes[0]
    user_id = await admin(one, ADA)
    askers = everywhere(processes, await browser(one, ADA), await program(one, ADA))
    for asker in askers:
        await until(asker, 201)
    await done(one, EraseUser(user_id=user_id))
    for asker in askers:
        await until(asker, 401)
    assert (await Browser(http=one.http).log_in(ADA)).json()["code"] == "wrong_credentials"


async def test_a_log_in_with_the_old_password_that_is_slower_than_its_change_comes_to_nothing(
    processes: list[Api],
) -> None:
    """The row of a session is written while the password that was compared is still the user's, or not at all."""
    one, other = processes
    await admin(one, ADA)
    page = await browser(one, ADA)
    body = {"current_password": PASSWORD, "new_password": "another sentence that only Ada knows"}
    # Its share of what may be changed an hour is here, so that the change does not begin behind the log-ins.
    assert (await page.send("POST", "/v1/products", PRODUCT)).status_code == 201

    async def change() -> httpx2.Response:
        async with asyncio.timeout(PATIENCE_S):
            # Log-ins that are being compared hold others of the account back, and this, too.
            while (answer := await page.send("POST", "/v1/auth/change-password", body)).status_code == 429:
                await asyncio.sleep(0.05)
        return answer

    late = [Browser(http=api.http) for api in (one, other) for _ in range(10)]
    changed, *answers = await asyncio.gather(change(), *(each.log_in(ADA) for each in late))
    assert changed.status_code == 200, changed.text
    assert {answer.status_code for answer in answers} <= {200, 401, 429}
    for each in late:
        if each.cookie:
            async with asyncio.timeout(PATIENCE_S):
                while (await each.send("GET", "/v1/auth/me")).status_code != 401:
                    await asyncio.sleep(0.01)
    live = "SELECT count(*) FROM access.sessions WHERE ended_at IS NULL"
    assert await one.parts.identity.pool.fetchval(live) == 1


async def test_twenty_refreshes_at_once_give_one_new_generation(processes: list[Api]) -> None:
    one = processes[0]
    await admin(one, ADA)
    asks = await program(one, ADA)
    body = {"refresh_token": asks.refresh_token}
    answers = await asyncio.gather(
        *(api.http.post("/v1/auth/refresh", json=body) for api in processes for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    identity = one.parts.identity
    again = await identity.sessions.refresh(answers[0].json()["refresh_token"], identity.clock())
    assert again.outcome is Refreshing.NEXT


async def test_an_end_that_nobody_told_the_log_of_is_told_by_whoever_comes_next(processes: list[Api]) -> None:
    """The process was killed between the row and its event."""
    one, other = processes
    await admin(one, ADA)
    asks = await program(one, ADA)
    identity = one.parts.identity
    assert await identity.sessions.end(asks.session, EndReason.LOGGED_OUT, identity.clock())
    await asyncio.gather(tell_ended(one.parts), tell_ended(other.parts))
    await tell_ended(other.parts)
    async with one.parts.reader.of("platform") as connection:
        told = await connection.fetch("SELECT event_type FROM log.events WHERE stream_type = 'session' ORDER BY 1")
    assert [row[0] for row in told] == ["session.ended", "session.started"]
    assert await identity.sessions.untold(limit=10) == []
