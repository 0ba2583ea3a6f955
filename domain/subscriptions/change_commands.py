"""What is decided about changes of subscriptions: now, once the running period is over, on a date, or not after all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.catalog.plan import PLAN
from domain.catalog.price import PRICE
from domain.customers.customer import open_for_business, time_of
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL
from domain.kernel.frozen import replace
from domain.kernel.stream import Decision, Handler, Streams
from domain.pricing.amount import amount_of
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.change import (
    ChangeIsScheduled,
    ChangeNotAhead,
    ContradictoryChange,
    NoChangeScheduled,
    NothingChanges,
    PriceNotSubscribed,
    Proration,
    ScheduledChange,
    SubscriptionChangeScheduled,
    SubscriptionChangeUnscheduled,
    SubscriptionIsPaused,
    TooMuchWaits,
)
from domain.subscriptions.changing import change
from domain.subscriptions.periods import last_end, running_period
from domain.subscriptions.proration import AnchorMustBeReset
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.selling import (
    RequestedItem,
    counted,
    features_of,
    plans_of,
    sold_item,
    sold_plan,
    told_apart,
)
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import (
    DuplicatePrice,
    MeteredPriceHasNoQuantity,
    PlanIsAddOn,
    SubscriptionItem,
    SubscriptionTerms,
    check_basis,
    check_items,
)

MAX_PENDING_LINES = 100
"""How many lines may wait for a subscription's next invoice, so that it holds them beside what it bills itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedItem:
    """A price, and how many of it from now on; None: as many as there are, or one."""

    price_id: str
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSubscription:
    """These items are set or added, those of `remove` taken away. Another plan takes the prices of the present one
    away; the present one named again is sold as it is now. `effective_at` is a time to come; None: now. `migration_id`
    is the migration of the plan that asks for it, if one does.
    """

    subscription_id: str
    items: tuple[ChangedItem, ...] = ()
    remove: tuple[str, ...] = ()
    plan_id: str | None = None
    proration: Proration = Proration.INVOICE_NOW
    resets_anchor: bool = False
    effective_at: datetime | None = None
    migration_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscheduleChange:
    """Take back a change that is scheduled."""

    subscription_id: str


def change_subscription(command: ChangeSubscription, streams: Streams, now: datetime) -> Decision:
    """Now, or scheduled. Of what is due by now everything comes first, a period that begins at this instant, too."""
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    subscription = ahead.subscription
    open_for_business(ahead.streams, subscription.customer_id)
    _check_changeable(subscription)
    terms = changed_terms(command, subscription.terms, ahead.streams)
    if terms == subscription.terms:
        raise NothingChanges(subscription=command.subscription_id)
    waits_for_end = command.proration is Proration.PERIOD_END
    if waits_for_end and command.effective_at is not None:
        raise ContradictoryChange(effective_at=command.effective_at)
    if command.effective_at is not None and command.effective_at <= at:
        raise ChangeNotAhead(effective_at=command.effective_at, now=at)
    has_other_interval = terms.interval != subscription.terms.interval
    if has_other_interval and not command.resets_anchor and not waits_for_end and subscription.period_end is not None:
        raise AnchorMustBeReset(interval=terms.interval.unit, count=terms.interval.count)
    has_longer = any(item.interval is not None for item in terms.items)
    if subscription.former_anchor is not None and has_longer and not command.resets_anchor:
        # No longer period fits both what runs by the former schedule and what follows by the next.
        raise AnchorMustBeReset(next_period=subscription.next_period_at)
    _check_room(subscription, terms)
    if not waits_for_end and command.effective_at is None:
        changes = change(subscription, terms, command.proration, ahead.streams, at, resets_anchor=command.resets_anchor)
        return Decision(at, [*ahead.changes, *changes])
    scheduled = SubscriptionChangeScheduled(
        subscription_id=subscription.subscription_id,
        change=ScheduledChange(
            terms=terms,
            proration=command.proration,
            resets_anchor=command.resets_anchor or has_other_interval,
            at=command.effective_at or _end_of(subscription, terms),
            migration_id=command.migration_id,
        ),
    )
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(scheduled)])


def unschedule_change(command: UnscheduleChange, streams: Streams, now: datetime) -> Decision:
    """Until it has taken effect; then it is changed back by another change."""
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    if ahead.subscription.scheduled is None:
        raise NoChangeScheduled(subscription=command.subscription_id)
    unscheduled = SubscriptionChangeUnscheduled(subscription_id=command.subscription_id)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(unscheduled)])


def changed_terms(command: ChangeSubscription, terms: SubscriptionTerms, streams: Streams) -> SubscriptionTerms:
    """The terms with what is asked for. What stays is as it was sold; what comes is as it is sold now."""
    plan = PLAN.of(streams, terms.plan_id) if command.plan_id is None else sold_plan(streams, command.plan_id)
    if plan.is_add_on:
        raise PlanIsAddOn(plan=plan.plan_id)
    items = {item.price_id: replace(item, interval=item.interval or terms.interval) for item in terms.items}
    plans_before = {PRICE.of(streams, price_id).plan_id for price_id in items}
    for nth, price_id in enumerate(command.remove):
        if items.pop(price_id, None) is None:
            raise PriceNotSubscribed(price=price_id).at(f"remove.{nth}")
    if plan.plan_id != terms.plan_id:
        items = {price_id: item for price_id, item in items.items() if _is_add_on(price_id, terms, streams)}
    named: set[str] = set()
    for nth, wanted in enumerate(command.items):
        if wanted.price_id in named:
            raise DuplicatePrice(price=wanted.price_id).at(f"items.{nth}.price")
        named.add(wanted.price_id)
        known = items.get(wanted.price_id)
        if known is None:
            plan = sold_plan(streams, plan.plan_id)
            requested = RequestedItem(price_id=wanted.price_id, quantity=wanted.quantity)
            items[wanted.price_id] = sold_item(requested, nth, plan, terms.currency, streams)
        elif wanted.quantity is not None:
            if known.meter_id is not None:
                refused = MeteredPriceHasNoQuantity(price=wanted.price_id, meter=known.meter_id)
                raise refused.at(f"items.{nth}.quantity")
            items[wanted.price_id] = replace(known, quantity=wanted.quantity)
    all_items = told_apart(tuple(items.values()))
    check_items(all_items, terms.rounding)
    sold = plans_of(all_items, plan, streams)
    interval, counted_items = counted(all_items)
    check_basis(terms.proration_basis, interval)
    is_as_it_was = sold == plans_before and command.plan_id is None
    return replace(
        terms,
        plan_id=plan.plan_id,
        plan_version=terms.plan_version if command.plan_id is None else plan.version,
        items=counted_items,
        interval=interval,
        features=terms.features if is_as_it_was else features_of(sold, streams),
    )


def _is_add_on(price_id: str, terms: SubscriptionTerms, streams: Streams) -> bool:
    return PRICE.of(streams, price_id).plan_id != terms.plan_id


def _check_changeable(subscription: Subscription) -> None:
    named = subscription.subscription_id
    if subscription.paused_at is not None:
        raise SubscriptionIsPaused(subscription=named)
    if subscription.cancel_at is not None:
        raise CancellationIsScheduled(subscription=named, cancel_at=subscription.cancel_at)
    if subscription.scheduled is not None:
        raise ChangeIsScheduled(subscription=named, effective_at=subscription.scheduled.at)


def _check_room(subscription: Subscription, terms: SubscriptionTerms) -> None:
    """The next invoice holds what waits for it, with what this change adds and what the period costs."""
    pending = subscription.pending
    if len(pending) > MAX_PENDING_LINES:
        raise TooMuchWaits(lines=len(pending), most=MAX_PENDING_LINES)
    waits = sum(abs(line.amount.amount) for line in pending)
    costs = sum(_whole(item, terms) for each in (subscription.terms, terms) for item in each.items)
    if waits + costs > MAX_INVOICE_TOTAL:
        raise TooMuchWaits(amount=waits + costs, most=MAX_INVOICE_TOTAL)


def _whole(item: SubscriptionItem, terms: SubscriptionTerms) -> int:
    """What is known of it beforehand: of usage nothing is."""
    return 0 if item.meter_id is not None else abs(amount_of(item.price, item.licensed_quantity, terms.rounding).amount)


def _end_of(subscription: Subscription, terms: SubscriptionTerms) -> datetime:
    """When the last period is over of those in which something is to be another; of all, where their count is."""
    if terms.interval != subscription.terms.interval:
        return last_end(subscription)
    after = {item.price_id: (item.quantity, item.interval) for item in terms.items}
    changed = (item for item in subscription.terms.items if after.get(item.price_id) != (item.quantity, item.interval))
    periods = (running_period(subscription, item.interval) for item in changed)
    return max((period.end for period in periods if period is not None), default=subscription.next_period_at)


HANDLERS: Final[Mapping[type, Handler]] = {
    ChangeSubscription: change_subscription,
    UnscheduleChange: unschedule_change,
}
