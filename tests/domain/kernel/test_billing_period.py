"""Billing periods: where they begin, which one an instant is in, and that they tile time."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.billing_period import (
    MAX_INTERVAL_COUNT,
    BeyondCalendar,
    BillingCycle,
    Interval,
    IntervalUnit,
    InvalidAnchor,
    InvalidInterval,
    Period,
    UnknownTimeZone,
    instant_of_local,
    local_date_of,
    local_of_instant,
    trial_end,
    zone_of,
)
from testing.moments import local, utc
from tests.domain.strategies import instants, intervals, month_intervals, schedules, zones

DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY = (Interval(unit) for unit in IntervalUnit)
MICROSECOND = timedelta(microseconds=1)
NEW_YORK = "America/New_York"


# --- intervals and zones ---------------------------------------------------------------------------------------------


def test_an_interval_is_a_count_of_days_or_of_months() -> None:
    assert [(interval.days, interval.months) for interval in (DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY)] == [
        (1, 0),
        (7, 0),
        (0, 1),
        (0, 3),
        (0, 12),
    ]
    assert Interval(IntervalUnit.WEEK, 3).days == 21
    assert Interval(IntervalUnit.QUARTER, 2).months == 6
    assert Interval(IntervalUnit.MONTH, MAX_INTERVAL_COUNT).months == 1200


@pytest.mark.parametrize("count", [0, -1, MAX_INTERVAL_COUNT + 1])
def test_an_interval_counts_at_least_one_and_not_too_many(count: int) -> None:
    with pytest.raises(InvalidInterval) as refused:
        Interval(IntervalUnit.MONTH, count)
    assert refused.value.details == {"unit": "month", "count": count}


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus",
        "",
        "localtime",
        "posixrules",
        "Factory",
        "right/UTC",
        "right/Europe/Berlin",
        "posix/UTC",
        "../../etc/passwd",
        "/etc/localtime",
        "America",
        "a\0b",
    ],
)
def test_a_zone_must_be_in_the_tz_database(name: str) -> None:
    with pytest.raises(UnknownTimeZone) as refused:
        zone_of(name)
    assert refused.value.details == {"time_zone": name}
    with pytest.raises(UnknownTimeZone):
        BillingCycle(anchor_local=local("2025-01-01"), time_zone=name, interval=MONTHLY)


def test_a_long_unknown_zone_is_named_in_short() -> None:
    with pytest.raises(UnknownTimeZone) as refused:
        zone_of("z" * 1000)
    assert refused.value.details == {"time_zone": "z" * 64}


def test_local_times_and_instants() -> None:
    assert zone_of(NEW_YORK) == ZoneInfo(NEW_YORK)
    assert instant_of_local(local("2025-03-09T02:30"), NEW_YORK) == utc("2025-03-09T07:30")  # in the gap: 03:30 EDT
    assert instant_of_local(local("2025-11-02T01:30"), NEW_YORK) == utc("2025-11-02T05:30")  # twice: the first
    second_run = local("2025-11-02T01:30").replace(fold=1)
    assert instant_of_local(second_run, NEW_YORK) == utc("2025-11-02T05:30")
    assert local_of_instant(utc("2025-11-02T06:30"), NEW_YORK) == second_run
    assert local_of_instant(utc("2025-11-02T06:30"), NEW_YORK).tzinfo is None
    assert local_date_of(utc("2025-01-01T04:59"), NEW_YORK) == date(2024, 12, 31)


def test_times_of_the_wrong_kind_are_mistakes_of_the_program() -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        local_of_instant(local("2025-01-01"), "UTC")
    with pytest.raises(ValueError, match="without an offset"):
        BillingCycle(anchor_local=utc("2025-01-01"), time_zone="UTC", interval=MONTHLY)


def test_boundaries_end_with_the_calendar() -> None:
    monthly = BillingCycle(anchor_local=local("9999-12-01"), time_zone="UTC", interval=MONTHLY)
    daily = BillingCycle(anchor_local=local("9999-12-01"), time_zone="UTC", interval=DAILY)
    first_month = BillingCycle(anchor_local=local("0001-01-15"), time_zone="UTC", interval=MONTHLY)
    assert monthly.boundary(0) == utc("9999-12-01")
    assert first_month.boundary(0) == utc("0001-01-15")
    beyonds: list[Callable[[], datetime]] = [
        lambda: monthly.boundary(1),
        lambda: daily.boundary(31),
        lambda: daily.boundary(10**12),
        lambda: first_month.boundary(-1),
        lambda: first_month.local_boundary(-1),
        lambda: BillingCycle.on_day_of_month(5, utc("9999-12-10"), "UTC", MONTHLY).anchor_local,
    ]
    for beyond in beyonds:
        with pytest.raises(BeyondCalendar):
            beyond()
    with pytest.raises(BeyondCalendar) as refused:
        monthly.local_boundary(1)
    assert refused.value.details == {"local": "9999-12-01T00:00:00", "months": 1}
    with pytest.raises(BeyondCalendar) as refused:
        daily.local_boundary(40)
    assert refused.value.details == {"local": "9999-12-01T00:00:00", "days": 40}
    with pytest.raises(BeyondCalendar) as refused:
        BillingCycle(anchor_local=local("9999-12-01"), time_zone="UTC", interval=WEEKLY).local_boundary(6)
    assert refused.value.details == {"local": "9999-12-01T00:00:00", "days": 42}
    with pytest.raises(BeyondCalendar) as refused:
        instant_of_local(local("9999-12-31T23:00"), NEW_YORK)
    assert refused.value.details == {"local": "9999-12-31T23:00:00"}
    with pytest.raises(BeyondCalendar) as refused:
        local_of_instant(utc("0001-01-01"), NEW_YORK)
    assert refused.value.details == {"instant": "0001-01-01T00:00:00Z"}


# --- anchors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (DAILY, "2025-08-14T04:00"),
        (WEEKLY, "2025-08-11T04:00"),
        (MONTHLY, "2025-08-01T04:00"),
        (QUARTERLY, "2025-07-01T04:00"),
        (YEARLY, "2025-01-01T05:00"),
        (Interval(IntervalUnit.MONTH, 6), "2025-08-01T04:00"),
    ],
    ids=str,
)
def test_calendar_periods_begin_at_local_midnight_of_their_unit(interval: Interval, expected: str) -> None:
    schedule = BillingCycle.calendar(utc("2025-08-14T20:15:10"), NEW_YORK, interval)
    assert schedule.boundary(0) == utc(expected)
    assert schedule.interval == interval
    assert schedule.time_zone == NEW_YORK


@pytest.mark.parametrize("month", range(1, 13))
def test_calendar_quarters_begin_in_january_april_july_and_october(month: int) -> None:
    schedule = BillingCycle.calendar(utc(f"2025-{month:02}-28"), "UTC", QUARTERLY)
    assert schedule.boundary(0) == utc(f"2025-{ {1: '01', 2: '04', 3: '07', 4: '10'}[(month + 2) // 3] }-01")


def test_a_calendar_week_begins_on_monday_also_on_a_monday_and_on_a_sunday() -> None:
    for day in range(11, 18):
        assert BillingCycle.calendar(utc(f"2025-08-{day}"), "UTC", WEEKLY).boundary(0) == utc("2025-08-11")


def test_an_anniversary_keeps_the_local_time_of_day_across_daylight_saving() -> None:
    schedule = BillingCycle.anniversary(utc("2025-02-15T17:30:45"), NEW_YORK, MONTHLY)
    assert schedule.anchor_local == local("2025-02-15T12:30:45")
    assert [schedule.boundary(k) for k in (0, 1)] == [utc("2025-02-15T17:30:45"), utc("2025-03-15T16:30:45")]


def test_a_start_in_the_second_run_of_an_hour_is_anchored_to_the_first_and_billed_from_itself() -> None:
    start = utc("2025-11-02T06:30")
    schedule = BillingCycle.anniversary(start, NEW_YORK, MONTHLY)
    assert schedule.boundary(0) == utc("2025-11-02T05:30")
    assert schedule.first_period(start) == Period(start, utc("2025-12-02T06:30"))
    assert schedule.anchor_local.fold == 0
    assert BillingCycle.on_day_of_month(2, start, NEW_YORK, MONTHLY).anchor_local.fold == 0
    assert BillingCycle.calendar(start, NEW_YORK, MONTHLY).anchor_local.fold == 0


@pytest.mark.parametrize(
    ("day", "start", "boundaries"),
    [
        (15, "2025-01-10T08:00", ["2025-01-15T08:00", "2025-02-15T08:00"]),
        (10, "2025-01-10T08:00", ["2025-01-10T08:00", "2025-02-10T08:00"]),
        (5, "2025-01-10T08:00", ["2025-02-05T08:00", "2025-03-05T08:00"]),
        (31, "2025-02-10", ["2025-02-28", "2025-03-31", "2025-04-30"]),
        (31, "2025-02-28", ["2025-02-28", "2025-03-31"]),
        (30, "2025-01-31", ["2025-02-28", "2025-03-30"]),
        (1, "2025-12-20", ["2026-01-01", "2026-02-01"]),
    ],
)
def test_a_billing_day_is_the_next_such_day_and_returns_after_short_months(
    day: int, start: str, boundaries: list[str]
) -> None:
    schedule = BillingCycle.on_day_of_month(day, utc(start), "UTC", MONTHLY)
    assert [schedule.boundary(k) for k in range(len(boundaries))] == [utc(text) for text in boundaries]
    assert schedule.day_of_month == day


def test_a_billing_day_of_an_interval_in_days_is_only_where_it_begins() -> None:
    schedule = BillingCycle.on_day_of_month(31, utc("2025-02-10"), "UTC", WEEKLY)
    assert schedule.day_of_month is None
    assert [schedule.boundary(k) for k in (0, 1)] == [utc("2025-02-28"), utc("2025-03-07")]


@pytest.mark.parametrize("day", [0, 32, -1])
def test_a_day_of_month_is_1_to_31(day: int) -> None:
    with pytest.raises(InvalidAnchor) as refused:
        BillingCycle.on_day_of_month(day, utc("2025-02-10"), "UTC", MONTHLY)
    assert refused.value.details == {"day_of_month": day}
    with pytest.raises(InvalidAnchor):
        BillingCycle(anchor_local=local("2025-02-01"), time_zone="UTC", interval=MONTHLY, day_of_month=day)


def test_the_anchor_must_fall_on_its_day_of_month() -> None:
    for day in (29, 30, 31, 28):
        BillingCycle(anchor_local=local("2025-02-28"), time_zone="UTC", interval=MONTHLY, day_of_month=day)
    BillingCycle(anchor_local=local("2025-03-31"), time_zone="UTC", interval=MONTHLY, day_of_month=31)
    BillingCycle(anchor_local=local("2025-03-01"), time_zone="UTC", interval=MONTHLY, day_of_month=1)
    with pytest.raises(InvalidAnchor):
        BillingCycle(anchor_local=local("2025-03-31"), time_zone="UTC", interval=MONTHLY, day_of_month=32)
    with pytest.raises(InvalidAnchor) as refused:
        BillingCycle(anchor_local=local("2025-03-28"), time_zone="UTC", interval=MONTHLY, day_of_month=31)
    assert refused.value.details == {"anchor": "2025-03-28T00:00:00", "day_of_month": 31}


def test_co_terming_takes_the_others_next_boundary_and_its_day() -> None:
    monthly = BillingCycle(anchor_local=local("2025-01-31T09:00"), time_zone=NEW_YORK, interval=MONTHLY)
    yearly = BillingCycle.anniversary(utc("2025-02-10"), "UTC", YEARLY).co_termed(monthly, utc("2025-02-10"))
    assert yearly.local_boundary(0) == local("2025-02-28T09:00")
    assert yearly.local_boundary(3) == local("2028-02-29T09:00")
    assert yearly.first_period(utc("2025-02-10")) == Period(utc("2025-02-10"), monthly.boundary(1))
    again = BillingCycle.anniversary(utc("2025-02-10"), "UTC", MONTHLY).co_termed(yearly, utc("2025-03-05"))
    assert again.local_boundary(0) == local("2026-02-28T09:00")
    assert again.local_boundary(1) == local("2026-03-31T09:00")
    on_a_boundary = BillingCycle.anniversary(utc("2025-02-10"), "UTC", WEEKLY).co_termed(monthly, monthly.boundary(1))
    assert on_a_boundary.boundary(0) == monthly.boundary(2)
    assert on_a_boundary.day_of_month is None
    weekly = BillingCycle(anchor_local=local("2025-01-06"), time_zone="UTC", interval=WEEKLY)
    with_weekly = BillingCycle.anniversary(utc("2025-01-29"), "UTC", MONTHLY).co_termed(weekly, utc("2025-01-29"))
    assert (with_weekly.local_boundary(0), with_weekly.day_of_month) == (local("2025-02-03"), None)


def test_a_trial_ends_at_the_same_local_time() -> None:
    assert trial_end(utc("2025-03-01T12:00"), Interval(IntervalUnit.DAY, 14), NEW_YORK) == utc("2025-03-15T11:00")
    assert trial_end(utc("2025-01-31T12:00"), MONTHLY, "UTC") == utc("2025-02-28T12:00")


# --- periods ---------------------------------------------------------------------------------------------------------


def test_a_period_is_half_open() -> None:
    period = Period(utc("2025-01-01"), utc("2025-02-01"))
    assert [period.contains(utc(text)) for text in ("2024-12-31", "2025-01-01", "2025-01-31", "2025-02-01")] == [
        False,
        True,
        True,
        False,
    ]
    assert not period.is_empty
    assert Period(utc("2025-01-01"), utc("2025-01-01")).is_empty
    assert Period(utc("2025-01-02"), utc("2025-01-01")).is_empty


def test_parts_of_a_period_stay_within_it() -> None:
    period = Period(utc("2025-01-01"), utc("2025-02-01"))
    middle = utc("2025-01-10")
    assert period.starting_at(middle) == Period(middle, period.end)
    assert period.ending_at(middle) == Period(period.start, middle)
    assert period.starting_at(utc("2024-01-01")) == period.ending_at(utc("2026-01-01")) == period
    assert period.starting_at(utc("2026-01-01")) == Period(period.end, period.end)
    assert period.ending_at(utc("2024-01-01")) == Period(period.start, period.start)


def test_periods_between_are_whole_and_a_backdated_start_owes_all_since_itself() -> None:
    schedule = BillingCycle(anchor_local=local("2025-01-31"), time_zone="UTC", interval=MONTHLY)
    whole = schedule.periods_between(utc("2025-02-10"), utc("2025-04-01"))
    assert whole == [schedule.period(k) for k in (0, 1, 2)]
    assert schedule.billable_periods(utc("2025-02-10"), utc("2025-04-01")) == [
        Period(utc("2025-02-10"), utc("2025-02-28")),
        *whole[1:],
    ]
    assert schedule.periods_between(utc("2025-02-28"), utc("2025-03-31")) == [schedule.period(1)]
    assert schedule.periods_between(utc("2025-02-28"), utc("2025-02-28")) == []
    assert schedule.periods_between(utc("2025-02-28"), utc("2025-02-27")) == []
    assert schedule.periods_between(utc("2025-03-15"), utc("2025-03-10")) == []


def test_a_wall_clock_that_went_back_does_not_go_back_a_period() -> None:
    """01:15 comes again after the boundary at the first 01:30."""
    daily = BillingCycle(anchor_local=local("2025-10-30T01:30"), time_zone=NEW_YORK, interval=DAILY)
    assert daily.boundary(3) == utc("2025-11-02T05:30")
    assert [daily.index_at(utc(f"2025-11-02T{time}")) for time in ("05:15", "05:30", "06:15", "06:45")] == [2, 3, 3, 3]


@pytest.mark.parametrize("interval", [DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY], ids=str)
def test_a_period_far_away_is_found_in_a_few_steps(interval: Interval, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    boundary = BillingCycle.boundary

    def counted(schedule: BillingCycle, k: int) -> datetime:
        nonlocal steps
        steps += 1
        return boundary(schedule, k)

    monkeypatch.setattr(BillingCycle, "boundary", counted)
    schedule = BillingCycle(anchor_local=local("1501-05-31T12:00"), time_zone="UTC", interval=interval)
    for instant in (utc("2501-01-01"), utc("2501-05-30"), utc("2501-12-31"), utc("1001-08-15")):
        steps = 0
        schedule.index_at(instant)
        assert steps <= 4


@given(schedules(), instants)
def test_every_instant_is_in_exactly_one_period(schedule: BillingCycle, instant: datetime) -> None:
    k = schedule.index_at(instant)
    assert schedule.period(k).contains(instant)
    assert schedule.period_containing(instant) == schedule.period(k)
    assert not schedule.period(k - 1).contains(instant)
    assert not schedule.period(k + 1).contains(instant)


@given(schedules(), st.integers(-40, 40))
def test_a_boundary_belongs_to_the_period_that_it_begins(schedule: BillingCycle, k: int) -> None:
    period = schedule.period(k)
    assert period.start <= period.end
    if not period.is_empty:
        assert schedule.index_at(period.start) == k
        assert schedule.index_at(period.end - MICROSECOND) == k


@given(schedules(month_intervals), st.integers(-500, 500))
def test_an_anchor_returns_to_its_day_whenever_the_month_has_it(schedule: BillingCycle, k: int) -> None:
    boundary, anchor = schedule.local_boundary(k), schedule.anchor_local
    next_day = boundary + timedelta(days=1)
    assert boundary.time() == anchor.time()
    assert boundary.day == anchor.day or (boundary.day < anchor.day and next_day.day == 1)
    months = (boundary.year - anchor.year) * 12 + boundary.month - anchor.month
    assert months == k * schedule.interval.months


@given(schedules(), instants, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_periods_between_two_instants_cover_them_without_gap_or_overlap(
    schedule: BillingCycle, start: datetime, length: timedelta
) -> None:
    periods = schedule.periods_between(start, start + length)
    assert (periods == []) == (length == timedelta(0))
    for period, following in pairwise(periods):
        assert period.end == following.start
    if periods:
        assert periods[0].contains(start)
        assert periods[-1].start < start + length <= periods[-1].end
    billable = schedule.billable_periods(start, start + length)
    assert all(not period.is_empty for period in billable)
    assert [period.start for period in billable[:1]] == [start for _ in periods[:1]]


@given(instants, zones, intervals)
def test_an_anniversary_begins_at_its_start(start: datetime, zone: str, interval: Interval) -> None:
    schedule = BillingCycle.anniversary(start, zone, interval)
    period = schedule.first_period(start)
    assert period.start == start
    assert schedule.index_at(start) == 0
    assert period.end == schedule.boundary(1)


@given(instants, st.integers(1, 31), zones, month_intervals)
def test_a_billing_day_comes_within_a_month_of_the_start(
    start: datetime, day: int, zone: str, interval: Interval
) -> None:
    schedule = BillingCycle.on_day_of_month(day, start, zone, interval)
    wait = schedule.anchor_local - local_of_instant(start, zone)
    assert timedelta(0) <= wait <= timedelta(days=31)
    assert schedule.anchor_local.day == day or (schedule.anchor_local + timedelta(days=1)).day == 1


def test_instants_of_any_offset_are_the_same_instant() -> None:
    schedule = BillingCycle(anchor_local=local("2025-01-31"), time_zone="Asia/Kathmandu", interval=MONTHLY)
    instant = utc("2025-02-27T18:15")
    assert schedule.index_at(instant) == schedule.index_at(instant.astimezone(ZoneInfo("Europe/Paris"))) == 1
    assert schedule.boundary(1).tzinfo is UTC
