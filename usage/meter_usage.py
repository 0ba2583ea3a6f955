"""What a customer uses of one meter as thresholds see it: by periods, since a reset, and how it goes on by itself."""

from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final, NamedTuple

from domain.entitlements.entitlement import CounterReset, used_after
from domain.metering.aggregation import HOUR, Aggregation, Window, total_of
from usage.live import Metered
from usage.partials import (
    LAST_BUCKET,
    MICROSECOND,
    Queries,
    buckets_of,
    grouped,
    levels_before,
    series_of_customer,
)
from usage.taken_back import TakenBack
from usage.used import used_in

AHEAD_OF_TIME: Final = timedelta(minutes=10)
"""Further than an event's time lies ahead, with what clocks differ by."""
SOON: Final = timedelta(minutes=1)
"""When is looked again while levels of a time that is to come are known."""
FORESEEN_MAX: Final = timedelta(days=2)
"""What is further away is looked at by then."""


class Growth(NamedTuple):
    """How what is used goes on from an instant on, if nothing more is counted: by `level` an hour; None: otherwise for
    the next minutes, in which levels are to change.
    """

    now: datetime
    level: Fraction | None

    def reaches(self, more: Fraction) -> datetime:
        """When so much more is used, or when to look again."""
        if self.level is None:
            return self.now + SOON
        micros = ceil(min(more / self.level, Fraction(FORESEEN_MAX // HOUR)) * (HOUR // MICROSECOND))
        return self.now + micros * MICROSECOND


class MeterUsage:
    """Of a customer's meter `now`, by the customer's time: levels are held until then."""

    def __init__(
        self,
        connection: Queries,
        metered: Metered,
        aggregation: Aggregation,
        taken_back: TakenBack,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._metered = metered
        self._taken_back = taken_back
        self._is_level = aggregation is Aggregation.TIME_WEIGHTED_SUM
        self._now = now
        self._level: Fraction | None = None
        self._known: dict[tuple[Window, datetime], Fraction] = {}

    async def in_period(self, period: Window) -> Fraction:
        """All of the period that is counted, in the meter's unit."""
        return await self._until(period, self._now)

    async def since(self, reset: CounterReset, period: Window) -> Fraction:
        """What counts since the counter was reset in that period. A level counts by the time from then on. Raises
        CannotLook.
        """
        used = await self.in_period(period)
        if self._is_level:
            return max(used - await self._until(period, reset.reset_at), Fraction(0))
        buckets = buckets_of(period.start, period.end)
        taken_back = await self._taken_back.since(self._connection, self._metered, buckets, reset.counted_to)
        return used_after(reset, used, taken_back)

    async def growth(self, period: Window) -> Growth | None:
        """How the figure of a period that runs goes on; None where it does not grow by itself."""
        if not self._is_level:
            return None
        soon = min(self._now + AHEAD_OF_TIME, period.end)
        growth = await self._until(period, soon) - await self._until(period, self._now)
        level = await self._held()
        if growth != level * Fraction((soon - self._now) // MICROSECOND, HOUR // MICROSECOND):
            return Growth(self._now, None)
        return Growth(self._now, level) if level > 0 else None

    async def _until(self, period: Window, until: datetime) -> Fraction:
        if (period, until) not in self._known:
            figure = await used_in(self._connection, self._metered, period, held_until=until)
            self._known[period, until] = Fraction(figure.quantity)
        return self._known[period, until]

    async def _held(self) -> Fraction:
        """What all groups hold by all that is known."""
        if self._level is None:
            tenant_id, customer_id, meter_id = self._metered
            series = await series_of_customer(self._connection, tenant_id, customer_id, [meter_id])
            levels = await levels_before(self._connection, list(grouped(series).values()), LAST_BUCKET)
            self._level = Fraction(total_of(levels.values()))
        return self._level
