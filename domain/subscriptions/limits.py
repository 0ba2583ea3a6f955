"""Over which period a customer's subscriptions count a meter, and up to which limit together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from domain.catalog.feature import Feature, LimitKind, together
from domain.kernel.frozen import replace
from domain.metering.aggregation import Window
from domain.subscriptions.periods import next_period, running_period
from domain.subscriptions.state import Subscription, SubscriptionStatus

GRANTING = frozenset({SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
RENEWED = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE, SubscriptionStatus.SUSPENDED})
LATE_MAX = 400
"""Periods by which a renewal may be late: a year of days, and more."""


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


class MeteredPeriod(NamedTuple):
    """The subscription's period that an instant is in; None where it is in none, with when the last of them ended."""

    period: Window | None
    ended_at: datetime | None = None


def metered_period(subscriptions: Sequence[Subscription], meter_id: str, at: datetime) -> MeteredPeriod:
    """In which period a meter is counted at an instant: that of the subscription that bills it; else of those that
    limit it, or did so or billed it until they ended, the period that began last; else of one that billed it before.

    A period that has begun goes on to its end, whatever becomes of its subscription, and what follows it begins there:
    else the end of one, or a pause, would begin another period with usage that was counted in this one.
    """
    ended: list[Window] = []
    subscriptions = [_as_due(each, at) for each in subscriptions]
    for counting in _COUNTING:
        periods = [each for each in counting(subscriptions, meter_id) if each.start <= at]
        running = [each for each in periods if at < each.end]
        if running:
            latest = max(running, key=lambda each: each.start)
            ended += [each for each in periods if each.end <= at and each.start > latest.start]
            return MeteredPeriod(replace(latest, start=max([latest.start, *(each.end for each in ended)])))
        ended += periods
    return MeteredPeriod(None, max((each.end for each in ended), default=None))


def _of_billing(subscriptions: Sequence[Subscription], meter_id: str) -> Iterator[Window]:
    for subscription in subscriptions:
        if subscription.status is not SubscriptionStatus.CANCELED:
            yield from _item_period(subscription, meter_id)


def _of_limiting_or_ended(subscriptions: Sequence[Subscription], meter_id: str) -> Iterator[Window]:
    """Of those that grant it the oldest alone, which is the one whose period its limit is of."""
    limiting = [each for each in _oldest_first(subscriptions) if metered_features([each], meter_id)]
    granting = [each for each in limiting if each.status in GRANTING]
    for subscription in (*granting[:1], *(each for each in limiting if each.status not in GRANTING)):
        yield from _begun(subscription, _own_period(subscription))
    for subscription in subscriptions:
        if subscription.status is SubscriptionStatus.CANCELED:
            yield from _item_period(subscription, meter_id)


def _of_billing_before(subscriptions: Sequence[Subscription], meter_id: str) -> Iterator[Window]:
    for subscription in subscriptions:
        if any(each.meter_id == meter_id for each in subscription.metered):
            yield from _begun(subscription, _own_period(subscription))


_COUNTING: Final[tuple[Callable[[Sequence[Subscription], str], Iterator[Window]], ...]] = (
    _of_billing,
    _of_limiting_or_ended,
    _of_billing_before,
)
"""Whose periods go before whose."""


def _as_due(subscription: Subscription, at: datetime) -> Subscription:
    """As its renewals are to leave it at an instant, if they have not come to it yet: they are late then."""
    for _ in range(LATE_MAX):
        end, ends_at = subscription.period_end, subscription.cancel_at
        if subscription.status not in RENEWED or end is None or at < end or (ends_at is not None and ends_at <= end):
            break
        index, period = next_period(subscription)
        subscription = replace(
            subscription, period_index=index, period_start=period.start, period_end=period.end, former_anchor=None
        )
    return subscription


def _item_period(subscription: Subscription, meter_id: str) -> Iterator[Window]:
    """The running period of the item that the meter counts, or the trial."""
    item = next((item for item in subscription.terms.items if item.meter_id == meter_id), None)
    if item is None:
        return
    running = running_period(subscription, item.interval)
    period = _own_period(subscription) if running is None else Window(start=running.start, end=running.end)
    yield from _begun(subscription, period)


def _begun(subscription: Subscription, period: Window | None) -> Iterator[Window]:
    """Not before the subscription itself began: what it took over from another customer began for that one."""
    if period is not None:
        yield replace(period, start=max(period.start, subscription.starts_at))


def _oldest_first(subscriptions: Sequence[Subscription]) -> list[Subscription]:
    return sorted(subscriptions, key=lambda each: (each.created_at, each.subscription_id))


def _own_period(subscription: Subscription) -> Window | None:
    """The running period, or the trial; None of one that is still to begin, or is without an end."""
    start = subscription.period_start or subscription.starts_at
    end = subscription.period_end or subscription.trial_end
    return None if end is None or end <= start else Window(start=start, end=end)
