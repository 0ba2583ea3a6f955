"""The vectors of billing periods: anchors that return to their day, zones, gaps, odd intervals."""

from datetime import date, datetime

from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, Period
from testing.moments import local, utc

MONTHLY = Interval(IntervalUnit.MONTH)


def schedule(anchor: datetime, interval: Interval = MONTHLY, time_zone: str = "UTC") -> BillingCycle:
    return BillingCycle(anchor_local=anchor, time_zone=time_zone, interval=interval)


def dates(of: BillingCycle, first: int, last: int) -> list[date]:
    return [of.boundary(k).date() for k in range(first, last + 1)]


def test_vector_1_a_monthly_anniversary_on_the_31st_returns_to_the_31st() -> None:
    monthly = schedule(local("2022-12-31"))
    assert dates(monthly, 1, 4) == [date(2023, 1, 31), date(2023, 2, 28), date(2023, 3, 31), date(2023, 4, 30)]
    assert dates(monthly, 14, 15) == [date(2024, 2, 29), date(2024, 3, 31)]


def test_vector_2_an_anchor_on_day_31_in_a_leap_year() -> None:
    monthly = schedule(local("2024-01-31"))
    assert [monthly.period(k) for k in range(3)] == [
        Period(utc("2024-01-31"), utc("2024-02-29")),
        Period(utc("2024-02-29"), utc("2024-03-31")),
        Period(utc("2024-03-31"), utc("2024-04-30")),
    ]


def test_vector_3_a_start_after_the_anchor_has_a_short_first_period() -> None:
    monthly, start = schedule(local("2025-01-31T15:00")), utc("2025-07-10T15:00")
    assert monthly.first_period(start) == Period(start, utc("2025-07-31T15:00"))
    assert monthly.billable_periods(start, utc("2025-09-30T15:00")) == [
        Period(start, utc("2025-07-31T15:00")),
        Period(utc("2025-07-31T15:00"), utc("2025-08-31T15:00")),
        Period(utc("2025-08-31T15:00"), utc("2025-09-30T15:00")),
    ]


def test_vector_29_a_boundary_in_a_gap_takes_the_offset_before_the_gap_fold_0() -> None:
    midnight = schedule(local("2018-10-04"), time_zone="America/Sao_Paulo")
    assert [midnight.boundary(k) for k in range(3)] == [
        utc("2018-10-04T03:00"),
        utc("2018-11-04T03:00"),
        utc("2018-12-04T02:00"),
    ]
    half_past = schedule(local("2018-10-04T00:30"), time_zone="America/Sao_Paulo")
    assert [half_past.boundary(k) for k in range(3)] == [
        utc("2018-10-04T03:30"),
        utc("2018-11-04T03:30"),
        utc("2018-12-04T02:30"),
    ]


def test_vector_30_months_of_half_hour_daylight_saving() -> None:
    months = BillingCycle.calendar(utc("2024-04-10"), "Australia/Lord_Howe", MONTHLY)
    april = months.period_containing(utc("2024-04-10"))
    assert april == Period(utc("2024-03-31T13:00"), utc("2024-04-30T13:30"))
    assert (april.end - april.start).total_seconds() == 2_593_800
    october = months.period_containing(utc("2024-10-10"))
    assert (october.end - october.start).total_seconds() == 2_676_600


def test_vector_31_monthly_periods_around_the_day_that_apia_skipped() -> None:
    monthly = schedule(local("2011-11-30"), time_zone="Pacific/Apia")
    assert [monthly.boundary(k) for k in range(3)] == [
        utc("2011-11-30T10:00"),
        utc("2011-12-30T10:00"),
        utc("2012-01-29T10:00"),
    ]


def test_vector_31_the_daily_period_of_the_skipped_day_is_empty_and_not_billable() -> None:
    daily = schedule(local("2011-12-28"), Interval(IntervalUnit.DAY), "Pacific/Apia")
    assert [daily.period(k).is_empty for k in range(5)] == [False, False, True, False, False]
    assert len(daily.periods_between(daily.boundary(0), daily.boundary(5))) == 5
    billable = daily.billable_periods(daily.boundary(0), daily.boundary(5))
    assert len(billable) * 100 == 400
    assert [period.start for period in billable] == [
        utc("2011-12-28T10:00"),
        utc("2011-12-29T10:00"),
        utc("2011-12-30T10:00"),
        utc("2011-12-31T10:00"),
    ]


def test_vector_32_a_leap_day_anchor_by_every_interval() -> None:
    leap_day = local("2024-02-29")
    assert dates(schedule(leap_day, Interval(IntervalUnit.QUARTER)), 1, 5) == [
        date(2024, 5, 29),
        date(2024, 8, 29),
        date(2024, 11, 29),
        date(2025, 2, 28),
        date(2025, 5, 29),
    ]
    assert dates(schedule(leap_day, Interval(IntervalUnit.MONTH, 6)), 1, 3) == [
        date(2024, 8, 29),
        date(2025, 2, 28),
        date(2025, 8, 29),
    ]
    assert dates(schedule(leap_day, Interval(IntervalUnit.WEEK, 2)), 1, 5) == [
        date(2024, 3, 14),
        date(2024, 3, 28),
        date(2024, 4, 11),
        date(2024, 4, 25),
        date(2024, 5, 9),
    ]
    assert dates(schedule(leap_day, Interval(IntervalUnit.YEAR)), 1, 4) == [
        date(2025, 2, 28),
        date(2026, 2, 28),
        date(2027, 2, 28),
        date(2028, 2, 29),
    ]
