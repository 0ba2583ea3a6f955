"""A subscription that began in the past: what has elapsed of it is billed at once, on one invoice."""

from datetime import datetime

from domain.invoicing.invoice_line import MAX_INVOICE_LINES, MAX_INVOICE_TOTAL, InvoiceLine
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Change, Streams
from domain.subscriptions.periods import period_invoice_id
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted, evolve
from domain.subscriptions.transitions import issued, next_start

MAX_BACKDATED_PERIODS = 100
"""How many periods may have begun before a subscription is created, the one that runs among them."""


class StartTooFarBack(Refusal):
    """More has elapsed since then than one invoice bills: name a later start, and bill what was before it by hand."""

    code = "start_too_far_back"
    kind = RefusalKind.INVALID
    param = "starts_at"


def elapsed(subscription: Subscription, at: datetime, streams: Streams) -> list[Change]:
    """Every period that has begun by `at`, and one invoice at that time with the lines of all. Raises StartTooFarBack.

    The invoice is that of the period that runs.
    """
    periods: list[SubscriptionPeriodStarted] = []
    lines: list[InvoiceLine] = []
    bills: list[int] = []
    reached = subscription
    while reached.next_period_at <= at:
        if len(periods) == MAX_BACKDATED_PERIODS:
            raise StartTooFarBack(starts_at=subscription.starts_at, most_periods=MAX_BACKDATED_PERIODS)
        start = next_start(reached)
        lines += start.lines
        bills.append(len(start.lines))
        # All of them are on the last one's invoice.
        started = replace(start.event, invoice_id=None)
        periods.append(started)
        reached = evolve(reached, started)
    if len(lines) > MAX_INVOICE_LINES:
        raise StartTooFarBack(starts_at=subscription.starts_at, lines=len(lines), most_lines=MAX_INVOICE_LINES)
    total = sum(line.amount.amount for line in lines)
    if total > MAX_INVOICE_TOTAL:
        raise StartTooFarBack(starts_at=subscription.starts_at, amount=total, most_amount=MAX_INVOICE_TOTAL)
    invoice_id = period_invoice_id(subscription, reached.period_index)
    return [
        *(SUBSCRIPTION.change(replace(started, invoice_id=invoice_id if lines else None)) for started in periods),
        *issued(subscription, invoice_id, tuple(lines), streams, at, bills=bills),
    ]
