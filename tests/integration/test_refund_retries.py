"""A capture that nobody needs goes back to the customer, though its refund fails: again and again, then by a person."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.stream import WorkKind
from domain.payments.commands import PayInvoice
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import TransactionKind
from infra.ids import new_id
from infra.settings import ProcessorSettings
from processors.invariants.unfinished import check_unfinished
from schemas.codec import default_codec
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, open_scene

RETRY, CALL = WorkKind.REFUND_RETRY, WorkKind.REFUND_GATEWAY_CALL


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def unneeded_capture(scene: Scene, token: str) -> str:
    """A payment whose invoice was voided after the gateway had charged it, and whose refund is asked for."""
    customer_id, payment_id = await scene.customer(token), new_id("pay_")
    invoice_id = await scene.invoice(customer_id, CollectionMethod.SEND_INVOICE)
    await scene.do(PayInvoice(invoice_id=invoice_id, payment_id=payment_id))
    await scene.run(WorkKind.PAYMENT_GATEWAY_CALL, dies=True)
    await scene.do(VoidInvoice(invoice_id=invoice_id))
    await scene.run(WorkKind.PAYMENT_GATEWAY_CALL)
    await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
    await scene.run(CALL)
    return payment_id


async def unfinished(scene: Scene, *, grace: timedelta = timedelta(0)) -> dict[str, str]:
    """What the audit names, by subject."""
    checked = await check_unfinished(scene.pool, default_codec(), grace=grace)
    return {difference.subject: difference.kind for difference in checked.named}


async def test_a_failed_refund_of_an_unneeded_capture_is_asked_for_again_until_it_succeeds(scene: Scene) -> None:
    payment_id = await unneeded_capture(scene, "tok_refund_fails_2x_then_succeed")
    assert (await unfinished(scene))[f"refund:{payment_id}"] == "unfinished refund"
    for _ in range(2):
        await scene.run(RETRY)
        await scene.run(CALL)
    events = await scene.events(payment_id)
    assert (events.count("refund.failed"), events[-1]) == (2, "refund.succeeded")
    assert len(await scene.taken(TransactionKind.REFUND)) == 1
    assert await unfinished(scene) == {}


async def test_one_that_never_succeeds_is_held_named_and_tried_once_more_when_it_is_released(scene: Scene) -> None:
    payment_id = await unneeded_capture(scene, "tok_refund_fails")
    for _ in range(scene.settings.refund_failures_max - 1):
        await scene.run(RETRY)
        await scene.run(CALL)
    for failures in range(scene.settings.refund_failures_max, scene.settings.refund_failures_max + 2):
        await scene.run(RETRY)
        (held,) = await scene.queue.held(limit=2)
        assert f"88.00 EUR is the customer's: {failures} refunds failed" in (held.last_error or "")
        found = await unfinished(scene)
        assert found[f"refund:{payment_id}"] == "unfinished refund"
        assert found[f"{RETRY} {payment_id}"] == "held"
        assert await scene.queue.release_held(TENANT, RETRY, payment_id)
        await scene.run(RETRY)
        await scene.run(CALL)


async def test_a_planned_pause_is_not_unfinished_before_it_is_over_for_longer_than_the_grace(scene: Scene) -> None:
    payment_id = await unneeded_capture(scene, "tok_refund_fails")
    late = {f"refund:{payment_id}": "unfinished refund", f"{RETRY} {payment_id}": "overdue"}
    long_pause = ProcessorSettings(refund_retry_backoff_ms=3_600_000, refund_retry_backoff_max_ms=3_600_000)
    await scene.run(RETRY, settings=long_pause)
    await age(scene, payment_id)
    for grace in (timedelta(0), timedelta(minutes=1)):
        checked = await check_unfinished(scene.pool, default_codec(), grace=grace)
        assert checked.holds, checked.named
        assert checked.counts["refunds that wait to be asked for again"] == 1
    await scene.make_due(RETRY)
    assert await unfinished(scene) == late
    assert await unfinished(scene, grace=timedelta(minutes=1)) == {}
    await scene.claim(RETRY, "a worker that is at it")
    assert await unfinished(scene, grace=timedelta(minutes=1)) == {}
    await scene.pass_time(2)
    assert await unfinished(scene, grace=timedelta(minutes=1)) == late


async def test_the_next_try_is_under_way_though_the_capture_is_long_ago(scene: Scene) -> None:
    payment_id = await unneeded_capture(scene, "tok_refund_fails")
    await age(scene, payment_id)
    await scene.run(RETRY)
    assert (await scene.events(payment_id))[-1] == "refund.requested"
    assert await unfinished(scene, grace=timedelta(minutes=1)) == {}
    assert (await unfinished(scene))[f"refund:{payment_id}"] == "unfinished refund"


async def age(scene: Scene, payment_id: str) -> None:
    """Let all that was recorded of a payment have been recorded an hour before."""
    async with scene.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE log.events SET recorded_at = recorded_at - interval '1 hour' WHERE stream_id = $1", payment_id
        )


async def test_a_refund_by_hand_ends_the_retries(scene: Scene) -> None:
    payment_id = await unneeded_capture(scene, "tok_refund_fails_then_succeed")
    await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "refund.succeeded"
    assert await unfinished(scene) == {}


async def test_a_failed_refund_that_somebody_asked_for_is_theirs_to_ask_for_again(scene: Scene) -> None:
    payment_id = await scene.pay("tok_refund_fails")
    await scene.run(WorkKind.PAYMENT_GATEWAY_CALL)
    await scene.do(RequestRefund(refund_id=new_id("re_"), payment_id=payment_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "refund.failed"
    assert await unfinished(scene) == {}
