"""The subscription that takes another one's place: as that one is sold, on its schedule, for another customer."""

from datetime import datetime

from domain.catalog.price import BillingTiming
from domain.customers.consolidation import MAX_BILLED_TOGETHER, CustomerBilledTogether
from domain.customers.customer import CUSTOMER, Customer
from domain.kernel.billing_period import Period
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.stream import Change, Streams
from domain.subscriptions.cancellation import CancellationReason
from domain.subscriptions.change import SubscriptionChangeScheduled
from domain.subscriptions.pause import SubscriptionSuspended
from domain.subscriptions.periods import OwnInterval, Served, is_free, lines_for, period_invoice_id, served_from
from domain.subscriptions.running import ItemFrom
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionCreated, evolve
from domain.subscriptions.transfer import ScheduledTransfer, SubscriptionContinued
from domain.subscriptions.transitions import end, issued


def transferred(
    subscription: Subscription, to: ScheduledTransfer, at: datetime, streams: Streams, *, gives_back: bool = False
) -> list[Change]:
    """It ends, with an invoice for what it owes until then, and the other customer's goes on: nothing of what that one
    is billed before the next period, but what is used in arrears from now on, and with `gives_back` what is unused of
    what was paid, which is credited to this one.
    """
    SUBSCRIPTION.check_new(streams, to.subscription_id)
    reason = CancellationReason.TRANSFERRED
    ended = end(subscription, at, reason, streams, gives_back=gives_back, transferred_to=to.subscription_id)
    after = After(streams, ended)
    customer = CUSTOMER.of(after, to.customer_id)
    begun = _created(subscription, to, customer, at)
    after.add(*begun)
    changes = [*ended, *begun]
    if subscription.period_start is not None and subscription.period_end is not None:
        continued = _continued(
            subscription, SUBSCRIPTION.of(after, to.subscription_id), at, after, is_billed=gives_back
        )
        changes += continued
        after.add(*continued)
    return [*changes, *_as_it_was(subscription, to.subscription_id, at)]


def _created(subscription: Subscription, to: ScheduledTransfer, customer: Customer, at: datetime) -> list[Change]:
    """Of those that share invoices it is one, too, where the other customer has room for it."""
    has_room = len(customer.billed_together) < MAX_BILLED_TOGETHER
    together = subscription.terms.billed_together and has_room
    created = SubscriptionCreated(
        subscription_id=to.subscription_id,
        customer_id=to.customer_id,
        terms=replace(subscription.terms, billed_together=together),
        starts_at=max(subscription.starts_at, at),
        alignment=subscription.alignment,
        anchor_at=subscription.anchor_at,
        anchor_index=subscription.anchor_index,
        begins_short=subscription.begins_short,
        trial_end=subscription.trial_end,
        test_clock_id=customer.test_clock_id,
        transferred_from=subscription.subscription_id,
        metadata=subscription.metadata,
        created_at=at,
    )
    changes = [SUBSCRIPTION.change(created)]
    if together:
        joined = CustomerBilledTogether(customer_id=to.customer_id, subscription_id=to.subscription_id)
        changes.append(CUSTOMER.change(joined))
    return changes


def _continued(
    subscription: Subscription, created: Subscription, at: datetime, streams: Streams, *, is_billed: bool
) -> list[Change]:
    """What runs goes on; with `is_billed` an invoice charges what is left of it in advance."""
    assert subscription.period_start is not None, "a period runs"
    assert subscription.period_end is not None, "a period runs"
    event = SubscriptionContinued(
        subscription_id=created.subscription_id,
        continues=subscription.subscription_id,
        index=subscription.period_index,
        period_start=subscription.period_start,
        period_end=subscription.period_end,
        longer=subscription.longer,
        is_short=subscription.is_short,
        begins_short=subscription.begins_short,
        former_anchor=subscription.former_anchor,
        arrears_from=tuple(
            ItemFrom(price_id=item.price_id, at=at)
            for item in subscription.terms.items
            if item.timing is BillingTiming.IN_ARREARS
        ),
        invoice_id=None,
        continued_at=at,
    )
    if not is_billed:
        return [SUBSCRIPTION.change(event)]
    running = evolve(created, event)
    invoice_id = period_invoice_id(running, running.period_index)
    lines = lines_for(running, BillingTiming.IN_ADVANCE, _left_of(running, at), invoice_id)
    billed = replace(event, invoice_id=invoice_id if lines else None)
    changes = [SUBSCRIPTION.change(billed)]
    return [*changes, *issued(running, invoice_id, lines, After(streams, changes), at)]


def _left_of(running: Subscription, at: datetime) -> dict[OwnInterval, Served]:
    """What is left of each running period; nothing of a stub that costs nothing."""
    assert running.period_end is not None, "a period runs"
    ends: dict[OwnInterval, datetime] = {None: running.period_end} | {
        each.interval: each.end for each in running.longer
    }
    found: dict[OwnInterval, Served] = {}
    for own, until in ends.items():
        rest = Period(at, until)
        left = None if rest.is_empty or is_free(running, own) else served_from(running, own, running.period_index, rest)
        if left is not None:
            found[own] = left
    return found


def _as_it_was(subscription: Subscription, subscription_id: str, at: datetime) -> list[Change]:
    """Withheld as that one was, and to be changed as that one was to be."""
    changes: list[Change] = []
    if subscription.scheduled is not None:
        scheduled = SubscriptionChangeScheduled(subscription_id=subscription_id, change=subscription.scheduled)
        changes.append(SUBSCRIPTION.change(scheduled))
    if subscription.status is SubscriptionStatus.SUSPENDED:
        suspended = SubscriptionSuspended(subscription_id=subscription_id, suspended_at=at)
        changes.append(SUBSCRIPTION.change(suspended))
    return changes
