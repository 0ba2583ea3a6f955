"""Windows in which usage is told: the hours or days of a calendar in a time zone, one after the other without a gap."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final

from domain.kernel.billing_period import local_date_of, start_of_day
from domain.metering.aggregation import HOUR, Window

DAY: Final = timedelta(days=1)


class WindowLength(StrEnum):
    """How long a window is. `period`: all of the time that is asked for."""

    HOUR = "hour"
    DAY = "day"
    PERIOD = "period"


def days_window(first: date, last: date, time_zone: str) -> Window:
    """From the first instant of a day to that of the day after another."""
    return Window(start=start_of_day(first, time_zone), end=start_of_day(last + DAY, time_zone))


def month_window(at: datetime, time_zone: str) -> Window:
    """The calendar month there in which an instant lies."""
    first = local_date_of(at, time_zone).replace(day=1)
    following = (first + 31 * DAY).replace(day=1)
    return Window(start=start_of_day(first, time_zone), end=start_of_day(following, time_zone))


def windows_in(whole: Window, length: WindowLength, time_zone: str) -> Iterator[Window]:
    """The windows that `whole` is made of, in order; its ends cut the first and the last one.

    A day ends at midnight there, so it may have 23 or 25 hours. Hours are counted from midnight by elapsed time: each
    is one, whatever the clocks do, but for the last where they are moved by half an hour.
    """
    start = whole.start
    for end in [whole.end] if length is WindowLength.PERIOD else _ends(whole, length, time_zone):
        yield Window(start=start, end=end)
        start = end


def _ends(whole: Window, length: WindowLength, time_zone: str) -> Iterator[datetime]:
    """Where windows end, until all of it is over. A day that a zone has skipped has none."""
    for midnight, following in pairwise(_midnights(whole.start, time_zone)):
        if midnight == following:
            continue
        if length is WindowLength.HOUR:
            hour = midnight + HOUR
            while hour < min(following, whole.end):
                if hour > whole.start:
                    yield hour
                hour += HOUR
        if whole.start < following < whole.end:
            yield following
        if following >= whole.end:
            yield whole.end
            return


def _midnights(since: datetime, time_zone: str) -> Iterator[datetime]:
    day = local_date_of(since, time_zone)
    while True:
        yield start_of_day(day, time_zone)
        day += DAY
