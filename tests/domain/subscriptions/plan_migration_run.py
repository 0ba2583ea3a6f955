"""A migration of a plan driven as its run drives it, on a tenant in memory: by claims, page by page, one by one."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from domain.subscriptions.change import Proration
from domain.subscriptions.migration import (
    PENDING,
    PLAN_MIGRATION,
    SCHEDULED,
    Expected,
    MigrationStatus,
    PlanMigration,
    PlanMigrationIsOver,
)
from domain.subscriptions.migration_commands import (
    EndPlanMigration,
    FindSubscriptions,
    MoveSubscription,
    StartPlanMigration,
    TakeBackMove,
)
from domain.subscriptions.migration_move import MoveOutcome, PlanMigrationSubscriptionSettled, move_id
from domain.subscriptions.subscription import ON_PLAN
from testing.examples.streams import PLAN_ID, id_of
from testing.specification import NOW, Books, Given

MIGRATION_ID = id_of("mig_")


def migrate(**facts: Any) -> StartPlanMigration:
    """All older versions of the plan, by changes at once."""
    told: dict[str, Any] = {
        "migration_id": MIGRATION_ID,
        "plan_id": PLAN_ID,
        "expected": Expected(),
        "proration": Proration.INVOICE_NOW,
    }
    return StartPlanMigration(**told | facts)


def migration_of(books: Books, migration_id: str = MIGRATION_ID) -> PlanMigration:
    return PLAN_MIGRATION.of(books, migration_id)


def held(books: Books, kind: str, place: str) -> list[str]:
    """Whoever holds claims of this kind that begin so, in their order."""
    values = sorted(value for claimed, value in books.claims if claimed == kind and value.startswith(place))
    return [books.claims[kind, value] for value in values]


Keys = set[tuple[str, str]]
"""Of commands that have their outcome, which the store keeps for ever."""


def steps(
    books: Books, at: datetime, migration_id: str = MIGRATION_ID, *, page: int = 2, done: Keys | None = None
) -> Iterator[None]:
    """A run, a command at a time; each is done under a key of its own, so once. With the keys that were `done`, it is
    one that begins where another died.
    """
    done = set() if done is None else done
    while True:
        migration = migration_of(books, migration_id)
        if migration.status is MigrationStatus.RUNNING and not migration.is_found:
            left = [each for each in held(books, ON_PLAN, f"{migration.plan_id}/") if each > migration.found_to]
            books.do(
                FindSubscriptions(
                    migration_id=migration_id,
                    after=migration.found_to,
                    candidates=tuple(left[:page]),
                    is_last=len(left) < page,
                ),
                at,
            )
        elif migration.status in (MigrationStatus.RUNNING, MigrationStatus.CANCELING):
            moves = migration.status is MigrationStatus.RUNNING
            what = MoveSubscription if moves else TakeBackMove
            for each in held(books, PENDING if moves else SCHEDULED, f"{migration_id}/")[:page]:
                if (what.__name__, each) not in done:
                    done.add((what.__name__, each))
                    with suppress(PlanMigrationIsOver):
                        books.do(what(migration_id=migration_id, subscription_id=each), at)
                yield
            else:
                if not held(books, PENDING if moves else SCHEDULED, f"{migration_id}/"):
                    books.do(EndPlanMigration(migration_id=migration_id, status=migration.status), at)
        else:
            return
        yield


def run(outcome: Given, at: datetime = NOW, migration_id: str = MIGRATION_ID) -> PlanMigration:
    """The migration as it is at the end of its run."""
    for _ in steps(outcome.books, at, migration_id):
        pass
    return migration_of(outcome.books, migration_id)


def outcome_of(
    outcome: Given, subscription_id: str, migration_id: str = MIGRATION_ID
) -> PlanMigrationSubscriptionSettled:
    """What was recorded of a subscription, once."""
    named = move_id(migration_id, subscription_id)
    (settled,) = (
        each.event
        for each in outcome.books.log
        if isinstance(each.event, PlanMigrationSubscriptionSettled) and each.event.move_id == named
    )
    assert isinstance(settled, PlanMigrationSubscriptionSettled)
    return settled


def counts(migration: PlanMigration) -> dict[str, int]:
    """Those that are not zero, the total included, once it was seen that it is their sum."""
    found = {each.value: int(getattr(migration, each.value)) for each in MoveOutcome} | {"pending": migration.pending}
    assert sum(found.values()) == migration.total
    assert min(found.values()) >= 0
    return {name: count for name, count in {"total": migration.total, **found}.items() if count}
