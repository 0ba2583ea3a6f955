"""Whoever tries a command is told what they would be told of the real one, and nothing that they may not see."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from api.http.dry_runs import NAME
from api.http.principal import PrincipalKind, principal_of
from cli.tenants import set_approval_limits, suspend_tenant
from cli.users import set_super_admin
from domain.identity.browser import PORTAL_COOKIE
from domain.identity.permissions import Role, Scope
from domain.kernel.money import Money
from domain.kernel.tenant_mode import TenantMode
from testing.api_client import Api, Client, running_api
from testing.kept import BESIDE, SEEN, changed, kept
from testing.made_credentials import MadeCredentials
from testing.people import Browser, admin, browser
from testing.services import FreshDatabase

DRY = {NAME: "true"}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


def person(api: Api, role: Role, *, confirmed: bool = True) -> Client:
    """A member of the tenant."""
    if not isinstance(api.parts.credentials.keys, MadeCredentials):
        api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)
    made = api.parts.credentials.keys
    principal = principal_of(
        PrincipalKind.USER, role, tenant_id="acme", principal_id=f"user_{role}", mode=TenantMode.TEST
    )
    made.principals[role] = principal._replace(confirmed_at=datetime.now(UTC) if confirmed else None)
    return Client(http=api.http, key=role, tenant_id="acme", parts=api.parts)


async def test_a_customer_tries_what_is_their_own_and_sees_no_books(api: Api) -> None:
    client = await api.tenant("acme")
    own, other = [(await client.made("/v1/customers", {"currency": "EUR", "name": name}))["id"] for name in "AB"]
    link = await client.made(f"/v1/customers/{own}/portal-sessions", {})
    visitor = Browser(http=api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    before = await kept(api.database.dsn, but=BESIDE | SEEN)
    tried = await visitor.send("PATCH", f"/v1/customers/{own}", {"name": "Ada"}, DRY)
    told = tried.json()
    assert (tried.status_code, told["status"], told["result"]["name"]) == (200, 200, "Ada")
    assert (told["events"], told["postings"]) == (None, None)
    others = (await visitor.send("PATCH", f"/v1/customers/{other}", {"name": "Eve"}, DRY)).json()
    assert (others["status"], others["result"]["code"]) == (404, "customer_not_found")
    denied = await visitor.send("POST", "/v1/products", {"name": "P"}, DRY)
    assert (denied.status_code, denied.json()["code"]) == (403, "permission_denied")
    assert changed(before, await kept(api.database.dsn, but=BESIDE | SEEN)) == {}


async def test_events_of_the_team_are_told_to_who_may_read_the_audit(api: Api) -> None:
    client, writes = await api.tenant("acme"), await api.tenant("acme", scope=Scope.WRITE)
    key = (await client.send("POST", "/v1/api-keys", {"name": "k", "scope": "read"}, headers=DRY)).json()
    assert [each["type"] for each in key["events"]] == ["api_key.created"]
    assert key["events"][0]["data"].keys() & {"secret", "sha256", "digest"} == set()
    product = (await writes.send("POST", "/v1/products", {"name": "P"}, headers=DRY)).json()
    assert [each["type"] for each in product["events"]] == ["product.created"]
    assert product["postings"] == []


async def test_what_needs_a_second_person_or_a_password_is_told_so(api: Api) -> None:
    client = await api.tenant("acme")
    limits = [Money.parse("500.00", "EUR")]
    await set_approval_limits(api.database.dsn, api.parts.settings, tenant_id="acme", limits=limits)
    amount = {"amount": 50_001, "currency": "EUR"}
    sides = (("cash", "debit"), ("equity", "credit"))
    entry = {"postings": [{"account": a, "side": s, "amount": amount} for a, s in sides], "memo": "Capital"}
    before = await kept(api.database.dsn, but=BESIDE | SEEN)
    for asker in (client, person(api, Role.ADMIN)):
        told = (await asker.send("POST", "/v1/ledger/journal-entries", entry, headers=DRY)).json()
        assert (told["status"], told["result"]["code"]) == (409, "approval_required")
    unconfirmed = person(api, Role.ADMIN, confirmed=False)
    asked = await unconfirmed.send("POST", "/v1/ledger/journal-entries", entry, headers=DRY)
    assert (asked.status_code, asked.json()["code"]) == (403, "password_confirmation_required")
    assert changed(before, await kept(api.database.dsn, but=BESIDE | SEEN)) == {}


async def test_whoever_entered_a_tenant_sees_its_people_masked_in_a_dry_run_too(api: Api) -> None:
    await admin(api, "root@example.com", tenant="home")
    await set_super_admin(api.database.dsn, api.parts.settings, email="root@example.com", is_super_admin=True)
    root = await browser(api, "root@example.com")
    on_platform, in_acme = {"X-Tenant-ID": "platform"}, {"X-Tenant-ID": "acme"}
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR", "name": "Grace Hopper"})
    path, why = f"/v1/customers/{customer['id']}", {"reason": "ticket 4711"}
    before = await kept(api.database.dsn, but=BESIDE | SEEN)
    entering = await root.send("POST", "/v1/tenants/acme/enter", why, on_platform | DRY)
    assert (entering.status_code, entering.json()["result"]["object"]) == (200, "tenant_entry")
    assert changed(before, await kept(api.database.dsn, but=BESIDE | SEEN)) == {}
    outside = await root.send("PATCH", path, {"phone": "1"}, in_acme | DRY)
    assert (outside.status_code, outside.json()["code"]) == (403, "tenant_mismatch")
    assert (await root.send("POST", "/v1/tenants/acme/enter", why, on_platform)).status_code == 200
    told = (await root.send("PATCH", path, {"email": "grace@example.com"}, in_acme | DRY)).json()
    real = (await root.send("PATCH", path, {"email": "grace@example.com"}, in_acme)).json()
    assert (told["result"]["name"], told["result"]["email"]) == (real["name"], real["email"]) == ("G…", "g…@…")


async def test_nobody_is_written_to_and_no_address_is_kept_for_an_invitation_that_is_tried(api: Api) -> None:
    client = await api.tenant("acme")
    before = await kept(api.database.dsn, but=BESIDE | SEEN)
    body = {"email": "eve@example.com", "role": "viewer"}
    told = (await client.send("POST", "/v1/invitations", body, headers=DRY)).json()
    assert (told["status"], told["result"]["email"]) == (201, None)
    assert changed(before, await kept(api.database.dsn, but=BESIDE | SEEN)) == {}
    assert (await client.post("/v1/invitations", body)).json()["email"] == "eve@example.com"


async def test_nothing_is_tried_in_a_tenant_that_is_suspended(api: Api) -> None:
    client = await api.tenant("acme")
    await suspend_tenant(api.database.dsn, api.parts.settings, tenant_id="acme", reason="unpaid")
    answer = await client.send("POST", "/v1/products", {"name": "P"}, headers=DRY)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
