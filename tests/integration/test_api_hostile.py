"""What hostile people try with what they rightly have: an address, a key of their own tenant, a session."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.http.principal import PrincipalKind, principal_of
from domain.identity.permissions import Role
from domain.kernel.tenant_mode import TenantMode
from infra.settings import ApiSettings
from testing.api_client import Api, Client, running_api
from testing.made_credentials import MadeCredentials
from testing.mailbox import keep_letters, tokens_sent
from testing.people import PASSWORD, admin
from testing.services import FreshDatabase

OWNER, ALIKE = "ada@strasse.example", "ada@stra\N{LATIN SMALL LETTER SHARP S}e.example"
"""Two mailboxes of two domains. Casefolding makes one of them."""
OUTSIDE = {"X-Forwarded-For": "198.51.100.1"}


@pytest.fixture
async def api(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Api]:
    settings = ApiSettings(anonymous_rate_per_min=1_000, log_ins_per_min=100_000, trusted_proxies="127.0.0.1/32")
    async with running_api(database, settings) as running:
        keep_letters(running, tmp_path)
        yield running


async def auth_events(client: Client) -> list[dict[str, Any]]:
    await client.parts.auth_log.write()
    found: list[dict[str, Any]] = (await client.get("/v1/auth-events")).json()["data"]
    return found


async def test_an_address_that_only_looks_like_another_is_another(api: Api, tmp_path: Path) -> None:
    await admin(api, OWNER)
    assert (await api.http.post("/v1/auth/forgot-password", json={"email": ALIKE})).status_code == 202
    assert await tokens_sent(api, tmp_path) == [], "whoever has that mailbox is nobody here"
    hostile = await api.tenant("hostile")
    await hostile.made("/v1/invitations", {"email": ALIKE, "role": "admin"})
    ((to, token),) = await tokens_sent(api, tmp_path)
    acceptance = {"token": token, "email": ALIKE, "password": "a sentence of somebody else", "name": "Eve"}
    assert (await api.http.post("/v1/auth/accept-invitation", json=acceptance)).status_code == 200
    (member,) = (await hostile.get("/v1/users")).json()["data"]
    assert (to, member["email"]) == (ALIKE, ALIKE), "it made no member of whoever is alike"


async def test_a_letter_goes_to_the_address_that_is_known_however_it_was_typed(api: Api, tmp_path: Path) -> None:
    await admin(api, OWNER)
    assert (await api.http.post("/v1/auth/forgot-password", json={"email": OWNER.upper()})).status_code == 202
    assert [to for to, _ in await tokens_sent(api, tmp_path)] == [OWNER]


async def test_a_failed_log_in_is_told_to_the_users_tenants_and_not_to_whoever_tried(api: Api) -> None:
    """A key of one's own beside somebody else's address must neither tell who that is nor hide the guess from them."""
    user_id = await admin(api, OWNER)
    hostile, owner = await api.tenant("hostile"), await api.tenant("acme")
    guess = {"email": OWNER, "password": "not it", "kind": "program"}
    for path in ("/v1/auth/login", "/v1/auth/passkey-options"):
        body = guess if path.endswith("login") else {"email": OWNER, "password": "not it"}
        answer = await hostile.send("POST", path, body)
        assert answer.status_code == 401, answer.text
    assert not [each for each in await auth_events(hostile) if each["user"] is not None]
    told = [each for each in await auth_events(owner) if each["kind"] == "log_in_failed"]
    assert {each["user"] for each in told} == {user_id}


async def test_what_became_of_keys_and_members_is_not_for_who_may_not_read_the_audit(api: Api) -> None:
    client = await api.tenant("acme")
    made = await client.made("/v1/api-keys", {"name": "secret plan", "scope": "read"})
    await client.made("/v1/invitations", {"email": "bob@example.com", "role": "admin"})
    await client.made("/v1/products", {"name": "P"})
    reader = Client(http=api.http, key=str(made["secret"]), tenant_id="acme", parts=api.parts)
    seen = (await reader.get("/v1/events?limit=100")).json()["data"]
    assert {each["stream_type"] for each in seen} == {"product"}
    everything = (await client.get("/v1/events?limit=100")).json()["data"]
    hidden = [each for each in everything if each["stream_type"] != "product"]
    assert {each["stream_type"] for each in hidden} >= {"tenant", "api_key", "team"}
    for event in hidden:
        assert (await reader.get(f"/v1/events/{event['id']}")).status_code == 404
        for query in (
            f"stream={event['stream']}",
            f"stream={event['stream_type']}/{event['stream']}",
            f"type={event['type']}",
            f"correlation_id={event['correlation_id']}",
        ):
            answer = await reader.get(f"/v1/events?{query}")
            assert answer.json()["data"] == [], (query, answer.text)


async def test_who_stands_at_anothers_screen_approves_no_entry_without_the_password(api: Api) -> None:
    """Two cautions stand before an entry by hand; the one does not replace the other."""
    program = await api.tenant("acme")
    made = api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)
    lately, long_ago = datetime.now(UTC), datetime.now(UTC) - timedelta(hours=1)

    def person(name: str, confirmed_at: datetime) -> Client:
        key = f"{name} {confirmed_at}"
        made.principals[key] = principal_of(
            PrincipalKind.USER, Role.BILLING_ADMIN, tenant_id="acme", principal_id=f"user_{name}", mode=TenantMode.TEST
        )._replace(confirmed_at=confirmed_at)
        return Client(http=api.http, key=key, tenant_id="acme", parts=api.parts)

    entry = {
        "postings": [
            {"account": "cash", "side": "debit", "amount": {"amount": 500, "currency": "EUR"}},
            {"account": "equity", "side": "credit", "amount": {"amount": 500, "currency": "EUR"}},
        ],
        "memo": "found in the drawer",
    }
    refused = await person("ada", long_ago).post("/v1/approvals", {"journal_entry": entry})
    assert (refused.status_code, refused.json()["code"]) == (403, "password_confirmation_required"), refused.text
    approval = (await person("ada", lately).made("/v1/approvals", {"journal_entry": entry}))["id"]
    for action in ("approve", "reject"):
        refused = await person("bob", long_ago).post(f"/v1/approvals/{approval}/{action}")
        assert (refused.status_code, refused.json()["code"]) == (403, "password_confirmation_required")
        assert refused.json()["permission"] == "ledger:write"
    assert (await person("bob", lately).post(f"/v1/approvals/{approval}/approve")).status_code == 200
    assert (await program.get("/v1/approvals")).status_code == 200


async def test_a_key_presented_from_elsewhere_uses_up_nothing_of_its_tenants(api: Api) -> None:
    """Whoever stole a key that does not work where they are must not stop its owner by it."""
    client = await api.tenant("acme")
    limits = {"reads_per_hour": 2}
    made = await client.made(
        "/v1/api-keys", {"name": "n", "scope": "read", "allowed_networks": ["192.0.2.0/24"], "limits": limits}
    )
    bound = Client(http=api.http, key=str(made["secret"]), tenant_id="acme", parts=api.parts)
    for _ in range(5):
        answer = await bound.get("/v1/products", **OUTSIDE)
        assert (answer.status_code, answer.json()["code"]) == (403, "address_not_allowed")
        assert answer.headers["ratelimit-policy"].startswith('"address"'), "it is counted on who presents it"
    assert (await bound.get("/v1/products", **{"X-Forwarded-For": "192.0.2.7"})).status_code == 200


async def test_asking_for_a_passkey_counts_as_a_log_in(database: FreshDatabase) -> None:
    settings = ApiSettings(anonymous_rate_per_min=100_000, log_ins_per_min=2)
    async with running_api(database, settings) as api:
        body = {"email": OWNER, "password": PASSWORD}
        answers = [await api.http.post("/v1/auth/passkey-options", json=body) for _ in range(3)]
        assert [each.status_code for each in answers] == [401, 401, 429]
