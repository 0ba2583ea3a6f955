"""Search over the real parts: what is found, by whom, how, and that nobody is found who was erased."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import asyncpg
import pytest

from api.http.principal import PrincipalKind, principal_of
from domain.identity.permissions import Holder, Role, Scope
from domain.kernel.tenant_mode import TenantMode
from projections import search as queries
from testing.api_client import Api, Client, project, running_api
from testing.made_credentials import MadeCredentials
from testing.services import FreshDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A tenant with something of each kind, folded."""

    api: Api
    client: Client
    ids: dict[str, str]

    async def found(self, q: str, client: Client | None = None, more: str = "") -> list[tuple[str, str]]:
        """What a search finds: ids and what they were found by."""
        response = await (client or self.client).get(f"/v1/search?q={_quoted(q)}{more}")
        assert response.status_code == 200, response.text
        return [(each["id"], each["matched"]) for each in response.json()["data"]]

    async def ids_of(self, q: str, client: Client | None = None, more: str = "") -> set[str]:
        return {found for found, _ in await self.found(q, client, more)}

    def person(self, name: str, role: Holder, own_id: str | None = None) -> Client:
        """Somebody of this role."""
        keys = self.api.parts.credentials.keys
        made = keys if isinstance(keys, MadeCredentials) else MadeCredentials(keys)
        self.api.parts.credentials.keys = made
        kind = PrincipalKind.CUSTOMER if role is Role.CUSTOMER else PrincipalKind.USER
        made.principals[name] = principal_of(
            kind, role, tenant_id="acme", principal_id=own_id or f"user_{name}", mode=TenantMode.TEST
        )._replace(confirmed_at=datetime.now(UTC))
        return Client(http=self.api.http, key=name, tenant_id="acme", parts=self.api.parts)


def _quoted(text: str) -> str:
    return quote(text, safe="")


@pytest.fixture
async def shop(database: FreshDatabase) -> AsyncIterator[Shop]:
    async with running_api(database) as api:
        client = await api.tenant("acme")
        ids: dict[str, str] = {}

        async def made(name: str, path: str, body: object) -> str:
            ids[name] = str((await client.made(path, body))["id"])
            return ids[name]

        ada = {"name": "Ada Müller-Lovelace", "email": "Ada@Example.com", "external_id": "crm-4711", "currency": "EUR"}
        await made("ada", "/v1/customers", ada)
        await made("bob", "/v1/customers", {"name": "Bob Müller", "email": "bob@example.com", "currency": "EUR"})
        product = {"name": "Fibre to the home", "description": "Up to 1 Gbit, with a fixed address"}
        await made("product", "/v1/products", product)
        plan = {"product": ids["product"], "name": "Fibre yearly", "interval": {"unit": "year", "count": 1}}
        await made("plan", "/v1/plans", plan)
        entry = [
            {"account": "cash", "side": "debit", "amount": {"amount": 100, "currency": "EUR"}},
            {"account": "equity", "side": "credit", "amount": {"amount": 100, "currency": "EUR"}},
        ]
        memo = "Paid-in capital of the founders"
        await made("entry", "/v1/ledger/journal-entries", {"postings": entry, "memo": memo})
        for name in ("ada", "bob"):
            payment = {
                "customer": ids[name],
                "amount": {"amount": 500, "currency": "EUR"},
                "description": f"Antenna mast {name}",
            }
            await made(f"payment_{name}", "/v1/payments", payment)
        line = {"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}
        invoice = {"customer": ids["ada"], "currency": "EUR", "lines": [line]}
        await made("invoice", "/v1/invoices", invoice)
        finalized = await client.post(f"/v1/invoices/{ids['invoice']}/finalize")
        ids["number"] = finalized.json()["number"]
        part = {"invoice": ids["invoice"], "amount": {"amount": 10, "currency": "EUR"}}
        await made("credit_note", "/v1/credit-notes", part)
        await project(database, api.parts.settings)
        yield Shop(api=api, client=client, ids=ids)


async def test_everything_is_found_by_what_people_know_of_it(shop: Shop) -> None:
    ids = shop.ids
    for q, name, matched in (
        (ids["ada"], "ada", "id"),
        (ids["invoice"][:12], "invoice", "id"),
        (ids["number"], "invoice", "number"),
        ("CN-00000", "credit_note", "number"),
        ("crm-47", "ada", "external_id"),
        ("ADA@example.com", "ada", "person"),
        ("lovelace muller", "ada", "person"),
        ("gbit", "product", "text"),
        ("fibre yearly", "plan", "text"),
        ('"paid-in capital"', "entry", "text"),
        ("antenna -bob", "payment_ada", "text"),
    ):
        found = await shop.found(q)
        assert found[0] == (ids[name], matched), (q, found)


async def test_a_hit_says_what_it_is_called_and_where_it_is(shop: Shop) -> None:
    (hit,) = (await shop.client.get("/v1/search?q=lovelace")).json()["data"]
    assert hit == {
        "object": "search_hit",
        "type": "customer",
        "id": shop.ids["ada"],
        "title": "Ada Müller-Lovelace",
        "matched": "person",
        "url": f"/v1/customers/{shop.ids['ada']}",
    }
    assert (await shop.client.get(hit["url"])).status_code == 200


async def test_kinds_and_number_of_hits_are_narrowed(shop: Shop) -> None:
    ids = shop.ids
    assert await shop.ids_of("fibre") == {ids["product"], ids["plan"]}
    assert await shop.ids_of("fibre", more="&type[]=plan") == {ids["plan"]}
    assert await shop.ids_of("müller") == {ids["ada"], ids["bob"]}
    assert len(await shop.ids_of("müller", more="&limit=1")) == 1
    assert (await shop.client.get("/v1/search?q=a&type[]=user")).status_code == 422


@pytest.mark.parametrize("q", ["ada", "da@example.com", "example.com", "lovelac", "ada babbage"])
async def test_parts_of_words_and_addresses_find_nobody(shop: Shop, q: str) -> None:
    found = [(each, matched) for each, matched in await shop.found(q) if matched == "person"]
    assert found == ([(shop.ids["ada"], "person")] if q == "ada" else [])


async def test_a_changed_name_is_found_at_once_and_the_old_one_no_more(shop: Shop) -> None:
    changed = await shop.client.send("PATCH", f"/v1/customers/{shop.ids['ada']}", {"name": "Ada King"})
    assert changed.status_code == 200
    assert await shop.ids_of("king") == {shop.ids["ada"]}
    assert await shop.ids_of("lovelace") == set()
    assert await shop.ids_of("ada@example.com") == {shop.ids["ada"]}


async def test_whoever_is_erased_is_found_no_more_and_leaves_no_terms(shop: Shop) -> None:
    assert (await shop.client.post(f"/v1/customers/{shop.ids['ada']}/erase")).status_code == 200
    for q in ("lovelace", "ada@example.com"):
        assert await shop.ids_of(q) == set()
    async with shop.api.parts.reader.of("acme") as connection:
        left = await connection.fetch("SELECT DISTINCT person_id FROM vault.search_terms")
    assert [row[0] for row in left] == [shop.ids["bob"]]


async def test_another_tenant_finds_nothing_and_shares_no_terms(shop: Shop) -> None:
    other = await shop.api.tenant("other")
    for q in (*shop.ids.values(), "crm-4711", "ada@example.com", "müller", "fibre", "capital", "antenna"):
        assert await shop.found(q, other) == [], q
    await other.made("/v1/customers", {"name": "Ada Müller-Lovelace", "email": "ada@example.com", "currency": "EUR"})
    (mine,) = await shop.ids_of("ada@example.com")
    assert mine == shop.ids["ada"]
    digests = {
        tenant_id: set(shop.api.parts.vault.search_digests(tenant_id, ["word:ada"])) for tenant_id in ("acme", "other")
    }
    assert digests["acme"].isdisjoint(digests["other"])


async def test_a_customer_finds_their_own_alone(shop: Shop) -> None:
    ids, ada = shop.ids, shop.person("ada", Role.CUSTOMER, shop.ids["ada"])
    assert await shop.ids_of("müller", ada) == {ids["ada"]}
    assert await shop.ids_of("antenna", ada) == {ids["payment_ada"]}
    assert await shop.ids_of("fibre", ada) == set(), "the catalogue is the merchant's"
    for theirs in (ids["bob"], ids["payment_bob"], "bob@example.com"):
        assert await shop.ids_of(theirs, ada) == set()
    assert await shop.ids_of(ids["number"], ada) == {ids["invoice"]}


async def test_what_somebody_may_not_see_is_left_out(shop: Shop) -> None:
    ids, user, viewer = shop.ids, shop.person("u", Role.USER), shop.person("v", Role.VIEWER)
    assert await shop.ids_of("capital", user) == set()
    assert await shop.ids_of("fibre", user) == {ids["product"], ids["plan"]}
    assert await shop.ids_of(ids["ada"], user) == set()
    assert await shop.ids_of("capital", viewer) == {ids["entry"]}
    # To whom people are shown masked, no search tells who they are.
    for q in ("ada@example.com", "müller"):
        assert await shop.ids_of(q, viewer) == set()
    assert await shop.ids_of("crm-4711", viewer) == {ids["ada"]}
    reads = await shop.api.tenant("acme", scope=Scope.READ)
    assert await shop.ids_of("ada@example.com", reads) == {ids["ada"]}


@pytest.mark.parametrize(
    "q",
    [
        "'",
        "&|!():*<->",
        "a" * 200,
        "%",
        "_",
        "\\",
        "or or or",
        '"',
        "-",
        "a:*",
        "🎉",
        "\u202e",
        "in_",
        "cus_0",
        "0" * 19,
    ],
)
async def test_hostile_searches_find_nothing_and_break_nothing(shop: Shop, q: str) -> None:
    assert (await shop.client.get(f"/v1/search?q={_quoted(q)}")).status_code == 200


async def test_what_is_no_search_is_refused(shop: Shop) -> None:
    assert (await shop.client.get("/v1/search")).status_code == 422
    assert (await shop.client.get("/v1/search?q=")).status_code == 422
    assert (await shop.client.get(f"/v1/search?q={'a' * 201}")).status_code == 422
    card = await shop.client.get("/v1/search?q=4242424242424242")
    assert card.json()["code"] == "card_number_refused", card.text


async def test_what_is_searched_for_is_in_no_log(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    assert await shop.ids_of("ada@example.com") == {shop.ids["ada"]}
    shop.api.parts.access_log.close()
    told = capfd.readouterr()
    assert "example.com" not in told.out + told.err
    assert "/v1/search" in told.out


async def test_every_search_is_answered_by_an_index(shop: Shop) -> None:
    """With 20,000 people and texts, by their plans: nothing is looked at that does not match."""
    owner = await asyncpg.connect(shop.api.database.dsn)
    try:
        await owner.execute(
            "INSERT INTO vault.people SELECT 'acme', 'cus_' || n, '', '' FROM generate_series(1, 20000) n; "
            "INSERT INTO vault.search_terms SELECT 'acme', n, 'cus_' || n FROM generate_series(1, 20000) n; "
            "INSERT INTO log.claims (tenant_id, kind, value, owner) "
            "SELECT 'acme', 'customer.external_id', 'x-' || n, 'cus_' || n FROM generate_series(1, 20000) n; "
            "ANALYZE vault.search_terms; ANALYZE log.claims"
        )
    finally:
        await owner.close()
    async with shop.api.parts.reader.of("acme") as connection:
        for query, values in (
            (queries._PEOPLE, ("acme", 7, [8, 9], 20)),
            (queries._EXTERNAL_IDS, ("acme", "customer.external_id", "x-1999", "x-1999" + queries.LAST, 20)),
        ):
            (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values))
            assert _rows_looked_at(plan["Plan"]) < 100, plan


def _rows_looked_at(plan: dict[str, object]) -> int:
    inner = plan.get("Plans", [])
    assert isinstance(inner, list)
    removed = int(str(plan.get("Rows Removed by Filter", 0)))
    own = int(float(str(plan["Actual Rows"]))) + removed if "Relation Name" in plan else 0
    return own + sum(_rows_looked_at(each) for each in inner)
