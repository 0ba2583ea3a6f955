"""The matrix against the API: every role and scope asks for every operation of the document, of its own tenant and of
another, of its own customer and of another. What is allowed passes, and nothing else does.

Principals are made here, without signing in, and everything behind them is real.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import httpx2
import pytest

from api.app import RESOURCES
from api.http.dry_runs import NAME
from api.http.operations import Operation
from api.http.principal import PrincipalKind, principal_of
from cli.api_keys import EVERYTHING, create_key
from domain.entitlements.triggered_alert import Counted, TriggerAlert, trigger_id_of
from domain.identity.permissions import HOLDERS, Holder, Permission, Role, Scope, Thing, allows, permissions_of
from domain.identity.team import AddMember
from domain.identity.tenant import PLATFORM, EnterTenant
from domain.identity.user import MakeSuperAdmin, RegisterUser
from domain.kernel.frozen import replace
from domain.kernel.identifiers import SESSION, TEST_CLOCK, is_id
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from infra.ids import new_id
from testing.api_client import Api, Client, project, running_api
from testing.documented import openapi
from testing.examples.streams import PERSONAL
from testing.made_credentials import MadeCredentials
from testing.requests import request
from testing.services import FreshDatabase

OPERATIONS = {operation.name: operation for resource in RESOURCES for operation in resource.declared}
OWN_TENANT, OTHER_TENANT = "acme", "other"
NOTHING = "01m7ywe9z7e398x54gfbrtqnk7"
"""An id that nothing has, without its prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """One customer's things of each kind, by the prefix of their ids, in their tenant."""

    tenant_id: str
    ids: Mapping[str, str]

    @property
    def customer_id(self) -> str:
        """Whose they are."""
        return self.ids["cus_"]

    def put_into(self, value: Any) -> Any:
        """An example with these ids in the place of its own."""
        if isinstance(value, dict):
            return {name: self.put_into(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.put_into(each) for each in value]
        if isinstance(value, str):
            return next((found for prefix, found in self.ids.items() if is_id(value, prefix)), value)
        return value


@dataclass
class Scene:
    """An API, the things of two customers of one tenant and of one of another, and everybody who may ask."""

    api: Api
    own: Things
    anothers: Things
    other_tenants: Things
    asks: Mapping[str, "Asker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """A principal of the own tenant, at the edge."""

    holder: Holder
    secret: str
    own_id: str | None
    http: httpx2.AsyncClient

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Send a request."""
        sent = {"Authorization": f"Bearer {self.secret}", **(headers or {})}
        return await self.http.request(method, path, json=body, headers=sent)


async def _things(client: Client, catalogue: Mapping[str, str]) -> Things:
    customer = str((await client.made("/v1/customers", {"currency": "EUR", "name": "Ada Lovelace"}))["id"])
    method = await client.made(
        "/v1/payment-methods", {"customer": customer, "type": "card", "token": "tok_visa", "set_default": True}
    )
    subscription = await client.made(
        "/v1/subscriptions",
        {"customer": customer, "plan": catalogue["plan_"], "items": [{"price": catalogue["price_"], "quantity": "1"}]},
    )
    invoice = await client.made(
        "/v1/invoices",
        {
            "customer": customer,
            "currency": "EUR",
            "lines": [{"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}],
        },
    )
    billed = await client.made(
        "/v1/invoices",
        {
            "customer": customer,
            "currency": "EUR",
            "lines": [{"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}],
        },
    )
    assert (await client.post(f"/v1/invoices/{billed['id']}/finalize")).status_code == 200
    part = {"invoice": billed["id"], "amount": {"amount": 5, "currency": "EUR"}}
    note = await client.made("/v1/credit-notes", part)
    payment = await client.made(
        "/v1/payments", {"customer": customer, "amount": {"amount": 500, "currency": "EUR"}, "confirm": True}
    )
    await client.captured(str(payment["id"]))
    refund = await client.made("/v1/refunds", {"payment": payment["id"], "amount": {"amount": 5, "currency": "EUR"}})
    made = {"cus_": customer} | {
        prefix: str(thing["id"])
        for prefix, thing in (
            ("pm_", method), ("sub_", subscription), ("in_", invoice), ("pay_", payment), ("re_", refund),
            ("cn_", note)
        )
    }  # fmt: skip
    wanted = {"refund": {"payment": payment["id"], "amount": {"amount": 6, "currency": "EUR"}}}
    made["apr_"] = str((await client.made("/v1/approvals", wanted))["id"])
    watched = {"name": "Much", "meter": catalogue["mtr_"], "customer": customer, "thresholds": [{"quantity": 1}]}
    made["alrt_"] = str((await client.made("/v1/usage/alerts", watched))["id"])
    made["trig_"] = await _triggered(client, made["alrt_"], customer, catalogue["mtr_"])
    coupon = await client.made("/v1/coupons", {"name": "Ten", "percent_off": 10, "duration": "forever"})
    given = await client.made("/v1/discounts", {"coupon": coupon["id"], "customer": customer})
    made |= {"coup_": str(coupon["id"]), "disc_": str(given["id"])}
    member = AddMember(tenant_id=client.tenant_id, user_id=new_id("user_"), role=Role.ADMIN, by=None)
    await client.parts.writer.submit(request(member, tenant_id=client.tenant_id))
    made["user_"] = member.user_id
    made["inv_"] = str((await client.made("/v1/invitations", {"email": "eve@example.com", "role": "viewer"}))["id"])
    link = {"user": member.user_id, "issuer": "https://login.example.com", "subject": member.user_id}
    made["idl_"] = str((await client.made("/v1/identity-links", link))["id"])
    key = await client.made("/v1/api-keys", {"name": "imports", "scope": "read"})
    made["key_"] = str(key["id"])
    events = (await client.get(f"/v1/events?stream={payment['id']}&type=payment.captured")).json()["data"]
    return Things(tenant_id=client.tenant_id, ids={**made, **catalogue, "evt_": events[0]["id"]})


async def _triggered(client: Client, alert_id: str, customer_id: str, meter_id: str) -> str:
    """The id of what a customer reached of an alert."""
    counted = Counted(
        customer_id=customer_id,
        meter_id=meter_id,
        feature=None,
        period_start=None,
        period_end=None,
        since=None,
        limit=None,
        used=Fraction(1),
    )
    triggered = TriggerAlert(usage_alert_id=alert_id, counted=counted)
    assert (await client.parts.writer.submit(request(triggered, tenant_id=client.tenant_id))).refusal_code is None
    return trigger_id_of(alert_id, counted)


async def _catalogue(client: Client) -> dict[str, str]:
    clock = await client.made("/v1/test-clocks", {"name": "Clock", "frozen_time": "2026-01-31T12:00:00Z"})
    found = {TEST_CLOCK: str(clock["id"])}
    settings = {"seller_country": "DE"}
    answer = await client.send("PATCH", f"/v1/tenants/{client.tenant_id}/tax-settings", settings)
    assert answer.status_code == 200, answer.text
    taxes = ("create_tax_rate", "create_tax_registration")
    for name in ("create_product", "create_plan", "create_price", "create_meter", *taxes, "post_journal_entry"):
        operation = OPERATIONS[name]
        example = Things(tenant_id=client.tenant_id, ids=found).put_into(operation.body_example)
        made = await client.made(operation.path, example)
        identity = str(made["id"])
        found[identity.partition("_")[0] + "_"] = identity
    found["mig_"] = str((await client.made(f"/v1/plans/{found['plan_']}/migrations", {}))["id"])
    return found


@pytest.fixture(scope="module")
async def scene(shared_database: FreshDatabase) -> AsyncIterator[Scene]:
    """One for all that only look, or change what no other test looks at."""
    async with made_scene(shared_database) as made:
        yield made


@contextlib.asynccontextmanager
async def made_scene(database: FreshDatabase) -> AsyncIterator[Scene]:
    """Everything there, and projected."""
    async with running_api(database) as api:
        client, other = await api.tenant(OWN_TENANT), await api.tenant(OTHER_TENANT)
        catalogue = await _catalogue(client)
        own, anothers = await _things(client, catalogue), await _things(client, catalogue)
        others = await _things(other, await _catalogue(other))
        await project(database, api.parts.settings)
        made = api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)
        asks: dict[str, Asker] = {}
        for number, holder in enumerate(HOLDERS):
            asker_id = await _somebody(api, holder, f"user_{number}")
            is_customer = holder is Role.CUSTOMER
            kind = PrincipalKind.API_KEY if isinstance(holder, Scope) else PrincipalKind.USER
            principal = principal_of(
                PrincipalKind.CUSTOMER if is_customer else kind,
                holder,
                tenant_id=OWN_TENANT,
                principal_id=own.customer_id if is_customer else asker_id,
                mode=TenantMode.TEST,
                session=None if isinstance(holder, Scope) else f"{SESSION}{NOTHING}",
            )._replace(confirmed_at=datetime.now(UTC))
            made.principals[f"made-{number}"] = principal
            own_id = own.customer_id if is_customer else None
            asks[_told(holder)] = Asker(holder=holder, secret=f"made-{number}", own_id=own_id, http=api.http)
        yield Scene(api=api, own=own, anothers=anothers, other_tenants=others, asks=asks)


async def _somebody(api: Api, holder: Holder, user_id: str) -> str:
    """The id of whoever holds this in the tenant: commands look at it again when they are decided."""
    if isinstance(holder, Scope):
        made = await create_key(
            api.database.dsn, api.parts.settings, tenant_id=OWN_TENANT, terms=replace(EVERYTHING, scope=holder)
        )
        return made.key_id
    if holder is Role.SUPER_ADMIN:
        registered = RegisterUser(user_id=user_id, personal=PERSONAL, is_verified=True)
        for of_user in (registered, MakeSuperAdmin(user_id=user_id)):
            await api.parts.writer.submit(request(of_user, tenant_id=PLATFORM))
        command: Command = EnterTenant(tenant_id=OWN_TENANT, user_id=user_id, reason="to look")
    elif holder is Role.CUSTOMER:
        return user_id
    else:
        command = AddMember(tenant_id=OWN_TENANT, user_id=user_id, role=holder, by=None)
    assert (await api.parts.writer.submit(request(command, tenant_id=OWN_TENANT))).refusal_code is None
    return user_id


def _told(holder: Holder) -> str:
    return f"{type(holder).__name__} {holder}"


def _path(operation: Operation, things: Things) -> str:
    found = operation.path.replace("{tenant}", things.tenant_id)
    for name, prefix in PREFIXES.items():
        found = found.replace(f"{{{name}}}", things.ids.get(prefix, f"{prefix}{NOTHING}"))
    return found.replace("{idempotency_key:path}", "k").replace("{", "").replace("}", "")


PREFIXES = {name: prefix for resource in RESOURCES for name, prefix in resource.path_ids.items()}


async def test_what_the_matrix_allows_passes_the_edge_and_nothing_else_does(scene: Scene) -> None:
    """Without an Idempotency-Key and with a body that is none: it is refused before either is looked at."""
    passed = 0
    for path, entries in openapi()["paths"].items():
        for method, entry in entries.items():
            operation = OPERATIONS[entry["operationId"]]
            needed = entry.get("x-permission")
            assert needed == operation.needs
            for asker in scene.asks.values():
                for tenant in (None, OWN_TENANT, OTHER_TENANT, "nobody"):
                    headers = {} if tenant is None else {"X-Tenant-ID": tenant}
                    answer = await asker.ask(method.upper(), _path(operation, scene.own), headers=headers)
                    told = (asker.holder, path, tenant, answer.text)
                    if tenant not in (None, OWN_TENANT):
                        assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch"), told
                    elif needed is None or Permission(needed) in permissions_of(asker.holder):
                        assert answer.status_code != 403, told
                        passed += 1
                    else:
                        assert answer.status_code == 403, told
                        assert (answer.json()["code"], answer.json()["permission"]) == ("permission_denied", needed)
    assert passed


DONE_ONCE = {
    "remove_user",
    "withdraw_invitation",
    "remove_identity_link",
    "remove_invoice_item",
    "remove_waiting_item",
}
"""Whoever asks after the first finds nothing: tests/integration/test_api_users.py asks for each anew, and
tests/integration/test_api_drafts.py for items."""

OF_OTHER_NAMES = {
    "get_command",
    "get_saga",
    "end_own_session",
    "remove_second_factor",
    "void_usage_event",
    "correct_usage_event",
    "get_customer_meter_usage",
}
"""What they show is not found by an id of one of these things; sessions: test_api_own_sessions.py, usage:
test_api_usage_corrections.py and test_api_customer_usage.py."""


def _names_something(operation: Operation, things: Things) -> bool:
    """Whether a request for it, made from its example, names what is one customer's or one tenant's."""
    example = operation.body_example
    return _path(operation, things) != operation.path or things.put_into(example) != example


OF_WHO_ENTERED = {"leave_tenant", "reveal_personal_data"}
"""Of the one tenant that somebody entered."""


def _of_a_tenant(operation: Operation) -> bool:
    """Whether the tenant itself is what it is about."""
    return operation.path.startswith("/v1/tenants/")


def _comes(operation: Operation) -> tuple[bool, bool]:
    """The order: in a tenant that is suspended or left nobody does the rest."""
    return _of_a_tenant(operation), operation.name == "leave_tenant"


def _is_reached(asker: Asker, operation: Operation, things: Things) -> bool:
    """Whether the matrix lets them. Whoever looks after the cell names any tenant, but not what only its people see."""
    assert operation.needs is not None
    is_about_tenants = operation.needs in (Permission.TENANTS_READ, Permission.TENANTS_WRITE)
    if is_about_tenants and Permission.TENANTS_WRITE in permissions_of(asker.holder):
        return operation.name not in OF_WHO_ENTERED or things.tenant_id == OWN_TENANT
    # A plan, a price or a clock is nobody's own.
    thing = Thing(things.tenant_id, None if _of_a_tenant(operation) else things.customer_id)
    return allows(asker.holder, operation.needs, tenant_id=OWN_TENANT, own_id=asker.own_id, thing=thing)


def _is_hidden(answer: httpx2.Response) -> bool:
    """Whether it tells that nothing is there, or to whoever may see that it is, that they must enter it first."""
    found = answer.json()
    return bool(found.get("status") == 404 or found.get("code") == "tenant_not_entered")


async def test_own_things_are_reached_and_anothers_are_not_there(database: FreshDatabase) -> None:
    """Each operation that names a thing, in its path or in its body, of every holder who may do it at all."""
    async with made_scene(database) as scene:
        await check_things(scene)


async def check_things(scene: Scene) -> None:
    reached = hidden = 0
    for operation in sorted(OPERATIONS.values(), key=_comes):
        if (
            operation.needs is None
            or operation.name in OF_OTHER_NAMES | DONE_ONCE
            or not _names_something(operation, scene.own)
        ):
            continue
        anothers = () if _of_a_tenant(operation) else (scene.anothers,)
        for things in (scene.other_tenants, *anothers, scene.own):
            body = None if operation.body is None else things.put_into(operation.body_example)
            path = _path(operation, things)
            owner = things.customer_id
            for asker in scene.asks.values():
                if operation.needs not in permissions_of(asker.holder):
                    continue
                headers = {"Idempotency-Key": uuid.uuid4().hex} if operation.is_command else {}
                answer = await asker.ask(operation.method, path, body, headers)
                told = (asker.holder, operation.name, things.tenant_id, owner == scene.own.customer_id, answer.text)
                if _is_reached(asker, operation, things):
                    assert answer.status_code not in (401, 403, 404, 500), told
                    reached += 1
                else:
                    assert _is_hidden(answer), told
                    hidden += 1
                    if operation.is_command:
                        tried = await asker.ask(operation.method, path, body, {NAME: "true"})
                        found = tried.json()
                        # A gateway is not asked whether it knows what it is shown for somebody.
                        is_possible = found.get("code") != "dry_run_not_possible"
                        assert not is_possible or found.get("status") == answer.status_code, (told, tried.text)
                        assert not found.get("events"), told
    assert reached
    assert hidden


OF_BROKERS = "list_usage_events"
"""Its events are with brokers, and there are none here: tests/integration/test_api_usage_event_list.py."""


async def test_a_list_shows_a_customer_their_own_and_nothing_of_anothers(scene: Scene) -> None:
    customer = scene.asks["Role customer"]
    held = permissions_of(Role.CUSTOMER)
    lists = [
        each
        for each in OPERATIONS.values()
        if each.name.startswith("list_") and each.needs in held and each.name != OF_BROKERS
    ]
    assert len(lists) >= 5
    for operation in lists:
        shown = (await customer.ask("GET", operation.path)).json()["data"]
        assert shown, operation.name
        for each in shown:
            owner = each.get("customer", each["id"])
            if each["object"] == "refund":
                assert each["payment"] == scene.own.ids["pay_"]
            else:
                assert owner == scene.own.customer_id, operation.name
        assert operation.parameters is not None
        if "customer" in operation.parameters.model_fields:
            answer = await customer.ask("GET", f"{operation.path}?customer={scene.anothers.customer_id}")
            assert answer.json()["data"] == [], operation.name


OF_FINALIZED = "get_invoice_pdf"
"""The invoice here is a draft, and drafts have none: tests/integration/test_api_invoice_pdf.py."""


async def test_a_customer_is_shown_of_their_own_what_the_tenant_is_shown_of_it(scene: Scene) -> None:
    customer, tenant = scene.asks["Role customer"], scene.asks["Scope read"]
    held = permissions_of(Role.CUSTOMER)
    paths = [
        _path(operation, scene.own)
        for operation in OPERATIONS.values()
        if operation.needs in held
        and operation.is_query
        and "{" in operation.path
        and operation.name not in (OF_FINALIZED, *OF_OTHER_NAMES)
    ]
    assert len(paths) >= 6
    for path in [*paths, f"/v1/invoices/{scene.own.ids['in_']}?expand[]=customer"]:
        answer = await customer.ask("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.content == (await tenant.ask("GET", path)).content, path


async def test_what_is_opened_in_place_of_its_id_needs_its_own_permission(scene: Scene) -> None:
    path = f"/v1/invoices/{scene.own.ids['in_']}"
    user = scene.asks["Role user"]
    assert (await user.ask("GET", path)).status_code == 200
    for opening in (f"{path}?expand[]=customer", "/v1/invoices?expand[]=customer"):
        answer = await user.ask("GET", opening)
        assert (answer.status_code, answer.json()["permission"]) == (403, "customers:read")
        assert answer.json()["param"] == "expand[]"


async def test_a_customer_does_not_mark_their_own_invoice_as_paid(scene: Scene) -> None:
    customer = scene.asks["Role customer"]
    answer = await customer.ask(
        "POST",
        f"/v1/invoices/{scene.own.ids['in_']}/pay",
        {"paid_out_of_band": True},
        {"Idempotency-Key": "paid"},
    )
    assert (answer.status_code, answer.json()["permission"]) == (403, "invoices:write")


async def test_an_idempotency_key_of_one_customer_is_not_anothers(scene: Scene) -> None:
    """Nor the tenant's: the same key and the same body, of two who ask, are two requests."""
    customer, key = scene.asks["Role customer"], scene.asks["Scope admin"]
    path, body = f"/v1/customers/{scene.own.customer_id}", {"phone": "+44 20 7946 0958"}
    first = await key.ask("PATCH", path, body, {"Idempotency-Key": "k"})
    second = await customer.ask("PATCH", path, body, {"Idempotency-Key": "k"})
    again = await customer.ask("PATCH", path, body, {"Idempotency-Key": "k"})
    assert [each.status_code for each in (first, second, again)] == [200, 200, 200]
    assert "idempotent-replayed" not in second.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == second.content
    event = (await key.ask("GET", f"/v1/events?stream={scene.own.customer_id}&limit=1")).json()["data"][0]
    assert event["actor"] == f"customer:{scene.own.customer_id}"


async def test_personal_data_are_masked_for_who_may_not_see_them_plain(scene: Scene) -> None:
    path = f"/v1/customers/{scene.own.customer_id}"
    opened = f"/v1/invoices/{scene.own.ids['in_']}?expand[]=customer"
    plain, hidden = "Ada Lovelace", "A…"
    for name, shown in (
        ("Role viewer", hidden),
        ("Role super_admin", hidden),
        ("Role admin", plain),
        ("Role merchant", plain),
        ("Role customer", plain),
        ("Scope read", plain),
    ):
        asker = scene.asks[name]
        assert (await asker.ask("GET", path)).json()["name"] == shown, name
        assert (await asker.ask("GET", opened)).json()["customer"]["name"] == shown, name
        if name != "Role customer":
            names = {each["name"] for each in (await asker.ask("GET", "/v1/customers")).json()["data"]}
            assert names == {shown}, name


async def test_a_masked_answer_to_a_command_is_plain_to_who_may_see_it(scene: Scene) -> None:
    """The answer is stored as it is, under the tenant's key, and masked on its way to who sees it masked."""
    path, body = f"/v1/customers/{scene.own.customer_id}", {"email": "ada@example.com"}
    answers = [
        await scene.asks[name].ask("PATCH", path, body, {"Idempotency-Key": "masked"})
        for name in ("Role super_admin", "Role admin", "Role super_admin")
    ]
    assert [answer.json()["email"] for answer in answers] == ["a…@…", "ada@example.com", "a…@…"]
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, True, True]
