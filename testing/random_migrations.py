"""Commands about a migration of a plan, for random histories."""

from collections.abc import Iterator
from typing import Any

from domain.catalog.plan import ChangePlanTerms
from domain.kernel.stream import Command
from domain.subscriptions.change import Proration
from domain.subscriptions.migration import Expected, MigrationStatus
from domain.subscriptions.migration_commands import (
    CancelPlanMigration,
    EndPlanMigration,
    FindSubscriptions,
    MoveSubscription,
    RefuseMove,
    StartPlanMigration,
    TakeBackMove,
)
from domain.subscriptions.subscription import SUBSCRIPTION
from schemas.codec import decode_event
from testing.histories import History


def migrated(
    history: History, tenant: str, migration_id: str, plan_id: str, subscription_ids: tuple[str, ...], number: int
) -> Iterator[Command]:
    """A new version of a plan and its migration, brought to its end or canceled; the last one that it finds is refused
    by the store.
    """
    yield ChangePlanTerms(plan_id=plan_id, name=f"Plan, better by {number}")
    yield StartPlanMigration(
        migration_id=migration_id,
        plan_id=plan_id,
        proration=(Proration.PERIOD_END, Proration.NEXT_INVOICE, Proration.INVOICE_NOW)[number % 3],
        expected=Expected(subscriptions=number, moves=number),
        metadata=(("order", str(number)),),
    )
    yield FindSubscriptions(migration_id=migration_id, after="", candidates=subscription_ids, is_last=True)
    found = _found(history)
    for subscription_id in found[:-1]:
        yield MoveSubscription(migration_id=migration_id, subscription_id=subscription_id)
    if number % 2:
        yield CancelPlanMigration(migration_id=migration_id)
    for subscription_id in found[-1:]:
        yield RefuseMove(migration_id=migration_id, subscription_id=subscription_id, code="taken", detail="It is taken")
    yield EndPlanMigration(migration_id=migration_id, status=MigrationStatus.RUNNING)
    if number % 5 == 0:
        yield CancelPlanMigration(migration_id=migration_id)
    for subscription_id in found:
        scheduled = history.state(tenant, SUBSCRIPTION, subscription_id).scheduled
        if scheduled is None or scheduled.migration_id != migration_id:
            continue
        yield TakeBackMove(migration_id=migration_id, subscription_id=subscription_id)
    yield EndPlanMigration(migration_id=migration_id, status=MigrationStatus.CANCELING)


def _found(history: History) -> tuple[str, ...]:
    last = history.events[-1]
    if last.event_type != "plan_migration.subscriptions_found":
        return ()
    event: Any = decode_event(last.payload)
    found: tuple[str, ...] = event.subscription_ids
    return found
