"""Billing periods in every zone of the tz database, and against a naive oracle."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from domain.kernel.billing_period import (
    BillingCycle,
    Interval,
    IntervalUnit,
    local_date_of,
    zone_of,
)
from testing.moments import local, utc
from testing.oracles import periods as oracle_periods
from tests.domain.random_cases import CASES, seeded
from tests.domain.strategies import TRICKY_ZONES, ZONES
from tests.lengths import LENGTH

DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY = (Interval(unit) for unit in IntervalUnit)
MICROSECOND = timedelta(microseconds=1)

SKIPPED_DATES = {
    "Pacific/Apia": [date(2011, 12, 30)],
    "Pacific/Fakaofo": [date(2011, 12, 30)],
    "Pacific/Kiritimati": [date(1994, 12, 31)],
    "Pacific/Kanton": [date(1994, 12, 31)],
    "Pacific/Enderbury": [date(1994, 12, 31)],
    "Pacific/Kwajalein": [date(1993, 8, 21)],
    "Kwajalein": [date(1993, 8, 21)],
}
WALKED_ZONES = sorted({*ZONES[:: LENGTH.every_nth_zone], *TRICKY_ZONES, *SKIPPED_DATES})
"""Every zone in a thorough run."""


# --- all zones -------------------------------------------------------------------------------------------------------


def test_weeks_months_quarters_and_years_tile_fifty_years_in_every_zone() -> None:
    """Strictly rising boundaries: no overlap and, of these lengths, no empty period; each found again by its index."""
    for zone in WALKED_ZONES:
        for interval, count in ((Interval(IntervalUnit.WEEK, 2), 1305), (MONTHLY, 600), (QUARTERLY, 200), (YEARLY, 50)):
            schedule = BillingCycle(anchor_local=local("1976-01-31T00:30"), time_zone=zone, interval=interval)
            boundaries = [schedule.boundary(k) for k in range(count + 1)]
            assert all(map(datetime.__lt__, boundaries, boundaries[1:])), (zone, interval)
            for k in range(0, count, 37):
                assert schedule.index_at(boundaries[k]) == k, (zone, interval, k)
                assert schedule.index_at(boundaries[k + 1] - MICROSECOND) == k, (zone, interval, k)


def changes_of_offset(zone: ZoneInfo) -> Iterator[datetime]:
    """To the hour, every change of a zone's offset in fifty years (but for two within a fortnight that cancel)."""
    fortnight, hour = timedelta(days=14), timedelta(hours=1)
    for index in range(1304):
        early = utc("1976-01-01") + index * fortnight
        late = early + fortnight
        before = early.astimezone(zone).utcoffset()
        if before == late.astimezone(zone).utcoffset():
            continue
        while late - early > hour:
            middle = early + (late - early) // 2
            if middle.astimezone(zone).utcoffset() == before:
                early = middle
            else:
                late = middle
        yield late


def test_days_tile_every_change_of_offset_of_fifty_years_in_every_zone() -> None:
    """Walks the days around each change; the only empty ones are the dates that a zone left out."""
    for name in WALKED_ZONES:
        daily = BillingCycle(anchor_local=local("1976-01-01"), time_zone=name, interval=DAILY)
        empty = set()
        for change in changes_of_offset(zone_of(name)):
            day = (local_date_of(change, name) - daily.anchor_local.date()).days
            periods = [daily.period(k) for k in range(day - 3, day + 3)]
            for k, (period, following) in enumerate(pairwise(periods), start=day - 3):
                assert period.start <= period.end == following.start, (name, k)
                if period.is_empty:
                    empty.add(daily.local_boundary(k).date())
            assert daily.period_containing(change).contains(change), (name, change)
        assert sorted(empty) == SKIPPED_DATES.get(name, []), name


# --- the oracle ------------------------------------------------------------------------------------------------------


def test_boundaries_agree_with_the_oracle() -> None:
    random = seeded()
    first = local("1976-01-01")
    for _ in range(CASES):
        anchor = first + timedelta(minutes=random.randrange(50 * 365 * 48) * 30)
        zone = random.choice(ZONES if random.random() < 0.5 else TRICKY_ZONES)
        interval = Interval(random.choice(list(IntervalUnit)), random.randint(1, 12))
        k = random.randint(-30, 60)
        expected_local = (
            oracle_periods.add_months(anchor, k * interval.months)
            if interval.months
            else anchor + timedelta(days=k * interval.days)
        )
        schedule = BillingCycle(anchor_local=anchor, time_zone=zone, interval=interval)
        case = (anchor, zone, interval, k)
        assert schedule.local_boundary(k) == expected_local, case
        if expected_local.year < 2037:
            assert schedule.boundary(k) == oracle_periods.to_utc(expected_local, ZoneInfo(zone)), case


def test_indexes_agree_with_the_oracle() -> None:
    random = seeded()
    first = local("1990-01-01")
    for _ in range(CASES // 100):
        anchor = first + timedelta(hours=random.randrange(20 * 365 * 24))
        zone = random.choice(TRICKY_ZONES)
        interval = Interval(random.choice(list(IntervalUnit)), random.randint(1, 3))
        schedule = BillingCycle(anchor_local=anchor, time_zone=zone, interval=interval)
        boundaries = [schedule.boundary(k) for k in range(60)]
        seconds = int((boundaries[-1] - boundaries[0]).total_seconds())
        for _ in range(100):
            instant = boundaries[0] + timedelta(seconds=random.randrange(seconds))
            assert schedule.index_at(instant) == oracle_periods.index_at(boundaries, instant), (schedule, instant)
