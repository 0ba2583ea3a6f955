"""API keys over HTTP: shown once, working at once, for as long as they say; and nobody gives what they do not have."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from domain.identity.permissions import Scope
from testing.api_client import Api, Client, running_api
from testing.services import FreshDatabase

DAY = timedelta(days=1)
PATH = "/v1/api-keys"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def admin(api: Api) -> Client:
    return await api.tenant("acme")


async def works(client: Client, secret: object) -> bool:
    answer = await client.get("/v1/products", Authorization=f"Bearer {secret}")
    assert answer.status_code in (200, 401, 403), answer.text
    return answer.status_code != 401


def time_of(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


async def make(client: Client, scope: str = "read", **more: Any) -> dict[str, Any]:
    return await client.made(PATH, {"name": "imports", "scope": scope, **more})


async def test_a_key_is_shown_once_and_works_at_once(admin: Client, database: FreshDatabase) -> None:
    body = {"name": "imports", "scope": "read"}
    first = await admin.post(PATH, body, idempotency_key="k")
    assert first.status_code == 201, first.text
    made = first.json()
    assert await works(admin, made["secret"])
    assert made["secret"].startswith(made["prefix"] + "_")
    again = await admin.post(PATH, body, idempotency_key="k")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == {**made, "secret": None}
    shown = (await admin.get(f"{PATH}/{made['id']}")).json()
    assert shown == {**made, "secret": None, "last_used_at": shown["last_used_at"]}
    assert [each["secret"] for each in (await admin.get(PATH)).json()["data"]] == [None, None]
    assert (await admin.get(first.headers["location"])).status_code == 200
    digits = made["secret"].rpartition("_")[2]
    assert not [table async for table in tables_with(database, digits)]


async def tables_with(database: FreshDatabase, text: str) -> AsyncIterator[str]:
    """The tables that hold a text, plain or as bytes, in any column."""
    connection = await asyncpg.connect(database.dsn)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname IN ('log', 'access', 'read', 'vault', 'ops', 'relay')"
        )
        for (table,) in tables:
            for (row,) in await connection.fetch(f"SELECT t::text FROM {table} AS t"):  # noqa: S608  its own tables
                if text in row or text.encode().hex() in row:
                    yield table
    finally:
        await connection.close()


async def test_a_key_lasts_90_days_unless_it_says_otherwise(admin: Client) -> None:
    usual, named, endless = (
        await make(admin),
        await make(admin, expires_at="2199-01-01T00:00:00Z"),
        await make(admin, expires_at=None),
    )
    left = time_of(usual["expires_at"]) - datetime.now(UTC)
    assert 89 * DAY < left <= 90 * DAY
    assert (named["expires_at"], endless["expires_at"]) == ("2199-01-01T00:00:00Z", None)
    refused = await admin.post(PATH, {"name": "n", "scope": "read", "expires_at": "2001-01-01T00:00:00Z"})
    assert (refused.status_code, refused.json()["code"], refused.json()["param"]) == (
        422,
        "invalid_api_key_terms",
        "expires_at",
    )


async def test_which_of_a_keys_networks_is_none_is_told(admin: Client) -> None:
    body = {"name": "n", "scope": "read", "allowed_networks": ["192.0.2.7", "192.0.2.7/24"]}
    refused = (await admin.post(PATH, body)).json()
    assert (refused["code"], refused["param"]) == ("invalid_api_key_terms", "allowed_networks.1")
    assert "192.0.2.7/24" in refused["detail"]


@pytest.mark.parametrize("days", [13, 15])
async def test_a_key_that_ends_within_14_days_is_told_so_with_each_answer(admin: Client, days: int) -> None:
    ends = (datetime.now(UTC) + days * DAY).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    key = await make(admin, "admin", expires_at=ends)
    for path in ("/v1/products", "/v1/products/nothing", "/v1/nothing"):
        answer = await admin.get(path, Authorization=f"Bearer {key['secret']}")
        assert answer.headers.get("tallybook-key-expires") == (ends if days < 14 else None), path
    assert "tallybook-key-expires" not in (await admin.get("/v1/products")).headers


async def test_a_rotated_key_works_beside_its_successor_until_the_overlap_ends(admin: Client) -> None:
    old = await make(admin, "write", allowed_networks=["192.0.2.0/24"], expires_at=None)
    rotated = await admin.post(f"{PATH}/{old['id']}/rotate", {}, idempotency_key="k")
    assert rotated.status_code == 201, rotated.text
    new = rotated.json()
    assert new["id"] != old["id"]
    assert {name: new[name] for name in ("name", "scope", "allowed_networks", "limits")} == {
        name: old[name] for name in ("name", "scope", "allowed_networks", "limits")
    }
    before = (await admin.get(f"{PATH}/{old['id']}")).json()
    assert (before["rotated_to"], before["status"]) == (new["id"], "active")
    assert timedelta(hours=23) < time_of(before["expires_at"]) - datetime.now(UTC) <= timedelta(hours=24)
    assert (await admin.post(f"{PATH}/{old['id']}/rotate", {}, idempotency_key="k")).json() == {**new, "secret": None}
    again = await admin.post(f"{PATH}/{old['id']}/rotate")
    assert (again.status_code, again.json()["code"]) == (409, "api_key_rotated")


async def test_a_successor_ends_when_the_key_was_asked_to_unless_somebody_says_otherwise(admin: Client) -> None:
    ends, later = "2198-01-01T00:00:00Z", "2199-01-01T00:00:00Z"
    asked = await make(admin, "admin", expires_at=ends)
    same = (await admin.post(f"{PATH}/{asked['id']}/rotate", {})).json()
    assert same["expires_at"] == ends
    itself = {"Authorization": f"Bearer {same['secret']}"}
    for wanted in (later, None):
        refused = await admin.send("POST", f"{PATH}/{same['id']}/rotate", {"expires_at": wanted}, headers=itself)
        assert (refused.status_code, refused.json()["code"]) == (403, "grants_too_much")
        assert refused.json()["param"] == "expires_at"
    longer = (await admin.post(f"{PATH}/{same['id']}/rotate", {"expires_at": later})).json()
    assert longer["expires_at"] == later


async def test_without_an_overlap_the_key_before_ends_at_once(admin: Client) -> None:
    old = await make(admin)
    assert await works(admin, old["secret"])
    new = (await admin.post(f"{PATH}/{old['id']}/rotate", {"overlap_hours": 0})).json()
    assert await works(admin, new["secret"])
    assert not await until_it_fails(admin, old["secret"])
    for hours in (-1, 169):
        assert (await admin.post(f"{PATH}/{new['id']}/rotate", {"overlap_hours": hours})).status_code == 422


async def until_it_fails(client: Client, secret: object) -> bool:
    """What a process remembers of a key it forgets when it hears of the change, within a moment."""
    async with asyncio.timeout(10):
        while await works(client, secret):
            await asyncio.sleep(0.01)
    return False


async def test_a_revoked_key_works_no_more_and_a_key_may_revoke_itself(admin: Client) -> None:
    other = await make(admin, "admin")
    assert await works(admin, other["secret"])
    headers = {"Authorization": f"Bearer {other['secret']}"}
    ended = await admin.send("POST", f"{PATH}/{other['id']}/revoke", {}, headers=headers)
    assert (ended.status_code, ended.json()["status"]) == (200, "revoked")
    assert not await until_it_fails(admin, other["secret"])
    again = await admin.post(f"{PATH}/{other['id']}/revoke")
    assert again.json()["revoked_at"] == ended.json()["revoked_at"]
    for change in (
        admin.post(f"{PATH}/{other['id']}/rotate"),
        admin.send("PATCH", f"{PATH}/{other['id']}", {"name": "n"}),
    ):
        assert (await change).json()["code"] == "api_key_over"


async def test_a_key_gives_no_place_away_from_which_it_does_not_work(admin: Client) -> None:
    bound = await make(admin, "admin", allowed_networks=["127.0.0.0/8"])
    headers = {"Authorization": f"Bearer {bound['secret']}"}

    async def ask(method: str, path: str, body: object) -> tuple[int, str | None]:
        answer = await admin.send(method, path, body, headers=headers)
        return answer.status_code, answer.json().get("code")

    new = {"name": "n", "scope": "read"}
    assert await ask("POST", PATH, new) == (403, "grants_too_much")
    assert await ask("POST", PATH, {**new, "allowed_networks": ["0.0.0.0/0"]}) == (403, "grants_too_much")
    assert await ask("POST", PATH, {**new, "allowed_networks": ["127.0.0.1"]}) == (201, None)
    assert await ask("PATCH", f"{PATH}/{bound['id']}", {"allowed_networks": []}) == (403, "grants_too_much")


async def test_a_key_is_its_tenants_alone(api: Api, admin: Client) -> None:
    other = await api.tenant("other")
    theirs = await make(other)
    for method, path, body in (
        ("GET", f"{PATH}/{theirs['id']}", None),
        ("POST", f"{PATH}/{theirs['id']}/rotate", {}),
        ("POST", f"{PATH}/{theirs['id']}/revoke", {}),
        ("PATCH", f"{PATH}/{theirs['id']}", {"name": "n"}),
    ):
        answer = await admin.send(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (404, "api_key_not_found"), path
    assert theirs["id"] not in (await admin.get(PATH)).text
    assert await works(other, theirs["secret"])


async def test_keys_are_listed_newest_first_page_by_page(admin: Client) -> None:
    made = [(await make(admin, name=f"key {number}"))["id"] for number in range(5)]
    found: list[str] = []
    cursor = ""
    while True:
        page = (await admin.get(f"{PATH}?limit=2{cursor}")).json()
        found += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&starting_after={page['next_cursor']}"
    assert found[:5] == sorted(made, reverse=True)
    assert len(found) == 6
    before = (await admin.get(f"{PATH}?limit=2&ending_before={found[3]}")).json()
    assert [each["id"] for each in before["data"]] == found[1:3]
    unknown = await admin.get(f"{PATH}?starting_after=key_nothing")
    assert unknown.json()["errors"][0]["code"] == "unknown_cursor"


async def test_its_last_use_is_shown_to_the_minute(api: Api, admin: Client) -> None:
    key = await make(admin)
    assert key["last_used_at"] is None
    assert await works(admin, key["secret"])
    await api.parts.auth_log.write()
    used = time_of((await admin.get(f"{PATH}/{key['id']}")).json()["last_used_at"])
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=5)
    assert await works(admin, key["secret"])
    await api.parts.auth_log.write()
    assert time_of((await admin.get(f"{PATH}/{key['id']}")).json()["last_used_at"]) == used


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
async def test_keys_of_less_than_the_scope_admin_have_nothing_to_do_with_keys(api: Api, scope: Scope) -> None:
    client = await api.tenant("acme", scope=scope)
    for method, path in (("GET", PATH), ("POST", PATH)):
        answer = await client.send(method, path, {"name": "n", "scope": "read"} if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
