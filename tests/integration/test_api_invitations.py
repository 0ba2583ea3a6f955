"""Invitations over HTTP, from the letter to the membership; what is known of the address, and for how long."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api.upkeep import USED_KEPT, clear_expired
from domain.identity.permissions import Scope
from infra.clock import system_clock
from infra.identity.invitation_addresses import InvitationAddresses
from infra.mail.post import Writes
from testing.access_invariant import check_access_holds
from testing.api_client import Api, Client, running_api
from testing.mailbox import keep_letters, tokens_sent
from testing.people import admin, program
from testing.services import FreshDatabase

BOB = "bob@example.com"
PATH = "/v1/invitations"
PASSWORD = "a sentence that only Bob knows"


@pytest.fixture
async def api(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        keep_letters(running, tmp_path)
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def letters(api: Api, folder: Path) -> list[tuple[str, str]]:
    """Whom letters went to, and the tokens in them."""
    found = await tokens_sent(api, folder)
    assert all(token for _, token in found)
    return found


async def invite(client: Client, role: str = "admin", email: str = BOB) -> dict[str, Any]:
    return await client.made(PATH, {"email": email, "role": role})


async def accept(api: Api, token: str, email: str = BOB) -> int:
    body = {"token": token, "email": email, "password": PASSWORD, "name": "Bob"}
    answer = await api.http.post("/v1/auth/accept-invitation", json=body)
    return answer.status_code


async def test_whoever_is_invited_gets_a_letter_and_becomes_a_member_once(
    api: Api, client: Client, tmp_path: Path
) -> None:
    made = await invite(client)
    assert (made["email"], made["role"], made["status"]) == (BOB, "admin", "open")
    assert (await client.get(f"{PATH}/{made['id']}")).json() == made
    ((to, token),) = await letters(api, tmp_path)
    assert to == BOB
    assert token not in str(made)
    assert await accept(api, token) == 200
    assert await accept(api, token) != 200
    (user,) = (await client.get("/v1/users")).json()["data"]
    assert (user["email"], user["name"], user["role"]) == (BOB, "Bob", "admin")
    assert (await client.get(PATH)).json()["data"] == []
    asks = await program(api, BOB, PASSWORD)
    assert (await asks.send("GET", "/v1/users")).status_code == 200


async def test_a_repeat_sends_no_second_letter_and_is_not_told_the_address(
    api: Api, client: Client, tmp_path: Path
) -> None:
    body = {"email": BOB, "role": "admin"}
    first = await client.post(PATH, body, idempotency_key="k")
    again = await client.post(PATH, body, idempotency_key="k")
    assert again.json() == {**first.json(), "email": None}
    assert len(await letters(api, tmp_path)) == 1


async def test_a_withdrawn_invitation_lets_nobody_in(api: Api, client: Client, tmp_path: Path) -> None:
    made = await invite(client)
    ((_, token),) = await letters(api, tmp_path)
    path = f"{PATH}/{made['id']}"
    withdrawn = await client.post(f"{path}/withdraw", idempotency_key="k")
    assert withdrawn.json() == {**made, "status": "withdrawn", "email": None}
    assert (await client.post(f"{path}/withdraw", idempotency_key="k")).status_code in (200, 404)
    assert await accept(api, token) == 422
    assert (await client.get(path)).json()["code"] == "invitation_not_found"
    assert (await client.get("/v1/users")).json()["data"] == []


async def test_what_is_sent_again_has_a_new_link_and_the_old_one_is_dead(
    api: Api, client: Client, tmp_path: Path
) -> None:
    made = await invite(client)
    ((_, old),) = await letters(api, tmp_path)
    path = f"{PATH}/{made['id']}/resend"
    again = await client.post(path, idempotency_key="k")
    assert again.json() == {**made, "expires_at": again.json()["expires_at"]}
    assert again.json()["expires_at"] > made["expires_at"]
    repeated = await client.post(path, idempotency_key="k")
    assert repeated.json() == {**again.json(), "email": None}
    assert (await client.get(f"{PATH}/{made['id']}")).json() == again.json()
    sent = await letters(api, tmp_path)
    assert [to for to, _ in sent] == [BOB, BOB], "a repeat sends nothing"
    (new,) = {token for _, token in sent} - {old}
    soon = await client.post(path)
    assert (soon.status_code, soon.json()["code"]) == (409, "invitation_resent_too_often")
    assert len(await letters(api, tmp_path)) == 2
    assert await accept(api, old) == 422
    assert await accept(api, new) == 200
    gone = await client.post(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "invitation_not_found")
    await check_access_holds(api.database.dsn)


async def tokens(api: Api) -> list[tuple[str, bool]]:
    """The one-time tokens of invitations, and whether they are used."""
    query = "SELECT subject_id, used_at IS NOT NULL FROM access.one_time_tokens WHERE purpose = 'invitation'"
    return [tuple(row) for row in await api.parts.access_pool.fetch(query)]


async def test_with_a_withdrawn_invitation_its_token_goes(api: Api, client: Client, tmp_path: Path) -> None:
    kept, taken_back = await invite(client, email="ada@example.com"), await invite(client)
    await letters(api, tmp_path)
    assert len(await tokens(api)) == 2
    assert (await client.post(f"{PATH}/{taken_back['id']}/withdraw")).status_code == 200
    assert await tokens(api) == [(kept["id"], False)]


async def test_a_letter_that_is_written_after_the_withdrawal_is_none(api: Api, client: Client, tmp_path: Path) -> None:
    send = api.parts.post.send
    waiting: list[Writes] = []
    api.parts.post.send = waiting.append  # type: ignore[method-assign, assignment]
    made = await invite(client)
    await client.post(f"{PATH}/{made['id']}/withdraw")
    for writes in waiting:
        send(writes)
    assert len(waiting) == 1
    assert await letters(api, tmp_path) == []
    assert await tokens(api) == []


async def test_an_invitation_that_was_over_for_long_is_cleared_away_with_its_token(
    api: Api, client: Client, tmp_path: Path
) -> None:
    made, recent = await invite(client), await invite(client, email="ada@example.com")
    await letters(api, tmp_path)
    end = datetime.fromisoformat(recent["expires_at"]) + USED_KEPT
    await clear_expired(api.parts, end - timedelta(hours=1))
    assert len((await client.get(PATH)).json()["data"]) == 2
    for _ in range(2):
        await clear_expired(api.parts, end + timedelta(seconds=1))
    assert (await client.get(PATH)).json()["data"] == []
    assert await tokens(api) == []
    told = (await client.get("/v1/events?stream=team/acme&type=team.invitation_withdrawn")).json()["data"]
    assert {each["data"]["invitation_id"] for each in told} == {made["id"], recent["id"]}
    assert {each["actor"] for each in told} == {"identity"}
    await check_access_holds(api.database.dsn)


async def test_the_address_is_sealed_and_goes_with_the_invitation(
    api: Api, client: Client, database: FreshDatabase
) -> None:
    made = await invite(client)
    connection = await asyncpg.connect(database.dsn)
    try:
        sealed = await connection.fetchval("SELECT sealed FROM access.invitation_addresses")
        assert BOB.encode() not in sealed
        await client.post(f"{PATH}/{made['id']}/withdraw")
        assert await connection.fetchval("SELECT count(*) FROM access.invitation_addresses") == 0
        addresses = InvitationAddresses(api.parts.access_pool, api.parts.identity.keyring)
        await addresses.keep("acme", "inv_of_nothing", BOB, system_clock())
        await addresses.forget_old(system_clock())
        assert await connection.fetchval("SELECT count(*) FROM access.invitation_addresses") == 0
        answers = await connection.fetch("SELECT answer FROM log.command_results WHERE answer IS NOT NULL")
        assert all(BOB.encode() not in row[0] for row in answers)
    finally:
        await connection.close()


async def test_a_member_is_not_invited_again_and_a_stranger_is_told_nothing_else(api: Api, client: Client) -> None:
    await admin(api, BOB)
    refused = await client.post(PATH, {"email": "BOB@example.com", "role": "viewer"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_member")
    await admin(api, "eve@example.com", tenant="other")
    known, unknown = await invite(client, "viewer", "eve@example.com"), await invite(client, "viewer", "x@example.com")
    assert {**known, "id": "", "email": "", "expires_at": ""} == {**unknown, "id": "", "email": "", "expires_at": ""}


async def test_the_first_member_is_an_admin(api: Api, client: Client, tmp_path: Path) -> None:
    await invite(client, "viewer")
    ((_, token),) = await letters(api, tmp_path)
    assert await accept(api, token) == 409
    assert (await client.get("/v1/users")).json()["data"] == []


async def test_invitations_are_listed_page_by_page_to_their_own_tenant(api: Api, client: Client) -> None:
    made = [(await invite(client, "viewer", f"user{number}@example.com")) for number in range(3)]
    listed = (await client.get(PATH)).json()["data"]
    assert sorted(listed, key=lambda each: str(each["id"])) == sorted(made, key=lambda each: str(each["id"]))
    page = (await client.get(f"{PATH}?limit=2")).json()
    rest = (await client.get(f"{PATH}?limit=2&starting_after={page['next_cursor']}")).json()
    assert page["data"] + rest["data"] == listed
    other = await api.tenant("other")
    assert (await other.get(PATH)).json()["data"] == []
    for answer in (
        await other.get(f"{PATH}/{made[0]['id']}"),
        await other.post(f"{PATH}/{made[0]['id']}/withdraw"),
    ):
        assert answer.status_code == 404


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
async def test_a_key_of_less_than_the_scope_admin_invites_nobody(api: Api, scope: Scope) -> None:
    client = await api.tenant("acme", scope=scope)
    for answer in (await client.get(PATH), await client.post(PATH, {"email": BOB, "role": "viewer"})):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("role", ["super_admin", "customer"])
async def test_nobody_is_invited_to_be_what_no_member_is(client: Client, role: str) -> None:
    refused = await client.post(PATH, {"email": BOB, "role": role})
    assert (refused.status_code, refused.json()["code"]) == (422, "not_a_role_of_teams")
