"""What is decided about migrations of plans: begun, its subscriptions found, each of them moved, ended, canceled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.catalog.plan import PLAN, Plan
from domain.catalog.price import PRICE
from domain.catalog.price import on_sale as price_on_sale
from domain.customers.customer import time_of
from domain.kernel.consequences import After
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.subscriptions import change_commands as changes
from domain.subscriptions.change import (
    ChangeNotAhead,
    ContradictoryChange,
    Proration,
    SubscriptionChangeScheduled,
    SubscriptionChangeUnscheduled,
)
from domain.subscriptions.migration import (
    PLAN_MIGRATION,
    ContradictoryReplacement,
    Expected,
    MigrationStatus,
    PlanMigration,
    PlanMigrationCanceled,
    PlanMigrationCancelRequested,
    PlanMigrationCompleted,
    PlanMigrationIsOver,
    PlanMigrationStarted,
    PlanMigrationSubscriptionsFound,
    PriceReplacement,
    UnknownPlanVersion,
)
from domain.subscriptions.migration_move import (
    MoveOutcome,
    PlanMigrationSubscriptionSettled,
    PlanMigrationSubscriptionTakenBack,
    move_id,
)
from domain.subscriptions.migration_prices import LeftPlan, Standing, check_intervals, item_changes, standing
from domain.subscriptions.renewal import caught_up_wherever
from domain.subscriptions.selling import sold_plan
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import PlanIsAddOn, PriceOfAnotherPlan


class PlanHasNewerVersion(Refusal):
    """The plan got a newer version since the migration began: begin another one, which moves to that."""

    code = "plan_has_newer_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlanMigration:
    """Move what runs on older versions of the plan (or on that one) to its newest. `prices`, `adds`: what becomes of
    items where that does not follow from the prices on sale. The rest is how each is changed. `is_live`: its tenant has
    no test clocks.
    """

    migration_id: str
    plan_id: str
    from_version: int | None = None
    prices: tuple[PriceReplacement, ...] = ()
    adds: tuple[str, ...] = ()
    proration: Proration = Proration.PERIOD_END
    resets_anchor: bool = False
    effective_at: datetime | None = None
    expected: Expected
    is_live: bool = False
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindSubscriptions:
    """Look at these, the next of those that were sold the plan after the id `after`; the last ones with `is_last`."""

    migration_id: str
    after: str
    candidates: tuple[str, ...]
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSubscription:
    """Bring one that was found to the newest version, or record why not."""

    migration_id: str
    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseMove:
    """Record that the store refused to move one: no rule did, but a value that it claims is taken."""

    migration_id: str
    subscription_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBackMove:
    """Take back what a canceled migration has scheduled, if it still waits. `leaves_it`: the store refused to."""

    migration_id: str
    subscription_id: str
    leaves_it: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPlanMigration:
    """Nothing is left to be done of what there was in this status."""

    migration_id: str
    status: MigrationStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPlanMigration:
    migration_id: str


def start_plan_migration(command: StartPlanMigration, streams: Streams, now: datetime) -> Decision:
    """Raises also PlanIsArchived, ProductIsArchived and PlanIsAddOn: nobody is moved to what is not sold."""
    PLAN_MIGRATION.check_new(streams, command.migration_id)
    plan = sold_plan(streams, command.plan_id)
    if plan.is_add_on:
        raise PlanIsAddOn(plan=plan.plan_id)
    if command.from_version is not None and command.from_version > plan.version:
        raise UnknownPlanVersion(from_version=command.from_version, newest=plan.version)
    if command.effective_at is not None:
        if command.proration is Proration.PERIOD_END:
            raise ContradictoryChange(effective_at=command.effective_at)
        if command.is_live and command.effective_at <= now:
            raise ChangeNotAhead(effective_at=command.effective_at, now=now)
    _check_replacements(command, plan, streams)
    started = PlanMigrationStarted(
        migration_id=command.migration_id,
        plan_id=plan.plan_id,
        from_version=command.from_version,
        to_version=plan.version,
        prices=command.prices,
        adds=command.adds,
        proration=command.proration,
        resets_anchor=command.resets_anchor,
        effective_at=command.effective_at,
        expected=command.expected,
        metadata=command.metadata,
        started_at=now,
    )
    return Decision(now, [PLAN_MIGRATION.change(started)])


def _check_replacements(command: StartPlanMigration, plan: Plan, streams: Streams) -> None:
    """Prices of the plan, each once, and those that come on sale."""
    named: set[str] = set()
    for nth, each in enumerate(command.prices):
        if each.price_id in named:
            raise ContradictoryReplacement(price=each.price_id).at(f"prices.{nth}.price")
        named.add(each.price_id)
        _check_of_plan(PRICE.of(streams, each.price_id).plan_id, each.price_id, plan, f"prices.{nth}.price")
        if each.becomes is not None and each.becomes != each.price_id:
            _check_sold(each.becomes, plan, streams, f"prices.{nth}.becomes")
    for nth, price_id in enumerate(command.adds):
        _check_sold(price_id, plan, streams, f"add.{nth}")


def _check_sold(price_id: str, plan: Plan, streams: Streams, path: str) -> None:
    try:
        price = price_on_sale(streams, price_id)
    except Refusal as refused:
        raise refused.at(path) from None
    _check_of_plan(price.plan_id, price_id, plan, path)


def _check_of_plan(belongs_to: str, price_id: str, plan: Plan, path: str) -> None:
    if belongs_to != plan.plan_id:
        raise PriceOfAnotherPlan(price=price_id, plan=plan.plan_id, belongs_to=belongs_to).at(path)


def find_subscriptions(command: FindSubscriptions, streams: Streams, now: datetime) -> Decision:
    """Nothing where they were looked at before."""
    migration = _running(streams, command.migration_id)
    if migration.is_found or command.after != migration.found_to:
        return Decision(now, [])
    found = {each: _stands(each, command, migration, streams) for each in command.candidates}
    event = PlanMigrationSubscriptionsFound(
        migration_id=migration.migration_id,
        subscription_ids=tuple(each for each, stands in found.items() if stands is Standing.BEHIND),
        already_there=sum(stands is Standing.THERE for stands in found.values()),
        reached=command.candidates[-1] if command.candidates else command.after,
        is_last=command.is_last,
    )
    return Decision(now, [PLAN_MIGRATION.change(event)])


def _stands(subscription_id: str, command: FindSubscriptions, migration: PlanMigration, streams: Streams) -> Standing:
    """One that was transferred since the candidates were read stands where the one that goes on does, unless that is
    looked at by itself.
    """
    subscription = SUBSCRIPTION.of(streams, subscription_id)
    while (to := subscription.transferred_to) is not None:
        comes_later = not command.is_last and to > command.candidates[-1]
        if comes_later or to in command.candidates:
            return Standing.OUTSIDE
        subscription = SUBSCRIPTION.of(streams, to)
    return standing(migration, subscription, streams)


def move_subscription(command: MoveSubscription, streams: Streams, now: datetime) -> Decision:
    """By a change of it at its own time, in the commit that counts it. What refuses that is its outcome."""
    migration = _running(streams, command.migration_id)
    subscription = SUBSCRIPTION.of(streams, command.subscription_id)
    at = time_of(streams, subscription.customer_id, now)
    try:
        return _moved(migration, subscription, streams, now, at)
    except Refusal as refused:
        settled = _settled(
            migration, subscription, MoveOutcome.REFUSED, now, code=refused.code, detail=refused.describe()
        )
        return Decision(at, [settled])


def _moved(
    migration: PlanMigration, subscription: Subscription, streams: Streams, now: datetime, at: datetime
) -> Decision:
    """What is due comes first, and may bring it there by itself, or away from the plan. Of one that was transferred the
    one that goes on is moved."""
    ahead = caught_up_wherever(streams, subscription.subscription_id, at).to_change()
    known = After(streams, ahead.changes)
    terms = ahead.subscription.terms
    match standing(migration, ahead.subscription, known):
        case Standing.OUTSIDE:
            raise LeftPlan(subscription=subscription.subscription_id, plan=terms.plan_id, version=terms.plan_version)
        case Standing.THERE:
            there = _settled(migration, subscription, MoveOutcome.ALREADY_THERE, now)
            return Decision(at, [*ahead.changes, there])
    version = PLAN.of(streams, migration.plan_id).version
    if version != migration.to_version:
        raise PlanHasNewerVersion(plan=migration.plan_id, version=version, migrated_to=migration.to_version)
    items = item_changes(migration, terms, known)
    command = changes.ChangeSubscription(
        subscription_id=ahead.subscription_id,
        items=items.items,
        remove=items.remove,
        plan_id=migration.plan_id,
        proration=migration.proration,
        resets_anchor=migration.resets_anchor,
        effective_at=migration.effective_at,
        migration_id=migration.migration_id,
    )
    changed = changes.change_subscription(command, known, now)
    scheduled = next((each.event for each in changed.changes if _schedules(each)), None)
    if isinstance(scheduled, SubscriptionChangeScheduled):
        check_intervals(terms, scheduled.change.terms)
        outcome, effective_at = MoveOutcome.SCHEDULED, scheduled.change.at
    else:
        check_intervals(terms, SUBSCRIPTION.of(After(known, changed.changes), ahead.subscription_id).terms)
        outcome, effective_at = MoveOutcome.MOVED, at
    settled = _settled(migration, subscription, outcome, now, effective_at=effective_at)
    return Decision(at, [*ahead.changes, *changed.changes, settled])


def _schedules(change: Change) -> bool:
    return isinstance(change.event, SubscriptionChangeScheduled)


def _settled(
    migration: PlanMigration,
    subscription: Subscription,
    outcome: MoveOutcome,
    now: datetime,
    *,
    effective_at: datetime | None = None,
    code: str | None = None,
    detail: str | None = None,
) -> Change:
    """In real time, also where the subscription lives on a test clock."""
    settled = PlanMigrationSubscriptionSettled(
        migration_id=migration.migration_id,
        move_id=move_id(migration.migration_id, subscription.subscription_id),
        subscription_id=subscription.subscription_id,
        customer_id=subscription.customer_id,
        outcome=outcome,
        effective_at=effective_at,
        code=code,
        detail=detail,
        settled_at=now,
    )
    return PLAN_MIGRATION.change(settled)._replace(effective_at=now)


def refuse_move(command: RefuseMove, streams: Streams, now: datetime) -> Decision:
    migration = _running(streams, command.migration_id)
    subscription = SUBSCRIPTION.of(streams, command.subscription_id)
    refused = _settled(migration, subscription, MoveOutcome.REFUSED, now, code=command.code, detail=command.detail)
    return Decision(now, [refused])


def take_back_move(command: TakeBackMove, streams: Streams, now: datetime) -> Decision:
    """What is due comes first: a change whose time has come has taken effect, and stays."""
    migration = PLAN_MIGRATION.of(streams, command.migration_id)
    if migration.status is not MigrationStatus.CANCELING:
        return Decision(now, [])
    subscription = SUBSCRIPTION.of(streams, command.subscription_id)
    at = time_of(streams, subscription.customer_id, now)
    unscheduled = [] if command.leaves_it else _unscheduled(migration, command.subscription_id, streams, at)
    taken_back = PlanMigrationSubscriptionTakenBack(
        migration_id=migration.migration_id,
        move_id=move_id(migration.migration_id, command.subscription_id),
        subscription_id=command.subscription_id,
        is_taken_back=bool(unscheduled),
        settled_at=now,
    )
    return Decision(at, [*unscheduled, PLAN_MIGRATION.change(taken_back)._replace(effective_at=now)])


def _unscheduled(migration: PlanMigration, subscription_id: str, streams: Streams, at: datetime) -> list[Change]:
    """That its change is taken back, with what is due before; nothing where that is not to be."""
    try:
        ahead = caught_up_wherever(streams, subscription_id, at).to_change()
    except Refusal:
        return []
    scheduled = ahead.subscription.scheduled
    if scheduled is None or scheduled.migration_id != migration.migration_id:
        return []
    unscheduled = SubscriptionChangeUnscheduled(subscription_id=ahead.subscription_id)
    return [*ahead.changes, SUBSCRIPTION.change(unscheduled)]


def end_plan_migration(command: EndPlanMigration, streams: Streams, now: datetime) -> Decision:
    """As it was to end. Nothing where it was canceled since, and something is to be taken back."""
    migration = PLAN_MIGRATION.of(streams, command.migration_id)
    if migration.status is not command.status:
        return Decision(now, [])
    match migration.status:
        case MigrationStatus.RUNNING if migration.is_found and not migration.pending:
            completed = PlanMigrationCompleted(migration_id=migration.migration_id, completed_at=now)
            return Decision(now, [PLAN_MIGRATION.change(completed)])
        case MigrationStatus.CANCELING:
            canceled = PlanMigrationCanceled(migration_id=migration.migration_id, canceled_at=now)
            return Decision(now, [PLAN_MIGRATION.change(canceled)])
        case _:
            return Decision(now, [])


def cancel_plan_migration(command: CancelPlanMigration, streams: Streams, now: datetime) -> Decision:
    """Also of one that is completed, as long as what it scheduled may wait. Raises PlanMigrationIsOver."""
    migration = PLAN_MIGRATION.of(streams, command.migration_id)
    match migration.status:
        case MigrationStatus.CANCELING:
            return Decision(now, [])
        case MigrationStatus.RUNNING | MigrationStatus.COMPLETED if migration.scheduled:
            requested = PlanMigrationCancelRequested(migration_id=migration.migration_id, requested_at=now)
            return Decision(now, [PLAN_MIGRATION.change(requested)])
        case MigrationStatus.RUNNING:
            canceled = PlanMigrationCanceled(migration_id=migration.migration_id, canceled_at=now)
            return Decision(now, [PLAN_MIGRATION.change(canceled)])
        case _:
            raise PlanMigrationIsOver(plan_migration=migration.migration_id, status=migration.status)


def _running(streams: Streams, migration_id: str) -> PlanMigration:
    migration = PLAN_MIGRATION.of(streams, migration_id)
    if migration.status is not MigrationStatus.RUNNING:
        raise PlanMigrationIsOver(plan_migration=migration_id, status=migration.status)
    return migration


HANDLERS: Final[Mapping[type, Handler]] = {
    StartPlanMigration: start_plan_migration,
    FindSubscriptions: find_subscriptions,
    MoveSubscription: move_subscription,
    RefuseMove: refuse_move,
    TakeBackMove: take_back_move,
    EndPlanMigration: end_plan_migration,
    CancelPlanMigration: cancel_plan_migration,
}
