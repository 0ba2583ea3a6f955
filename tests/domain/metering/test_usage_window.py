"""Windows in which usage is told: calendars with days of 23 and 25 hours, and time cut anywhere."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.billing_period import local_of_instant
from domain.metering.aggregation import Window
from domain.metering.usage_window import WindowLength, days_window, month_window, windows_in

BERLIN = "Europe/Berlin"
LORD_HOWE = "Australia/Lord_Howe"
HOUR = timedelta(hours=1)
ZONES = ["UTC", BERLIN, LORD_HOWE, "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]


def lengths(whole: Window, length: WindowLength, time_zone: str) -> list[timedelta]:
    return [each.end - each.start for each in windows_in(whole, length, time_zone)]


def test_days_are_those_of_the_zone_and_have_23_or_25_hours_where_clocks_are_moved() -> None:
    spring = days_window(date(2026, 3, 28), date(2026, 3, 30), BERLIN)
    assert spring.start == datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert lengths(spring, WindowLength.DAY, BERLIN) == [24 * HOUR, 23 * HOUR, 24 * HOUR]
    autumn = days_window(date(2026, 10, 25), date(2026, 10, 25), BERLIN)
    assert lengths(autumn, WindowLength.DAY, BERLIN) == [25 * HOUR]
    assert lengths(autumn, WindowLength.HOUR, BERLIN) == [HOUR] * 25


def test_the_last_hour_is_shorter_where_clocks_are_moved_by_half_an_hour() -> None:
    day = days_window(date(2026, 4, 5), date(2026, 4, 5), LORD_HOWE)
    assert lengths(day, WindowLength.HOUR, LORD_HOWE) == [HOUR] * 24 + [HOUR / 2]


def test_a_period_is_one_window_and_its_ends_cut_days_and_hours() -> None:
    whole = Window(start=datetime(2026, 1, 1, 22, 10, tzinfo=UTC), end=datetime(2026, 1, 3, 0, 20, tzinfo=UTC))
    assert list(windows_in(whole, WindowLength.PERIOD, "UTC")) == [whole]
    days = list(windows_in(whole, WindowLength.DAY, "UTC"))
    assert [each.start.hour for each in days] == [22, 0, 0]
    assert days[-1].end == whole.end
    hours = lengths(whole, WindowLength.HOUR, "UTC")
    assert hours == [HOUR * 5 / 6, *[HOUR] * 25, HOUR / 3]


def test_a_month_is_the_calendars_of_the_zone() -> None:
    found = month_window(datetime(2026, 1, 31, 23, 30, tzinfo=UTC), BERLIN)
    assert found == days_window(date(2026, 2, 1), date(2026, 2, 28), BERLIN)
    december = month_window(datetime(2026, 12, 5, tzinfo=UTC), "UTC")
    assert december == Window(start=datetime(2026, 12, 1, tzinfo=UTC), end=datetime(2027, 1, 1, tzinfo=UTC))


@given(
    quarters=st.integers(0, 4 * 24 * 365 * 15),
    minutes=st.integers(1, 60 * 24 * 9),
    length=st.sampled_from(list(WindowLength)),
    time_zone=st.sampled_from(ZONES),
)
def test_windows_follow_each_other_and_make_up_the_whole(
    quarters: int, minutes: int, length: WindowLength, time_zone: str
) -> None:
    start = datetime(2011, 12, 1, tzinfo=UTC) + quarters * timedelta(minutes=15)
    whole = Window(start=start, end=start + timedelta(minutes=minutes))
    found = list(windows_in(whole, length, time_zone))
    assert (found[0].start, found[-1].end) == (whole.start, whole.end)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(each.start < each.end for each in found)
    for each in found:
        last = each.end - timedelta(microseconds=1)
        if length is not WindowLength.PERIOD:
            assert local_of_instant(each.start, time_zone).date() == local_of_instant(last, time_zone).date()
        if length is WindowLength.HOUR:
            assert each.end - each.start <= HOUR
