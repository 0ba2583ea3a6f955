"""Whatever a browser, a visitor of the portal or a stranger sends, the answer is a problem with a stable code, and
nothing is written: what an API key may not ask, by whoever may.
"""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import RESOURCES
from api.http.operations import Operation
from cli.users import set_super_admin
from domain.identity.browser import PORTAL_COOKIE
from domain.identity.permissions import Permission, Role, Scope, reach_of
from domain.identity.tenant import PLATFORM
from infra.settings import ApiSettings
from testing.api_client import Api, running_api
from testing.bad_bodies import NO_BODIES, broken, check_problem, path_of
from testing.people import Browser, admin, browser
from testing.services import FreshDatabase
from tests.lengths import LENGTH

ROOT = "root@example.com"
VISITOR = "a visitor"
UNLIMITED = 1_000_000
OPERATIONS: list[Operation] = [
    operation
    for resource in RESOURCES
    for operation in resource.declared
    if operation.body is not None and (operation.is_unstored or operation.needs not in reach_of(Scope.ADMIN))
]
HITS = {
    "confirm_password",
    "create_tenant",
    "do_commands",
    "forgot_password",
    "leave_portal",
    "log_out",
    "log_out_everywhere",
    "offer_passkey",
    "offer_totp",
    "update_profile",
}
"""Where a near miss may be a hit: they need nothing that would have to exist, end what is there, or answer by parts."""
SENDS_AWAY = {"confirm_password", "leave_portal", "log_out", "log_out_everywhere"}
"""After these the cookie is another one, or none."""
REFUSED_FOR_WHO_THEY_ARE = (
    "unauthenticated",
    "csrf_token_invalid",
    "permission_denied",
    "tenant_mismatch",
    "tenant_required",
)
HARMLESS = settings(
    max_examples=LENGTH.scaled(10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(kw_only=True)
class People:
    """Whoever may ask, each signed in once; who was sent away comes back for the next request."""

    api: Api
    here: dict[str, Browser] = field(default_factory=dict)

    async def who_may_ask(self, operation: Operation) -> Browser:
        """A stranger, a visitor of the portal, a user in their tenant, or who looks after the cell."""
        if operation.is_open:
            return Browser(http=self.api.http)
        if "/portal/" in operation.path:
            return self.here.get(VISITOR) or self.here.setdefault(VISITOR, await self._visitor())
        tenant = PLATFORM if operation.needs is Permission.TENANTS_WRITE else "acme"
        if tenant not in self.here:
            self.here[tenant] = await browser(self.api, ROOT)
            self.here[tenant].headers["X-Tenant-ID"] = tenant
        return self.here[tenant]

    async def _visitor(self) -> Browser:
        merchant = await self.api.tenant("acme")
        customer = (await merchant.made("/v1/customers", {"currency": "EUR", "name": "A"}))["id"]
        code = (await merchant.made(f"/v1/customers/{customer}/portal-sessions", {}))["code"]
        visitor = Browser(http=self.api.http, keeps=PORTAL_COOKIE)
        assert (await visitor.send("POST", "/v1/portal/login", {"code": code})).status_code == 200
        return visitor

    async def ask(self, by: Browser, operation: Operation, body: bytes) -> httpx2.Response:
        """Send a body as it is, with all that a page of ours sends besides."""
        sent = {**by.headers, "Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        if by.cookie:
            sent |= {"Cookie": f"{by.keeps}={by.cookie}", "X-CSRF-Token": by.csrf_token}
        answer = await self.api.http.request(operation.method, path_of(operation), content=body, headers=sent)
        self.api.http.cookies.clear()
        if answer.status_code < 400 and operation.name in SENDS_AWAY:
            self.here.clear()
        return answer


@pytest.fixture(scope="module")
async def api(shared_database: FreshDatabase) -> AsyncIterator[Api]:
    """One API for all: no test leaves anything behind that another one sees."""
    unlimited = ApiSettings(anonymous_rate_per_min=UNLIMITED, log_ins_per_min=UNLIMITED, admin_per_hour=UNLIMITED)
    async with running_api(shared_database, unlimited) as running:
        await admin(running, ROOT)
        await set_super_admin(shared_database.dsn, running.parts.settings, email=ROOT, is_super_admin=True)
        yield running


@pytest.fixture(scope="module")
async def people(api: Api) -> People:
    return People(api=api)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@HARMLESS
@given(data=st.data())
async def test_near_misses_are_refused_and_nothing_is_written(
    people: People, operation: Operation, data: st.DataObject
) -> None:
    by = await people.who_may_ask(operation)
    before = await people.api.head()
    body = json.dumps(data.draw(broken(operation.body_example))).encode()
    response = await people.ask(by, operation, body)
    if response.status_code >= 400:
        assert check_problem(response)["code"] not in REFUSED_FOR_WHO_THEY_ARE
        assert await people.api.head() == before
    else:
        assert operation.name in HITS


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_what_is_no_body_at_all_is_refused(people: People, operation: Operation) -> None:
    by = await people.who_may_ask(operation)
    before = await people.api.head()
    for body in NO_BODIES:
        problem = check_problem(await people.ask(by, operation, body))
        assert problem["status"] in (400, 422), (body[:24], problem)
    assert await people.api.head() == before


def test_who_may_ask_is_thought_of_for_each_operation() -> None:
    """Else a new operation's bodies would be tried by somebody whom it refuses for who they are."""
    ours = reach_of(Role.ADMIN).keys() | reach_of(Role.SUPER_ADMIN).keys() | reach_of(Role.CUSTOMER).keys()
    needed = [each for each in OPERATIONS if not each.is_open and not each.is_bulk]
    assert [each.name for each in needed if each.needs not in ours] == []
