"""A worker dies after the gateway charged and before that was recorded, and its work runs again when the gateway has
forgotten the key: nobody is charged twice.

The gateway, the database and the runs are real; days pass by moving back what both stores have written down.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from domain.customers.customer import CreateCustomer
from domain.customers.payment_method import AttachPaymentMethod, PaymentMethodKind
from domain.kernel.money import Money
from domain.kernel.stream import Command, WorkKind
from domain.payments.commands import CreatePayment
from domain.payments.refund_commands import RequestRefund
from gateway_adapters.port import NotFound, TransactionKind
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.port import Outcome, Request, StoreUnavailable, Work
from infra.event_store.postgres import PostgresStorage
from infra.event_store.writer import GroupCommitWriter
from infra.ids import new_id
from infra.settings import ProcessorSettings, WriterSettings
from processors.app import runs_of
from processors.due_work import DueWorkRunner
from processors.states import StateReader
from schemas.codec import default_codec
from testing.processors_cell import EUR, until
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.contracts.sandbox_process import SandboxProcess
from tests.integration.log_filling import domain_writer

PAYMENT_CALL, REFUND_CALL = WorkKind.PAYMENT_GATEWAY_CALL, WorkKind.REFUND_GATEWAY_CALL


class DyingWriter:
    """A worker's way to the log, cut off: what it learns is never recorded."""

    async def submit(self, request: Request) -> Outcome:
        raise StoreUnavailable(type(request.command).__name__)


@dataclass(slots=True)
class Scene:
    """What a test acts on."""

    writer: GroupCommitWriter
    states: StateReader
    queue: PostgresDueWork
    sandbox: SandboxProcess
    pool: asyncpg.Pool

    async def do(self, command: Command) -> None:
        outcome = await self.writer.submit(request(command))
        assert outcome.refusal_code is None, outcome.refusal_code

    async def pay(self) -> str:
        """A payment whose call is due."""
        customer_id, payment_id = new_id("cus_"), new_id("pay_")
        await self.do(CreateCustomer(customer_id=customer_id, currency="EUR"))
        await self.do(
            AttachPaymentMethod(
                payment_method_id=new_id("pm_"),
                customer_id=customer_id,
                kind=PaymentMethodKind.CARD,
                gateway="sandbox",
                token="tok_visa",
                make_default=True,
            )
        )
        await self.do(
            CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=Money(4_200, EUR), confirm=True)
        )
        return payment_id

    async def run(self, kind: WorkKind, *, dies: bool = False) -> None:
        """Claim what is due of a kind and run it, as the runner of one process does."""
        adapter = self.sandbox.adapter()
        try:
            writer = DyingWriter() if dies else self.writer
            runner = DueWorkRunner(
                self.queue, runs_of(writer, self.states, {"sandbox": adapter}), ProcessorSettings(work_backoff_ms=1)
            )
            for work in await self.claim(kind, runner.owner):
                if dies:
                    with pytest.raises(StoreUnavailable):
                        await runs_of(writer, self.states, {"sandbox": adapter})[kind](work)
                else:
                    await runner.run_one(work)
        finally:
            await adapter.close()

    async def claim(self, kind: WorkKind, owner: str) -> list[Work]:
        found: list[Work] = []

        async def is_due() -> bool:
            found.extend(await self.queue.claim({kind: 10}, owner=owner, lease_ms=30_000))
            return bool(found)

        await until(is_due, f"{kind} is due")
        return found

    async def pass_time(self, hours: float) -> None:
        """What both stores have written down is so much older now; leases have run out."""
        past = timedelta(hours=hours)
        for column in ("due_at", "ready_at", "lease_until", "first_run_at", "claimed_at"):
            await self.pool.execute(f"UPDATE log.due_work SET {column} = {column} - $1::interval", past)  # noqa: S608
        await self.sandbox.stop()
        with contextlib.closing(sqlite3.connect(self.sandbox.store_path)) as store, store:
            store.execute("UPDATE answers SET created_ms = created_ms - ?", (round(hours * 3_600_000),))
        await self.sandbox.start()

    async def taken(self, kind: TransactionKind) -> list[str | None]:
        """The references of what the gateway took or returned."""
        adapter = self.sandbox.adapter()
        try:
            listed = adapter.list_transactions(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
            return [each.reference async for each in listed if each.kind is kind]
        finally:
            await adapter.close()

    async def events(self, stream_id: str) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT event_type FROM log.events WHERE stream_id = $1 ORDER BY stream_version", stream_id
        )
        return [row[0] for row in rows]


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    settings = WriterSettings()
    codec = default_codec()
    pool = await asyncpg.create_pool(database.dsn, min_size=1, max_size=2)
    reading = PostgresStorage(database.dsn, settings)
    try:
        async with SandboxProcess(tmp_path) as sandbox, domain_writer(database.dsn) as writer:
            states = StateReader(reading, codec, writer.held)
            yield Scene(writer, states, PostgresDueWork(pool), sandbox, pool)
    finally:
        await reading.close()
        await pool.close()


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
