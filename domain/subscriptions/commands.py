"""Commands about subscriptions: creating with the first invoice, renewing with the next, cancelling.

A period and the invoice that bills it land together or not at all.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from domain.catalog import plan as plans
from domain.catalog import price as prices
from domain.catalog import product as products
from domain.catalog.plan import PLAN, check_trial_days
from domain.catalog.price import PRICE, BillingTiming
from domain.catalog.product import PRODUCT
from domain.customers import customer as customers
from domain.customers.customer import CUSTOMER, Customer
from domain.customers.test_clock import customer_time
from domain.invoicing.commands import DEFAULT_DAYS_UNTIL_DUE, finalized
from domain.invoicing.invoice import CollectionMethod, InvoiceLine
from domain.kernel.billing_period import Interval, IntervalUnit, zone_of
from domain.kernel.billing_period import trial_end as end_of_trial
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.stream import Change, Decision, Event, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    CancellationReason,
    InvalidSubscriptionItems,
    RenewalNotDue,
    Subscription,
    SubscriptionAlreadyExists,
    SubscriptionCanceled,
    SubscriptionCancellationScheduled,
    SubscriptionCreated,
    SubscriptionItem,
    SubscriptionPeriodStarted,
    SubscriptionTerms,
    lines_for,
    next_period,
    used_share,
)

CLOCK_LAG_MAX = timedelta(hours=1)
"""How far the clock of the machine that decides may be behind the one that timers run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedItem:
    price_id: str
    quantity: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSubscription:
    """None takes the plan's trial and the customer's time zone."""

    subscription_id: str
    customer_id: str
    plan_id: str
    items: tuple[RequestedItem, ...]
    collection: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int = DEFAULT_DAYS_UNTIL_DUE
    trial_days: int | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewSubscription:
    """Start the period that begins at `due_at` (its timer says so); None (by hand): whichever is due by now."""

    subscription_id: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSubscription:
    subscription_id: str
    at_period_end: bool


SubscriptionCommand = CreateSubscription | RenewSubscription | CancelSubscription


def change_subscription(command: SubscriptionCommand, streams: Streams, now: datetime) -> Decision:
    subscription = streams.get(SUBSCRIPTION, command.subscription_id)
    if isinstance(command, CreateSubscription):
        if subscription is not None:
            raise SubscriptionAlreadyExists(subscription=command.subscription_id)
        customer = customers.open_for_business(streams.get(CUSTOMER, command.customer_id), command.customer_id)
        at = customer_time(streams, customer, now)
        return Decision(at, _create(command, customer, streams, at))
    found = subscriptions.living(subscription, command.subscription_id)
    customer = customers.existing(streams.get(CUSTOMER, found.customer_id), found.customer_id)
    at = customer_time(streams, customer, now)
    match command:
        case RenewSubscription():
            # The store's clock found the timer due. A machine whose clock is a little behind must not send it away.
            if command.due_at is not None and command.due_at - CLOCK_LAG_MAX <= at < command.due_at:
                at = command.due_at
            return Decision(at, _renew(command, found, customer, streams, at))
        case CancelSubscription():
            return Decision(at, _cancel(command, found, customer, streams, at))


def _terms(command: CreateSubscription, plan: plans.Plan, customer: Customer, streams: Streams) -> SubscriptionTerms:
    items = tuple(_item(requested, plan, streams) for requested in command.items)
    subscriptions.check_items(items, customer.currency)
    time_zone = command.time_zone or customer.time_zone
    zone_of(time_zone)
    return SubscriptionTerms(
        plan_id=plan.plan_id,
        plan_version=plan.version,
        items=items,
        interval=plan.terms.interval,
        currency=customer.currency,
        time_zone=time_zone,
        collection=command.collection,
        days_until_due=command.days_until_due,
    )


def _item(requested: RequestedItem, plan: plans.Plan, streams: Streams) -> SubscriptionItem:
    price = prices.on_sale(streams.get(PRICE, requested.price_id), requested.price_id)
    if price.plan_id != plan.plan_id:
        raise InvalidSubscriptionItems(price=price.price_id, plan=plan.plan_id)
    return SubscriptionItem(
        price_id=price.price_id,
        description=plan.terms.name,
        model=price.model,
        timing=price.timing,
        quantity=requested.quantity,
    )


def _create(command: CreateSubscription, customer: Customer, streams: Streams, at: datetime) -> list[Change]:
    plan = plans.on_sale(streams.get(PLAN, command.plan_id), command.plan_id)
    products.on_sale(streams.get(PRODUCT, plan.product_id), plan.product_id)
    terms = _terms(command, plan, customer, streams)
    trial_days = plan.terms.trial_days if command.trial_days is None else command.trial_days
    check_trial_days(trial_days)
    trial_end = end_of_trial(at, Interval(IntervalUnit.DAY, trial_days), terms.time_zone) if trial_days else None
    created = SubscriptionCreated(
        subscription_id=command.subscription_id,
        customer_id=customer.customer_id,
        terms=terms,
        anchor_at=trial_end or at,
        trial_end=trial_end,
        test_clock_id=customer.test_clock_id,
        created_at=at,
    )
    subscription = subscriptions.evolve(None, created)
    changes = [_change(subscription, created)]
    if trial_end is None:
        changes += _start_period(subscription, customer, streams, at)
    return changes


def _renew(
    command: RenewSubscription, subscription: Subscription, customer: Customer, streams: Streams, at: datetime
) -> list[Change]:
    """The next period, or the end: cancelled at the period's end, or because its customer is gone."""
    boundary = subscription.next_boundary
    assert boundary is not None, "a living subscription has a next boundary"
    if boundary > at or command.due_at not in {None, boundary}:
        raise RenewalNotDue(subscription=subscription.subscription_id, next_renewal=boundary.isoformat())
    if customer.deleted_at is not None:
        return _end(subscription, boundary, CancellationReason.CUSTOMER_DELETED, customer, streams, at)
    if subscription.cancel_at is not None:
        return _end(subscription, boundary, CancellationReason.PERIOD_END, customer, streams, at)
    return _start_period(subscription, customer, streams, at)


def _cancel(
    command: CancelSubscription, subscription: Subscription, customer: Customer, streams: Streams, at: datetime
) -> list[Change]:
    if not command.at_period_end:
        return _end(subscription, at, CancellationReason.REQUESTED, customer, streams, at)
    if subscription.cancel_at is not None:
        return []
    boundary = subscription.next_boundary
    assert boundary is not None, "a living subscription has a next boundary"
    scheduled = SubscriptionCancellationScheduled(subscription_id=subscription.subscription_id, cancel_at=boundary)
    return [_change(subscription, scheduled)]


def _start_period(subscription: Subscription, customer: Customer, streams: Streams, at: datetime) -> list[Change]:
    """The next period, with an invoice for it and for what the last one left in arrears."""
    index, period = next_period(subscription)
    invoice_id = derived_id(INVOICE, subscription.subscription_id, f"period/{index}")
    lines = (
        *lines_for(subscription, BillingTiming.IN_ADVANCE, period, invoice_id),
        *_arrears(subscription, period.start, invoice_id),
    )
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        invoice_id=invoice_id if lines else None,
    )
    return [_change(subscription, started), *_invoice(subscription, invoice_id, lines, customer, streams, at)]


def _end(
    subscription: Subscription,
    ends_at: datetime,
    reason: CancellationReason,
    customer: Customer,
    streams: Streams,
    at: datetime,
) -> list[Change]:
    """The end, with an invoice for what the running period left in arrears (its used days)."""
    invoice_id = derived_id(INVOICE, subscription.subscription_id, "end")
    lines = _arrears(subscription, ends_at, invoice_id)
    canceled = SubscriptionCanceled(
        subscription_id=subscription.subscription_id,
        canceled_at=ends_at,
        reason=reason,
        invoice_id=invoice_id if lines else None,
    )
    return [_change(subscription, canceled), *_invoice(subscription, invoice_id, lines, customer, streams, at)]


def _arrears(subscription: Subscription, until: datetime, invoice_id: str) -> tuple[InvoiceLine, ...]:
    """What the running period owes for the time before `until`; nothing where no period ran yet."""
    if all(item.timing is not BillingTiming.IN_ARREARS for item in subscription.terms.items):
        return ()
    used, share = used_share(subscription, until)
    if share == 0:
        return ()
    return lines_for(subscription, BillingTiming.IN_ARREARS, used, invoice_id, share)


def _invoice(
    subscription: Subscription,
    invoice_id: str,
    lines: tuple[InvoiceLine, ...],
    customer: Customer,
    streams: Streams,
    at: datetime,
) -> list[Change]:
    if not lines:
        return []
    terms = subscription.terms
    return finalized(
        streams,
        invoice_id=invoice_id,
        customer=customer,
        subscription_id=subscription.subscription_id,
        collection=terms.collection,
        currency=terms.currency,
        lines=lines,
        days_until_due=terms.days_until_due,
        at=at,
    )


def _change(subscription: Subscription, event: Event) -> Change:
    return Change(SUBSCRIPTION, subscription.subscription_id, event)
