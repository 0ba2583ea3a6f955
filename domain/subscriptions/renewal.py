"""What is due on a subscription by a time: its periods one after another, each at its own boundary, and its end.

A timer may run late, or a command may come first. So that neither changes what is billed, every decision about a
subscription begins with what is due before its own time, and each boundary is decided by what held at that boundary,
not by what is known when it is at last passed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

from domain.customers.customer import CUSTOMER
from domain.kernel.consequences import After
from domain.kernel.stream import Change, Streams
from domain.subscriptions.cancellation import CancellationReason, SubscriptionIsCanceled
from domain.subscriptions.changing import change
from domain.subscriptions.periods import (
    all_end_before,
    next_period,
)
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionIsOverdue, SubscriptionPeriodStarted
from domain.subscriptions.together import due_first, group_of, shared, started_together
from domain.subscriptions.transfer import ScheduledTransfer
from domain.subscriptions.transferring import transferred
from domain.subscriptions.transitions import end, over, resume, start_period
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
    first = SUBSCRIPTION.of(streams, subscription_id)
    if first.terms.billed_together:
        return _caught_up_together(first, streams, at, ends=ends)
    boundary = first.next_boundary

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
        is_plain = subscription.cancel_at is None and subscription.scheduled is None
        if isinstance(event, SubscriptionPeriodStarted) and is_plain:
            boundary = event.period_end  # most decisions need no state after it
        else:
            boundary = SUBSCRIPTION.of(after, subscription_id).next_boundary
    return CaughtUp(subscription_id, changes, after, is_overdue=is_due(boundary))


def caught_up_wherever(streams: Streams, subscription_id: str, at: datetime) -> CaughtUp:
    """The same of the subscription that goes on in its place, where it was transferred, or is by then."""
    changes: list[Change] = []
    while True:
        to = SUBSCRIPTION.of(streams, subscription_id).transferred_to
        if to is None:
            ahead = caught_up(streams, subscription_id, at)
            changes += ahead.changes
            streams, to = ahead.streams, ahead.subscription.transferred_to
            if to is None:
                return CaughtUp(subscription_id, changes, ahead.streams, is_overdue=ahead.is_overdue)
        subscription_id = to


def _caught_up_together(subscription: Subscription, streams: Streams, at: datetime, *, ends: bool) -> CaughtUp:
    """The same of one that is billed together with others: what is due of all of them, instant by instant."""
    changes: list[Change] = []
    after = After(streams)
    group = group_of(subscription, streams)
    due = due_first(group, after, by=at, is_inclusive=not ends)
    passed = 0
    while due is not None and passed < MAX_PERIODS_AT_ONCE:
        boundary, here = due
        starts = shared(boundary, here, after)
        together = {start.subscription.subscription_id for start in starts}
        for each in here:
            if each.subscription_id not in together:
                _add(_pass(boundary, each, after), boundary, changes, after)
        if starts:
            _add(started_together(starts, after, boundary), boundary, changes, after)
        passed += len(here)
        due = due_first(group, after, by=at, is_inclusive=not ends)
    return CaughtUp(subscription.subscription_id, changes, after, is_overdue=due is not None)


def _add(passed: list[Change], boundary: datetime, changes: list[Change], after: After) -> None:
    after.add(*passed)
    changes += [change._replace(effective_at=boundary) for change in passed]


def _ends_at(boundary: datetime, subscription: Subscription) -> bool:
    """Whether its scheduled end is this boundary: with its periods, once none of them goes on, or on this date."""
    if subscription.ends_with_period:
        return all_end_before(subscription, next_period(subscription)[0])
    return subscription.cancel_at == boundary


def begun_at(
    boundary: datetime, subscription: Subscription, to: ScheduledTransfer, streams: Streams, *, gives_back: bool = False
) -> list[Change]:
    """It ends and the other customer's goes on, with whatever is due of that one at this very instant."""
    changes = transferred(subscription, to, boundary, streams, gives_back=gives_back)
    return [*changes, *caught_up(After(streams, changes), to.subscription_id, boundary).changes]


def _taken_over(subscription: Subscription, boundary: datetime, streams: Streams) -> ScheduledTransfer | None:
    """Who takes it over where it ends, if they are still there to do so."""
    to = subscription.transfer
    deleted_at = None if to is None else CUSTOMER.of(streams, to.customer_id).deleted_at
    return to if deleted_at is None or deleted_at > boundary else None


def _pass(boundary: datetime, subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, the trial before the first, the end of a pause, or a change that is scheduled, which comes
    before a period that begins then; or its own end: as it was scheduled, or because its customer was gone by then, be
    it since that very instant. Where another customer is to take it over, that is when they do.

    The subscription's own event comes first.
    """
    deleted_at = CUSTOMER.of(streams, subscription.customer_id).deleted_at
    is_deleted = deleted_at is not None and deleted_at <= boundary
    to = _taken_over(subscription, boundary, streams)
    if to is not None and (is_deleted or _ends_at(boundary, subscription)):
        return begun_at(boundary, subscription, to, streams)
    if is_deleted:
        return end(subscription, boundary, CancellationReason.CUSTOMER_DELETED, streams)
    if _ends_at(boundary, subscription):
        reason = CancellationReason.PERIOD_END if subscription.ends_with_period else CancellationReason.ON_DATE
        return end(subscription, boundary, reason, streams, gives_back=subscription.end_gives_back)
    if subscription.paused_at is not None:
        return resume(subscription, boundary, streams)
    scheduled = subscription.scheduled
    if scheduled is not None and subscription.next_change_at == boundary:
        terms, proration, resets_anchor = scheduled.terms, scheduled.proration, scheduled.resets_anchor
        return change(subscription, terms, proration, streams, boundary, resets_anchor=resets_anchor)
    if subscription.status is SubscriptionStatus.INCOMPLETE and subscription.trial_end is not None:
        started = SubscriptionTrialStarted(subscription_id=subscription.subscription_id, started_at=boundary)
        return [SUBSCRIPTION.change(started)]
    if subscription.period_start is None and subscription.trial_end is not None:
        return over(subscription, streams)
    return start_period(subscription, streams)
