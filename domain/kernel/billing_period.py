"""Billing periods: which half-open [start, end) a subscription is in, was in, and will be in.

The rule: boundary k is the anchor's local date and time plus k intervals, counted from the anchor and never from the
last boundary, so that an anchor on the 31st returns to the 31st after February. Local time becomes an instant by the
*fold 0* rule: a time inside a daylight-saving gap is read with the offset before the gap, an ambiguous time is its
first occurrence. A period may be empty where a zone skips a whole day (Pacific/Apia, 2011-12-30); it is never billed.

Anchors that keep their day are how Lago and Kill Bill bill (vectors 1 to 3). The tz database changes over the years,
so what was billed is recorded as instants in events and is not computed again from here.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.kernel.refusal import Refusal, RefusalKind

MAX_INTERVAL_COUNT = 1200
"""Units in one interval; a hundred years of months."""


class InvalidInterval(Refusal):
    """An interval is a count of at least one of a known unit."""

    code = "invalid_interval"
    kind = RefusalKind.INVALID
    param = "interval"


class UnknownTimeZone(Refusal):
    """The time zone is not in the tz database."""

    code = "unknown_time_zone"
    kind = RefusalKind.INVALID
    param = "time_zone"


class InvalidAnchor(Refusal):
    """The anchor's day does not agree with the day of month that it is to keep."""

    code = "invalid_anchor"
    kind = RefusalKind.INVALID
    param = "billing_anchor"


class BeyondCalendar(Refusal):
    """The boundary lies outside the years 1 to 9999."""

    code = "beyond_calendar"
    kind = RefusalKind.INVALID


class IntervalUnit(StrEnum):
    """What an interval counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_DAYS = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7}
_MONTHS = {IntervalUnit.MONTH: 1, IntervalUnit.QUARTER: 3, IntervalUnit.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Interval:
    """`count` units: Interval(IntervalUnit.MONTH, 6) is half a year of calendar months. Raises InvalidInterval."""

    unit: IntervalUnit
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_INTERVAL_COUNT:
            raise InvalidInterval(unit=self.unit, count=self.count)

    @property
    def days(self) -> int:
        """Calendar days of an interval of days or weeks; 0 for one that is counted in months."""
        return _DAYS.get(self.unit, 0) * self.count

    @property
    def months(self) -> int:
        """Calendar months of an interval of months, quarters or years; 0 for one that is counted in days."""
        return _MONTHS.get(self.unit, 0) * self.count

    def multiple_of(self, other: "Interval") -> int:
        """How many of `other` make one of this; 0 where no whole number does: months are no number of days."""
        mine, others = (self.months, other.months) if self.months else (self.days, other.days)
        return 0 if not others or mine % others else mine // others


@dataclass(frozen=True, slots=True)
class Period:
    """Half-open [start, end), two instants in UTC."""

    start: datetime
    end: datetime

    @property
    def is_empty(self) -> bool:
        """True where a zone skipped the whole period; such a period is never billed."""
        return self.start >= self.end

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def starting_at(self, instant: datetime) -> "Period":
        """What is left of the period from `instant` on: the stub of a start inside it."""
        return Period(min(max(self.start, instant), self.end), self.end)

    def ending_at(self, instant: datetime) -> "Period":
        """What of the period lies before `instant`: its used part at a cancellation."""
        return Period(self.start, max(min(self.end, instant), self.start))


_NO_ZONES = frozenset({"", "localtime", "posixrules", "Factory"})
"""What lies beside the zones in a tz database: what the machine is set to, rules for other names, and "not set"."""

_OTHER_RULES = ("right/", "posix/")
"""Copies of every zone, those under right/ with leap seconds: instants of theirs are not ours. Not everywhere there."""


def zone_of(time_zone: str) -> ZoneInfo:
    """The zone of the tz database with that name. Raises UnknownTimeZone, also for "localtime" and the like."""
    zone = _zone_or_none(time_zone)
    if zone is None:
        raise UnknownTimeZone(time_zone=time_zone[:64])
    return zone


@lru_cache(maxsize=1024)
def _zone_or_none(time_zone: str) -> ZoneInfo | None:
    if time_zone in _NO_ZONES or time_zone.startswith(_OTHER_RULES):
        return None
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def instant_of_local(local: datetime, time_zone: str) -> datetime:
    """The instant (UTC) of a naive local time by the fold 0 rule; see the module's docstring for gaps and folds."""
    try:
        return local.replace(tzinfo=zone_of(time_zone), fold=0).astimezone(UTC)
    except OverflowError:
        raise BeyondCalendar(local=local.isoformat()) from None


def start_of_day(day: date, time_zone: str) -> datetime:
    """The day's first instant there."""
    return instant_of_local(datetime.combine(day, time.min), time_zone)


def local_of_instant(instant: datetime, time_zone: str) -> datetime:
    """The naive local time that a wall clock in the zone shows at `instant`; `fold` is 1 in an hour's second run."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs an offset")
    try:
        return instant.astimezone(zone_of(time_zone)).replace(tzinfo=None)
    except OverflowError:
        raise BeyondCalendar(instant=instant) from None


def local_date_of(instant: datetime, time_zone: str) -> date:
    """The date on a calendar in the zone at `instant`."""
    return local_of_instant(instant, time_zone).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingCycle:
    """All periods of a subscription, before and after its anchor: period 0 begins at the anchor.

    `anchor_local` is a naive wall-clock time in `time_zone`. `day_of_month` is set only where the anchor's own month
    is too short for the day that is meant (the 31st, anchored in February); intervals counted in days ignore it.
    """

    anchor_local: datetime
    time_zone: str
    interval: Interval
    day_of_month: int | None = None

    def __post_init__(self) -> None:
        if self.anchor_local.tzinfo is not None:
            raise ValueError("the anchor is a local time, without an offset")
        zone_of(self.time_zone)
        if self.day_of_month is not None:
            anchor = self.anchor_local
            fits = 1 <= self.day_of_month <= 31
            if not fits or anchor.day != _day_in_month(anchor.year, anchor.month, self.day_of_month):
                raise InvalidAnchor(anchor=anchor.isoformat(), day_of_month=self.day_of_month)

    # --- where a schedule comes from ---------------------------------------------------------------------------------

    @classmethod
    def anniversary(cls, start: datetime, time_zone: str, interval: Interval) -> Self:
        """Periods that begin on the start's local day and time. A start in a fold's second run is anchored to the
        first run; `first_period` still begins at the start itself.
        """
        return cls(
            anchor_local=local_of_instant(start, time_zone).replace(fold=0), time_zone=time_zone, interval=interval
        )

    @classmethod
    def calendar(cls, start: datetime, time_zone: str, interval: Interval) -> Self:
        """Periods at local midnight of the 1st (of a month, a quarter, a year), of Mondays, or of every day.

        With a count above one, the count starts with the calendar unit in which `start` lies.
        """
        midnight = local_of_instant(start, time_zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        match interval.unit:
            case IntervalUnit.DAY:
                anchor = midnight
            case IntervalUnit.WEEK:
                anchor = midnight - timedelta(days=midnight.weekday())
            case IntervalUnit.MONTH:
                anchor = midnight.replace(day=1)
            case IntervalUnit.QUARTER:
                anchor = midnight.replace(month=(midnight.month - 1) // 3 * 3 + 1, day=1)
            case IntervalUnit.YEAR:
                anchor = midnight.replace(month=1, day=1)
        return cls(anchor_local=anchor, time_zone=time_zone, interval=interval)

    @classmethod
    def on_day_of_month(cls, day: int, start: datetime, time_zone: str, interval: Interval) -> Self:
        """Periods anchored to the first `day` of a month (its last day, where it is shorter) on or after `start`,
        at the start's local time of day. Kill Bill's billing day works so (vectors 15 and 16).
        """
        if not 1 <= day <= 31:
            raise InvalidAnchor(day_of_month=day)
        local = local_of_instant(start, time_zone).replace(fold=0)
        anchor = local.replace(day=_day_in_month(local.year, local.month, day))
        if anchor < local:
            anchor = _plus_months(local, 1, day)
        return cls(
            anchor_local=anchor, time_zone=time_zone, interval=interval, day_of_month=day if interval.months else None
        )

    def co_termed(self, other: "BillingCycle", at: datetime) -> "BillingCycle":
        """This interval on another schedule's anchor: period 0 begins at the other's first boundary after `at`.

        The stub before it is `first_period(at)`. The other's day of the month is kept (the 31st stays the 31st).
        """
        local = other.local_boundary(other.index_at(at) + 1)
        keeps_day = other.interval.months and self.interval.months
        return BillingCycle(
            anchor_local=local,
            time_zone=other.time_zone,
            interval=self.interval,
            day_of_month=(other.day_of_month or other.anchor_local.day) if keeps_day else None,
        )

    # --- its periods -------------------------------------------------------------------------------------------------

    def local_boundary(self, k: int) -> datetime:
        """The naive local time at which period k begins, k of any sign. Raises BeyondCalendar."""
        if self.interval.months:
            day = self.day_of_month or self.anchor_local.day
            return _plus_months(self.anchor_local, k * self.interval.months, day)
        try:
            return self.anchor_local + timedelta(days=k * self.interval.days)
        except OverflowError:
            raise BeyondCalendar(local=self.anchor_local.isoformat(), days=k * self.interval.days) from None

    def boundary(self, k: int) -> datetime:
        """The instant (UTC) at which period k begins and period k - 1 ends, in constant time. Raises BeyondCalendar."""
        return instant_of_local(self.local_boundary(k), self.time_zone)

    def period(self, k: int) -> Period:
        """Period k, found without walking the ones before it. It may be empty."""
        return Period(self.boundary(k), self.boundary(k + 1))

    def index_at(self, instant: datetime) -> int:
        """The k of the one period that contains `instant`; an empty period never does. Raises BeyondCalendar."""
        local = local_of_instant(instant, self.time_zone)
        anchor = self.anchor_local
        if self.interval.months:
            months = (local.year - anchor.year) * 12 + local.month - anchor.month
            k = months // self.interval.months
        else:
            k = (local - anchor) // timedelta(days=self.interval.days)
        # wall-clock arithmetic is right but for a shorter month, a gap or a fold: at most a step or two away
        while self.boundary(k) > instant:
            k -= 1
        while self.boundary(k + 1) <= instant:
            k += 1
        return k

    def period_containing(self, instant: datetime) -> Period:
        """The whole, unshortened period that contains `instant`: shares are taken of it."""
        return self.period(self.index_at(instant))

    def first_period(self, start: datetime) -> Period:
        """From `start` to the next boundary: a whole period, or the stub of one (its share is over the whole one)."""
        return self.period_containing(start).starting_at(start)

    def periods_between(self, start: datetime, end: datetime) -> list[Period]:
        """Every whole period that has a part in [start, end), in order, with the empty ones among them."""
        if end <= start:
            return []
        periods = []
        k = self.index_at(start)
        boundary = self.boundary(k)
        while boundary < end:
            k += 1
            following = self.boundary(k)
            periods.append(Period(boundary, following))
            boundary = following
        return periods

    def billable_periods(self, start: datetime, until: datetime) -> list[Period]:
        """What a subscription that started at `start` has begun by `until` (not itself included): the first from the
        start itself, then whole periods, without the empty ones. A backdated start owes all of them.
        """
        shortened = (period.starting_at(start) for period in self.periods_between(start, until))
        return [period for period in shortened if not period.is_empty]


def trial_end(start: datetime, length: Interval, time_zone: str) -> datetime:
    """The instant at which a trial ends: the same local time, `length` later, by the fold 0 rule (vector 5).

    The paid periods begin there: anchor an anniversary schedule to it, or take a calendar one's `first_period` from it.
    """
    return BillingCycle.anniversary(start, time_zone, length).boundary(1)


def _day_in_month(year: int, month: int, day: int) -> int:
    return min(day, monthrange(year, month)[1])


def _plus_months(local: datetime, months: int, day: int) -> datetime:
    year, month_index = divmod(local.year * 12 + local.month - 1 + months, 12)
    if not MINYEAR <= year <= MAXYEAR:
        raise BeyondCalendar(local=local.isoformat(), months=months)
    return local.replace(year=year, month=month_index + 1, day=_day_in_month(year, month_index + 1, day))
