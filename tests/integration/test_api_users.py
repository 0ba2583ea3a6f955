"""The people of a tenant over HTTP: every role and scope, members of the own and of another tenant, races for the last
ADMIN; and what a demotion is worth at the next request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from cli.users import change_user
from domain.identity.permissions import Role, Scope, reach_of
from domain.identity.team import OF_TEAMS, AddMember, RemoveMember
from domain.identity.tenant import CreateTenant
from domain.identity.user import EraseUser, SuspendUser
from domain.kernel.tenant_mode import TenantMode
from infra.event_store.opening import open_writer
from infra.ids import new_id
from testing.api_client import Api, running_api
from testing.people import Program, admin, browser, program
from testing.requests import request
from testing.services import FreshDatabase
from tests.lengths import LENGTH

ADA, BOB = "ada@example.com", "bob@example.com"
RACES = LENGTH.scaled(5)
WRITER_RACES = LENGTH.scaled(25)
WhoRemovesWhom = Callable[[str, str], tuple[tuple[str, str], tuple[str, str]]]
"""Of two members, given by their ids: who asks, and whom they remove."""


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def member(api: Api, role: Role = Role.ADMIN, tenant: str = "acme", user_id: str = "") -> str:
    """A member without a password."""
    user_id = user_id or new_id("user_")
    command = AddMember(tenant_id=tenant, user_id=user_id, role=role, by=None)
    assert (await api.parts.writer.submit(request(command, tenant_id=tenant))).refusal_code is None
    return user_id


async def signed_in(api: Api, email: str, role: Role) -> tuple[str, Program]:
    """A user of the tenant `acme` with this role, who signed in; another one is ADMIN."""
    user_id = await admin(api, email)
    client = await api.tenant("acme")
    if role is not Role.ADMIN:
        changed = await client.post(f"/v1/users/{user_id}/change-role", {"role": role})
        assert changed.status_code == 200, changed.text
    return user_id, await program(api, email)


async def test_members_are_listed_with_their_names_and_roles(api: Api) -> None:
    ada = await admin(api, ADA)
    client = await api.tenant("acme")
    unknown = await member(api, Role.VIEWER)
    await admin(api, "eve@example.com", tenant="other")
    listed = (await client.get("/v1/users")).json()["data"]
    assert {each["id"]: (each["name"], each["email"], each["role"], each["status"]) for each in listed} == {
        ada: ("Ada Lovelace", ADA, "admin", "active"),
        unknown: (None, None, "viewer", "erased"),
    }
    assert (await client.get(f"/v1/users/{ada}")).json() in listed
    page = (await client.get("/v1/users?limit=1")).json()
    rest = (await client.get(f"/v1/users?limit=1&starting_after={page['next_cursor']}")).json()
    assert page["data"] + rest["data"] == listed


async def test_who_they_are_is_in_the_answer_and_not_in_what_is_stored_of_it(api: Api) -> None:
    ada = await admin(api, ADA)
    await member(api)
    client = await api.tenant("acme")
    path, body = f"/v1/users/{ada}/change-role", {"role": "viewer"}
    first = await client.post(path, body, idempotency_key="k")
    assert first.json() == {
        "id": ada,
        "object": "user",
        "role": "viewer",
        "status": "active",
        "name": "Ada Lovelace",
        "email": ADA,
    }
    again = await client.post(path, body, idempotency_key="k")
    assert again.json() == {**first.json(), "name": None, "email": None}
    async with client.parts.reader.of("acme") as connection:
        stored = await connection.fetchval("SELECT answer FROM log.command_results WHERE idempotency_key = 'api/k'")
    assert ADA.encode() not in stored
    assert b"Lovelace" not in stored


async def test_a_demoted_or_removed_users_next_request_is_refused(api: Api) -> None:
    await api.tenant("acme")
    await member(api)
    ada, asks = await signed_in(api, ADA, Role.ADMIN)
    client = await api.tenant("acme")
    assert (await asks.send("GET", "/v1/users")).status_code == 200
    await client.post(f"/v1/users/{ada}/change-role", {"role": "user"})
    await until(asks, "/v1/users", 403)
    assert (await asks.send("GET", "/v1/invoices")).status_code == 200
    assert (await client.send("DELETE", f"/v1/users/{ada}", {})).json()["role"] is None
    await until(asks, "/v1/invoices", 400, 403)
    assert (await client.get(f"/v1/users/{ada}")).json()["code"] == "member_not_found"


async def until(asks: Program, path: str, *statuses: int) -> None:
    """A process forgets what it remembered when it hears of the change, within a moment."""
    async with asyncio.timeout(10):
        while (await asks.send("GET", path)).status_code not in statuses:
            await asyncio.sleep(0.01)


async def test_a_user_whom_the_platform_suspends_or_erases_asks_for_nothing_more(api: Api) -> None:
    ada, asks = await signed_in(api, ADA, Role.ADMIN)
    client = await api.tenant("acme")
    await change_user(
        api.database.dsn, api.parts.settings, email=ADA, command=lambda user_id: SuspendUser(user_id=user_id)
    )
    await until(asks, "/v1/users", 401)
    assert (await client.get(f"/v1/users/{ada}")).json()["status"] == "suspended"
    await change_user(
        api.database.dsn,
        api.parts.settings,
        email=ADA,
        command=lambda user_id: EraseUser(user_id=user_id),
        erases=True,
    )
    shown = (await client.get(f"/v1/users/{ada}")).json()
    assert (shown["status"], shown["name"], shown["email"]) == ("erased", None, None)


@pytest.mark.parametrize("role", sorted(OF_TEAMS))
async def test_each_role_does_what_it_holds_with_members_of_its_own_tenant_alone(api: Api, role: Role) -> None:
    await api.tenant("acme")
    await member(api)
    _, asks = await signed_in(api, BOB, role)
    await api.tenant("other")
    own, theirs = await member(api), await member(api, tenant="other")
    for target, found in ((own, True), (theirs, False)):
        for method, path, body in operations(target):
            answer = await asks.send(method, path, body)
            check(answer, holds=role is Role.ADMIN, found=found)


@pytest.mark.parametrize("scope", list(Scope))
async def test_each_scope_does_what_it_holds_with_members_of_its_own_tenant_alone(api: Api, scope: Scope) -> None:
    client = await api.tenant("acme", scope=scope)
    await api.tenant("other")
    await member(api)
    own, theirs = await member(api), await member(api, tenant="other")
    for target, found in ((own, True), (theirs, False)):
        for method, path, body in operations(target):
            check(await client.send(method, path, body), holds=scope is Scope.ADMIN, found=found)


def operations(user_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"/v1/users/{user_id}", None),
        ("POST", f"/v1/users/{user_id}/change-role", {"role": "viewer"}),
        ("DELETE", f"/v1/users/{user_id}", {}),
    ]


def check(answer: httpx2.Response, *, holds: bool, found: bool) -> None:
    if not holds:
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), answer.text
    elif not found:
        assert (answer.status_code, answer.json()["code"]) == (404, "member_not_found"), answer.text
    else:
        assert answer.status_code == 200, answer.text


async def test_nobody_changes_their_own_role_or_removes_the_last_admin(api: Api) -> None:
    ada, asks = await signed_in(api, ADA, Role.ADMIN)
    own = await asks.send("POST", f"/v1/users/{ada}/change-role", {"role": "viewer"})
    assert (own.status_code, own.json()["code"]) == (409, "own_role")
    last = await asks.send("DELETE", f"/v1/users/{ada}", {})
    assert (last.status_code, last.json()["code"]) == (409, "team_needs_admin")
    for role in ("super_admin", "customer"):
        other = await member(api)
        answer = await asks.send("POST", f"/v1/users/{other}/change-role", {"role": role})
        assert (answer.status_code, answer.json()["code"]) == (422, "not_a_role_of_teams")


@pytest.mark.parametrize("role", sorted(OF_TEAMS))
async def test_a_member_leaves_by_themselves_whatever_they_are(api: Api, role: Role) -> None:
    client = await api.tenant("acme")
    await member(api)
    bob, _ = await signed_in(api, BOB, role)
    await admin(api, BOB, tenant="other")
    in_acme = {"X-Tenant-ID": "acme"}
    asks = await program(api, BOB, tenant="acme")
    left = await asks.send("POST", "/v1/auth/leave-team", {})
    assert (left.status_code, left.json()["id"], left.json()["role"]) == (200, bob, None), left.text
    for path in ("/v1/auth/me", "/v1/invoices"):
        assert (await asks.send("GET", path, headers=in_acme)).status_code in (401, 403), "with the very next request"
    assert bob not in [each["id"] for each in (await client.get("/v1/users")).json()["data"]]
    (told,) = (await client.get("/v1/events?stream=team/acme&type=team.member_removed")).json()["data"]
    assert (told["actor"], told["data"]["user_id"]) == (f"user:{bob}", bob)
    elsewhere = await program(api, BOB, tenant="other")
    assert (await elsewhere.send("GET", "/v1/users")).status_code == 200


async def test_the_last_admin_does_not_leave_and_is_told_what_to_do(api: Api) -> None:
    _, asks = await signed_in(api, ADA, Role.ADMIN)
    refused = await asks.send("POST", "/v1/auth/leave-team", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "team_needs_admin")
    assert "make somebody else ADMIN first" in refused.json()["detail"]
    await member(api)
    assert (await asks.send("POST", "/v1/auth/leave-team", {})).status_code == 200


async def test_whoever_is_in_no_tenant_names_the_one_that_they_leave(api: Api) -> None:
    await api.tenant("acme")
    await member(api)
    await admin(api, BOB)
    await admin(api, BOB, tenant="other")
    page = await browser(api, BOB)
    page.csrf_token = (await page.send("GET", "/v1/auth/me")).json()["csrf_token"]
    unnamed = await page.send("POST", "/v1/auth/leave-team", {})
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "tenant_required")
    assert (await page.send("POST", "/v1/auth/leave-team", {}, {"X-Tenant-ID": "acme"})).status_code == 200
    assert [each["id"] for each in (await page.send("GET", "/v1/auth/me")).json()["tenants"]] == ["other"]


async def test_of_the_last_two_admins_who_leave_at_once_one_remains(api: Api) -> None:
    """Two writers, as two processes have them."""
    for _, codes in await removal_races(api, lambda one, other: ((one, one), (other, other))):
        assert codes == ["", "team_needs_admin"]


async def test_of_two_admins_who_remove_each_other_at_once_one_remains(api: Api) -> None:
    """Over HTTP: the second finds that they are no member any more, or no admin, or the last one."""
    for number in range(RACES):
        tenant = f"team-{number}"
        names = [f"{name}{number}@example.com" for name in ("ada", "bob")]
        ada, bob = [await admin(api, name, tenant=tenant) for name in names]
        asks = [await program(api, name) for name in names]
        answers = await asyncio.gather(
            asks[0].send("DELETE", f"/v1/users/{bob}", {}), asks[1].send("DELETE", f"/v1/users/{ada}", {})
        )
        assert sorted(answer.status_code == 200 for answer in answers) == [False, True], [a.text for a in answers]
        left = (await (await api.tenant(tenant)).get("/v1/users")).json()["data"]
        assert [each["role"] for each in left] == ["admin"]


async def test_of_two_admins_who_remove_each_other_in_two_processes_one_remains(api: Api) -> None:
    """Two writers, as two processes have them; `make prove` runs 500 races."""
    for tenant, codes in await removal_races(api, lambda ada, bob: ((ada, bob), (bob, ada))):
        assert codes == ["", "not_allowed"]
        left = "SELECT count(*) FROM access.memberships WHERE tenant_id = $1 AND role = 'admin'"
        assert await api.parts.access_pool.fetchval(left, tenant) == 1


async def removal_races(api: Api, who_removes_whom: WhoRemovesWhom) -> list[tuple[str, list[str]]]:
    """Teams of two admins and two removals at once, by a writer each: the tenant, and how the two were answered."""
    writers = [open_writer(api.database.dsn, api.parts.settings.writer) for _ in range(2)]
    found = []
    try:
        for number in range(WRITER_RACES):
            tenant = f"team-{number}"
            created = CreateTenant(tenant_id=tenant, name=tenant, mode=TenantMode.TEST)
            await api.parts.writer.submit(request(created, tenant_id=tenant))
            pairs = who_removes_whom(await member(api, tenant=tenant), await member(api, tenant=tenant))
            removals = [RemoveMember(tenant_id=tenant, user_id=whom, by=who) for who, whom in pairs]
            outcomes = await asyncio.gather(
                *(
                    writer.submit(request(removal, tenant_id=tenant))
                    for writer, removal in zip(writers, removals, strict=True)
                )
            )
            found.append((tenant, sorted(outcome.refusal_code or "" for outcome in outcomes)))
    finally:
        for writer in writers:
            await writer.close()
    return found


async def test_roles_are_told_as_the_matrix_has_them(api: Api) -> None:
    client = await api.tenant("acme")
    roles = (await client.get("/v1/roles")).json()["data"]
    assert {each["id"] for each in roles} == set(Role)
    assert {each["id"] for each in roles if each["is_of_teams"]} == OF_TEAMS
    for each in roles:
        held = {found["permission"]: found["reach"] for found in each["permissions"]}
        assert held == dict(reach_of(Role(each["id"])))
