"""Naive proration: shares by counting days on a calendar, one after another."""

from datetime import date, datetime, timedelta
from fractions import Fraction

from testing.oracles.money import half_up


def days_between(first: date, end: date) -> int:
    """Dates from first to end, the end not counted, by walking."""
    count = 0
    while first < end:
        first += timedelta(days=1)
        count += 1
    return count


def thirties(day: date) -> int:
    """A date's place in a calendar of twelve months of thirty days."""
    return day.year * 360 + day.month * 30 + day.day


def second_share(start: datetime, end: datetime, whole: tuple[datetime, datetime]) -> Fraction:
    """By the clock."""
    nanoseconds = [Fraction(length.days * 86400 + length.seconds) + Fraction(length.microseconds, 10**6)
                   for length in (end - start, whole[1] - whole[0])]  # fmt: skip
    return nanoseconds[0] / nanoseconds[1]


def credit(price: int, share: Fraction) -> int:
    """A negative line."""
    return -half_up(price * share)
