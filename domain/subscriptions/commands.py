"""What is decided about subscriptions: creating with the first invoice, renewing with the next.

A period and the invoice that bills it land together or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.catalog.plan import check_trial_days
from domain.customers.consolidation import MAX_BILLED_TOGETHER, CustomerBilledTogether, TooManyBilledTogether
from domain.customers.customer import (
    CUSTOMER,
    Customer,
    customer_time,
    open_for_business,
    time_of,
)
from domain.discounts.commands import redeem
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.billing_period import trial_end as end_of_trial
from domain.kernel.consequences import After
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.alignment import PeriodAlignment, StubPeriod, counted_from
from domain.subscriptions.backdating import elapsed
from domain.subscriptions.discounts import SubscriptionDiscountAttached
from domain.subscriptions.proration_basis import ProrationBasis
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.selling import RequestedItem, sold_plan, terms_of
from domain.subscriptions.subscription import SUBSCRIPTION, RenewalNotDue, SubscriptionCreated
from domain.subscriptions.terms import PlanIsAddOn, TrialEnd, UsageThreshold, intervals_of

CLOCK_LAG_MAX = timedelta(hours=1)
"""How far the clock of the machine that decides may be behind the one that timers run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedCoupon:
    """A coupon, and the discount that is made of it."""

    coupon_id: str
    discount_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSubscription:
    """None takes the plan's trial, the customer's time zone and the settings' net terms, and begins at once."""

    subscription_id: str
    customer_id: str
    plan_id: str
    items: tuple[RequestedItem, ...]
    coupons: tuple[RequestedCoupon, ...] = ()
    collection: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int | None = None
    billed_together: bool = False
    starts_at: datetime | None = None
    alignment: PeriodAlignment = PeriodAlignment.START
    anchor_at: datetime | None = None
    stub: StubPeriod = StubPeriod.PRORATED
    trial_days: int | None = None
    time_zone: str | None = None
    proration_basis: ProrationBasis = ProrationBasis.DAY
    trial_end: TrialEnd = TrialEnd.INVOICE
    usage_threshold: UsageThreshold | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewSubscription:
    """Start the period that begins at `due_at` (its timer says so); None (by hand): whichever is due by now."""

    subscription_id: str
    due_at: datetime | None = None


def create_subscription(command: CreateSubscription, streams: Streams, now: datetime) -> Decision:
    """It begins now, later (its timer starts it), or began in the past: what has elapsed since is billed at once."""
    SUBSCRIPTION.check_new(streams, command.subscription_id)
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    plan = sold_plan(streams, command.plan_id)
    if plan.is_add_on:
        raise PlanIsAddOn(plan=plan.plan_id)
    terms = terms_of(
        plan,
        command.items,
        customer.currency,
        streams,
        time_zone=command.time_zone or customer.time_zone,
        collection=command.collection,
        days_until_due=command.days_until_due,
        proration_basis=command.proration_basis,
        billed_together=command.billed_together,
        trial_end=command.trial_end,
        stub=command.stub,
        usage_threshold=command.usage_threshold,
    )
    trial_days = plan.terms.trial_days if command.trial_days is None else command.trial_days
    check_trial_days(trial_days)
    starts_at = command.starts_at or at
    trial_end = end_of_trial(starts_at, Interval(IntervalUnit.DAY, trial_days), terms.time_zone) if trial_days else None
    first_at = trial_end or starts_at
    counted = counted_from(command.alignment, command.anchor_at, first_at, terms.time_zone, intervals_of(terms))
    created = SubscriptionCreated(
        subscription_id=command.subscription_id,
        customer_id=customer.customer_id,
        terms=terms,
        starts_at=starts_at,
        alignment=command.alignment,
        anchor_at=counted.anchor_at,
        anchor_index=counted.anchor_index,
        begins_short=counted.begins_short,
        trial_end=trial_end,
        test_clock_id=customer.test_clock_id,
        metadata=command.metadata,
        created_at=at,
    )
    changes = [SUBSCRIPTION.change(created), *_joined(command, customer)]
    if not command.coupons:
        return Decision(at, [*changes, *elapsed(subscriptions.evolve(None, created), at, streams)])
    after = After(streams, changes)
    for nth, coupon in enumerate(command.coupons):
        discounted = _discounted(created, coupon, nth, customer, after, at)
        after.add(*discounted)
        changes += discounted
    return Decision(at, [*changes, *elapsed(SUBSCRIPTION.of(after, command.subscription_id), at, after)])


def _discounted(
    created: SubscriptionCreated, coupon: RequestedCoupon, nth: int, customer: Customer, streams: After, at: datetime
) -> list[Change]:
    """A coupon with which it begins."""
    subscription_id = created.subscription_id
    try:
        redeemed = redeem(
            streams,
            coupon_id=coupon.coupon_id,
            discount_id=coupon.discount_id,
            customer=customer,
            subscription_id=subscription_id,
            held=SUBSCRIPTION.of(streams, subscription_id).discount_ids,
            at=at,
        )
    except Refusal as refused:
        raise refused.at(f"coupons.{nth}") from None
    borne = SubscriptionDiscountAttached(subscription_id=subscription_id, discount_id=coupon.discount_id)
    return [*redeemed, SUBSCRIPTION.change(borne)]


def _joined(command: CreateSubscription, customer: Customer) -> list[Change]:
    """That it shares invoices with the customer's others, if it does. Raises TooManyBilledTogether."""
    if not command.billed_together:
        return []
    if len(customer.billed_together) >= MAX_BILLED_TOGETHER:
        raise TooManyBilledTogether(customer=customer.customer_id, most=MAX_BILLED_TOGETHER)
    joined = CustomerBilledTogether(customer_id=customer.customer_id, subscription_id=command.subscription_id)
    return [CUSTOMER.change(joined)]


def renew_subscription(command: RenewSubscription, streams: Streams, now: datetime) -> Decision:
    """Start what is due by now, each period at its own time; or the end, if that comes first."""
    subscription = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, subscription.customer_id, now)
    # The store's clock found the timer due. A machine whose clock is a little behind must not send it away.
    if command.due_at is not None and command.due_at - CLOCK_LAG_MAX <= at < command.due_at:
        at = command.due_at
    boundary = subscription.next_boundary
    if boundary is None or boundary > at or command.due_at not in {None, boundary}:
        raise RenewalNotDue(subscription=subscription.subscription_id, next_renewal=boundary)
    return Decision(at, caught_up(streams, command.subscription_id, at).changes)


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateSubscription: create_subscription,
    RenewSubscription: renew_subscription,
}
