"""Runs of a plan's migration that die before or after any of their commands is recorded, and those in which one
subscription fails: whoever runs it next comes to the same.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from domain.catalog.plan import ChangePlanTerms, CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.catalog.product import CreateProduct
from domain.customers.customer import CreateCustomer
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.money import Money
from domain.kernel.stream import Command, WorkKind
from domain.pricing.models import Flat
from domain.subscriptions.change import Proration
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.migration import PLAN_MIGRATION, Expected, MigrationStatus, PlanMigration
from domain.subscriptions.migration_commands import CancelPlanMigration, MoveSubscription, StartPlanMigration
from domain.subscriptions.selling import RequestedItem
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.log import PostgresLog
from infra.event_store.port import Outcome, Rehearsed, Request, StoreUnavailable, Work, Writer
from infra.event_store.postgres import PostgresStorage
from infra.event_store.writer import GroupCommitWriter
from infra.ids import new_id
from infra.settings import WriterSettings
from processors.outcome import AskAgain, Unwanted
from processors.runs import plan_migrations
from processors.runs.plan_migrations import PlanMigrations
from processors.states import StateReader
from schemas.codec import default_codec
from testing.processors_cell import EUR
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.integration.log_filling import domain_writer

SUBSCRIPTIONS = 5
RUNS_MAX = 60
COUNTED = """
SELECT stream_id, event_type, count(*) AS times FROM log.events
WHERE event_type IN ('subscription.changed', 'subscription.change_scheduled', 'subscription.change_unscheduled')
GROUP BY stream_id, event_type
"""
SETTLED = "SELECT count(*) FROM log.events WHERE event_type = 'plan_migration.subscription_settled'"


class Broken(RuntimeError):
    """A defect of ours."""


@dataclass(slots=True)
class Unreliable(Writer):
    """A way to the log that is cut off at its n-th command, before or after that is recorded; or where one subscription
    cannot be moved.
    """

    writer: GroupCommitWriter
    dies_at: int = -1
    is_recorded: bool = False
    fails_for: str | None = None
    asked: int = 0

    async def submit(self, request: Request) -> Outcome:
        """Cut off from the n-th command on."""
        self.asked += 1
        command = request.command
        if isinstance(command, MoveSubscription) and command.subscription_id == self.fails_for:
            raise Broken(self.fails_for)
        if 0 <= self.dies_at < self.asked:
            if self.is_recorded and self.asked == self.dies_at + 1:
                await self.writer.submit(request)
            raise StoreUnavailable(type(command).__name__)
        return await self.writer.submit(request)

    async def rehearse(self, request: Request) -> Rehearsed:
        """No run rehearses."""
        raise NotImplementedError

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """No run submits several together."""
        raise NotImplementedError

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """No run rehearses."""
        raise NotImplementedError


@dataclass(slots=True)
class Scene:
    """A tenant with a plan of two versions, and its subscriptions on the first."""

    writer: GroupCommitWriter
    states: StateReader
    pool: asyncpg.Pool
    plan_id: str
    subscription_ids: list[str]

    async def migrate(self, proration: Proration = Proration.NEXT_INVOICE) -> str:
        """The id of a migration that has begun."""
        migration_id = new_id("mig_")
        started = StartPlanMigration(
            migration_id=migration_id, plan_id=self.plan_id, proration=proration, expected=Expected()
        )
        await self.writer.submit(request(started))
        return migration_id

    async def work(self) -> Work:
        """The migration's row, whoever had it."""
        await self.pool.execute(
            "UPDATE log.due_work SET ready_at = now(), lease_until = NULL WHERE kind = 'plan.migration'"
        )
        (work,) = await PostgresDueWork(self.pool).claim({WorkKind.PLAN_MIGRATION: 1}, owner="test", lease_ms=60_000)
        return work

    def run_by(self, writer: Writer) -> PlanMigrations:
        return PlanMigrations(writer, self.states, PostgresLog(self.pool))

    async def state(self, migration_id: str) -> PlanMigration:
        migration = await self.states.read(PLAN_MIGRATION, TENANT, migration_id)
        assert migration is not None
        return migration

    async def times(self, event_type: str) -> dict[str, int]:
        """How often that happened to each subscription."""
        rows = await self.pool.fetch(COUNTED)
        return {row["stream_id"]: row["times"] for row in rows if row["event_type"] == event_type}


@pytest.fixture
async def scene(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(plan_migrations, "FOUND_AT_ONCE_MAX", 2)
    monkeypatch.setattr(plan_migrations, "MOVED_AT_ONCE_MAX", 2)
    pool = await asyncpg.create_pool(database.dsn, min_size=1, max_size=2)
    reading = PostgresStorage(database.dsn, WriterSettings())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        stack.push_async_callback(reading.close)
        writer = await stack.enter_async_context(domain_writer(database.dsn))
        states = StateReader(reading, default_codec(), writer.held)
        product_id, plan_id, price_id, customer_id = (new_id(each) for each in ("prod_", "plan_", "price_", "cus_"))
        sold = [new_id("sub_") for _ in range(SUBSCRIPTIONS)]
        items = (RequestedItem(price_id=price_id),)
        terms = PlanTerms(name="Monthly", interval=Interval(IntervalUnit.MONTH))
        commands: tuple[Command, ...] = (
            CreateProduct(product_id=product_id, name="P"),
            CreatePlan(plan_id=plan_id, product_id=product_id, terms=terms),
            CreatePrice(price_id=price_id, plan_id=plan_id, price=Flat(amount=Money(3100, EUR))),
            CreateCustomer(customer_id=customer_id, currency="EUR"),
            *(
                CreateSubscription(subscription_id=each, customer_id=customer_id, plan_id=plan_id, items=items)
                for each in sold
            ),
            ChangePlanTerms(plan_id=plan_id, name="Monthly, better"),
        )
        for command in commands:
            assert (await writer.submit(request(command))).refusal_code is None
        yield Scene(writer, states, pool, plan_id, sold)


async def died(scene: Scene, migration_id: str, ends: MigrationStatus, *, is_recorded: bool) -> int:
    """Runs of which each dies at its second command, until the migration has ended; how many died."""
    for number in range(RUNS_MAX):
        work = await scene.work()
        writer = Unreliable(scene.writer, dies_at=1, is_recorded=is_recorded)
        with contextlib.suppress(StoreUnavailable):
            await scene.run_by(writer).run(work)
        if (await scene.state(migration_id)).status is ends:
            return number
    raise AssertionError(f"not within {RUNS_MAX} runs")


@pytest.mark.parametrize("is_recorded", [False, True], ids=["before", "after"])
async def test_each_is_moved_once_though_every_run_dies(scene: Scene, is_recorded: bool) -> None:
    migration_id = await scene.migrate()
    assert await died(scene, migration_id, MigrationStatus.COMPLETED, is_recorded=is_recorded) > 2
    migration = await scene.state(migration_id)
    assert (migration.total, migration.moved, migration.pending) == (SUBSCRIPTIONS, SUBSCRIPTIONS, 0)
    assert await scene.times("subscription.changed") == dict.fromkeys(scene.subscription_ids, 1)
    assert await scene.pool.fetchval(SETTLED) == SUBSCRIPTIONS
    assert await scene.pool.fetchval("SELECT count(*) FROM log.due_work WHERE kind = 'plan.migration'") == 0
    assert await scene.pool.fetchval("SELECT count(*) FROM log.claims WHERE kind LIKE 'plan_migration.%'") == 0


@pytest.mark.parametrize("is_recorded", [False, True], ids=["before", "after"])
async def test_each_is_taken_back_once_though_every_run_dies(scene: Scene, is_recorded: bool) -> None:
    migration_id = await scene.migrate(Proration.PERIOD_END)
    await died(scene, migration_id, MigrationStatus.COMPLETED, is_recorded=is_recorded)
    await scene.writer.submit(request(CancelPlanMigration(migration_id=migration_id)))
    await died(scene, migration_id, MigrationStatus.CANCELED, is_recorded=is_recorded)
    migration = await scene.state(migration_id)
    assert (migration.taken_back, migration.scheduled) == (SUBSCRIPTIONS, 0)
    for event_type in ("subscription.change_scheduled", "subscription.change_unscheduled"):
        assert await scene.times(event_type) == dict.fromkeys(scene.subscription_ids, 1)
    assert await scene.pool.fetchval("SELECT count(*) FROM log.claims WHERE kind LIKE 'plan_migration.%'") == 0


async def test_one_that_fails_holds_up_no_other_and_may_be_moved_later(scene: Scene) -> None:
    migration_id = await scene.migrate()
    failing = scene.subscription_ids[0]
    with pytest.raises(Broken):
        await scene.run_by(Unreliable(scene.writer, fails_for=failing)).run(await scene.work())
    migration = await scene.state(migration_id)
    assert (migration.status, migration.moved, migration.pending) == (MigrationStatus.RUNNING, SUBSCRIPTIONS - 1, 1)
    outcome = await scene.run_by(Unreliable(scene.writer)).run(await scene.work())
    assert isinstance(outcome, Unwanted)
    assert (await scene.state(migration_id)).status is MigrationStatus.COMPLETED


async def test_one_that_fails_for_ever_does_not_keep_a_person_from_canceling(scene: Scene) -> None:
    migration_id = await scene.migrate()
    failing = Unreliable(scene.writer, fails_for=scene.subscription_ids[0])
    with pytest.raises(Broken):
        await scene.run_by(failing).run(await scene.work())
    await PostgresDueWork(scene.pool).hold(await scene.work(), error="Broken")
    await scene.writer.submit(request(CancelPlanMigration(migration_id=migration_id)))
    migration = await scene.state(migration_id)
    assert (migration.status, migration.pending) == (MigrationStatus.CANCELED, 1)
    assert await scene.pool.fetchval("SELECT count(*) FROM log.due_work WHERE kind = 'plan.migration'") == 0


async def test_a_run_lets_others_have_its_place_after_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_migrations, "SLICE_S", 0.0)
    await scene.migrate()
    assert isinstance(await scene.run_by(scene.writer).run(await scene.work()), AskAgain)
