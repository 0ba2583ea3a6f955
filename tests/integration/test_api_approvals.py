"""What is above a tenant's limit is done by two people and not by one, over HTTP and in the books."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.http.principal import PrincipalKind, principal_of
from cli.tenants import set_approval_limits
from domain.identity.permissions import Holder, Role, Scope
from domain.kernel.money import Money
from domain.kernel.tenant_mode import TenantMode
from testing.api_client import Api, Client, project, running_api
from testing.made_credentials import MadeCredentials
from testing.services import FreshDatabase

LIMIT = {"amount": 50_000, "currency": "EUR"}
ABOVE = {"amount": 50_001, "currency": "EUR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A tenant whose limit is EUR 500.00, its program, and three people who work for it."""

    api: Api
    program: Client
    ada: Client
    bob: Client
    viewer: Client

    async def payment(self, amount: int = 100_000) -> str:
        """A payment that succeeded and pays no invoice."""
        customer = (await self.program.made("/v1/customers", {"currency": "EUR"}))["id"]
        await self.program.made(
            "/v1/payment-methods", {"customer": customer, "type": "card", "token": "tok_visa", "set_default": True}
        )
        paid = await self.program.made(
            "/v1/payments",
            {"customer": customer, "amount": {"amount": amount, "currency": "EUR"}, "confirm": True},
        )
        payment_id = str(paid["id"])
        await self.program.captured(payment_id)
        return payment_id

    async def asked(self, by: Client, payment_id: str, amount: object = ABOVE) -> str:
        """The id of an approval that somebody asks for."""
        wanted = {"refund": {"payment": payment_id, "amount": amount, "reason": "late"}, "note": "please"}
        return str((await by.made("/v1/approvals", wanted))["id"])


@pytest.fixture
async def scene(database: FreshDatabase) -> AsyncIterator[Scene]:
    async with running_api(database) as api:
        program = await api.tenant("acme")
        limits = [Money.parse("500.00", "EUR")]
        await set_approval_limits(database.dsn, api.parts.settings, tenant_id="acme", limits=limits)
        made = api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)

        def person(name: str, role: Holder = Role.BILLING_ADMIN) -> Client:
            made.principals[name] = principal_of(
                PrincipalKind.USER, role, tenant_id="acme", principal_id=f"user_{name}", mode=TenantMode.TEST
            )._replace(confirmed_at=datetime.now(UTC))
            return Client(http=api.http, key=name, tenant_id="acme", parts=api.parts)

        people = person("ada"), person("bob"), person("vera", Role.VIEWER)
        yield Scene(api=api, program=program, ada=people[0], bob=people[1], viewer=people[2])


async def test_one_person_alone_refunds_up_to_the_limit_and_is_told_how_to_go_on(scene: Scene) -> None:
    payment_id = await scene.payment()
    for asker in (scene.ada, scene.program):
        refused = await asker.post("/v1/refunds", {"payment": payment_id, "amount": ABOVE})
        assert (refused.status_code, refused.json()["code"]) == (409, "approval_required")
        assert "POST /v1/approvals" in refused.json()["detail"]
        assert "amount=50001, limit=50000, currency=EUR" in refused.json()["detail"]
    await scene.ada.made("/v1/refunds", {"payment": payment_id, "amount": LIMIT})


async def test_a_refund_is_there_once_a_second_person_approves(scene: Scene) -> None:
    payment_id = await scene.payment()
    approval_id = await scene.asked(scene.ada, payment_id)
    await project(scene.api.database, scene.api.parts.settings)
    shown = (await scene.viewer.get(f"/v1/approvals/{approval_id}")).json()
    assert (shown["status"], shown["requested_by"]) == ("requested", "user:user_ada")
    refund_path = f"/v1/refunds/{shown['refund']['id']}"
    assert (await scene.ada.get(refund_path)).status_code == 404
    for asker, code in ((scene.ada, "own_approval"), (scene.program, "approval_needs_person")):
        refused = await asker.post(f"/v1/approvals/{approval_id}/approve")
        assert (refused.status_code, refused.json()["code"]) == (409, code)
    assert (await scene.viewer.post(f"/v1/approvals/{approval_id}/approve")).status_code == 403
    approved = (await scene.bob.post(f"/v1/approvals/{approval_id}/approve")).json()
    assert (approved["status"], approved["decided_by"]) == ("approved", "user:user_bob")
    refund = (await scene.ada.get(refund_path)).json()
    assert (refund["amount"], refund["status"], refund["reason"]) == (ABOVE, "pending", "late")
    await project(scene.api.database, scene.api.parts.settings)
    listed = (await scene.viewer.get("/v1/approvals?status=approved")).json()["data"]
    assert [each["id"] for each in listed] == [approval_id]


async def test_of_many_who_approve_and_reject_at_once_one_decides(scene: Scene) -> None:
    payment_id = await scene.payment()
    approval_id = await scene.asked(scene.program, payment_id)
    deciders = [
        client.post(f"/v1/approvals/{approval_id}/{action}")
        for client in (scene.ada, scene.bob)
        for action in ("approve", "reject") * 3
    ]
    answers = await asyncio.gather(*deciders)
    assert sorted(each.status_code for each in answers) == [200, *[409] * 11]
    events = (await scene.ada.get(f"/v1/events?stream={payment_id}&type=refund.requested")).json()["data"]
    (decided,) = [each.json()["status"] for each in answers if each.status_code == 200]
    assert len(events) == (decided == "approved")


async def test_two_approvals_of_one_payment_never_refund_more_than_it_captured(scene: Scene) -> None:
    payment_id = await scene.payment()
    first, second = [await scene.asked(scene.ada, payment_id, {"amount": 60_000, "currency": "EUR"}) for _ in "12"]
    answers = await asyncio.gather(*(scene.bob.post(f"/v1/approvals/{each}/approve") for each in (first, second)))
    codes = sorted(each.json().get("code", "approved") for each in answers)
    assert codes == ["approved", "refund_exceeds_payment"]
    await project(scene.api.database, scene.api.parts.settings)
    (left,) = (await scene.ada.get("/v1/approvals?status=requested")).json()["data"]
    assert (await scene.ada.post(f"/v1/approvals/{left['id']}/withdraw")).json()["status"] == "withdrawn"


async def test_an_entry_above_the_limit_is_posted_by_two(scene: Scene) -> None:
    entry = {
        "postings": [
            {"account": "cash", "side": "debit", "amount": ABOVE},
            {"account": "equity", "side": "credit", "amount": ABOVE},
        ],
        "memo": "Paid-in capital",
    }
    refused = await scene.ada.post("/v1/ledger/journal-entries", entry)
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_required")
    asked = await scene.ada.made("/v1/approvals", {"journal_entry": entry})
    assert (await scene.bob.post(f"/v1/approvals/{asked['id']}/approve")).json()["status"] == "approved"
    entry_id = (await scene.ada.get(f"/v1/approvals/{asked['id']}")).json()["journal_entry"]["id"]
    posted = (await scene.ada.get(f"/v1/ledger/journal-entries/{entry_id}")).json()
    assert Decimal(posted["postings"][0]["amount"]["amount"]) == ABOVE["amount"]
    reverse = f"/v1/ledger/journal-entries/{entry_id}/reverse"
    assert (await scene.ada.post(reverse, {"memo": "twice"})).json()["code"] == "approval_required"
    again = await scene.bob.made("/v1/approvals", {"reversal": {"entry": entry_id, "memo": "twice"}})
    assert (await scene.ada.post(f"/v1/approvals/{again['id']}/approve")).status_code == 200
    assert (await scene.ada.get(f"/v1/ledger/journal-entries/{entry_id}")).json()["reversed_at"] is not None


async def test_nobody_asks_for_or_decides_what_they_may_not_do(scene: Scene) -> None:
    writes = await scene.api.tenant("acme", scope=Scope.WRITE)
    entry = {"reversal": {"entry": "je_01m7ywe9z7e398x54gfbrtqnk7", "memo": "twice"}}
    refused = await writes.post("/v1/approvals", entry)
    assert (refused.status_code, refused.json()["permission"]) == (403, "ledger:write")
    assert (await scene.ada.post("/v1/approvals", entry)).json()["code"] == "journal_entry_not_found"
    for body in ({}, {"refund": None}, {**entry, "refund": {"payment": "pay_01m7ywe9z7e398x54gfbrtqnk7"}}):
        assert (await scene.ada.post("/v1/approvals", body)).json()["code"] == "invalid_approval_request", body


async def test_another_tenants_approval_is_not_there(scene: Scene) -> None:
    approval_id = await scene.asked(scene.ada, await scene.payment())
    other = await scene.api.tenant("other")
    assert (await other.get(f"/v1/approvals/{approval_id}")).status_code == 404
    for action in ("approve", "reject", "withdraw"):
        assert (await other.post(f"/v1/approvals/{approval_id}/{action}")).status_code == 404


@pytest.mark.parametrize("asker", ["ada", "program"])
async def test_metadata_of_a_refund_need_no_approval(scene: Scene, asker: str) -> None:
    client: Client = getattr(scene, asker)
    made = await client.made("/v1/refunds", {"payment": await scene.payment(), "amount": LIMIT})
    changed = await client.send("PATCH", f"/v1/refunds/{made['id']}", {"metadata": {"case": "7"}})
    assert changed.json()["metadata"] == {"case": "7"}
