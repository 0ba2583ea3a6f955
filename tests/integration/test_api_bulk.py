"""Many commands in one request: each is what it would be alone, done once, whatever breaks in between."""

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import httpx2
import pytest

from api.http.bulk_body import COMMANDS_MAX
from domain.identity.permissions import Scope
from infra.settings import ApiSettings
from testing.api_client import Api, Client, running_api
from testing.kept import changed, kept
from testing.processors_cell import until
from testing.services import FreshDatabase

NOBODYS = "cus_01m7ywe9z7e398x54gfbrtqnk7"
CARD = "4242424242424242"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def command(path: str, body: object = None, *, key: str | None = None, method: str = "POST") -> dict[str, Any]:
    return {"idempotency_key": key or uuid.uuid4().hex, "method": method, "path": path, "body": body or {}}


def product(name: str, *, key: str | None = None) -> dict[str, Any]:
    return command("/v1/products", {"name": name}, key=key)


async def bulk(
    client: Client, commands: Sequence[dict[str, Any]], mode: str = "each", *, key: str | None = None, dry: bool = False
) -> httpx2.Response:
    headers = {"Tallybook-Dry-Run": "true"} if dry else {}
    body = {"mode": mode, "commands": list(commands)}
    return await client.send("POST", "/v1/commands", body, idempotency_key=key, headers=headers)


async def products(client: Client) -> list[str]:
    return [
        each["data"]["name"] for each in (await client.get("/v1/events?type=product.created&limit=100")).json()["data"]
    ]


async def head_kept(api: Api) -> Any:
    return await kept(api.database.dsn)


async def test_each_command_is_answered_as_it_would_be_alone(client: Client) -> None:
    commands = [product("P"), command(f"/v1/customers/{NOBODYS}/erase"), product(""), product("Q")]
    whole = await bulk(client, commands)
    assert whole.status_code == 200, whole.text
    told = whole.json()
    assert (told["object"], told["mode"], told["succeeded"], told["failed"]) == ("bulk", "each", 2, 2)
    for sent, answer in zip(commands, told["data"], strict=True):
        alone = await client.send("POST", sent["path"], sent["body"], idempotency_key=sent["idempotency_key"])
        expected = {name: value for name, value in alone.json().items() if name != "request_id"}
        assert {name: value for name, value in answer["answer"].items() if name != "request_id"} == expected
        assert (answer["idempotency_key"], answer["status"]) == (sent["idempotency_key"], alone.status_code)
        if alone.status_code == 201:
            assert alone.headers["idempotent-replayed"] == "true"
            assert str(answer["position"]) == alone.headers["ledger-position"]
    assert int(whole.headers["ledger-position"]) == max(each["position"] or 0 for each in told["data"])


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_a_repeat_answers_the_same_and_does_nothing(api: Api, client: Client, mode: str) -> None:
    commands = [product(f"P{number}") for number in range(20)]
    first = await bulk(client, commands, mode, key="whole")
    before = await head_kept(api)
    again = await bulk(client, commands, mode, key="whole")
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert not changed(before, await head_kept(api))
    other = await bulk(client, [*commands, product("more")], mode, key="whole")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert not changed(before, await head_kept(api))


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_the_same_bulk_at_once_is_done_once(api: Api, client: Client, mode: str) -> None:
    commands = [product(f"P{number}") for number in range(10)]
    answers = await asyncio.gather(*(bulk(client, commands, mode, key="whole") for _ in range(6)))
    assert {each.status_code for each in answers} <= {200, 409}
    assert 200 in {each.status_code for each in answers}
    assert sorted(await products(client)) == sorted(f"P{number}" for number in range(10))


async def test_what_was_done_alone_is_not_done_again_in_a_bulk(client: Client) -> None:
    alone = await client.post("/v1/products", {"name": "P"}, idempotency_key="k")
    (answer,) = (await bulk(client, [product("P", key="k")])).json()["data"]
    assert (answer["status"], answer["answer"]) == (201, alone.json())
    assert await products(client) == ["P"]
    (other,) = (await bulk(client, [product("Q", key="k")])).json()["data"]
    assert (other["status"], other["answer"]["code"]) == (422, "idempotency_key_reused")


async def test_all_are_done_in_one_commit_in_their_order(api: Api, client: Client) -> None:
    made = await client.made("/v1/products", {"name": "P"})
    path = f"/v1/products/{made['id']}"
    before = await api.head()
    changes = [command(path, {"metadata": {"turn": str(turn)}}, method="PATCH") for turn in range(30)]
    whole = await bulk(client, [*changes, product("Q")], "all")
    assert whole.status_code == 200, whole.text
    told = whole.json()["data"]
    assert [each["answer"]["metadata"] for each in told[:-1]] == [{"turn": str(turn)} for turn in range(30)]
    assert [each["position"] for each in told] == [*range(before + 1, before + 32)]
    assert (await client.get(path)).json()["metadata"] == {"turn": "29"}


async def test_of_all_one_that_is_refused_lets_none_be_done(api: Api, client: Client) -> None:
    taken = {"currency": "EUR", "external_id": "taken"}
    await client.made("/v1/customers", taken)
    before = await api.head()
    commands = [product("P"), command("/v1/customers", taken), product("Q")]
    refused = await bulk(client, commands, "all", key="whole")
    assert (refused.status_code, refused.json()["code"]) == (409, "external_id_taken")
    assert refused.json()["param"] == "commands.1.body.external_id"
    again = await bulk(client, commands, "all", key="whole")
    assert again.json() == refused.json()
    assert await api.head() == before
    assert await products(client) == []


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        (product(""), "validation_failed", "commands.1.body.name"),
        (command(f"/v1/customers/{NOBODYS}/erase"), "customer_not_found", "commands.1.path"),
        (command("/v1/products", {"name": f"my card is {CARD}"}), "card_number_refused", "commands.1.body.name"),
    ],
)
async def test_of_all_one_that_cannot_be_prepared_lets_none_be_done(
    api: Api, client: Client, wrong: dict[str, Any], code: str, param: str
) -> None:
    before = await api.head()
    answer = await bulk(client, [product("P"), wrong, product("Q")], "all")
    assert (answer.json()["code"], answer.json()["param"]) == (code, param), answer.text
    assert 400 <= answer.status_code < 500
    assert await api.head() == before


async def test_of_all_those_that_were_done_alone_are_left_out(client: Client) -> None:
    await client.post("/v1/products", {"name": "P"}, idempotency_key="k")
    refused = await bulk(client, [product("Q"), product("P", key="k")], "all")
    assert (refused.status_code, refused.json()["code"]) == (409, "commands_partly_done")
    assert await products(client) == ["P"]


async def test_two_changes_of_one_person_are_not_done_together(client: Client) -> None:
    made = await client.made("/v1/customers", {"currency": "EUR", "name": "Ada"})
    path = f"/v1/customers/{made['id']}"
    commands = [command(path, {"name": name}, method="PATCH") for name in ("Grace", "Barbara")]
    refused = await bulk(client, commands, "all")
    assert (refused.status_code, refused.json()["code"]) == (422, "one_person_twice")
    done = await bulk(client, commands, "each")
    assert [each["status"] for each in done.json()["data"]] == [200, 200]
    assert (await client.get(path)).json()["name"] == "Barbara"


async def test_those_that_name_the_same_id_are_done_in_their_order(client: Client) -> None:
    made = [await client.made("/v1/products", {"name": "P"}) for _ in range(4)]
    paths = [f"/v1/products/{each['id']}" for each in made]
    commands = [
        command(path, {"metadata": {"turn": str(turn)}}, method="PATCH") for turn in range(25) for path in paths
    ]
    told = (await bulk(client, commands)).json()["data"]
    assert [each["answer"]["metadata"]["turn"] for each in told] == [str(turn) for turn in range(25) for _ in paths]
    for path in paths:
        assert (await client.get(path)).json()["metadata"] == {"turn": "24"}


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_it_can_be_tried(api: Api, client: Client, mode: str) -> None:
    commands = [product("P"), command("/v1/customers", {"currency": "EUR"})]
    before = await head_kept(api)
    tried = await bulk(client, commands, mode, dry=True)
    assert tried.status_code == 200, tried.text
    told = [each["answer"] for each in tried.json()["data"]]
    assert [each["object"] for each in told] == ["dry_run", "dry_run"]
    assert [[event["type"] for event in each["events"]] for each in told] == [["product.created"], ["customer.created"]]
    assert not changed(before, await head_kept(api))
    assert (await bulk(client, commands, mode)).json()["succeeded"] == 2


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_as_many_as_a_request_holds_can_be_tried(api: Api, client: Client, mode: str) -> None:
    """However few dry runs are decided at once, and while others try single commands."""
    commands = [product(f"P{number}") for number in range(COMMANDS_MAX)]

    async def tried_alone() -> int:
        answer = await client.send("POST", "/v1/products", {"name": "Q"}, headers={"Tallybook-Dry-Run": "true"})
        return answer.status_code

    before = await head_kept(api)
    trying = asyncio.create_task(bulk(client, commands, mode, dry=True))
    alone = set()
    while not trying.done():
        alone.add(await tried_alone())
    whole = await trying
    assert (whole.status_code, whole.json().get("succeeded")) == (200, COMMANDS_MAX), whole.text[:500]
    assert alone == {200}, "one that is tried alone finds a place meanwhile"
    assert not changed(before, await head_kept(api))


async def test_bulks_that_are_tried_at_once_wait_for_each_other(client: Client) -> None:
    commands = [product(f"P{number}") for number in range(100)]
    told = await asyncio.gather(*(bulk(client, commands, mode, dry=True) for mode in ("each", "all", "each", "each")))
    assert {(each.status_code, each.json()["succeeded"]) for each in told} == {(200, 100)}


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_each_command_needs_its_own_permission(api: Api, mode: str) -> None:
    writes = await api.tenant("acme", scope=Scope.WRITE)
    clock = command("/v1/test-clocks", {"name": "C", "now": "2026-01-01T00:00:00Z"})
    answer = await bulk(writes, [product("P"), clock], mode)
    if mode == "all":
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert await products(writes) == []
    else:
        assert [each["status"] for each in answer.json()["data"]] == [201, 403]
    await writes.parts.auth_log.write()
    admin = await api.tenant("acme")
    refused = (await admin.get("/v1/auth-events?kind=request_refused")).json()["data"]
    assert [each["code"] for each in refused] == ["permission_denied"], "a refused command is noted as a request is"


async def test_the_card_guard_looks_through_each_command(client: Client) -> None:
    commands = [
        command("/v1/customers", {"currency": "EUR", "external_id": CARD}),
        command("/v1/products", {"name": CARD}),
    ]
    opaque, plain = (await bulk(client, commands)).json()["data"]
    assert (opaque["status"], plain["status"]) == (201, 422)
    assert plain["answer"]["code"] == "card_number_refused"
    unknown = await client.post("/v1/commands", {"commands": [{**product("P"), CARD: 1}]})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "card_number_refused")
    assert CARD not in unknown.text


async def test_each_command_counts_against_the_rate_limits(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(writes_per_hour=60)) as api:
        client = await api.tenant("acme", scope=Scope.WRITE)
        commands = [product(f"P{number}") for number in range(90)]
        told = (await bulk(client, commands, key="whole")).json()
        limited = [each for each in told["data"] if each["status"] == 429]
        assert told["succeeded"] + len(limited) == 90
        assert len(limited) >= 20
        assert all(each["retry_after_s"] > 0 and each["answer"]["code"] == "rate_limited" for each in limited)
        assert len(await products(client)) == told["succeeded"]


HOSTILE: Sequence[tuple[str, object, int, str]] = [
    ("no commands", {"commands": []}, 422, "validation_failed"),
    ("one too many", {"commands": [product("P") for _ in range(COMMANDS_MAX + 1)]}, 422, "validation_failed"),
    ("a key twice", {"commands": [product("P", key="k"), product("Q", key="k")]}, 422, "validation_failed"),
    ("no key", {"commands": [{"path": "/v1/products", "body": {"name": "P"}}]}, 422, "validation_failed"),
    ("a bulk in a bulk", {"commands": [command("/v1/commands", {"commands": []})]}, 422, "validation_failed"),
    ("a query", {"commands": [command("/v1/health")]}, 422, "validation_failed"),
    ("a log-in", {"commands": [command("/v1/auth/login")]}, 422, "validation_failed"),
    ("another host", {"commands": [command("https://example.com/v1/products")]}, 422, "validation_failed"),
    ("a way out", {"commands": [command("/v1/products/../customers")]}, 422, "validation_failed"),
    ("another mode", {"mode": "some", "commands": [product("P")]}, 422, "validation_failed"),
    ("another tenant", {"commands": [{**product("P"), "tenant": "other"}]}, 422, "validation_failed"),
    ("a list as a body", {"commands": [{**product("P"), "body": [1]}]}, 422, "validation_failed"),
    ("a list", [product("P")], 422, "validation_failed"),
]


@pytest.mark.parametrize(("body", "status", "code"), [each[1:] for each in HOSTILE], ids=[each[0] for each in HOSTILE])
async def test_a_hostile_body_is_refused_whole(api: Api, client: Client, body: object, status: int, code: str) -> None:
    before = await head_kept(api)
    answer = await client.post("/v1/commands", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert not changed(before, await head_kept(api))


async def test_deep_and_huge_bodies_are_refused_whole(api: Api, client: Client) -> None:
    before = await head_kept(api)
    headers = {"Authorization": f"Bearer {client.key}", "Content-Type": "application/json", "Idempotency-Key": "k"}
    for raw, code in (
        (b'{"commands":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json"),
        (b'{"commands":[{"body":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_003, ""),
        (b'{"commands":["' + b"x" * 1_100_000 + b'"]}', "body_too_large"),
        (b'{"commands":[],"commands":[]}', "duplicate_name"),
    ):
        answer = await client.http.post("/v1/commands", content=raw, headers=headers)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["code"] == (code or answer.json()["code"])
    assert not changed(before, await head_kept(api))


async def test_what_is_another_tenants_is_not_there(api: Api, client: Client) -> None:
    other = await api.tenant("other")
    theirs = await other.made("/v1/products", {"name": "P"})
    for mode in ("each", "all"):
        answer = await bulk(client, [command(f"/v1/products/{theirs['id']}/archive")], mode)
        told = answer.json() if mode == "all" else answer.json()["data"][0]["answer"]
        assert told["code"] == "product_not_found"
    assert (await other.get(f"/v1/products/{theirs['id']}")).json()["archived_at"] is None


async def test_answers_that_are_too_long_together_are_left_out(database: FreshDatabase) -> None:
    async with running_api(database, ApiSettings(bulk_answers_max_bytes=2_000)) as api:
        client = await api.tenant("acme")
        told = (await bulk(client, [product(f"P{number}") for number in range(30)])).json()
        shown = [each["answer"] is not None for each in told["data"]]
        assert told["succeeded"] == 30
        assert shown == sorted(shown, reverse=True)
        assert 1 <= sum(shown) < 30


async def test_nobody_unknown_is_heard(api: Api) -> None:
    answer = await api.http.post("/v1/commands", json={"commands": [product("P")]}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(("mode", "killed_after"), [("each", 40), ("each", 1), ("all", 0)])
async def test_a_kill_in_the_middle_and_a_repeat_do_everything_once(
    api: Api, client: Client, mode: str, killed_after: int
) -> None:
    names = [f"P{number}" for number in range(300)]
    body = {"mode": mode, "commands": [product(name, key=f"key-{name}") for name in names]}
    before = await api.head()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.bulk_process", api.database.dsn, client.key, stdin=PIPE, stdout=DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(body).encode())
    process.stdin.close()

    async def is_noted() -> bool:
        return "api/whole" in await stored_keys(api)

    await until(is_noted, "the bulk has begun")
    while await api.head() < before + killed_after:
        await asyncio.sleep(0)
    process.kill()
    await process.wait()
    done_before = await api.head() - before
    assert killed_after <= done_before
    answer = await client.post("/v1/commands", body, idempotency_key="whole")
    assert answer.status_code == 200, answer.text
    assert ("idempotent-replayed" in answer.headers) is (done_before == 300)
    assert done_before in (0, 300) or mode == "each"
    assert await api.head() == before + 300
    done = [key for key in await stored_keys(api) if key.startswith("api/key-")]
    assert sorted(done) == sorted(f"api/key-{name}" for name in names)


async def stored_keys(api: Api) -> list[str]:
    """The keys of the tenant's commands, as the store knows them."""
    connection = await asyncpg.connect(api.database.dsn)
    try:
        rows = await connection.fetch("SELECT idempotency_key FROM log.command_results WHERE tenant_id = 'acme'")
        return [row[0] for row in rows]
    finally:
        await connection.close()
