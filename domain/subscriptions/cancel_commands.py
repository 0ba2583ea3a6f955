"""What is decided about the end of subscriptions: now, with a period, on a date, or not after all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import time_of
from domain.customers.test_clock import TEST_CLOCK, TestClockNotDeleting
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.cancellation import (
    CancellationNotAhead,
    CancellationReason,
    ContradictoryCancellation,
    NoCancellationScheduled,
    SubscriptionCanceled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
)
from domain.subscriptions.periods import last_end
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.transitions import end


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSubscription:
    """With the running period, or at `cancel_at`; now where neither is asked for. With `gives_back` what is then unused
    of what was paid is credited.
    """

    subscription_id: str
    at_period_end: bool
    cancel_at: datetime | None = None
    gives_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoCancellation:
    """Take back an end that is scheduled."""

    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWithTestClock:
    """The subscription's test clock is being deleted."""

    subscription_id: str


def cancel_subscription(command: CancelSubscription, streams: Streams, now: datetime) -> Decision:
    """Now, with the current period, which is the one that runs once everything due by now has happened (of several
    intervals the longest one's), or on a date.

    In a pause no period comes to its end by itself: it ends when the last that was paid is over, or now if it is. One
    that ends at the very instant at which a period would begin does not begin it. An end that was scheduled before
    is moved.
    """
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    if command.cancel_at is not None and command.at_period_end:
        raise ContradictoryCancellation(cancel_at=command.cancel_at)
    if command.cancel_at is not None and command.cancel_at <= at:
        raise CancellationNotAhead(cancel_at=command.cancel_at, now=at)
    is_now = command.cancel_at is None and not command.at_period_end
    ahead = caught_up(streams, command.subscription_id, at, ends=is_now).to_change()
    subscription = ahead.subscription
    is_paused, paid_until = subscription.paused_at is not None, last_end(subscription)
    if is_now or (command.at_period_end and is_paused and paid_until <= at):
        reason = CancellationReason.REQUESTED
        ended = end(subscription, at, reason, ahead.streams, gives_back=command.gives_back)
        return Decision(at, [*ahead.changes, *ended])
    scheduled = SubscriptionCancellationScheduled(
        subscription_id=subscription.subscription_id,
        cancel_at=command.cancel_at or paid_until,
        with_period=command.at_period_end and not is_paused,
        gives_back=command.gives_back,
    )
    known = (subscription.cancel_at, subscription.ends_with_period, subscription.end_gives_back)
    is_known = (scheduled.cancel_at, scheduled.with_period, scheduled.gives_back) == known
    if is_known and subscription.transfer is None:
        return Decision(at, ahead.changes)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(scheduled)])


def undo_cancellation(command: UndoCancellation, streams: Streams, now: datetime) -> Decision:
    """The subscription goes on as if its end had never been scheduled; once it has ended there is no way back."""
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    if ahead.subscription.cancel_at is None:
        raise NoCancellationScheduled(subscription=command.subscription_id)
    undone = SubscriptionCancellationUndone(subscription_id=command.subscription_id)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(undone)])


def end_with_test_clock(command: EndWithTestClock, streams: Streams, now: datetime) -> Decision:
    """It ends where its clock stands, and bills nothing more: neither what is overdue nor what is left in arrears.

    The rehearsal is thrown away, so nothing that would have followed is owed.
    """
    subscription = subscriptions.living(streams, command.subscription_id)
    clock_id = subscription.test_clock_id
    clock = None if clock_id is None else TEST_CLOCK.of(streams, clock_id)
    if clock is None or not clock.is_deleting:
        raise TestClockNotDeleting(test_clock=clock_id)
    at = clock.frozen_at
    ended = SubscriptionCanceled(
        subscription_id=subscription.subscription_id,
        canceled_at=at,
        reason=CancellationReason.TEST_CLOCK_DELETED,
        invoice_id=None,
    )
    return Decision(at, [SUBSCRIPTION.change(ended)])


HANDLERS: Final[Mapping[type, Handler]] = {
    CancelSubscription: cancel_subscription,
    UndoCancellation: undo_cancellation,
    EndWithTestClock: end_with_test_clock,
}
