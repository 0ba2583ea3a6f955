"""A worker dies after the gateway charged and before that was recorded, and its work runs again when the gateway has
forgotten the key: nobody is charged twice.

The gateway, the database and the runs are real; days pass by moving back what both stores have written down.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.kernel.money import Money
from domain.kernel.stream import WorkKind
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import NotFound, TransactionKind
from infra.event_store.port import Work
from infra.ids import new_id
from testing.processors_cell import EUR
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, open_scene

PAYMENT_CALL, REFUND_CALL = WorkKind.PAYMENT_GATEWAY_CALL, WorkKind.REFUND_GATEWAY_CALL


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


@pytest.mark.parametrize("hours", [0.1, 25, 52])
async def test_a_payment_whose_worker_died_is_charged_once_however_late_it_runs_again(
    scene: Scene, hours: float
) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL, dies=True)
    await scene.pass_time(hours)
    await scene.run(PAYMENT_CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]
    assert (await scene.events(payment_id))[-1] == "payment.captured"


@pytest.mark.parametrize("hours", [0.1, 25, 52])
async def test_a_refund_whose_worker_died_is_returned_once_however_late_it_runs_again(
    scene: Scene, hours: float
) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL)
    refund_id = new_id("re_")
    await scene.do(RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=Money(1_200, EUR)))
    await scene.run(REFUND_CALL, dies=True)
    await scene.pass_time(hours)
    await scene.run(REFUND_CALL)
    assert await scene.taken(TransactionKind.REFUND) == [refund_id]
    assert (await scene.events(payment_id))[-1] == "refund.succeeded"


async def test_held_work_that_is_released_after_days_is_only_looked_up(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(PAYMENT_CALL, dies=True)
    (work,) = await _again(scene)
    assert await scene.queue.hold(work, error="held by hand")
    await scene.pass_time(52)
    assert await scene.queue.release_held(TENANT, PAYMENT_CALL, work.subject)
    await scene.run(PAYMENT_CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]
    assert (await scene.events(payment_id))[-1] == "payment.captured"


async def test_what_the_gateway_does_not_know_after_the_window_is_held_and_charged_by_nobody(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.claim(PAYMENT_CALL, "a worker that dies before its call")
    await scene.pass_time(25)
    for _ in range(2):
        await scene.run(PAYMENT_CALL)
        (held,) = await scene.queue.held(limit=2)
        assert "window has passed" in (held.last_error or "")
        assert await scene.queue.release_held(TENANT, PAYMENT_CALL, held.subject)
    assert await scene.taken(TransactionKind.CHARGE) == []
    adapter = scene.sandbox.adapter()
    assert isinstance(await adapter.look_up(f"{payment_id}:1"), NotFound)
    await adapter.close()


async def test_work_that_first_runs_days_after_it_was_due_is_charged(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.pass_time(52)
    await scene.run(PAYMENT_CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]


async def test_calls_that_were_certainly_not_carried_out_leave_the_window_unopened(scene: Scene) -> None:
    """A gateway that turned us away for a day has not heard of the payment: it is charged when it lets us in."""
    payment_id = await scene.pay()
    await scene.sandbox.faults(rate_limit=1.0, rate_limit_retry_after_ms=1)
    await scene.run(PAYMENT_CALL)
    await scene.pass_time(25)
    await scene.sandbox.faults()
    await scene.run(PAYMENT_CALL)
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]


async def _again(scene: Scene) -> list[Work]:
    await scene.pool.execute("UPDATE log.due_work SET ready_at = now(), lease_until = now()")
    return await scene.claim(PAYMENT_CALL, "an operator")
