"""Test clocks by real processors: an advance that is cancelled, a clock that is deleted, while processors die."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from domain.customers.test_clock import (
    AdvanceTestClock,
    CancelTestClockAdvance,
    CreateTestClock,
    DeleteTestClock,
)
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.tenant_mode import TenantMode
from domain.payments.cancel_commands import CancelPayment
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.pause_commands import PauseSubscription
from domain.subscriptions.selling import RequestedItem
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.processors_cell import START, Cell, open_cell, until
from testing.services import KafkaServer

AT_REST = (
    Invariant.GATEWAY,
    Invariant.BOOKS,
    Invariant.LOG,
    Invariant.SAGAS,
    Invariant.DOCUMENTS,
)
FAR = datetime(2036, 1, 1, tzinfo=UTC)
PERIOD = "subscription.period_started"
DAY_S = 24 * 60 * 60
ISSUED = """
SELECT count(*) FILTER (WHERE i.event_type = 'invoice.finalized') AS finalized,
       max(i.effective_at) FILTER (WHERE i.event_type = 'invoice.finalized')
       - max(i.effective_at) FILTER (WHERE i.event_type = 'invoice.drafted') AS waited
FROM log.events i WHERE i.stream_id = ANY($1) GROUP BY i.stream_id
"""
HAPPENED = "SELECT event_type, effective_at FROM log.events WHERE stream_id = $1 ORDER BY stream_version"


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    async with open_cell(postgres_server, template_database, kafka_server, services_folder) as running:
        await running.start("relay")
        await running.start("processors", instances=2)
        yield running


async def clock_with(cell: Cell, customers: int, *, grace_s: int = 0) -> tuple[str, list[str], list[str]]:
    """A clock with customers, each with a monthly subscription: its id, theirs, and the subscriptions'."""
    await cell.do(ChangeBillingSettings(grace_s=grace_s))
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="ten years", frozen_at=START, mode=TenantMode.TEST))
    people = [await cell.customer(clock_id=clock_id) for _ in range(customers)]
    return clock_id, people, [await cell.subscribe(customer_id) for customer_id in people]


async def periods_of(cell: Cell, subscription_id: str, at_least: int) -> None:
    async def enough() -> bool:
        return (await cell.events(subscription_id)).count(PERIOD) >= at_least

    await until(enough, f"{at_least} periods")


async def test_a_clock_goes_on_once_a_payment_that_the_gateway_never_heard_of_is_cancelled(cell: Cell) -> None:
    clock_id = new_id("clock_")
    await cell.do(CreateTestClock(clock_id=clock_id, name="a day", frozen_at=START, mode=TenantMode.TEST))
    payment_id = await cell.pay(await cell.customer("tok_timeout_before_charge", clock_id=clock_id))
    await cell.reaches(payment_id, "payment.outcome_unknown")
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=START + timedelta(days=1)))
    await cell.do(CancelPayment(payment_id=payment_id))
    await cell.reaches(clock_id, "test_clock.advanced")
    assert (await cell.events(payment_id))[-1] == "payment.canceled"
    await cell.prove(*AT_REST)


async def test_a_cancelled_advance_stops_where_it_is_with_nothing_left_overdue_and_goes_on_from_there(
    cell: Cell,
) -> None:
    """Both processes that may run it are killed once it is cancelled."""
    clock_id, _, (first, second) = await clock_with(cell, 2)
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=FAR))
    await periods_of(cell, first, 4)
    await cell.do(CancelTestClockAdvance(clock_id=clock_id))
    await cell.supervisor.kill("processors-0")
    await cell.supervisor.kill("processors-1")
    await cell.reaches(clock_id, "test_clock.advanced")
    moves = await cell.events(clock_id)
    assert moves.index("test_clock.advance_canceled") == len(moves) - 2, "it did not move any more"
    billed = [(await cell.events(each)).count(PERIOD) for each in (first, second)]
    assert billed[0] == billed[1] < 120, "what was due at the instant that it had reached has run, and no more"
    await cell.prove(*AT_REST)

    # The runner may have asked for the next step when it was cancelled: the next advance makes that step.
    months = billed[0] + 2
    to = datetime(2026 + months // 12, months % 12 + 1, 1, tzinfo=UTC)
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=to))

    async def completed() -> bool:
        return (await cell.events(clock_id)).count("test_clock.advanced") == 2

    await until(completed, "the second advance")
    assert [(await cell.events(each)).count(PERIOD) for each in (first, second)] == [months + 1] * 2
    await cell.prove(*AT_REST)


async def test_a_deleted_clock_ends_all_that_lives_on_it_while_processors_die(cell: Cell) -> None:
    clock_id, people, subscriptions = await clock_with(cell, 30, grace_s=DAY_S)
    idle = await cell.customer(clock_id=clock_id)
    other_clock, _, (elsewhere,) = await clock_with(cell, 1)
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=FAR))
    await periods_of(cell, subscriptions[0], 2)
    await cell.do(DeleteTestClock(clock_id=clock_id))
    began: int = await cell.pool.fetchval(
        "SELECT position FROM log.events WHERE stream_id = $1 AND event_type = 'test_clock.deletion_started'", clock_id
    )

    async def some_ended() -> bool:
        return await cell.count("subscription.canceled") > 0

    await until(some_ended, "a subscription's end")
    await asyncio.gather(cell.supervisor.kill("processors-0"), cell.supervisor.kill("processors-1"))
    await cell.reaches(clock_id, "test_clock.deleted")
    for subscription_id in subscriptions:
        assert (await cell.events(subscription_id))[-1] == "subscription.canceled"
    for customer_id in (*people, idle):
        assert (await cell.events(customer_id))[-1] == "customer.deleted"
    assert (await cell.events(clock_id))[-1] == "test_clock.deleted"
    assert await cell.pool.fetchval("SELECT count(*) FROM log.due_work WHERE clock_id = $1", clock_id) == 0
    assert await cell.pool.fetchval("SELECT count(*) FROM log.claims WHERE value LIKE $1 || '%'", clock_id) == 0
    moved = await cell.pool.fetchval(
        "SELECT count(*) FROM log.events WHERE stream_id = $1 AND position > $2 AND event_type = 'test_clock.moved'",
        clock_id,
        began,
    )
    assert moved == 0
    assert "subscription.canceled" not in await cell.events(elsewhere)
    assert await cell.pool.fetchval("SELECT count(*) FROM log.due_work WHERE clock_id = $1", other_clock) == 1
    await cell.prove(*AT_REST)


async def test_drafts_on_a_clock_are_finalized_at_their_own_time_and_once_while_processors_die(cell: Cell) -> None:
    clock_id, _, subscriptions = await clock_with(cell, 3, grace_s=DAY_S)
    to = START + timedelta(days=100)
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=to))
    await periods_of(cell, subscriptions[0], 2)
    await asyncio.gather(cell.supervisor.kill("processors-0"), cell.supervisor.kill("processors-1"))
    await cell.reaches(clock_id, "test_clock.advanced")
    drafts = [derived_id(INVOICE, each, f"period/{nth}") for each in subscriptions for nth in range(4)]
    rows = await cell.pool.fetch(ISSUED, drafts)
    assert len(rows) == len(drafts)
    assert {row["finalized"] for row in rows} == {1}
    assert {row["waited"] for row in rows} == {timedelta(days=1)}
    await cell.prove(*AT_REST)


async def test_all_that_comes_to_a_subscription_by_itself_comes_at_its_own_time_on_the_clock(cell: Cell) -> None:
    """A start, a trial, periods, the end of a pause, an end on a date: two advances, and the timers do the rest."""
    clock_id, (customer_id,), _ = await clock_with(cell, 1)
    begins = START + timedelta(days=10)
    subscription_id = new_id("sub_")
    await cell.do(
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=customer_id,
            plan_id=cell.plan_id,
            items=(RequestedItem(price_id=cell.price_id, quantity=Decimal(3)),),
            starts_at=begins,
            trial_days=7,
        )
    )
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=START + timedelta(days=20)))
    await cell.reaches(clock_id, "test_clock.advanced")
    resumes, ends = START + timedelta(days=100), START + timedelta(days=140)
    await cell.do(PauseSubscription(subscription_id=subscription_id, resumes_at=resumes))
    await cell.do(CancelSubscription(subscription_id=subscription_id, at_period_end=False, cancel_at=ends))
    await cell.do(AdvanceTestClock(clock_id=clock_id, to=START + timedelta(days=200)))
    await cell.reaches(subscription_id, "subscription.canceled")
    rows = await cell.pool.fetch(HAPPENED, subscription_id)
    asked_for = {"created", "paused", "cancellation_scheduled"}
    happened = [(row["event_type"].removeprefix("subscription."), row["effective_at"]) for row in rows]
    by_itself = [each for each in happened if each[0] not in asked_for]
    renews = datetime(2026, 4, 18, tzinfo=UTC)
    assert by_itself == [
        ("trial_started", begins),
        ("period_started", begins + timedelta(days=7)),
        ("resumed", resumes),
        ("period_started", resumes),
        ("period_started", renews),
        ("period_started", datetime(2026, 5, 18, tzinfo=UTC)),
        ("canceled", ends),
    ]
