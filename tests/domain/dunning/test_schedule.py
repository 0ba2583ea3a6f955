"""When a failed payment is tried again."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.dunning.schedule import (
    MAX_RETRIES,
    MAX_RETRY_DAYS,
    SATURDAY_AND_SUNDAY,
    DunningSchedule,
    InvalidDunningSchedule,
)
from domain.kernel.billing_period import UnknownTimeZone, local_of_instant
from testing.moments import utc
from tests.domain.strategies import instants, zones

NEW_YORK = "America/New_York"


def test_by_default_a_payment_is_tried_again_after_1_3_5_and_7_days() -> None:
    failed_at = utc("2025-06-02T09:30")
    assert DunningSchedule(time_zone="UTC").retries(failed_at) == [
        failed_at + timedelta(days=days) for days in (1, 3, 5, 7)
    ]


def test_a_retry_keeps_the_local_time_of_day() -> None:
    schedule = DunningSchedule(time_zone=NEW_YORK, days_after=(1, 2))
    assert schedule.retries(utc("2025-03-08T15:00")) == [utc("2025-03-09T14:00"), utc("2025-03-10T14:00")]


def test_a_failure_in_the_second_run_of_an_hour_is_still_followed_by_a_later_retry() -> None:
    schedule = DunningSchedule(time_zone=NEW_YORK, days_after=(1,))
    assert schedule.retries(utc("2025-11-02T06:30")) == [utc("2025-11-03T06:30")]


def test_retries_skip_weekends_and_stay_apart() -> None:
    """Failed on a Thursday: Friday; then Sunday becomes Monday, and Tuesday stays."""
    schedule = DunningSchedule(time_zone="UTC", days_after=(1, 3, 5), days_off=SATURDAY_AND_SUNDAY)
    assert schedule.retries(utc("2025-06-05T10:00")) == [
        utc("2025-06-06T10:00"),
        utc("2025-06-09T10:00"),
        utc("2025-06-10T10:00"),
    ]
    both_to_monday = DunningSchedule(time_zone="UTC", days_after=(2, 3, 4), days_off=SATURDAY_AND_SUNDAY)
    assert both_to_monday.retries(utc("2025-06-05T10:00")) == [
        utc("2025-06-09T10:00"),
        utc("2025-06-10T10:00"),
        utc("2025-06-11T10:00"),
    ]
    friday_off = DunningSchedule(time_zone="UTC", days_after=(1,), days_off=frozenset({4, 5}))
    assert friday_off.retries(utc("2025-06-05T10:00")) == [utc("2025-06-08T10:00")]


def test_the_weekday_is_the_tenants_own() -> None:
    """Saturday 01:00 UTC is still Friday in New York."""
    schedule = DunningSchedule(time_zone=NEW_YORK, days_after=(1,), days_off=SATURDAY_AND_SUNDAY)
    assert schedule.retries(utc("2025-06-06T01:00")) == [utc("2025-06-07T01:00")]


def test_a_day_that_the_zone_skipped_does_not_take_two_retries() -> None:
    schedule = DunningSchedule(time_zone="Pacific/Apia", days_after=(1, 2, 3))
    assert schedule.retries(utc("2011-12-29T20:00")) == [
        utc("2011-12-30T20:00"),
        utc("2011-12-31T20:00"),
        utc("2012-01-01T20:00"),
    ]


def test_the_next_retry_is_counted_from_the_first_failure() -> None:
    schedule, failed_at = DunningSchedule(time_zone="UTC"), utc("2025-06-02T09:30")
    assert schedule.next_retry(failed_at, 0) == utc("2025-06-03T09:30")
    assert schedule.next_retry(failed_at, 3) == utc("2025-06-09T09:30")
    assert schedule.next_retry(failed_at, 4) is None
    assert DunningSchedule(time_zone="UTC", days_after=()).next_retry(failed_at, 0) is None


@pytest.mark.parametrize(
    ("days_after", "days_off"),
    [
        ((0, 1), []),
        ((-1,), []),
        ((3, 1), []),
        ((1, 1), []),
        ((1, MAX_RETRY_DAYS + 1), []),
        (tuple(range(1, MAX_RETRIES + 2)), []),
        ((1,), range(7)),
        ((1,), [7]),
        ((1,), [-1]),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(days_after: tuple[int, ...], days_off: list[int]) -> None:
    with pytest.raises(InvalidDunningSchedule) as refused:
        DunningSchedule(time_zone="UTC", days_after=days_after, days_off=frozenset(days_off))
    assert refused.value.details == {
        "days_after": ",".join(str(day) for day in days_after),
        "days_off": ",".join(str(day) for day in sorted(days_off)),
    }


def test_a_refused_schedule_is_quoted_in_short() -> None:
    with pytest.raises(InvalidDunningSchedule) as refused:
        DunningSchedule(time_zone="UTC", days_after=(1,) * 30)
    assert refused.value.details["days_after"] == ",".join("1" * 21)


def test_the_limits_themselves_are_allowed_and_the_zone_must_exist() -> None:
    assert (MAX_RETRIES, MAX_RETRY_DAYS) == (20, 365)
    DunningSchedule(
        time_zone="UTC", days_after=(*range(1, MAX_RETRIES), MAX_RETRY_DAYS), days_off=frozenset({0, 1, 2, 4, 5, 6})
    )
    with pytest.raises(UnknownTimeZone):
        DunningSchedule(time_zone="Mars/Olympus")


@given(instants, zones, st.sets(st.integers(1, 60), max_size=6), st.sets(st.integers(0, 6), max_size=5))
def test_retries_rise_and_fall_on_working_days(failed_at: datetime, zone: str, days: set[int], off: set[int]) -> None:
    schedule = DunningSchedule(time_zone=zone, days_after=tuple(sorted(days)), days_off=frozenset(off))
    retries = schedule.retries(failed_at)
    assert len(retries) == len(days)
    assert [failed_at, *retries] == sorted({failed_at, *retries})
    for after, retry in zip(sorted(days), retries, strict=True):
        assert retry >= failed_at + timedelta(days=after) - timedelta(days=1)
    local = [local_of_instant(retry, zone) for retry in retries]
    if zone == "UTC":
        assert all(time.weekday() not in off for time in local)
