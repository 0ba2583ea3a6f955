"""Over which period a customer's subscriptions count a meter, and up to which limit together."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.catalog.feature import Feature, LimitKind, together
from domain.metering.aggregation import Window
from domain.subscriptions.periods import running_period
from domain.subscriptions.state import Subscription, SubscriptionStatus

GRANTING = frozenset({SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredLimit:
    """A feature's limit (None: there is none) of what a meter counts in a period."""

    limit: int | None
    limit_kind: LimitKind
    meter_id: str
    period: Window


def metered_limit(subscriptions: Sequence[Subscription], feature: str) -> MeteredLimit | None:
    """What the subscriptions that run say together of a metered feature: limits add up, and the period is that of the
    oldest of them that names a meter. None where none does.
    """
    found: list[Feature] = []
    counting: Subscription | None = None
    for subscription in _oldest_first(subscriptions):
        if subscription.status in GRANTING:
            named = [each for each in subscription.terms.features if each.key == feature]
            found += named
            if counting is None and any(each.meter_id is not None for each in named):
                counting = subscription
    if counting is None:
        return None
    (whole,) = together(found)
    period = _own_period(counting)
    if period is None or whole.meter_id is None:
        return None
    return MeteredLimit(limit=whole.limit, limit_kind=whole.limit_kind, meter_id=whole.meter_id, period=period)


def metered_features(subscriptions: Sequence[Subscription], meter_id: str) -> set[str]:
    """The features of the subscriptions that the meter counts, whether they run or not."""
    return {
        feature.key
        for subscription in subscriptions
        for feature in subscription.terms.features
        if feature.meter_id == meter_id
    }


def metered_period(subscriptions: Sequence[Subscription], meter_id: str) -> Window | None:
    """The running period of the subscription that bills the meter, else of the oldest that limits it."""
    for subscription in subscriptions:
        item = next((item for item in subscription.terms.items if item.meter_id == meter_id), None)
        if item is not None and subscription.status is not SubscriptionStatus.CANCELED:
            running = running_period(subscription, item.interval)
            return _own_period(subscription) if running is None else Window(start=running.start, end=running.end)
    for subscription in _oldest_first(subscriptions):
        if subscription.status in GRANTING and metered_features([subscription], meter_id):
            return _own_period(subscription)
    return None


def _oldest_first(subscriptions: Sequence[Subscription]) -> list[Subscription]:
    return sorted(subscriptions, key=lambda each: (each.created_at, each.subscription_id))


def _own_period(subscription: Subscription) -> Window | None:
    """The running period, or the trial; None of one that is still to begin, or is without an end."""
    start = subscription.period_start or subscription.starts_at
    end = subscription.period_end or subscription.trial_end
    return None if end is None or end <= start else Window(start=start, end=end)
