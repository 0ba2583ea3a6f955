"""What is decided about pauses and suspensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import open_for_business, time_of
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.pause import (
    ResumptionNotAhead,
    SubscriptionNotPausable,
    SubscriptionNotPaused,
    SubscriptionNotSuspendable,
    SubscriptionNotSuspended,
    SubscriptionReactivated,
    SubscriptionSuspended,
)
from domain.subscriptions.renewal import CaughtUp, caught_up
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.transitions import pause, resume

RUNNING: Final = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSubscription:
    """Until `resumes_at`, or until it is resumed. With `gives_back` what is unused of what was paid is credited."""

    subscription_id: str
    resumes_at: datetime | None = None
    gives_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeSubscription:
    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendSubscription:
    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivateSubscription:
    subscription_id: str


def pause_subscription(command: PauseSubscription, streams: Streams, now: datetime) -> Decision:
    """What was paid stays paid unless it is given back, what is owed in arrears is billed, and no period begins until
    it is resumed.
    """
    at, ahead, subscription = _living(command.subscription_id, streams, now)
    if subscription.status not in RUNNING:
        raise SubscriptionNotPausable(subscription=command.subscription_id, status=subscription.status)
    if subscription.cancel_at is not None:
        raise CancellationIsScheduled(subscription=command.subscription_id, cancel_at=subscription.cancel_at)
    if command.resumes_at is not None and command.resumes_at <= at:
        raise ResumptionNotAhead(resumes_at=command.resumes_at, now=at)
    paused = pause(subscription, at, command.resumes_at, ahead.streams, gives_back=command.gives_back)
    return Decision(at, [*ahead.changes, *paused])


def resume_subscription(command: ResumeSubscription, streams: Streams, now: datetime) -> Decision:
    """On its old schedule: the period that it would be in is billed for the days that are left, unless it is paid."""
    at, ahead, subscription = _living(command.subscription_id, streams, now)
    if subscription.status is not SubscriptionStatus.PAUSED:
        raise SubscriptionNotPaused(subscription=command.subscription_id, status=subscription.status)
    open_for_business(ahead.streams, subscription.customer_id)
    return Decision(at, [*ahead.changes, *resume(subscription, at, ahead.streams)])


def suspend_subscription(command: SuspendSubscription, streams: Streams, now: datetime) -> Decision:
    """Its periods go on."""
    at, ahead, subscription = _living(command.subscription_id, streams, now)
    if subscription.status not in RUNNING:
        raise SubscriptionNotSuspendable(subscription=command.subscription_id, status=subscription.status)
    suspended = SubscriptionSuspended(subscription_id=command.subscription_id, suspended_at=at)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(suspended)])


def reactivate_subscription(command: ReactivateSubscription, streams: Streams, now: datetime) -> Decision:
    """As it was: past due, where invoices of it are still to be collected."""
    at, ahead, subscription = _living(command.subscription_id, streams, now)
    if subscription.status is not SubscriptionStatus.SUSPENDED:
        raise SubscriptionNotSuspended(subscription=command.subscription_id, status=subscription.status)
    reactivated = SubscriptionReactivated(subscription_id=command.subscription_id, reactivated_at=at)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(reactivated)])


def _living(subscription_id: str, streams: Streams, now: datetime) -> tuple[datetime, CaughtUp, Subscription]:
    """The time, and the subscription once everything due by then has happened."""
    found = subscriptions.living(streams, subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, subscription_id, at).to_change()
    return at, ahead, ahead.subscription


HANDLERS: Final[Mapping[type, Handler]] = {
    PauseSubscription: pause_subscription,
    ResumeSubscription: resume_subscription,
    SuspendSubscription: suspend_subscription,
    ReactivateSubscription: reactivate_subscription,
}
