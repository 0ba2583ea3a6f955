"""A customer's recurring revenue as their own events leave it: subscriptions, discounts, included tax, and MRR by day.

All of it lies under the customer's key, so it is folded in one order. What an invoice said of a rate included in prices
holds until another invoice says otherwise: the rates themselves are the tenant's, and known where it is finalized.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, TypeAlias

from domain.discounts.computation import CouponDuration
from domain.discounts.discount import DiscountAttached, DiscountEnd, DiscountEnded
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.tax_request import InvoiceTaxRequested
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.rounding import Rounding
from domain.reporting.mrr_history import MrrStep, stepped
from domain.subscriptions.cancellation import SubscriptionCanceled
from domain.subscriptions.change import SubscriptionChanged
from domain.subscriptions.pause import (
    SubscriptionPaused,
    SubscriptionReactivated,
    SubscriptionResumed,
    SubscriptionSuspended,
)
from domain.subscriptions.recurring import COUNTED, RecurringItem, monthly_revenue, recurring_items
from domain.subscriptions.recurring_discounts import HeldDiscount, billed_with, discounts_of, not_over, still_held
from domain.subscriptions.subscription import SubscriptionCreated, SubscriptionPeriodStarted, first_status
from domain.subscriptions.transfer import SubscriptionContinued
from domain.subscriptions.trial import SubscriptionTrialStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringSubscription:
    """`is_counted`: it runs and is billed. `period_began`: the first of its periods, or the latest that began beside a
    discount of several periods; None before the first.
    """

    subscription_id: str
    items: tuple[RecurringItem, ...]
    rounding: Rounding
    is_counted: bool
    period_began: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludedTax:
    """The rates of a tax category together, in per cent, as the customer's last invoice with such a price had them."""

    tax_category: str | None
    percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecurring:
    """What a customer's MRR follows from, and its steps until now. `currency` is None before a first subscription."""

    customer_id: str
    currency: CurrencyCode | None
    subscriptions: tuple[RecurringSubscription, ...]
    discounts: tuple[HeldDiscount, ...]
    included_tax: tuple[IncludedTax, ...]
    steps: tuple[MrrStep, ...]


RecurringEvent: TypeAlias = (
    SubscriptionCreated
    | SubscriptionTrialStarted
    | SubscriptionPeriodStarted
    | SubscriptionContinued
    | SubscriptionChanged
    | SubscriptionPaused
    | SubscriptionResumed
    | SubscriptionSuspended
    | SubscriptionReactivated
    | SubscriptionCanceled
    | DiscountAttached
    | DiscountEnded
    | InvoiceTaxRequested
    | InvoiceFinalized
)

EVENTS: Final = frozenset(
    {
        "subscription.created",
        "subscription.trial_started",
        "subscription.period_started",
        "subscription.continued",
        "subscription.changed",
        "subscription.paused",
        "subscription.resumed",
        "subscription.suspended",
        "subscription.reactivated",
        "subscription.canceled",
        "discount.attached",
        "discount.ended",
        "invoice.tax_requested",
        "invoice.finalized",
    }
)


def nothing_recurring(customer_id: str) -> CustomerRecurring:
    """A customer of whom nothing is known yet."""
    return CustomerRecurring(
        customer_id=customer_id, currency=None, subscriptions=(), discounts=(), included_tax=(), steps=()
    )


def evolve(customer: CustomerRecurring, event: RecurringEvent, at: datetime) -> CustomerRecurring:
    """The customer after an event that took effect at `at`; the very same where it changes nothing."""
    match event:
        case DiscountAttached():
            return _discounted(_attached(customer, event), event.subscription_id, at)
        case DiscountEnded():
            return _discounted(_ended(customer, event, at), event.subscription_id, at)
        case InvoiceTaxRequested():
            return _told_of_discounts(customer, event, at)
        case InvoiceFinalized():
            if event.subscription_id is not None:
                customer = _taxed(customer, _included(event), at)
            return _told_of_discounts(customer, event, at)
        case SubscriptionCreated():
            created = RecurringSubscription(
                subscription_id=event.subscription_id,
                items=recurring_items(event.terms),
                rounding=event.terms.rounding,
                is_counted=first_status(event) in COUNTED,
                period_began=None,
            )
            known = replace(customer, currency=event.terms.currency, subscriptions=(*customer.subscriptions, created))
            return _valued(known, created, at.date())
    subscription = _of(customer, event.subscription_id)
    match event:
        case SubscriptionCanceled():
            return _canceled(customer, subscription, at)
        case SubscriptionPeriodStarted() | SubscriptionContinued():
            return _period_started(customer, subscription, at)
        case SubscriptionChanged():
            terms = event.terms
            changed = replace(subscription, items=recurring_items(terms), rounding=terms.rounding)
        case SubscriptionTrialStarted() | SubscriptionPaused() | SubscriptionSuspended():
            changed = replace(subscription, is_counted=False)
        case SubscriptionResumed() | SubscriptionReactivated():
            changed = replace(subscription, is_counted=True)
    return _changed(customer, changed, at)


def _of(customer: CustomerRecurring, subscription_id: str) -> RecurringSubscription:
    return next(each for each in customer.subscriptions if each.subscription_id == subscription_id)


def _changed(customer: CustomerRecurring, changed: RecurringSubscription, at: datetime) -> CustomerRecurring:
    known = tuple(
        changed if each.subscription_id == changed.subscription_id else each for each in customer.subscriptions
    )
    return _valued(replace(customer, subscriptions=known), changed, at.date())


def _canceled(customer: CustomerRecurring, canceled: RecurringSubscription, at: datetime) -> CustomerRecurring:
    return replace(
        customer,
        subscriptions=tuple(each for each in customer.subscriptions if each is not canceled),
        discounts=still_held(customer.discounts, canceled.subscription_id, None),
        steps=stepped(customer.steps, at.date(), canceled.subscription_id, 0),
    )


def _period_started(customer: CustomerRecurring, started: RecurringSubscription, at: datetime) -> CustomerRecurring:
    """The first one ends a trial; with each, a discount that is used up no longer holds for what begins anew."""
    is_first = started.period_began is None
    if not is_first and not any(held.is_limited for held in customer.discounts):
        return customer
    discounts = still_held(customer.discounts, started.subscription_id, at)
    if discounts is not customer.discounts:
        customer = replace(customer, discounts=discounts)
    return _changed(customer, replace(started, is_counted=is_first or started.is_counted, period_began=at), at)


def _attached(customer: CustomerRecurring, event: DiscountAttached) -> CustomerRecurring:
    if event.terms.duration is CouponDuration.ONCE:
        return customer
    held = HeldDiscount(
        discount_id=event.discount_id,
        subscription_id=event.subscription_id,
        off=event.terms.off,
        product_ids=event.terms.product_ids,
        is_limited=event.terms.duration is CouponDuration.REPEATING,
        is_used_up=False,
        billed=(),
    )
    return replace(customer, discounts=(*customer.discounts, held))


def _ended(customer: CustomerRecurring, event: DiscountEnded, at: datetime) -> CustomerRecurring:
    """One that is used up goes on for the service periods that it was billed for; any other is over."""
    kept: list[HeldDiscount] = []
    for held in customer.discounts:
        if held.discount_id != event.discount_id:
            kept.append(held)
        elif event.reason is DiscountEnd.USED_UP:
            billed = not_over(held.billed, _over_by(customer, at))
            kept += [replace(held, is_used_up=True, billed=billed)] if billed else []
    return replace(customer, discounts=tuple(kept))


def _over_by(customer: CustomerRecurring, at: datetime) -> dict[str, datetime]:
    """By subscription, which service periods are over: those that end by the instant, or, where that is told late, by
    the begin of the period that runs.
    """
    return {
        each.subscription_id: at if each.period_began is None else max(at, each.period_began)
        for each in customer.subscriptions
    }


def _told_of_discounts(
    customer: CustomerRecurring, event: InvoiceTaxRequested | InvoiceFinalized, at: datetime
) -> CustomerRecurring:
    """With the periods for which an invoice took discounts off. What waits for its tax has used them by then."""
    if event.subscription_id is None or not event.discounts or not any(each.is_limited for each in customer.discounts):
        return customer
    invoiced = (event.subscription_id, *event.further_subscription_ids)
    items = [
        (each.subscription_id, item.price_id)
        for each in customer.subscriptions
        if each.subscription_id in invoiced
        for item in each.items
    ]
    over = _over_by(customer, at)
    discounts = tuple(
        billed_with(each, event.lines, items, over) if each.is_limited else each for each in customer.discounts
    )
    return replace(customer, discounts=discounts)


def _taxed(customer: CustomerRecurring, included: dict[str | None, Decimal], at: datetime) -> CustomerRecurring:
    """With the tax in its prices: what is told for the first time holds since a subscription's last step, which counted
    the tax for want of knowing it; what is told anew holds from now on.
    """
    known = {each.tax_category: each.percent for each in customer.included_tax}
    told = known | included
    if told == known:
        return customer
    taxes = tuple(IncludedTax(tax_category=category, percent=percent) for category, percent in told.items())
    customer = replace(customer, included_tax=taxes)
    latest = _latest_steps(customer)
    for each in customer.subscriptions:
        if any(item.tax_inclusive and item.tax_category not in known for item in each.items):
            customer = _valued(customer, each, latest.get(each.subscription_id, at.date()))
    return _all_valued(customer, at)


def _included(event: InvoiceFinalized) -> dict[str | None, Decimal]:
    """By tax category, what the rates in its inclusive prices come to together: 0 where they bear none."""
    inclusive = [line for line in event.lines if _is_inclusive(line)]
    if event.tax is None or not inclusive:
        return {line.tax_category: Decimal(0) for line in inclusive}
    percents: dict[str, set[Decimal]] = {}
    for total in event.tax.totals:
        if total.rate_id is not None and total.percent is not None:
            percents.setdefault(total.rate_id, set()).add(total.percent)
    found: dict[str | None, Decimal] = {}
    for line in inclusive:
        if line.tax is None:
            continue
        rates = [percents.get(share.rate_id, set()) for share in line.tax.shares]
        # Of a rate that changed since, beside credits of what it was, the next invoice tells.
        if all(len(each) == 1 for each in rates):
            found[line.tax_category] = sum((percent for each in rates for percent in each), Decimal(0))
    return found


def _is_inclusive(line: InvoiceLine) -> bool:
    return line.tax_inclusive is True and line.price_id is not None and line.kind is not InvoiceLineKind.CREDIT


def _discounted(customer: CustomerRecurring, subscription_id: str | None, at: datetime) -> CustomerRecurring:
    """With what a change of discounts makes of the subscription, or of all (None)."""
    if subscription_id is None:
        return _all_valued(customer, at)
    over = _over_by(customer, at)
    for each in customer.subscriptions:
        if each.subscription_id == subscription_id:
            return _valued(customer, each, over[subscription_id].date())
    return customer


def _all_valued(customer: CustomerRecurring, at: datetime) -> CustomerRecurring:
    """What is the customer's own changes no step of a subscription that is of a later day."""
    latest, over = _latest_steps(customer), _over_by(customer, at)
    for each in customer.subscriptions:
        day = over[each.subscription_id].date()
        customer = _valued(customer, each, max(day, latest.get(each.subscription_id, day)))
    return customer


def _latest_steps(customer: CustomerRecurring) -> dict[str, date]:
    """The day of each subscription's last step."""
    return {step.subscription_id: step.day for step in customer.steps}


def _valued(customer: CustomerRecurring, subscription: RecurringSubscription, day: date) -> CustomerRecurring:
    """With what the subscription comes to from that day on."""
    amount = 0
    if subscription.is_counted:
        included = {each.tax_category: each.percent for each in customer.included_tax}
        discounts = discounts_of(customer.discounts, subscription.subscription_id)
        amount = monthly_revenue(subscription.items, discounts, included, subscription.rounding)
    steps = stepped(customer.steps, day, subscription.subscription_id, amount)
    return customer if steps is customer.steps else replace(customer, steps=steps)
