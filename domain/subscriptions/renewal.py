"""What is due on a subscription by a time: its periods one after another, each at its own boundary, and its end.

A timer may run late, or a command may come first. So that neither changes what is billed, every decision about a
subscription begins with what is due before its own time, and each boundary is decided by what held at that boundary,
not by what is known when it is at last passed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER
from domain.invoicing.commands import finalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel import identifiers
from domain.kernel.billing_period import Period
from domain.kernel.consequences import After
from domain.kernel.identifiers import derived_id
from domain.kernel.stream import Change, Streams
from domain.subscriptions.periods import (
    OwnInterval,
    Served,
    all_end_before,
    arrears_until,
    lines_for,
    longer_periods,
    next_period,
)
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    CancellationReason,
    Subscription,
    SubscriptionCanceled,
    SubscriptionIsCanceled,
    SubscriptionIsOverdue,
    SubscriptionPeriodStarted,
    SubscriptionStatus,
)

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
        passed = _pass(boundary, SUBSCRIPTION.of(after, subscription_id), after)
        after.add(*passed)
        changes += [change._replace(effective_at=boundary) for change in passed]
        event = passed[0].event
        boundary = event.period_end if isinstance(event, SubscriptionPeriodStarted) else None
    return CaughtUp(subscription_id, changes, after, is_overdue=is_due(boundary))


def _pass(boundary: datetime, subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, or the end: cancelled at the period's end (of several intervals the longest one's), or because
    its customer was gone by then, be it since that very instant.

    The subscription's own event comes first.
    """
    deleted_at = CUSTOMER.of(streams, subscription.customer_id).deleted_at
    if deleted_at is not None and deleted_at <= boundary:
        return end(subscription, boundary, CancellationReason.CUSTOMER_DELETED, streams)
    if subscription.cancel_at is not None and all_end_before(subscription, next_period(subscription)[0]):
        return end(subscription, boundary, CancellationReason.PERIOD_END, streams)
    return start_period(subscription, streams)


def start_period(subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, and the longer ones that begin with it, with an invoice for them and for what the last ones left
    in arrears.
    """
    index, period = next_period(subscription)
    longer = longer_periods(subscription, index, period.start)
    invoice_id = derived_id(identifiers.INVOICE, subscription.subscription_id, f"period/{index}")
    begun: dict[OwnInterval, Served] = {None: Served(period)}
    begun |= {each.interval: Served(Period(each.start, each.end)) for each in longer}
    lines = (
        *lines_for(subscription, BillingTiming.IN_ADVANCE, begun, invoice_id),
        *arrears_until(subscription, begun, period.start, invoice_id),
    )
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        longer=longer,
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(started), *_invoice(subscription, invoice_id, lines, streams, period.start)]


def end(subscription: Subscription, at: datetime, reason: CancellationReason, streams: Streams) -> list[Change]:
    """The end, with an invoice for what the running periods left in arrears (their used days)."""
    invoice_id = derived_id(identifiers.INVOICE, subscription.subscription_id, "end")
    running: list[OwnInterval] = [None, *(period.interval for period in subscription.longer)]
    lines = arrears_until(subscription, running, at, invoice_id)
    canceled = SubscriptionCanceled(
        subscription_id=subscription.subscription_id,
        canceled_at=at,
        reason=reason,
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(canceled), *_invoice(subscription, invoice_id, lines, streams, at)]


def _invoice(
    subscription: Subscription, invoice_id: str, lines: tuple[InvoiceLine, ...], streams: Streams, at: datetime
) -> list[Change]:
    if not lines:
        return []
    INVOICE.check_new(streams, invoice_id)
    terms = subscription.terms
    return finalized(
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
