"""What is decided about trials. At the instant at which a trial ends it is over, whoever comes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.catalog.plan import MAX_TRIAL_DAYS, TrialTooLong
from domain.customers.customer import open_for_business, time_of
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.counting import recounted
from domain.subscriptions.renewal import CaughtUp, caught_up
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.transitions import begun_after
from domain.subscriptions.trial import (
    SubscriptionNotTrialing,
    SubscriptionTrialEnded,
    SubscriptionTrialExtended,
    TrialNotExtended,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendTrial:
    subscription_id: str
    trial_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTrial:
    """Now: the first period begins, and is billed."""

    subscription_id: str


def extend_trial(command: ExtendTrial, streams: Streams, now: datetime) -> Decision:
    """To a later end, MAX_TRIAL_DAYS from its beginning at most; period 0 begins then."""
    at, ahead, subscription = _in_trial(command.subscription_id, streams, now)
    trial_end = command.trial_end
    if trial_end <= subscription.first_period_at:
        raise TrialNotExtended(trial_end=trial_end, present_end=subscription.first_period_at)
    days = -((subscription.starts_at - trial_end) // timedelta(days=1))
    if days > MAX_TRIAL_DAYS:
        raise TrialTooLong(trial_days=days, most=MAX_TRIAL_DAYS).at("trial_end")
    extended = SubscriptionTrialExtended(subscription_id=subscription.subscription_id, trial_end=trial_end)
    counted = recounted(subscriptions.evolve(subscription, extended), at)
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(extended), *counted])


def end_trial(command: EndTrial, streams: Streams, now: datetime) -> Decision:
    """Period 0 begins now, with its invoice; where periods are counted from the start, those that follow are from this
    instant.
    """
    at, ahead, subscription = _in_trial(command.subscription_id, streams, now)
    ended = SubscriptionTrialEnded(subscription_id=subscription.subscription_id, trial_end=at)
    return Decision(at, [*ahead.changes, *begun_after(subscription, ended, ahead.streams)])


def _in_trial(subscription_id: str, streams: Streams, now: datetime) -> tuple[datetime, CaughtUp, Subscription]:
    found = subscriptions.living(streams, subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, subscription_id, at).to_change()
    subscription = ahead.subscription
    open_for_business(ahead.streams, subscription.customer_id)
    if subscription.status is not SubscriptionStatus.TRIALING:
        raise SubscriptionNotTrialing(subscription=subscription_id, status=subscription.status)
    if subscription.cancel_at is not None:
        raise CancellationIsScheduled(subscription=subscription_id, cancel_at=subscription.cancel_at)
    return at, ahead, subscription


HANDLERS: Final[Mapping[type, Handler]] = {
    ExtendTrial: extend_trial,
    EndTrial: end_trial,
}
