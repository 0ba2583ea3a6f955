"""A refund that is held since its gateway knows nothing of it is ended by an operator, who says what it rests on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.money import Money
from domain.kernel.stream import WorkKind
from domain.payments.commands import PayInvoice
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundFailed, RefundSucceeded, work_subject
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import RefundRequest, Succeeded, TransactionKind
from infra.ids import new_id
from processors.dead_letters.held_refunds import NotForTheLog, check_said, end_refund
from schemas.codec import default_codec
from testing.processors_cell import EUR
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, differences, holds, open_scene

PAYMENT_CALL, REFUND_CALL = WorkKind.PAYMENT_GATEWAY_CALL, WorkKind.REFUND_GATEWAY_CALL
EVIDENCE, BY = "case 4711 of the gateway's support", "ada"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def held_refund(scene: Scene, payment_id: str, amount: int) -> str:
    """The subject of a refund whose worker died before its call, and of which the key's window has passed."""
    refund_id = new_id("re_")
    await scene.do(RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=Money(amount, EUR)))
    await scene.claim(REFUND_CALL, "a worker that dies before its call")
    await scene.pass_time(25)
    await scene.run(REFUND_CALL)
    (held,) = await scene.queue.held(limit=2)
    assert held.subject == work_subject(payment_id, refund_id)
    return held.subject


async def end(scene: Scene, subject: str, *, returned_as: str | None) -> bool:
    return await end_refund(scene.queue, scene.writer, subject, returned_as=returned_as, evidence=EVIDENCE, by=BY)


async def last_event(scene: Scene, payment_id: str) -> tuple[object, str]:
    """The newest event of a payment, and its actor."""
    row = await scene.pool.fetchrow(
        "SELECT payload, actor FROM log.events WHERE stream_id = $1 ORDER BY stream_version DESC LIMIT 1", payment_id
    )
    assert row is not None
    return default_codec().decode_event(row["payload"]), row["actor"]


async def test_one_that_was_not_returned_has_failed_and_may_be_asked_for_again(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL)
    assert await end(scene, await held_refund(scene, payment_id, 4_200), returned_as=None)
    event, actor = await last_event(scene, payment_id)
    assert isinstance(event, RefundFailed)
    assert (event.evidence, actor) == (EVIDENCE, f"operator:{BY}")
    await holds(scene)
    await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
    await scene.run(REFUND_CALL)
    assert (await scene.events(payment_id))[-1] == "refund.succeeded"
    await holds(scene)


async def test_one_that_was_returned_by_hand_at_the_gateway_has_succeeded_under_the_gateways_id(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL)
    subject = await held_refund(scene, payment_id, 1_200)
    payment = await scene.states.read(PAYMENT, TENANT, payment_id)
    assert payment is not None
    adapter = scene.sandbox.adapter()
    by_hand = await adapter.refund(
        RefundRequest(
            reference="made by hand",
            gateway_payment_id=payment.gateway_payment_id or "",
            amount=Money(1_200, EUR),
            idempotency_key="made by hand",
        )
    )
    await adapter.close()
    assert isinstance(by_hand, Succeeded)
    assert await end(scene, subject, returned_as=by_hand.gateway_id)
    event, actor = await last_event(scene, payment_id)
    assert isinstance(event, RefundSucceeded)
    assert (event.evidence, event.gateway_refund_id, actor) == (EVIDENCE, by_hand.gateway_id, f"operator:{BY}")
    await holds(scene)


async def test_what_an_operator_says_was_returned_and_was_not_is_named_by_the_audit(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL)
    assert await end(scene, await held_refund(scene, payment_id, 1_200), returned_as="gr_made_up")
    assert [each.kind for each in await differences(scene)] == ["missing there"]


async def test_one_of_a_capture_that_nobody_needed_is_asked_for_again_by_itself(scene: Scene) -> None:
    customer_id, payment_id = await scene.customer(), new_id("pay_")
    invoice_id = await scene.invoice(customer_id, CollectionMethod.SEND_INVOICE)
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    await scene.run(PAYMENT_CALL, dies=True)
    await scene.do(VoidInvoice(invoice_id=invoice_id))
    await scene.run(PAYMENT_CALL)
    assert await end(scene, await held_refund(scene, payment_id, 8_800), returned_as=None)
    await scene.run(WorkKind.REFUND_RETRY)
    await scene.run(REFUND_CALL)
    assert len(await scene.taken(TransactionKind.REFUND)) == 1
    await holds(scene)


async def test_only_what_is_held_is_ended_and_once(scene: Scene) -> None:
    payment_id, refund_id = await scene.pay(), new_id("re_")
    await scene.run(PAYMENT_CALL)
    await scene.do(RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=Money(1_200, EUR)))
    assert not await end(scene, work_subject(payment_id, refund_id), returned_as=None)
    await scene.run(REFUND_CALL)
    subject = await held_refund(scene, payment_id, 1_000)
    assert await end(scene, subject, returned_as=None)
    assert not await end(scene, subject, returned_as="gr_made_up")
    assert (await scene.events(payment_id)).count("refund.failed") == 1


CARD = "4242 4242 4242 4242"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"returned_as": ""}, "gateway's id"),
        ({"returned_as": "  "}, "gateway's id"),
        ({"returned_as": "g" * 256}, "gateway's id"),
        ({"returned_as": "gr_\udcff"}, "gateway's id"),
        ({"evidence": f"the card {CARD}"}, "card number"),
        ({"by": CARD}, "card number"),
        ({"evidence": ""}, "The evidence must be 1 to 500"),
        ({"evidence": "e" * 501}, "The evidence must be 1 to 500"),
        ({"evidence": "\udcff"}, "The evidence must be 1 to 500"),
        ({"evidence": "a\x1b[2J"}, "The evidence must be 1 to 500"),
        ({"by": "b" * 65}, "The name must be 1 to 64"),
        ({"by": "ada\n"}, "The name must be 1 to 64"),
    ],
)
def test_what_an_operator_says_is_looked_at_before_it_is_recorded(wrong: dict[str, str], told: str) -> None:
    right = {"returned_as": "gr_4242424242424242", "evidence": EVIDENCE, "by": BY}
    check_said(**right)
    with pytest.raises(NotForTheLog, match=told):
        check_said(**right | wrong)


async def test_one_refund_at_the_gateway_ends_one_refund_of_whatever_payment(scene: Scene) -> None:
    payment_id, other_id = await scene.pay(), await scene.pay()
    await scene.run(PAYMENT_CALL)
    first = await held_refund(scene, payment_id, 1_200)
    assert await end(scene, first, returned_as="gr_by_hand")
    for of_payment in (payment_id, other_id):
        again = await held_refund(scene, of_payment, 1_200)
        with pytest.raises(NotForTheLog, match="gr_by_hand is recorded as another refund already"):
            await end(scene, again, returned_as="gr_by_hand")
        assert await end(scene, again, returned_as=None), "what was refused may be said otherwise"


async def test_a_refund_that_the_gateway_made_and_an_operator_took_for_another_is_held(scene: Scene) -> None:
    """It is not lost: its money went back under an id that stands in the books as another refund's."""
    payment_id, refund_id = await scene.pay(), new_id("re_")
    await scene.run(PAYMENT_CALL)
    subject = await held_refund(scene, payment_id, 1_200)
    await scene.do(RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=Money(1_000, EUR)))
    await scene.run(REFUND_CALL, dies=True)
    adapter = scene.sandbox.adapter()
    made = await adapter.look_up(refund_id)
    await adapter.close()
    assert isinstance(made, Succeeded)
    assert await end(scene, subject, returned_as=made.gateway_id)
    await scene.make_due(REFUND_CALL)
    await scene.run(REFUND_CALL)
    (held,) = await scene.queue.held(limit=2)
    assert held.subject == work_subject(payment_id, refund_id)
    assert "recorded as another one of ours" in (held.last_error or "")
