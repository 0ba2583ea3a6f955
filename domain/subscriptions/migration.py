"""A migration of a plan: its subscriptions that run on older terms are brought to the newest, each by its own change.

First it finds them, page by page, then it moves them one by one: each is counted once, and what it came to is recorded
in the commit that changes it. It waits for nobody: what is to take effect later is scheduled on each subscription, and
waits there. A person can cancel it at any time; what it has scheduled is taken back then.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, DueWork, Finish, Free, Schedule, Stream, Take, Topic, WorkKind
from domain.subscriptions import migration_move as moves
from domain.subscriptions.change import Proration
from domain.subscriptions.migration_move import (
    MoveOutcome,
    PlanMigrationSubscriptionSettled,
    PlanMigrationSubscriptionTakenBack,
)

RUNNING: Final = "plan_migration.plan"
"""The kind of claim by which a plan has one migration at a time."""
PENDING: Final = "plan_migration.pending"
SCHEDULED: Final = "plan_migration.scheduled"
"""The kinds of claims by which a migration finds what it has still to move, and what it has scheduled."""
SEPARATOR: Final = "/"
"""Between a migration's id and a subscription's in those."""


class MigrationStatus(StrEnum):
    """`canceling`: what it has scheduled is being taken back."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELING = "canceling"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceReplacement:
    """What a price becomes: another one of the plan; None: it is taken away."""

    price_id: str
    becomes: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How many subscriptions ran on older terms by the read models when it was asked for, and of how many nothing that
    they show stands in the way.
    """

    subscriptions: int = 0
    moves: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationStarted:
    """`from_version` None: all that are older than `to_version`. `adds` are prices that each of them gets."""

    migration_id: str
    plan_id: str
    from_version: int | None
    to_version: int
    prices: tuple[PriceReplacement, ...] = ()
    adds: tuple[str, ...] = ()
    proration: Proration
    resets_anchor: bool = False
    effective_at: datetime | None = None
    expected: Expected
    metadata: Metadata = ()
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationSubscriptionsFound:
    """The next of the plan's subscriptions, up to the id `reached`: these are to be moved, so many are there already,
    and the others are not concerned. After `is_last` all are found.
    """

    migration_id: str
    subscription_ids: tuple[str, ...]
    already_there: int
    reached: str
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationCompleted:
    """Nothing is left to be moved."""

    migration_id: str
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationCancelRequested:
    """No more is moved from here on, and what is scheduled is taken back."""

    migration_id: str
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationCanceled:
    """It is over. What it had not come to stays as it was."""

    migration_id: str
    canceled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationMetadataSet(MetadataSet):
    migration_id: str


PlanMigrationEvent = (
    PlanMigrationStarted
    | PlanMigrationSubscriptionsFound
    | PlanMigrationSubscriptionSettled
    | PlanMigrationSubscriptionTakenBack
    | PlanMigrationCompleted
    | PlanMigrationCancelRequested
    | PlanMigrationCanceled
    | PlanMigrationMetadataSet
)


class PlanMigrationNotFound(Refusal):
    """There is no such migration of a plan."""

    code = "plan_migration_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "plan_migration"


class PlanMigrationAlreadyExists(Refusal):
    """A migration of this id exists already."""

    code = "plan_migration_already_exists"


class PlanMigrationIsRunning(Refusal):
    """A migration of this plan is running: wait until it has completed, or cancel it."""

    code = "plan_migration_running"


class PlanMigrationIsOver(Refusal):
    """The migration is over, and nothing of it waits to take effect: there is nothing to cancel."""

    code = "plan_migration_over"


class UnknownPlanVersion(Refusal):
    """The plan has no such version: name one that there is, or leave it out to move all that are older."""

    code = "unknown_plan_version"
    kind = RefusalKind.INVALID
    param = "from_version"


class ContradictoryReplacement(Refusal):
    """Each price of the plan becomes one thing, another price of it, or nothing: name it once."""

    code = "contradictory_replacement"
    kind = RefusalKind.INVALID
    param = "prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigration:
    """`found_to` is the last subscription that was looked at. Of `total` that run on the plan and are concerned, each
    is counted once: by what became of it, or as `pending`.
    """

    migration_id: str
    plan_id: str
    from_version: int | None
    to_version: int
    prices: tuple[PriceReplacement, ...]
    adds: tuple[str, ...]
    proration: Proration
    resets_anchor: bool
    effective_at: datetime | None
    expected: Expected
    status: MigrationStatus
    found_to: str
    is_found: bool
    total: int
    moved: int
    scheduled: int
    already_there: int
    refused: int
    taken_back: int
    metadata: Metadata
    created_at: datetime
    ended_at: datetime | None

    @property
    def pending(self) -> int:
        """How many it has not come to: of one that was canceled, those that stay as they were."""
        return self.total - self.moved - self.scheduled - self.already_there - self.refused - self.taken_back


def evolve(migration: PlanMigration | None, event: PlanMigrationEvent) -> PlanMigration:
    if isinstance(event, PlanMigrationStarted):
        return PlanMigration(
            migration_id=event.migration_id,
            plan_id=event.plan_id,
            from_version=event.from_version,
            to_version=event.to_version,
            prices=event.prices,
            adds=event.adds,
            proration=event.proration,
            resets_anchor=event.resets_anchor,
            effective_at=event.effective_at,
            expected=event.expected,
            status=MigrationStatus.RUNNING,
            found_to="",
            is_found=False,
            total=0,
            moved=0,
            scheduled=0,
            already_there=0,
            refused=0,
            taken_back=0,
            metadata=event.metadata,
            created_at=event.started_at,
            ended_at=None,
        )
    assert migration is not None, "the first event of a migration is plan_migration.started"
    match event:
        case PlanMigrationSubscriptionsFound():
            return replace(
                migration,
                found_to=event.reached,
                is_found=event.is_last,
                total=migration.total + event.already_there + len(event.subscription_ids),
                already_there=migration.already_there + event.already_there,
            )
        case PlanMigrationSubscriptionSettled():
            return _counted(migration, event.outcome)
        case PlanMigrationSubscriptionTakenBack():
            if not event.is_taken_back:
                return migration
            return _counted(replace(migration, scheduled=migration.scheduled - 1), MoveOutcome.TAKEN_BACK)
        case PlanMigrationCompleted():
            return replace(migration, status=MigrationStatus.COMPLETED, ended_at=event.completed_at)
        case PlanMigrationCancelRequested():
            return replace(migration, status=MigrationStatus.CANCELING, ended_at=None)
        case PlanMigrationCanceled():
            return replace(migration, status=MigrationStatus.CANCELED, ended_at=event.canceled_at)
        case PlanMigrationMetadataSet():
            return replace(migration, metadata=event.metadata)


def _counted(migration: PlanMigration, outcome: MoveOutcome) -> PlanMigration:
    """One more of the outcome, whose count is the field of its name."""
    one_more: dict[str, Any] = {outcome.value: getattr(migration, outcome.value) + 1}
    return replace(migration, **one_more)


def claims(event: PlanMigrationEvent, migration: PlanMigration) -> tuple[Claim, ...]:
    """One migration of a plan runs at a time; and what is still to be done by it is found by what it holds."""
    migration_id = migration.migration_id
    match event:
        case PlanMigrationStarted():
            running = PlanMigrationIsRunning
            return (Take(RUNNING, event.plan_id, migration_id, lambda: running(plan=event.plan_id)),)
        case PlanMigrationSubscriptionsFound():
            return tuple(_held(PENDING, migration_id, each) for each in event.subscription_ids)
        case PlanMigrationSubscriptionSettled():
            held = _held(PENDING, migration_id, event.subscription_id)
            settled = Free(held.kind, held.value, held.owner)
            if event.outcome is not MoveOutcome.SCHEDULED:
                return (settled,)
            return (settled, _held(SCHEDULED, migration_id, event.subscription_id))
        case PlanMigrationSubscriptionTakenBack():
            held = _held(SCHEDULED, migration_id, event.subscription_id)
            return (Free(held.kind, held.value, held.owner),)
        case PlanMigrationCompleted() | PlanMigrationCanceled():
            return (Free(RUNNING, migration.plan_id, migration_id),)
        case _:
            return ()


def _held(kind: str, migration_id: str, subscription_id: str) -> Take:
    value = f"{migration_id}{SEPARATOR}{subscription_id}"
    return Take(kind, value, subscription_id, lambda: PlanMigrationAlreadyExists(plan_migration=migration_id))


def due_work(event: PlanMigrationEvent, migration: PlanMigration) -> tuple[DueWork, ...]:
    """It is run by exactly one runner, whoever holds the lease of its row, until it is over."""
    match event:
        case PlanMigrationStarted() | PlanMigrationCancelRequested():
            return (Schedule(WorkKind.PLAN_MIGRATION, event.migration_id, after_ms=0),)
        case PlanMigrationCompleted() | PlanMigrationCanceled():
            return (Finish(WorkKind.PLAN_MIGRATION, event.migration_id),)
        case _:
            return ()


EVENTS: dict[str, type] = {
    "plan_migration.started": PlanMigrationStarted,
    "plan_migration.subscriptions_found": PlanMigrationSubscriptionsFound,
    **moves.EVENTS,
    "plan_migration.completed": PlanMigrationCompleted,
    "plan_migration.cancel_requested": PlanMigrationCancelRequested,
    "plan_migration.canceled": PlanMigrationCanceled,
    "plan_migration.metadata_set": PlanMigrationMetadataSet,
}

PLAN_MIGRATION: Stream[PlanMigration] = Stream(
    name="plan_migration",
    id_field="migration_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda migration: None,
    not_found=PlanMigrationNotFound,
    already_exists=PlanMigrationAlreadyExists,
    metadata_set=PlanMigrationMetadataSet,
    claims=claims,
    due_work=due_work,
)
