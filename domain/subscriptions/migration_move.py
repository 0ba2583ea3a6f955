"""What a plan's migration comes to for one subscription: one row of its report, of the migration's own stream."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.kernel.frozen import replace
from domain.kernel.identifiers import PLAN_MIGRATION_MOVE, derived_id


class MoveOutcome(StrEnum):
    """What became of a subscription. `scheduled`: it will be moved when its scheduled change takes effect."""

    MOVED = "moved"
    SCHEDULED = "scheduled"
    ALREADY_THERE = "already_there"
    REFUSED = "refused"
    TAKEN_BACK = "taken_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationSubscriptionSettled:
    """What became of one that was found. `effective_at` is when its change takes effect, on its own clock; `code` and
    `detail` say why it was refused.
    """

    migration_id: str
    move_id: str
    subscription_id: str
    customer_id: str
    outcome: MoveOutcome
    effective_at: datetime | None = None
    code: str | None = None
    detail: str | None = None
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMigrationSubscriptionTakenBack:
    """Its migration is canceled: `is_taken_back` is False where its change has taken effect by now, or somebody else
    took it back or replaced it, and it is left as it is.
    """

    migration_id: str
    move_id: str
    subscription_id: str
    is_taken_back: bool
    settled_at: datetime


SubscriptionMoveEvent = PlanMigrationSubscriptionSettled | PlanMigrationSubscriptionTakenBack


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionMove:
    """What a migration came to for one subscription."""

    move_id: str
    migration_id: str
    subscription_id: str
    customer_id: str
    outcome: MoveOutcome
    effective_at: datetime | None
    code: str | None
    detail: str | None
    created_at: datetime


def move_id(migration_id: str, subscription_id: str) -> str:
    """The id of what a migration comes to for a subscription."""
    return derived_id(PLAN_MIGRATION_MOVE, migration_id, subscription_id)


def evolve(move: SubscriptionMove | None, event: SubscriptionMoveEvent) -> SubscriptionMove:
    if isinstance(event, PlanMigrationSubscriptionSettled):
        return SubscriptionMove(
            move_id=event.move_id,
            migration_id=event.migration_id,
            subscription_id=event.subscription_id,
            customer_id=event.customer_id,
            outcome=event.outcome,
            effective_at=event.effective_at,
            code=event.code,
            detail=event.detail,
            created_at=event.settled_at,
        )
    assert move is not None, "what is taken back was settled"
    return replace(move, outcome=MoveOutcome.TAKEN_BACK) if event.is_taken_back else move


EVENTS: dict[str, type] = {
    "plan_migration.subscription_settled": PlanMigrationSubscriptionSettled,
    "plan_migration.subscription_taken_back": PlanMigrationSubscriptionTakenBack,
}
