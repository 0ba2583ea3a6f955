"""What is due on a subscription by a time: its periods one after another, each at its own boundary, and its end.

A timer may run late, or a command may come first. So that neither changes what is billed, every decision about a
subscription begins with what is due before its own time, and each boundary is decided by what held at that boundary,
not by what is known when it is at last passed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.issuing import billed
from domain.kernel import identifiers
from domain.kernel.billing_period import Period
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.identifiers import derived_id
from domain.kernel.stream import Change, Streams
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCanceled, SubscriptionIsCanceled
from domain.subscriptions.pause import SubscriptionPaused, SubscriptionResumed
from domain.subscriptions.periods import (
    OwnInterval,
    Served,
    all_end_before,
    arrears_until,
    lines_for,
    longer_periods,
    next_period,
    resumed_period,
    served_from,
)
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    LongerPeriod,
    Subscription,
    SubscriptionIsOverdue,
    SubscriptionPeriodStarted,
    SubscriptionStatus,
)
from domain.subscriptions.trial import SubscriptionTrialStarted

MAX_PERIODS_AT_ONCE = 100
"""How many periods one decision may start (each with its invoice); what is left is due for the next one at once."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """A subscription after what was due by a time: the changes until then, and the states after them."""

    subscription_id: str
    changes: list[Change]
    streams: Streams
    is_overdue: bool
    """Whether more was due than one decision may do."""

    @property
    def subscription(self) -> Subscription:
        """As it then is."""
        return SUBSCRIPTION.of(self.streams, self.subscription_id)

    def to_change(self) -> "CaughtUp":
        """Itself, if the subscription may be changed now. Raises SubscriptionIsCanceled, SubscriptionIsOverdue."""
        if self.subscription.status is SubscriptionStatus.CANCELED:
            raise SubscriptionIsCanceled(subscription=self.subscription_id)
        if self.is_overdue:
            raise SubscriptionIsOverdue(subscription=self.subscription_id, most=MAX_PERIODS_AT_ONCE)
        return self


def caught_up(streams: Streams, subscription_id: str, at: datetime, *, ends: bool = False) -> CaughtUp:
    """The subscription with what is due by `at`, that instant included: at most MAX_PERIODS_AT_ONCE boundaries.

    With `ends` it is to end at `at`. That instant is then left out: periods are half-open, so what ends at the instant
    at which a period would begin does not begin it.
    """
    changes: list[Change] = []
    after = After(streams)
    boundary = SUBSCRIPTION.of(streams, subscription_id).next_boundary

    def is_due(boundary: datetime | None) -> TypeGuard[datetime]:
        return boundary is not None and (boundary < at or (boundary == at and not ends))

    for _ in range(MAX_PERIODS_AT_ONCE):
        if not is_due(boundary):
            break
        subscription = SUBSCRIPTION.of(after, subscription_id)
        passed = _pass(boundary, subscription, after)
        after.add(*passed)
        changes += [change._replace(effective_at=boundary) for change in passed]
        event = passed[0].event
        if isinstance(event, SubscriptionPeriodStarted) and subscription.cancel_at is None:
            boundary = event.period_end  # most decisions need no state after it
        else:
            boundary = SUBSCRIPTION.of(after, subscription_id).next_boundary
    return CaughtUp(subscription_id, changes, after, is_overdue=is_due(boundary))


def _ends_at(boundary: datetime, subscription: Subscription) -> bool:
    """Whether its scheduled end is this boundary: with its periods, once none of them goes on, or on this date."""
    if subscription.ends_with_period:
        return all_end_before(subscription, next_period(subscription)[0])
    return subscription.cancel_at == boundary


def _pass(boundary: datetime, subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, the trial before the first, or the end of a pause; or its own end: as it was scheduled, or
    because its customer was gone by then, be it since that very instant.

    The subscription's own event comes first.
    """
    deleted_at = CUSTOMER.of(streams, subscription.customer_id).deleted_at
    if deleted_at is not None and deleted_at <= boundary:
        return end(subscription, boundary, CancellationReason.CUSTOMER_DELETED, streams)
    if _ends_at(boundary, subscription):
        reason = CancellationReason.PERIOD_END if subscription.ends_with_period else CancellationReason.ON_DATE
        return end(subscription, boundary, reason, streams)
    if subscription.paused_at is not None:
        return resume(subscription, boundary, streams)
    if subscription.status is SubscriptionStatus.INCOMPLETE and subscription.trial_end is not None:
        started = SubscriptionTrialStarted(subscription_id=subscription.subscription_id, started_at=boundary)
        return [SUBSCRIPTION.change(started)]
    return start_period(subscription, streams)


def start_period(subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, and the longer ones that begin with it, with an invoice for them and for what the last ones left
    in arrears.
    """
    index, period = next_period(subscription)
    longer = longer_periods(subscription, index, period.start)
    invoice_id = period_invoice_id(subscription, index)
    lines = period_lines(subscription, period, longer, invoice_id)
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        longer=longer,
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(started), *issued(subscription, invoice_id, lines, streams, period.start)]


def period_invoice_id(subscription: Subscription, index: int) -> str:
    """The id of the invoice of a period that begins."""
    return derived_id(identifiers.INVOICE, subscription.subscription_id, f"period/{index}")


def period_lines(
    subscription: Subscription, period: Period, longer: Iterable[LongerPeriod], invoice_id: str
) -> tuple[InvoiceLine, ...]:
    """What the next period, and those that begin with it, cost in advance, and what the ones before left in arrears."""
    begun: dict[OwnInterval, Served] = {None: Served(period)}
    begun |= {each.interval: Served(Period(each.start, each.end)) for each in longer}
    return (
        *lines_for(subscription, BillingTiming.IN_ADVANCE, begun, invoice_id),
        *arrears_until(subscription, begun, period.start, invoice_id),
    )


def pause(subscription: Subscription, at: datetime, resumes_at: datetime | None, streams: Streams) -> list[Change]:
    """Nothing runs on, with an invoice for what the running periods left in arrears (their used days)."""
    invoice_id = derived_id(identifiers.INVOICE, subscription.subscription_id, f"pause/{at.isoformat()}")
    lines = _all_arrears(subscription, at, invoice_id)
    paused = SubscriptionPaused(
        subscription_id=subscription.subscription_id,
        paused_at=at,
        resumes_at=resumes_at,
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(paused), *issued(subscription, invoice_id, lines, streams, at)]


def resume(subscription: Subscription, at: datetime, streams: Streams) -> list[Change]:
    """Whatever period still runs is paid and runs on. The others begin in the middle, with an invoice for what is left
    of them in advance; in arrears each of them bills what is left when it ends.
    """
    resumed = SubscriptionResumed(subscription_id=subscription.subscription_id, resumed_at=at)
    changes = [SUBSCRIPTION.change(resumed)]
    assert subscription.period_end is not None, "what was paused had begun"
    if at < subscription.period_end:
        return changes
    index, period = resumed_period(subscription, at)
    longer = tuple(replace(each, start=at) for each in longer_periods(subscription, index, at))
    begun: dict[OwnInterval, Period] = {None: period} | {each.interval: Period(at, each.end) for each in longer}
    rest = {own: served_from(subscription, own, index, left) for own, left in begun.items()}
    invoice_id = period_invoice_id(subscription, index)
    served = {own: left for own, left in rest.items() if left is not None}
    lines = lines_for(subscription, BillingTiming.IN_ADVANCE, served, invoice_id)
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        longer=longer,
        invoice_id=invoice_id if lines else None,
    )
    return [*changes, SUBSCRIPTION.change(started), *issued(subscription, invoice_id, lines, streams, at)]


def end(subscription: Subscription, at: datetime, reason: CancellationReason, streams: Streams) -> list[Change]:
    """The end, with an invoice for what the running periods left in arrears (their used days)."""
    invoice_id = derived_id(identifiers.INVOICE, subscription.subscription_id, "end")
    lines = _all_arrears(subscription, at, invoice_id)
    canceled = SubscriptionCanceled(
        subscription_id=subscription.subscription_id,
        canceled_at=at,
        reason=reason,
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(canceled), *issued(subscription, invoice_id, lines, streams, at)]


def _all_arrears(subscription: Subscription, until: datetime, invoice_id: str) -> tuple[InvoiceLine, ...]:
    """What all running periods owe for the time before `until`."""
    running: list[OwnInterval] = [None, *(period.interval for period in subscription.longer)]
    return arrears_until(subscription, running, until, invoice_id)


def issued(
    subscription: Subscription, invoice_id: str, lines: tuple[InvoiceLine, ...], streams: Streams, at: datetime
) -> list[Change]:
    """The invoice of these lines, if there are any."""
    if not lines:
        return []
    INVOICE.check_new(streams, invoice_id)
    terms = subscription.terms
    return billed(
        streams,
        invoice_id=invoice_id,
        customer=CUSTOMER.of(streams, subscription.customer_id),
        subscription_id=subscription.subscription_id,
        collection=terms.collection,
        currency=terms.currency,
        lines=lines,
        days_until_due=terms.days_until_due,
        rounding=terms.rounding,
        at=at,
    )
