"""An attempt whose customer never authenticates locks nothing: it is replaced, cancelled, or times out, at a real
gateway. A customer who is faster than we are has paid, once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.invoicing.collection import CollectionMethod
from domain.kernel.stream import WorkKind
from domain.payments.cancel_commands import CancelPayment
from domain.payments.commands import ConfirmPayment, PayInvoice
from gateway_adapters.port import OutcomeUnknown, TransactionKind, UnknownWhy
from infra.ids import new_id
from processors.invariants.unfinished import check_unfinished
from schemas.codec import default_codec
from testing.processors_cell import VISA
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, holds, open_scene

CALL = WorkKind.PAYMENT_GATEWAY_CALL
WAITS = "tok_requires_action"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def waiting(scene: Scene) -> str:
    """A payment that waits for its customer."""
    payment_id = await scene.pay(WAITS)
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.action_required"
    return payment_id


async def status_there(scene: Scene, reference: str) -> object:
    (shown,) = await scene.sandbox.objects(reference)
    return shown["status"]


async def authenticate(scene: Scene, reference: str) -> None:
    """What the customer does at the gateway."""
    (shown,) = await scene.sandbox.objects(reference)
    status, _ = await scene.sandbox.control("POST", f"/v1/payments/{shown['id']}/authenticate", {"passes": True})
    assert status == 200


async def test_it_is_replaced_by_another_card(scene: Scene) -> None:
    payment_id = await waiting(scene)
    card = await scene.card(await scene.customer_of(payment_id), VISA)
    await scene.do(ConfirmPayment(payment_id=payment_id, payment_method_id=card))
    await scene.run(CALL)
    assert await status_there(scene, f"{payment_id}:1") == "canceled"
    await scene.run(CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:2"]
    assert (await scene.events(payment_id))[-1] == "payment.captured"
    await holds(scene)


async def test_it_is_cancelled_by_command(scene: Scene) -> None:
    payment_id = await waiting(scene)
    await scene.do(CancelPayment(payment_id=payment_id))
    await scene.run(CALL)
    assert await status_there(scene, f"{payment_id}:1") == "canceled"
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    await holds(scene)


async def test_it_times_out(scene: Scene) -> None:
    payment_id = await waiting(scene)
    scene.settings = scene.settings.model_copy(update={"authentication_timeout_s": 0.001})
    await scene.make_due(CALL)
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.cancel_requested"
    await scene.run(CALL)
    assert await status_there(scene, f"{payment_id}:1") == "canceled"
    assert (await scene.events(payment_id))[-1] == "payment.attempt_canceled"
    await holds(scene)


async def test_a_customer_who_authenticates_before_the_gateway_hears_of_the_cancellation_has_paid(scene: Scene) -> None:
    payment_id = await waiting(scene)
    card = await scene.card(await scene.customer_of(payment_id), VISA)
    await scene.do(ConfirmPayment(payment_id=payment_id, payment_method_id=card))
    await authenticate(scene, f"{payment_id}:1")
    await scene.run(CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]
    assert (await scene.events(payment_id))[-1] == "payment.captured"
    await holds(scene)


async def test_an_invoice_paid_by_hand_is_paid_with_another_card(scene: Scene) -> None:
    customer_id = await scene.customer(WAITS)
    invoice_id = await scene.invoice(customer_id, CollectionMethod.SEND_INVOICE)
    first, second = new_id("pay_"), new_id("pay_")
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=first))
    await scene.run(CALL)
    card = await scene.card(customer_id, VISA)
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=second, payment_method_id=card))
    await scene.run(CALL)
    await scene.run(CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{second}:1"]
    assert (await scene.events(invoice_id))[-1] == "invoice.paid"
    assert (await scene.events(first))[-1] == "payment.canceled"
    await holds(scene)


async def test_what_is_to_take_its_place_is_tried_though_it_is_cancelled_by_command(scene: Scene) -> None:
    customer_id = await scene.customer(WAITS)
    invoice_id = await scene.invoice(customer_id, CollectionMethod.SEND_INVOICE)
    first, second = new_id("pay_"), new_id("pay_")
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=first))
    await scene.run(CALL)
    card = await scene.card(customer_id, VISA)
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=second, payment_method_id=card))
    await scene.do(CancelPayment(payment_id=first))
    unfinished = await check_unfinished(scene.pool, default_codec())
    assert any(invoice_id in each for each in map(str, unfinished.named))
    await scene.run(CALL)
    await scene.run(CALL)
    assert (await scene.events(first))[-1] == "payment.canceled"
    assert await scene.taken(TransactionKind.CHARGE) == [f"{second}:1"]
    assert (await scene.events(invoice_id))[-1] == "invoice.paid"
    await holds(scene)


async def test_an_attempt_that_the_gateway_never_heard_of_is_cancelled_and_its_call_charges_nothing_when_it_comes(
    scene: Scene,
) -> None:
    payment_id = await scene.pay("tok_timeout_before_charge_then_visa")
    scene.sandbox_timeout_ms = 100
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.outcome_unknown"
    await scene.do(CancelPayment(payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    assert await scene.call_comes_late(payment_id) == OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
    assert await scene.taken(TransactionKind.CHARGE) == []
    await holds(scene)


async def test_an_attempt_whose_error_the_gateway_keeps_is_cancelled(scene: Scene) -> None:
    payment_id = await scene.pay("tok_error_before_charge")
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.outcome_unknown"
    await scene.do(CancelPayment(payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    assert await scene.taken(TransactionKind.CHARGE) == []
    await holds(scene)


async def test_an_attempt_that_was_charged_meanwhile_is_not_cancelled(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(CALL, dies=True)
    await scene.do(CancelPayment(payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.captured"
    await holds(scene)


async def test_an_attempt_that_is_held_since_its_gateway_knows_nothing_of_it_is_cancelled(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.claim(CALL, "a worker that dies before its call")
    await scene.pass_time(25)
    await scene.run(CALL)
    assert await scene.queue.held(limit=2)
    await scene.do(CancelPayment(payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.canceled"
    assert await scene.taken(TransactionKind.CHARGE) == []
    await holds(scene)
