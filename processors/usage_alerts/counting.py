"""Over which periods a customer's meter is looked at: the running one, and those before it in which something changed.

Periods of a meter follow each other, so what is used is counted in one of them: where one begins, the one before it
ends. A process that was away finds what happened in periods that are over by now, with the subscriptions as they were
then.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from domain.catalog.feature import LimitKind
from domain.kernel.billing_period import local_date_of
from domain.kernel.frozen import replace
from domain.metering.aggregation import Window
from domain.metering.usage_window import month_window
from domain.subscriptions.limits import metered_limit, metered_period
from domain.subscriptions.state import Subscription
from projections.as_of import changed_since, subscriptions_before
from projections.reading import Reader
from usage.partials import MICROSECOND, end_bucket_of, start_of

PERIODS_MAX: Final = 70
"""Before the running one: what comes late is days old at the most, and a period is one day at the least."""


class Counting(NamedTuple):
    """A period in which a meter is counted, and a limit of it, if there is one. `month` is the first day of the
    calendar month that it is, where it is a whole one.
    """

    period: Window
    limit: int | None = None
    limit_kind: LimitKind = LimitKind.HARD
    month: date | None = None


class Lookup(NamedTuple):
    """What is counted at an instant, by the customer's subscriptions as they were then. With `has_gaps` nothing may be;
    else periods follow each other, and where one begins, the one before it ends.
    """

    counted_at: Callable[[Sequence[Subscription], datetime], Counting | None]
    has_gaps: bool = False


def of_meter(meter_id: str, time_zone: str) -> Lookup:
    """The period of the subscription that bills or limits the meter, else the calendar month, or what is left of it
    once such a period is over.
    """

    def look_up(subscriptions: Sequence[Subscription], at: datetime) -> Counting | None:
        found = metered_period(subscriptions, meter_id, at)
        if found.period is not None:
            return Counting(found.period)
        month = _month(at, time_zone)
        if found.ended_at is None or found.ended_at <= month.period.start:
            return month
        return Counting(replace(month.period, start=found.ended_at))

    return Lookup(look_up)


def of_feature(feature: str, meter_id: str) -> Lookup:
    """The period and the limit of a feature, where that meter counts it."""

    def look_up(subscriptions: Sequence[Subscription], at: datetime) -> Counting | None:
        found = metered_limit(subscriptions, feature)
        if found is None or found.meter_id != meter_id:
            return None
        return Counting(found.period, found.limit, found.limit_kind)

    return Lookup(look_up, has_gaps=True)


def of_month(time_zone: str) -> Lookup:
    """The calendar month."""
    return Lookup(lambda subscriptions, at: _month(at, time_zone))


def _month(at: datetime, time_zone: str) -> Counting:
    return Counting(month_window(at, time_zone), month=local_date_of(at, time_zone).replace(day=1))


@dataclass(slots=True)
class History:
    """A customer's subscriptions with features or meters, as they are and, where that is asked for, as they were."""

    connection: Reader
    tenant_id: str
    subscriptions: Sequence[Subscription]
    now: datetime
    _before: dict[datetime, Sequence[Subscription]] = field(default_factory=dict)

    async def countings(self, look_up: Lookup, first_bucket: int) -> AsyncIterator[Counting]:
        """The periods that have quarter hours from that one on, the running one at any rate; the latest first.

        Where there are gaps, as no subscription grants a limit, also those that ran before a subscription changed.
        """
        seen: set[datetime] = set()
        async for instant, states in self._starts(look_up, start_of(first_bucket)):
            until: datetime | None = None
            for _ in range(PERIODS_MAX):
                counting = look_up.counted_at(states, instant)
                if counting is None or counting.period.start in seen:
                    break
                period = counting.period
                seen.add(period.start)
                if until is not None and not look_up.has_gaps:
                    period = replace(period, end=min(period.end, until))
                yield counting._replace(period=period)
                if end_bucket_of(period.start) <= first_bucket:
                    break
                until = period.start
                instant, states = until - MICROSECOND, await self._as_before(until)

    async def _starts(self, look_up: Lookup, since: datetime) -> AsyncIterator[tuple[datetime, Sequence[Subscription]]]:
        yield self.now, self.subscriptions
        if look_up.has_gaps and since < self.now:
            ids = [each.subscription_id for each in self.subscriptions]
            for changed_at in await changed_since(self.connection, self.tenant_id, ids, since):
                yield changed_at - MICROSECOND, await self._as_before(changed_at)

    async def _as_before(self, at: datetime) -> Sequence[Subscription]:
        if at not in self._before:
            ids = [each.subscription_id for each in self.subscriptions]
            self._before[at] = await subscriptions_before(self.connection, self.tenant_id, ids, at)
        return self._before[at]
