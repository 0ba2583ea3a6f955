"""An approval that nobody decides ends by its timer, once, and whoever comes at that moment is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.approvals.approval import APPROVAL, ApprovalStatus, GrantApproval, RefundAskedFor, RequestApproval
from domain.invoicing.collection import CollectionMethod
from domain.kernel.stream import WorkKind
from domain.payments.commands import PayInvoice
from infra.ids import new_id
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, open_scene

EXPIRY = WorkKind.APPROVAL_EXPIRY


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def asked(scene: Scene) -> str:
    """An approval of a refund that is asked for."""
    customer_id, payment_id, approval_id = await scene.customer("tok_visa"), new_id("pay_"), new_id("apr_")
    invoice_id = await scene.invoice(customer_id, CollectionMethod.SEND_INVOICE)
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    await scene.run(WorkKind.PAYMENT_GATEWAY_CALL)
    refund = RefundAskedFor(refund_id=new_id("re_"), payment_id=payment_id, amount=None, reason=None, metadata=())
    await scene.do(RequestApproval(approval_id=approval_id, refund=refund, note=None, by="user:ada"))
    return approval_id


async def status(scene: Scene, approval_id: str) -> ApprovalStatus:
    approval = await scene.states.read(APPROVAL, TENANT, approval_id)
    assert approval is not None
    return approval.status


async def left(scene: Scene) -> int:
    """Timers of approvals."""
    found: int = await scene.pool.fetchval("SELECT count(*) FROM log.due_work WHERE kind = $1", EXPIRY.value)
    return found


async def test_it_expires_when_its_time_has_come_and_not_before(scene: Scene) -> None:
    approval_id = await asked(scene)
    waits = "SELECT due_at = ready_at AND due_at > now() + interval '13 days' FROM log.due_work WHERE kind = $1"
    assert await scene.pool.fetchval(waits, EXPIRY.value)
    await scene.make_due(EXPIRY)
    await scene.run(EXPIRY, dies=True)
    assert await status(scene, approval_id) is ApprovalStatus.REQUESTED
    await scene.make_due(EXPIRY)
    await scene.run(EXPIRY)
    assert await status(scene, approval_id) is ApprovalStatus.EXPIRED
    assert await left(scene) == 0


async def test_what_is_decided_leaves_no_timer(scene: Scene) -> None:
    approval_id = await asked(scene)
    await scene.do(GrantApproval(approval_id=approval_id, by="user:bob"))
    assert await left(scene) == 0


async def test_timer_and_approval_at_once_come_to_one_end(scene: Scene) -> None:
    for _ in range(10):
        approval_id = await asked(scene)
        await scene.make_due(EXPIRY)
        # Taken beforehand: an approval that comes first leaves nothing to be claimed.
        due = await scene.claim(EXPIRY, "timers")
        grant = scene.writer.submit(request(GrantApproval(approval_id=approval_id, by="user:bob"), tenant_id=TENANT))
        outcome, _ = await asyncio.gather(grant, scene.run(EXPIRY, claimed=due))
        ended = await status(scene, approval_id)
        if outcome.refusal_code is None:
            assert ended is ApprovalStatus.APPROVED
        else:
            assert (outcome.refusal_code, ended) == ("approval_over", ApprovalStatus.EXPIRED)
        assert await left(scene) == 0
