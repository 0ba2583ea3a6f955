"""Over which periods a customer's meter is looked at: the running one, and those before it in which something changed.

A process that was away finds what happened in periods that are over by now, with the subscriptions as they were then.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from domain.catalog.feature import LimitKind
from domain.metering.aggregation import Window
from domain.metering.usage_window import month_window
from domain.subscriptions.limits import metered_limit, metered_period
from domain.subscriptions.state import Subscription, SubscriptionStatus
from projections.as_of import subscriptions_before
from projections.reading import Reader
from usage.partials import MICROSECOND, end_bucket_of, start_of

PERIODS_MAX: Final = 70
"""Before the running one: what comes late is days old at the most, and a period is one day at the least."""


class Counting(NamedTuple):
    """A period in which a meter is counted, and a limit of it, if there is one."""

    period: Window
    limit: int | None = None
    limit_kind: LimitKind = LimitKind.HARD


Lookup = Callable[[Sequence[Subscription], datetime], Counting | None]
"""What is counted at an instant, by the customer's subscriptions as they were then."""


def of_meter(meter_id: str, time_zone: str) -> Lookup:
    """The period of the subscription that bills or limits the meter, else the calendar month."""

    def look_up(subscriptions: Sequence[Subscription], at: datetime) -> Counting | None:
        return Counting(metered_period(subscriptions, meter_id) or month_window(at, time_zone))

    return look_up


def of_feature(feature: str, meter_id: str) -> Lookup:
    """The period and the limit of a feature, where that meter counts it."""

    def look_up(subscriptions: Sequence[Subscription], at: datetime) -> Counting | None:
        found = metered_limit(subscriptions, feature)
        if found is None or found.meter_id != meter_id:
            return None
        return Counting(found.period, found.limit, found.limit_kind)

    return look_up


def of_month(time_zone: str) -> Lookup:
    """The calendar month."""
    return lambda subscriptions, at: Counting(month_window(at, time_zone))


@dataclass(slots=True)
class History:
    """A customer's subscriptions with features or meters, as they are and, where that is asked for, as they were."""

    connection: Reader
    tenant_id: str
    subscriptions: Sequence[Subscription]
    now: datetime
    _before: dict[datetime, Sequence[Subscription]] = field(default_factory=dict)

    async def countings(self, look_up: Lookup, first_bucket: int) -> AsyncIterator[Counting]:
        """The periods that have quarter hours from that one on, the running one at any rate."""
        seen: set[Window] = set()
        for at, subscriptions in [(self.now, self.subscriptions), *await self._ended_since(start_of(first_bucket))]:
            instant, states = at, subscriptions
            for _ in range(PERIODS_MAX):
                counting = look_up(states, instant)
                if counting is None or counting.period in seen:
                    break
                seen.add(counting.period)
                yield counting
                start = counting.period.start
                if end_bucket_of(start) <= first_bucket:
                    break
                instant, states = start - MICROSECOND, await self._as_before(start)

    async def _ended_since(self, since: datetime) -> list[tuple[datetime, Sequence[Subscription]]]:
        """Right before each of the subscriptions was cancelled, if it was since then."""
        ends = {
            each.canceled_at
            for each in self.subscriptions
            if each.status is SubscriptionStatus.CANCELED and each.canceled_at is not None and each.canceled_at > since
        }
        return [(end - MICROSECOND, await self._as_before(end)) for end in sorted(ends, reverse=True)]

    async def _as_before(self, at: datetime) -> Sequence[Subscription]:
        if at not in self._before:
            ids = [each.subscription_id for each in self.subscriptions]
            self._before[at] = await subscriptions_before(self.connection, self.tenant_id, ids, at)
        return self._before[at]
