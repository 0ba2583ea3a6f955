"""Refunds after which their invoice is due again, at a real gateway: nobody charges it unasked, it can be paid again,
and what the gateway does not return pays it as before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.kernel.money import Money
from domain.kernel.stream import WorkKind
from domain.payments.commands import CollectInvoice, PayInvoice
from domain.payments.payment import collected_by
from domain.payments.refund import RefundTreatment
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import TransactionKind
from infra.ids import new_id
from testing.processors_cell import EUR, VISA
from testing.requests import request
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, holds, open_scene

CALL = WorkKind.PAYMENT_GATEWAY_CALL
REFUND = WorkKind.REFUND_GATEWAY_CALL


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def collected(scene: Scene, token: str = VISA) -> str:
    """An invoice that its card has paid, as its finalization promised."""
    invoice_id = await scene.invoice(await scene.customer(token), CollectionMethod.CHARGE_AUTOMATICALLY)
    await scene.do(CollectInvoice(invoice_id=invoice_id, payment_id=collected_by(invoice_id)))
    await scene.run(CALL)
    assert (await scene.events(invoice_id))[-1] == "invoice.paid"
    return invoice_id


async def refunded(scene: Scene, invoice_id: str, amount: int | None = None) -> None:
    money = None if amount is None else Money(amount, EUR)
    back = RequestRefund(
        refund_id=new_id("re_"),
        payment_id=collected_by(invoice_id),
        amount=money,
        treatment=RefundTreatment.REOPEN,
    )
    await scene.do(back)
    assert (await scene.events(invoice_id))[-1] == "invoice.reopened"
    await scene.run(REFUND)


async def test_it_is_due_again_and_charged_only_when_somebody_asks(scene: Scene) -> None:
    invoice_id = await collected(scene)
    await refunded(scene, invoice_id)
    again = CollectInvoice(invoice_id=invoice_id, payment_id=collected_by(invoice_id))
    assert (await scene.writer.submit(request(again))).refusal_code == "payment_already_exists"
    due = await scene.pool.fetch("SELECT kind FROM log.due_work WHERE kind = ANY ($1)", [CALL, WorkKind.SAGA_DEADLINE])
    assert not due, "no timer charges it"
    assert len(await scene.taken(TransactionKind.CHARGE)) == 1
    payment_id = new_id("pay_")
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(invoice_id))[-1] == "invoice.paid"
    assert await scene.taken(TransactionKind.CHARGE) == [f"{collected_by(invoice_id)}:1", f"{payment_id}:1"]
    await holds(scene)


@pytest.mark.parametrize("is_paid_meanwhile", [False, True])
async def test_what_the_gateway_does_not_return_pays_it_again_or_is_the_customers_balance(
    scene: Scene, is_paid_meanwhile: bool
) -> None:
    invoice_id = await collected(scene, "tok_refund_fails")
    back = RequestRefund(refund_id=new_id("re_"), payment_id=collected_by(invoice_id), treatment=RefundTreatment.REOPEN)
    await scene.do(back)
    if is_paid_meanwhile:
        await scene.do(PayInvoiceOutOfBand(invoice_id=invoice_id))
    await scene.run(REFUND)
    assert (await scene.events(collected_by(invoice_id)))[-1] == "refund.failed"
    ends = ["invoice.paid", "invoice.refund_failed"] if is_paid_meanwhile else ["invoice.refund_failed", "invoice.paid"]
    assert (await scene.events(invoice_id))[-2:] == ends
    await holds(scene)


@pytest.mark.parametrize("pays_first", [False, True])
async def test_a_refund_and_a_payment_of_what_another_refund_made_due_end_alike_in_either_order(
    scene: Scene, pays_first: bool
) -> None:
    """All is returned and some was charged again: so much is due as was returned and not charged again."""
    invoice_id = await collected(scene)
    await refunded(scene, invoice_id, 300)
    payment_id = new_id("pay_")
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    if pays_first:
        await scene.run(CALL)
        await refunded(scene, invoice_id)
    else:
        await refunded(scene, invoice_id)
        await scene.run(CALL)
    last = PayInvoice(invoice_id=invoice_id, payment_id=new_id("pay_"))
    await scene.do(last)
    await scene.run(CALL)
    assert (await scene.events(invoice_id))[-1] == "invoice.paid"
    assert len(await scene.taken(TransactionKind.CHARGE)) == 3
    await holds(scene)
