"""A tenant's approval limits over HTTP: its own people change them, and no one of them lifts what holds them back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.http.principal import PrincipalKind, principal_of
from domain.identity.permissions import Role, Scope
from domain.identity.team import AddMember, ChangeMemberRole
from domain.kernel.tenant_mode import TenantMode
from testing.api_client import Api, Client, running_api
from testing.made_credentials import MadeCredentials
from testing.requests import request
from testing.services import FreshDatabase

PATH = "/v1/tenants/acme/approval-limits"


@dataclass(kw_only=True)
class Scene:
    """A tenant and people of it."""

    api: Api
    program: Client
    made: MadeCredentials

    async def person(self, name: str, role: Role = Role.ADMIN, **facts: Any) -> Client:
        """A member who has just entered their password."""
        joins = AddMember(tenant_id="acme", user_id=f"user_{name}", role=role, by=None)
        assert (await self.api.parts.writer.submit(request(joins, tenant_id="acme"))).refusal_code is None
        principal = principal_of(
            PrincipalKind.USER, role, tenant_id="acme", principal_id=f"user_{name}", mode=TenantMode.TEST
        )
        self.made.principals[name] = principal._replace(**{"confirmed_at": datetime.now(UTC), **facts})
        return Client(http=self.api.http, key=name, tenant_id="acme", parts=self.api.parts)


@pytest.fixture
async def scene(database: FreshDatabase) -> AsyncIterator[Scene]:
    async with running_api(database) as api:
        program = await api.tenant("acme")
        made = api.parts.credentials.keys = MadeCredentials(api.parts.credentials.keys)
        yield Scene(api=api, program=program, made=made)


def limits(**amounts: int | None) -> dict[str, object]:
    return {"limits": [{"currency": currency, "amount": amount} for currency, amount in amounts.items()]}


async def change(by: Client, **amounts: int | None) -> tuple[int, Any]:
    answer = await by.send("PATCH", PATH, limits(**amounts))
    return answer.status_code, answer.json()


async def test_an_admin_sets_limits_and_whoever_is_bound_by_them_sees_them(scene: Scene) -> None:
    ada = await scene.person("ada")
    assert (await scene.program.get(PATH)).json() == {"object": "approval_limits", "tenant": "acme", "limits": []}
    assert (await change(ada, EUR=50_000, USD=0))[0] == 200
    changed = await ada.send("PATCH", PATH, limits(USD=None))
    assert changed.json()["limits"] == [{"amount": 50_000, "currency": "EUR"}]
    vera = await scene.person("vera", Role.VIEWER)
    for reader in (ada, vera, scene.program):
        assert (await reader.get(PATH)).json() == changed.json()
    assert (await ada.send("PATCH", PATH, {})).json() == changed.json()
    shown = (await scene.program.get("/v1/events?stream=tenant/acme&type=tenant.approval_limits_set")).json()["data"]
    assert {each["actor"] for each in shown} == {"user:user_ada"}
    assert len(shown) == 2, "what changes nothing is no event"


async def test_only_an_admin_who_entered_their_password_lately_changes_them(scene: Scene) -> None:
    ada = await scene.person("ada", confirmed_at=datetime.now(UTC) - timedelta(hours=1))
    status, refused = await change(ada, EUR=1)
    assert (status, refused["code"]) == (403, "password_confirmation_required")
    for other in (
        await scene.person("bob", Role.BILLING_ADMIN),
        await scene.person("vera", Role.VIEWER),
        await scene.api.tenant("acme", scope=Scope.ADMIN),
    ):
        status, refused = await change(other, EUR=1)
        assert (status, refused["code"]) == (403, "permission_denied")
    eve = await scene.person("eve")
    for path in ("/v1/tenants/other/approval-limits", "/v1/tenants/platform/approval-limits"):
        for answer in (await eve.get(path), await eve.send("PATCH", path, limits(EUR=1))):
            assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
    for wrong in (limits(EUR=-1), limits(XXX=1), {"limits": None}, {"limits": [{"currency": "EUR"}]}):
        assert (await eve.send("PATCH", PATH, wrong)).status_code == 422
    twice = {"limits": [{"currency": "EUR", "amount": 1}, {"currency": "EUR", "amount": 2}]}
    assert (await eve.send("PATCH", PATH, twice)).json()["code"] == "invalid_approval_limits"


async def test_raising_refunding_and_lowering_again_takes_two(scene: Scene) -> None:
    """An ADMIN with a colleague cannot go around the second person by way of the limit."""
    ada, bob = await scene.person("ada"), await scene.person("bob")
    assert (await change(ada, EUR=500))[0] == 200
    entry = {
        "postings": [
            {"account": "cash", "side": side, "amount": {"amount": 501, "currency": "EUR"}}
            | ({"account": "equity"} if side == "credit" else {})
            for side in ("debit", "credit")
        ],
        "memo": "capital",
    }
    refused = await ada.post("/v1/ledger/journal-entries", entry)
    assert refused.json()["code"] == "approval_required", refused.text
    for more in ({"EUR": 501}, {"EUR": None}):
        status, refused_change = await change(ada, **more)
        assert (status, refused_change["code"]) == (409, "approval_required")
        assert "POST /v1/approvals" in refused_change["detail"]
    assert (await change(ada, EUR=400))[0] == 200, "less room, alone"
    asked = await ada.made("/v1/approvals", {**limits(EUR=501), "note": "the new shop"})
    assert asked["limits"] == [{"currency": "EUR", "amount": 501}]
    approve = f"/v1/approvals/{asked['id']}/approve"
    assert (await ada.post(approve)).json()["code"] == "own_approval"
    assert (await scene.program.post(approve)).status_code == 403
    held = (await ada.get(PATH)).json()["limits"]
    assert held == [{"amount": 400, "currency": "EUR"}], "nothing is done until it is approved"
    assert (await bob.post(approve)).json()["status"] == "approved"
    assert (await ada.get(PATH)).json()["limits"] == [{"amount": 501, "currency": "EUR"}]
    assert (await ada.post("/v1/ledger/journal-entries", entry)).status_code == 201


async def test_what_is_dangerous_alone_takes_the_password_by_way_of_an_approval_too(scene: Scene) -> None:
    ada = await scene.person("ada")
    late = await scene.person("bob", confirmed_at=datetime.now(UTC) - timedelta(hours=1))
    asked = await ada.made("/v1/approvals", limits(EUR=1))
    reversal = {"reversal": {"entry": "je_01m7ywe9z7e398x54gfbrtqnk7", "memo": "twice"}}
    for answer in (
        await late.post("/v1/approvals", limits(EUR=1)),
        await late.post("/v1/approvals", reversal),
        await late.post(f"/v1/approvals/{asked['id']}/approve"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "password_confirmation_required")


async def test_who_has_nobody_to_ask_raises_a_limit_alone(scene: Scene) -> None:
    ada = await scene.person("ada")
    await scene.person("bob", Role.BILLING_ADMIN)
    assert (await change(ada, EUR=500))[0] == 200
    assert (await change(ada, EUR=501))[0] == 200


async def test_of_a_second_admin_who_comes_while_a_limit_is_raised_one_is_first(scene: Scene) -> None:
    """Whether there is somebody else to ask is decided in the order of the log."""
    ada = await scene.person("ada")
    await scene.person("bob", Role.BILLING_ADMIN)
    promotes = ChangeMemberRole(tenant_id="acme", user_id="user_bob", role=Role.ADMIN, by=None)
    demotes = ChangeMemberRole(tenant_id="acme", user_id="user_bob", role=Role.BILLING_ADMIN, by=None)
    writer = scene.api.parts.writer
    amount = 500
    assert (await change(ada, EUR=amount))[0] == 200
    for _ in range(5):
        raised, promoted = await asyncio.gather(
            ada.send("PATCH", PATH, limits(EUR=amount + 1)), writer.submit(request(promotes, tenant_id="acme"))
        )
        if raised.status_code == 200:
            amount += 1
            assert int(raised.headers["ledger-position"]) < promoted.position
        else:
            assert raised.json()["code"] == "approval_required"
        assert (await change(ada, EUR=amount + 1))[0] == 409
        await writer.submit(request(demotes, tenant_id="acme"))
