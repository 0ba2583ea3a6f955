"""Any command can be tried: what a dry run tells is what the command then answers and records, and nothing is kept."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import asyncpg
import httpx2
import pytest
from pydantic_core import from_json, to_json

from api.http.dry_runs import NAME
from api.resources.events import event_resource
from cli.users import set_super_admin
from domain.identity.permissions import Permission, Scope
from infra.event_store.log import COLUMNS
from infra.event_store.port import Recorded, Rehearsed, Request, TooManyRehearsals
from testing.api_client import Api, Client, project, running_api
from testing.kept import BESIDE, SEEN, changed, kept
from testing.people import Browser, admin, browser
from testing.services import FreshDatabase
from tests.integration.test_api_answers import OF_ANOTHER, OPERATIONS, Story, tell

DRY = {NAME: "true"}
ID = re.compile(r"([a-z]+_)[0-9a-z]{26}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
BETWEEN = timedelta(hours=2)
"""More than ever lies between a dry run and the command: what is reckoned from now on differs by that."""
_AFTER = f"SELECT {COLUMNS} FROM log.events WHERE position > $1 ORDER BY position"  # noqa: S608  constants
SHOWN_ONCE = {"api_key": {"secret"}, "user": {"name", "email"}, "invitation": {"email"}}
DRAWN_ANEW = {"commitment", "prefix"}
"""Fields that are of a person's new revision, or of a new API key."""


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


async def try_it(client: Client, method: str, path: str, body: object = None) -> httpx2.Response:
    """The request as a dry run, without an Idempotency-Key."""
    headers = {"Authorization": f"Bearer {client.key}", **DRY}
    return await client.http.request(method, path, json={} if body is None else body, headers=headers)


async def told(client: Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    """What the dry run tells."""
    answer = await try_it(client, method, path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers[NAME] == "true"
    found: dict[str, Any] = answer.json()
    assert found.keys() == {"object", "status", "result", "events", "postings"}
    assert found["object"] == "dry_run"
    return found


def same(tried: Any, real: Any, known: str, name: str = "", of: str = "") -> bool:
    """Whether both are the same but for ids and times that are made anew. `known` holds every id of before."""
    if isinstance(real, Mapping) and isinstance(tried, Mapping):
        what = str(real.get("object", ""))
        return tried.keys() == real.keys() and all(same(tried[key], real[key], known, key, what) for key in real)
    if isinstance(real, list) and isinstance(tried, list):
        return len(tried) == len(real) and all(same(*pair, known, name) for pair in zip(tried, real, strict=True))
    if tried == real:
        return True
    if name in DRAWN_ANEW or (tried is None and name in SHOWN_ONCE.get(of, ())):
        return True
    if not (isinstance(tried, str) and isinstance(real, str)):
        return False
    if TIME.fullmatch(tried) and TIME.fullmatch(real):
        return abs(datetime.fromisoformat(tried) - datetime.fromisoformat(real)) < BETWEEN
    # An id within a text is one of a new thing; what was there before is named as it is.
    new = [found[0] for found in ID.finditer(tried)]
    return bool(new) and not any(each in known for each in new) and ID.sub(r"\1", tried) == ID.sub(r"\1", real)


class Asks(Protocol):
    """A program, a browser, or somebody with a key."""

    async def send(
        self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response: ...


async def tried_first(
    api: Api, asks: Asks, operation: str, body: object, real: Callable[[], Awaitable[dict[str, Any]]], at: str
) -> dict[str, Any] | None:
    """Try a command, see that nothing came of it, do it, and compare. What was told; None of what cannot be tried."""
    declared, dsn = OPERATIONS[operation], api.database.dsn
    beside = BESIDE if isinstance(asks, Client) else BESIDE | SEEN
    before, head = await kept(dsn, but=beside), await api.head()
    answer = await asks.send(declared.method, at, {} if body is None else body, headers=DRY)
    assert changed(before, await kept(dsn, but=beside)) == {}, operation
    if answer.status_code == 400:
        assert answer.json()["code"] == "dry_run_not_possible"
        await real()
        return None
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    answered, known = await real(), str(before)
    assert told["status"] == declared.status
    assert same(told["result"], answered, known), (operation, told["result"], answered)
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(_AFTER, head)
    await connection.close()
    events: list[dict[str, Any]] = [from_json(to_json(event_resource(Recorded(*row)))) for row in rows]
    if told["events"] is not None:
        kinds = [(each["type"], each["stream_type"]) for each in events]
        assert [(each["type"], each["stream_type"]) for each in told["events"]] == kinds, operation
        for one, other in zip(told["events"], events, strict=True):
            assert same(one["data"], other["data"], known), (operation, one["data"], other["data"])
    if told["postings"] is not None:
        postings = [posting for each in events for posting in each["postings"]]
        assert same(told["postings"], postings, known), (operation, told["postings"], postings)
    return told


class Rehearsing(Story):
    """A story whose commands are tried first, each."""

    def __init__(self, api: Api, client: Client) -> None:
        super().__init__(api, client)
        self.not_possible: set[str] = set()

    async def do(self, operation: str, body: object = None, **path: str) -> dict[str, Any]:
        real: dict[str, Any] = {}

        async def do() -> dict[str, Any]:
            real.update(await super(Rehearsing, self).do(operation, body, **path))
            return real

        at = OPERATIONS[operation].path.format(**path)
        told = await tried_first(self.api, self.client, operation, body, do, at)
        if told is None:
            self.not_possible.add(operation)
        else:
            assert told["events"] is not None
            assert told["postings"] is not None
        return real


async def test_what_a_dry_run_tells_is_what_the_command_then_answers_and_records(api: Api) -> None:
    story = Rehearsing(api, await api.tenant("acme"))
    await tell(story)
    assert story.not_possible == {"attach_payment_method", "update_payment_method"}
    assert story.done | OF_PEOPLE == {name for name, operation in OPERATIONS.items() if operation.is_command}


OF_PEOPLE = OF_ANOTHER | {
    name
    for name, operation in OPERATIONS.items()
    if operation.is_command and operation.needs is Permission.TENANTS_WRITE
}
"""Commands that no key of a tenant gives, and those of settings."""


async def test_and_so_it_is_with_what_only_people_do(api: Api) -> None:
    client = await api.tenant("acme")
    await admin(api, "root@example.com", tenant="home")
    await set_super_admin(api.database.dsn, api.parts.settings, email="root@example.com", is_super_admin=True)
    root = await browser(api, "root@example.com")
    root.headers["X-Tenant-ID"] = "platform"
    for name in ("ada", "bob"):
        await admin(api, f"{name}@example.com")
    ada, bob = [await browser(api, f"{name}@example.com") for name in ("ada", "bob")]
    done: set[str] = set()

    async def do(asks: Browser, operation: str, body: object = None, **path: str) -> None:
        declared = OPERATIONS[operation]
        at = declared.path.format(**path)

        async def real() -> dict[str, Any]:
            answer = await asks.send(declared.method, at, {} if body is None else body)
            assert answer.status_code == declared.status, answer.text
            found: dict[str, Any] = answer.json()
            return found

        assert await tried_first(api, asks, operation, body, real, at) is not None
        done.add(operation)

    why = {"reason": "ticket 4711"}
    await do(root, "create_tenant", {"id": "new", "name": "New", "mode": "test"})
    await do(root, "suspend_tenant", why, tenant="new")
    await do(root, "reactivate_tenant", tenant="new")
    await do(root, "enter_tenant", why, tenant="acme")
    await do(root, "reveal_personal_data", why, tenant="acme")
    await do(root, "leave_tenant", tenant="acme")
    amount = {"amount": 7, "currency": "EUR"}
    sides = (("cash", "debit"), ("equity", "credit"))
    entry = {"postings": [{"account": each, "side": side, "amount": amount} for each, side in sides], "memo": "Capital"}
    asked = [(await client.made("/v1/approvals", {"journal_entry": entry}))["id"] for _ in "12"]
    await do(ada, "approve_approval", approval_id=str(asked[0]))
    await do(ada, "reject_approval", approval_id=str(asked[1]))
    limits = {"limits": [{"currency": "EUR", "amount": 500}]}
    await do(ada, "change_approval_limits", limits, tenant="acme")
    await do(ada, "change_billing_settings", {"seller": {"name": "Acme"}, "locale": "de-DE"}, tenant="acme")
    await do(bob, "leave_team")
    assert done == OF_PEOPLE


async def test_a_refusal_is_told_as_the_command_would_be_refused(api: Api) -> None:
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR", "external_id": "crm-1"})
    lines = [{"description": "Set-up", "amount": {"amount": 2500, "currency": "EUR"}}]
    draft = await client.made("/v1/invoices", {"customer": customer["id"], "currency": "EUR", "lines": lines})
    nobody = "cus_01m7ywe9z7e398x54gfbrtqnk7"
    await project(api.database, api.parts.settings)
    before = await kept(api.database.dsn)
    for method, path, body, code in (
        ("POST", "/v1/customers", {"currency": "EUR", "external_id": "crm-1"}, "external_id_taken"),
        ("POST", f"/v1/invoices/{draft['id']}/pay", {"paid_out_of_band": True}, None),
        ("POST", "/v1/invoices", {"customer": nobody, "currency": "EUR", "lines": lines}, "customer_not_found"),
        ("PATCH", f"/v1/customers/{nobody}", {"name": "Eve"}, "customer_not_found"),
        ("DELETE", "/v1/customers/nonsense", None, "customer_not_found"),
    ):
        tried = await told(client, method, path, body)
        assert (tried["events"], tried["postings"]) == ([], [])
        assert changed(before, await kept(api.database.dsn)) == {}
        real = await client.send(method, path, {} if body is None else body)
        assert real.status_code >= 400
        assert tried["status"] == tried["result"]["status"] == real.status_code
        assert code in (None, tried["result"]["code"])
        assert {**tried["result"], "request_id": ""} == {**real.json(), "request_id": ""}
        before = await kept(api.database.dsn)


async def test_what_is_no_request_is_refused_at_once_with_a_dry_run_too(api: Api) -> None:
    client, reads = await api.tenant("acme"), await api.tenant("acme", scope=Scope.READ)
    before = await kept(api.database.dsn)
    for answer, status, code in (
        (await try_it(client, "POST", "/v1/products", {"nam": "P"}), 422, "validation_failed"),
        (await try_it(reads, "POST", "/v1/products", {"name": "P"}), 403, "permission_denied"),
        (await try_it(client, "POST", "/v1/products", {"name": "4242 4242 4242 4242"}), 422, "card_number_refused"),
        (await api.http.post("/v1/products", json={"name": "P"}, headers=DRY), 401, "unauthenticated"),
        (await api.http.post("/v1/auth/login", json={}, headers=DRY), 400, "dry_run_not_possible"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    for value in ("false", "True", "1", "", "true, true"):
        answer = await client.send("POST", "/v1/products", {"name": "P"}, headers={NAME: value})
        assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (400, "invalid_header", NAME)
    assert changed(before, await kept(api.database.dsn)) == {}


async def test_the_key_of_a_dry_run_means_nothing(api: Api) -> None:
    client = await api.tenant("acme")
    for key in ("k", "k", "not one\x7f"):
        tried = await client.send("POST", "/v1/products", {"name": "P"}, idempotency_key=key, headers=DRY)
        assert (tried.status_code, tried.json()["status"]) == (200, 201)
    assert (await client.get("/v1/commands/k")).status_code == 404
    made = await client.post("/v1/products", {"name": "Another"}, idempotency_key="k")
    assert made.status_code == 201
    # And with the key of a command that is done, another is tried all the same.
    tried = await client.send("POST", "/v1/products", {"name": "P"}, idempotency_key="k", headers=DRY)
    assert tried.json()["result"]["name"] == "P"


async def test_an_invoice_that_is_tried_takes_no_number(api: Api) -> None:
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR"})
    lines = [{"description": "Set-up", "amount": {"amount": 2500, "currency": "EUR"}}]
    draft = await client.made("/v1/invoices", {"customer": customer["id"], "currency": "EUR", "lines": lines})
    path = f"/v1/invoices/{draft['id']}/finalize"
    first, second = await asyncio.gather(*(told(client, "POST", path) for _ in range(2)))
    assert first["result"]["number"] == second["result"]["number"] is not None
    posted = [(each["account"], each["side"], each["amount"]["amount"]) for each in first["postings"]]
    assert posted[0] == ("receivable", "debit", 2500)
    assert (await client.get(f"/v1/invoices/{draft['id']}")).json()["status"] == "draft"
    finalized = (await client.post(path)).json()
    assert finalized["number"] == first["result"]["number"]


async def test_dry_runs_beside_appends_hold_none_of_them_up_and_change_nothing(api: Api) -> None:
    client = await api.tenant("acme")
    head = await api.head()
    stop = asyncio.Event()

    async def trying() -> int:
        count = 0
        while not stop.is_set() or not count:
            assert (await told(client, "POST", "/v1/products", {"name": "Tried"}))["status"] == 201
            count += 1
        return count

    tries = [asyncio.create_task(trying()) for _ in range(2)]
    made = await asyncio.gather(*(client.made("/v1/products", {"name": f"P{n}"}) for n in range(50)))
    stop.set()
    assert all(await asyncio.gather(*tries))
    assert await api.head() == head + 50
    assert len({each["id"] for each in made}) == 50
    async with api.parts.reader.of("acme") as connection:
        stored = await connection.fetchval(
            "SELECT count(*) FROM log.command_results WHERE tenant_id = 'acme' AND position > $1", head
        )
    assert stored == 50


async def test_beyond_so_many_dry_runs_at_once_they_are_turned_away(api: Api) -> None:
    client = await api.tenant("acme")
    writer = api.parts.writer

    class Full:
        submit = writer.submit
        submit_together = writer.submit_together
        rehearse_together = writer.rehearse_together

        async def rehearse(self, request: Request) -> Rehearsed:
            raise TooManyRehearsals(2_000)

    api.parts.writer = Full()
    answer = await try_it(client, "POST", "/v1/products", {"name": "P"})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "dry_runs_busy", "2")
    assert (await client.post("/v1/products", {"name": "P"})).status_code == 201
    api.parts.writer = writer


async def test_a_dry_run_counts_as_a_change(api: Api) -> None:
    client = await api.tenant("acme", scope=Scope.WRITE)
    tried = await try_it(client, "POST", "/v1/products", {"name": "P"})
    real = await client.post("/v1/products", {"name": "P"})
    assert tried.headers["ratelimit-policy"] == real.headers["ratelimit-policy"]
    assert "write" in tried.headers["ratelimit-policy"]


async def test_an_api_key_that_is_tried_is_shown_no_secret_and_is_none(api: Api) -> None:
    client = await api.tenant("acme")
    tried = await told(client, "POST", "/v1/api-keys", {"name": "imports", "scope": "write"})
    assert tried["result"]["secret"] is None
    assert (await client.get(f"/v1/api-keys/{tried['result']['id']}")).status_code == 404
