"""The auth log over HTTP: a tenant's own, found by kind, user and time, page by page and as a file."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.http.principal import PrincipalKind, principal_of
from domain.identity.auth_event import AuthEventKind
from domain.identity.permissions import Role, Scope
from domain.kernel.tenant_mode import TenantMode
from testing.api_client import Api, Client, running_api
from testing.made_credentials import MadeCredentials
from testing.services import FreshDatabase

PATH = "/v1/auth-events"
USER = "user_01m7ywe9z7e398x54gfbrtqnk7"
EVIL = "=HYPERLINK(0)"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def admin(api: Api) -> Client:
    """Of a tenant in which five log-ins failed, and in another one."""
    log = api.parts.auth_log
    for number in range(5):
        log.record(
            AuthEventKind.LOG_IN_FAILED,
            tenant_id="acme",
            user_id=USER if number % 2 else None,
            address=f"192.0.2.{number}",
            user_agent=EVIL,
        )
    log.record(AuthEventKind.TOKEN_REFUSED, tenant_id="acme", address="192.0.2.9", actor="api_key:key_1")
    log.record(AuthEventKind.LOG_IN_FAILED, tenant_id="other", address="198.51.100.1")
    log.record(AuthEventKind.LOG_IN_FAILED, address="198.51.100.2")
    await log.write()
    return await api.tenant("acme")


async def shown(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"{PATH}?limit=100{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_a_tenant_sees_its_own_and_nobody_elses(admin: Client) -> None:
    found = await shown(admin)
    assert sorted(each["address"] for each in found) == [f"192.0.2.{number}" for number in (0, 1, 2, 3, 4, 9)]
    assert "198.51.100" not in str(found)


async def test_attempts_are_found_by_kind_by_user_by_actor_and_by_time(admin: Client) -> None:
    found = await shown(admin)
    assert len(await shown(admin, "&kind=log_in_failed")) == 5
    assert len(await shown(admin, f"&user={USER}")) == 2
    assert [each["kind"] for each in await shown(admin, "&actor=api_key:key_1")] == ["token_refused"]
    latest, earliest = max(each["created"] for each in found), min(each["created"] for each in found)
    for query, wanted in (
        (f"created[gt]={latest}", []),
        (f"created[lt]={earliest}", []),
        (f"created[gte]={earliest}&created[lte]={latest}", found),
    ):
        assert await shown(admin, f"&{query}") == wanted
    for query in ("kind=nothing", "user=u", "actor=a", "created[gt]=yesterday"):
        assert (await admin.get(f"{PATH}?{query}")).status_code == 422, query


async def test_the_list_comes_page_by_page(admin: Client) -> None:
    everything = [each["id"] for each in await shown(admin)]
    paged: list[str] = []
    cursor = ""
    while True:
        page = (await admin.get(f"{PATH}?limit=4{cursor}")).json()
        paged += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&starting_after={page['next_cursor']}"
    assert paged == everything


async def test_the_export_is_the_list_and_nothing_in_it_is_a_formula(admin: Client) -> None:
    listed = await shown(admin)
    answer = await admin.get(f"{PATH}/export?kind=log_in_failed")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == [each["id"] for each in listed if each["kind"] == "log_in_failed"]
    assert {row["user_agent"] for row in rows} == {f"'{EVIL}"}
    assert {row["created"] for row in rows} <= {each["created"] for each in listed}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/export"])
async def test_it_is_for_who_may_read_the_audit_and_masked_for_who_sees_people_masked(
    api: Api, admin: Client, path: str
) -> None:
    made = MadeCredentials(api.parts.credentials.keys)
    api.parts.credentials.keys = made
    for role in (Role.ADMIN, Role.BILLING_ADMIN, Role.SUPER_ADMIN, Role.VIEWER, Role.USER, Role.MERCHANT):
        made.principals[role] = principal_of(
            PrincipalKind.USER, role, tenant_id="acme", principal_id=USER, mode=TenantMode.TEST
        )
        answer = await api.http.get(path, headers={"Authorization": f"Bearer {role}"})
        if role in (Role.VIEWER, Role.USER, Role.MERCHANT):
            assert answer.json()["permission"] == "audit:read"
        else:
            assert answer.status_code == 200
            assert ("192.0.2.1" in answer.text) is (role is not Role.SUPER_ADMIN)
    for scope in (Scope.READ, Scope.WRITE):
        assert (await (await api.tenant("acme", scope=scope)).get(path)).status_code == 403
