"""The auth log over HTTP: a tenant's own, found by kind, user and time, page by page and as a file."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from api.http.access_rows import page_by_id
from api.http.principal import PrincipalKind, principal_of
from api.resources import auth_events
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


async def exported(client: Client, query: str = "") -> list[str]:
    answer = await client.get(f"{PATH}/export?{query}")
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in csv.DictReader(io.StringIO(answer.text))]


async def test_the_export_holds_everything_page_by_page_in_memory(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = [each["id"] for each in await shown(admin)]
    assert len(everything) == 6
    for rows in (1, 2, 5, 6, 7):
        monkeypatch.setattr(auth_events, "EXPORT_ROWS", rows)
        assert await exported(admin) == everything
        assert await exported(admin, f"starting_after={everything[1]}") == everything[2:]
        assert await exported(admin, f"ending_before={everything[4]}") == everything[:4]
    assert (await admin.get(f"{PATH}/export?starting_after=aev_01m7ywe9z7e398x54gfbrtqnk7")).status_code == 422


async def test_a_page_of_the_export_is_read_when_the_client_has_taken_the_one_before(
    api: Api, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in the messages of the server's protocol. What fails on the way ends the answer without an end."""
    monkeypatch.setattr(auth_events, "EXPORT_ROWS", 2)
    reads: list[int] = []
    fails_at = 0

    async def counted(*args: Any) -> Any:
        reads.append(len(reads))
        if len(reads) == fails_at:
            raise ConnectionError
        return await page_by_id(*args)

    monkeypatch.setattr(auth_events, "page_by_id", counted)
    for fails_at, parts in ((0, [3, 2, 2, 0]), (3, [3, 2])):
        reads.clear()
        taken: list[tuple[int, int]] = []
        is_over = False

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal is_over
            if message["type"] == "http.response.body":
                is_over = not message.get("more_body", False)
                taken.append((message["body"].count(b"\r\n"), len(reads)))  # noqa: B023  called in this turn

        await api.app(_request(f"{PATH}/export", admin.key), _nothing, send)
        assert [lines for lines, _ in taken] == parts
        assert [read for _, read in taken[:2]] == [1, 2], "no page is read before the one before it is taken"
        assert is_over is (fails_at == 0)


def _request(path: str, key: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {key}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def _nothing() -> dict[str, Any]:
    """The client has said all, and stays."""
    await asyncio.Event().wait()
    return {}


async def test_nothing_more_is_read_for_a_client_that_went_or_asked_for_the_head(
    api: Api, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_events, "EXPORT_ROWS", 1)
    taken: list[bytes] = []
    went = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await went.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        taken.append(message.get("body", b""))
        if len(taken) == 3:
            went.set()
        await asyncio.sleep(0)  # a server's own waits let others have their turn, too

    await api.app(_request(f"{PATH}/export", admin.key), receive, send)
    assert 3 <= len(taken) <= 5, "of seven messages, and the end"
    assert taken[-1] != b""
    head = await api.http.head(f"{PATH}/export", headers={"Authorization": f"Bearer {admin.key}"})
    assert (head.status_code, head.content) == (200, b"")


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
