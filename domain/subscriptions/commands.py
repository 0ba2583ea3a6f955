"""What is decided about subscriptions: creating with the first invoice, renewing with the next.

A period and the invoice that bills it land together or not at all.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from domain.catalog import plan as plans
from domain.catalog import price as prices
from domain.catalog.feature import together
from domain.catalog.plan import PLAN, PlanIsArchived, check_trial_days
from domain.catalog.price import PRICE
from domain.catalog.product import PRODUCT, ProductIsArchived
from domain.customers.customer import (
    Customer,
    customer_time,
    open_for_business,
    time_of,
)
from domain.invoicing.billing_settings import billing_settings, check_days_until_due
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, IntervalUnit, zone_of
from domain.kernel.billing_period import trial_end as end_of_trial
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.tenant_settings import rounding_of
from domain.pricing.models import NoPriceInCurrency
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.backdating import elapsed
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    RenewalNotDue,
    SubscriptionCreated,
)
from domain.subscriptions.terms import (
    OnlyAddOns,
    PlanIsAddOn,
    PriceOfAnotherPlan,
    SubscriptionItem,
    SubscriptionTerms,
    check_items,
    shortest_of,
)
from domain.tax.settings import tax_settings

CLOCK_LAG_MAX = timedelta(hours=1)
"""How far the clock of the machine that decides may be behind the one that timers run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedItem:
    price_id: str
    quantity: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSubscription:
    """None takes the plan's trial, the customer's time zone and the settings' net terms, and begins at once."""

    subscription_id: str
    customer_id: str
    plan_id: str
    items: tuple[RequestedItem, ...]
    collection: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int | None = None
    starts_at: datetime | None = None
    trial_days: int | None = None
    time_zone: str | None = None
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
    plan = _sold(streams, command.plan_id)
    if plan.is_add_on:
        raise PlanIsAddOn(plan=plan.plan_id)
    terms = _terms(command, plan, customer, streams)
    trial_days = plan.terms.trial_days if command.trial_days is None else command.trial_days
    check_trial_days(trial_days)
    starts_at = command.starts_at or at
    trial_end = end_of_trial(starts_at, Interval(IntervalUnit.DAY, trial_days), terms.time_zone) if trial_days else None
    created = SubscriptionCreated(
        subscription_id=command.subscription_id,
        customer_id=customer.customer_id,
        terms=terms,
        starts_at=starts_at,
        anchor_at=trial_end or starts_at,
        trial_end=trial_end,
        test_clock_id=customer.test_clock_id,
        metadata=command.metadata,
        created_at=at,
    )
    return Decision(at, [SUBSCRIPTION.change(created), *elapsed(subscriptions.evolve(None, created), at, streams)])


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


def _terms(command: CreateSubscription, plan: plans.Plan, customer: Customer, streams: Streams) -> SubscriptionTerms:
    items = told_apart(
        tuple(_item(requested, nth, plan, customer.currency, streams) for nth, requested in enumerate(command.items))
    )
    rounding = rounding_of(streams)
    check_items(items, rounding)
    sold = {PRICE.of(streams, item.price_id).plan_id for item in items}
    if plan.plan_id not in sold:
        raise OnlyAddOns(plan=plan.plan_id)
    interval, items = counted(items)
    time_zone = command.time_zone or customer.time_zone
    zone_of(time_zone)
    days_until_due = command.days_until_due
    if days_until_due is None:
        days_until_due = billing_settings(streams).days_until_due
    check_days_until_due(days_until_due)
    return SubscriptionTerms(
        plan_id=plan.plan_id,
        plan_version=plan.version,
        items=items,
        interval=interval,
        currency=customer.currency,
        rounding=rounding,
        time_zone=time_zone,
        collection=command.collection,
        days_until_due=days_until_due,
        features=together(feature for each in sold for feature in PLAN.of(streams, each).terms.features),
    )


def _item(
    requested: RequestedItem, nth: int, plan: plans.Plan, currency: CurrencyCode, streams: Streams
) -> SubscriptionItem:
    price = prices.on_sale(streams, requested.price_id)
    try:
        sold = plan if price.plan_id == plan.plan_id else _add_on(price, plan, streams)
        stated = price.stated_in(currency)
    except (PriceOfAnotherPlan, PlanIsArchived, ProductIsArchived, NoPriceInCurrency) as refused:
        raise refused.at(f"items.{nth}.price") from None
    product = PRODUCT.of(streams, sold.product_id)
    return SubscriptionItem(
        price_id=price.price_id,
        product_id=product.product_id,
        description=sold.terms.name if price.name is None else f"{sold.terms.name} – {price.name}",
        tax_category=product.tax_category,
        price=stated,
        timing=price.timing,
        quantity=requested.quantity,
        interval=price.interval or sold.terms.interval,
        tax_inclusive=(
            tax_settings(streams).prices_include_tax if price.tax_inclusive is None else price.tax_inclusive
        ),
    )


def _add_on(price: prices.PlanPrice, plan: plans.Plan, streams: Streams) -> plans.Plan:
    """The add-on whose price it is. Raises PriceOfAnotherPlan, PlanIsArchived, ProductIsArchived."""
    if not PLAN.of(streams, price.plan_id).is_add_on:
        raise PriceOfAnotherPlan(price=price.price_id, plan=plan.plan_id, belongs_to=price.plan_id)
    return _sold(streams, price.plan_id)


def _sold(streams: Streams, plan_id: str) -> plans.Plan:
    """The plan, if it and its product are on sale. Raises PlanNotFound, PlanIsArchived, ProductIsArchived."""
    plan = plans.on_sale(streams, plan_id)
    if PRODUCT.of(streams, plan.product_id).archived_at is not None:
        raise ProductIsArchived(product=plan.product_id, plan=plan_id).at("plan")
    return plan


def counted(items: tuple[SubscriptionItem, ...]) -> tuple[Interval, tuple[SubscriptionItem, ...]]:
    """The interval by which the periods of these are counted, and the items with what is theirs where that is longer.

    Raises IntervalsDoNotNest.
    """
    intervals = [item.interval for item in items if item.interval is not None]
    shortest = shortest_of(intervals)
    return shortest, tuple(
        replace(item, interval=None if own.multiple_of(shortest) == 1 else own)
        for item, own in zip(items, intervals, strict=True)
    )


def told_apart(items: tuple[SubscriptionItem, ...]) -> tuple[SubscriptionItem, ...]:
    """The same with no two described alike: invoices show them by their descriptions. Those that follow are counted."""
    seen: Counter[str] = Counter()
    told: list[SubscriptionItem] = []
    for item in items:
        description = item.description
        while seen[description]:
            seen[item.description] += 1
            description = f"{item.description} ({seen[item.description]})"
        seen[description] += 1
        told.append(replace(item, description=description))
    return tuple(told)


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateSubscription: create_subscription,
    RenewSubscription: renew_subscription,
}
