"""An invoice is voided, or paid by hand, while a payment of it is under way at a real gateway: its customer is charged
for nothing. What the gateway had charged before goes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.kernel.stream import WorkKind
from domain.payments.commands import CollectInvoice, PayInvoice
from domain.payments.payment import collected_by
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import OutcomeUnknown, TransactionKind, UnknownWhy
from infra.ids import new_id
from testing.processors_cell import VISA
from testing.requests import request
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, holds, open_scene

CALL = WorkKind.PAYMENT_GATEWAY_CALL
REFUND = WorkKind.REFUND_GATEWAY_CALL
SETTLING = [VoidInvoice, PayInvoiceOutOfBand]
UNKNOWN_FIRST = "tok_timeout_before_charge_then_visa"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def being_paid(scene: Scene, token: str = VISA) -> tuple[str, str]:
    """An invoice whose payment is asked for, and that payment: its call is due."""
    invoice_id = await scene.invoice(await scene.customer(token), CollectionMethod.SEND_INVOICE)
    payment_id = new_id("pay_")
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    return invoice_id, payment_id


async def nothing_is_charged(scene: Scene, payment_id: str) -> None:
    """Not now, and not when a call comes that was on its way."""
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    late = await scene.call_comes_late(payment_id)
    assert late == OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
    assert await scene.taken(TransactionKind.CHARGE) == []
    await holds(scene)


@pytest.mark.parametrize("settle", SETTLING)
async def test_a_payment_whose_call_has_not_been_made_is_never_charged(
    scene: Scene, settle: type[VoidInvoice | PayInvoiceOutOfBand]
) -> None:
    invoice_id, payment_id = await being_paid(scene)
    await scene.do(settle(invoice_id=invoice_id))
    await scene.run(CALL)
    await nothing_is_charged(scene, payment_id)


@pytest.mark.parametrize("settle", SETTLING)
async def test_a_payment_of_unknown_outcome_is_given_up_and_never_charged(
    scene: Scene, settle: type[VoidInvoice | PayInvoiceOutOfBand]
) -> None:
    invoice_id, payment_id = await being_paid(scene, UNKNOWN_FIRST)
    scene.sandbox_timeout_ms = 100
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.outcome_unknown"
    await scene.do(settle(invoice_id=invoice_id))
    await scene.run(CALL)
    await nothing_is_charged(scene, payment_id)


async def test_a_payment_that_waits_for_its_customer_is_cancelled_at_the_gateway(scene: Scene) -> None:
    invoice_id, payment_id = await being_paid(scene, "tok_requires_action")
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.action_required"
    await scene.do(VoidInvoice(invoice_id=invoice_id))
    await scene.run(CALL)
    (shown,) = await scene.sandbox.objects(f"{payment_id}:1")
    assert shown["status"] == "canceled"
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    await holds(scene)


async def test_the_collection_that_a_finalization_promised_is_never_charged_once_its_invoice_is_void(
    scene: Scene,
) -> None:
    invoice_id = await scene.invoice(await scene.customer(), CollectionMethod.CHARGE_AUTOMATICALLY)
    payment_id = collected_by(invoice_id)
    await scene.do(CollectInvoice(invoice_id=invoice_id, payment_id=payment_id))
    await scene.do(VoidInvoice(invoice_id=invoice_id))
    assert (await scene.events(payment_id))[-1] == "payment.cancel_requested"
    await scene.run(CALL)
    await nothing_is_charged(scene, payment_id)


async def test_what_was_charged_before_the_invoice_was_void_is_recorded_and_goes_back(scene: Scene) -> None:
    invoice_id, payment_id = await being_paid(scene)
    await scene.run(CALL, dies=True)
    await scene.do(VoidInvoice(invoice_id=invoice_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.captured"
    await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
    await scene.run(REFUND)
    assert (await scene.events(payment_id))[-1] == "refund.succeeded"
    await holds(scene)


@pytest.mark.parametrize("head_start", range(6))
async def test_a_void_at_the_moment_of_the_call_leaves_it_not_charged_or_charged_and_owed_back(
    scene: Scene, head_start: int
) -> None:
    """Whichever comes first, what is recorded is what was done; a void that comes too late is refused."""

    async def void() -> str | None:
        for _ in range(head_start * 10):
            await asyncio.sleep(0)
        return (await scene.writer.submit(request(VoidInvoice(invoice_id=invoice_id)))).refusal_code

    invoice_id, payment_id = await being_paid(scene)
    _, refused = await asyncio.gather(scene.run(CALL), void())
    if (await scene.events(payment_id))[-1] == "payment.cancel_requested":
        await scene.run(CALL)
    last, charges = (await scene.events(payment_id))[-1], await scene.taken(TransactionKind.CHARGE)
    assert (last, charges) in [("payment.canceled", []), ("payment.captured", [f"{payment_id}:1"])]
    assert refused == (None if (await scene.events(invoice_id))[-1] == "invoice.voided" else "invoice_not_voidable")
    if charges and refused is None:
        await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
        await scene.run(REFUND)
    await holds(scene)
