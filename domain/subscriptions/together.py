"""Renewals of one customer that fall due at one instant, on one invoice: of subscriptions that are billed together.

Whichever timer comes first renews all of them, so that the invoice is the same whatever runs late: each is brought to
the instant, and what begins there begins for all.
"""

from collections.abc import Sequence
from datetime import datetime

from domain.customers.customer import CUSTOMER
from domain.invoicing.invoice_line import MAX_INVOICE_LINES
from domain.invoicing.issuing import MAX_TOTAL_WITH_WAITING_ITEMS
from domain.kernel.frozen import replace
from domain.kernel.stream import Change, Streams
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import TrialEnd
from domain.subscriptions.transitions import Start, issued, next_start


def group_of(subscription: Subscription, streams: Streams) -> list[str]:
    """Those that it is billed together with, itself among them, in the order in which they came."""
    return list(CUSTOMER.of(streams, subscription.customer_id).billed_together)


def due_first(
    subscription_ids: Sequence[str], streams: Streams, *, by: datetime, is_inclusive: bool
) -> tuple[datetime, list[Subscription]] | None:
    """The first boundary by then of any of them, and those whose it is; None where nothing is due."""
    living = [SUBSCRIPTION.of(streams, subscription_id) for subscription_id in subscription_ids]
    boundaries = [each.next_boundary for each in living if each.next_boundary is not None]
    first = min(boundaries, default=None)
    if first is None or first > by or (first == by and not is_inclusive):
        return None
    return first, [each for each in living if each.next_boundary == first]


def shared(boundary: datetime, due: Sequence[Subscription], streams: Streams) -> list[Start]:
    """Of what is due at a boundary, the periods that begin there on one invoice; none where it would be but one's.

    They agree in how their invoices are paid, and together make no more than an invoice holds.
    """
    deleted_at = CUSTOMER.of(streams, due[0].customer_id).deleted_at
    if deleted_at is not None and deleted_at <= boundary:
        return []
    found: list[Start] = []
    lines = total = 0
    for each in due:
        if not _begins_plainly(each) or (found and _paid_how(each) != _paid_how(found[0].subscription)):
            continue
        start = next_start(each)
        lines += len(start.lines)
        total += sum(line.amount.amount for line in start.lines)
        if lines > MAX_INVOICE_LINES or abs(total) > MAX_TOTAL_WITH_WAITING_ITEMS:
            break
        found.append(start)
    return found if len(found) > 1 else []


def started_together(starts: Sequence[Start], streams: Streams, at: datetime) -> list[Change]:
    """These periods, then the invoice of all of them: that of the first one that has anything to bill."""
    billed = [start for start in starts if start.lines]
    if not billed:
        return [SUBSCRIPTION.change(start.event) for start in starts]
    first, invoice_id = billed[0].subscription, billed[0].invoice_id
    lines = tuple([line for start in billed for line in start.lines])
    further = [start.subscription for start in billed[1:]]
    lengths = [len(start.lines) for start in billed]
    started = [
        SUBSCRIPTION.change(replace(start.event, invoice_id=invoice_id) if start.lines else start.event)
        for start in starts
    ]
    return [*started, *issued(first, invoice_id, lines, streams, at, further=further, bills=lengths)]


def _begins_plainly(subscription: Subscription) -> bool:
    """Whether its next boundary is a period that begins, and nothing else becomes of it there."""
    in_trial_next = subscription.status is SubscriptionStatus.INCOMPLETE and subscription.trial_end is not None
    trial_over = subscription.period_start is None and subscription.trial_end is not None
    may_not_begin = trial_over and subscription.terms.trial_end is not TrialEnd.INVOICE
    is_plain = subscription.cancel_at is None and subscription.scheduled is None
    return is_plain and subscription.paused_at is None and not in_trial_next and not may_not_begin


def _paid_how(subscription: Subscription) -> tuple[object, ...]:
    terms = subscription.terms
    return terms.collection, terms.days_until_due, terms.rounding, terms.currency
