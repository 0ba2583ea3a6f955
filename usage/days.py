"""Sums by day beside those by quarter hour, of whatever closing they came behind: so that what a month comes to is some
thirty rows to add up, not three thousand.

An aggregator adds to both in one transaction, so no event is in one and not in the other; a recount compares them. Days
are those of UTC. What closings take is made of quarter hours alone: days are for questions.
"""

from typing import Final, NamedTuple

from usage.partials import Buckets

DAY_BUCKETS: Final = 96
"""Quarter hours of a day."""


class WholeDays(NamedTuple):
    """The whole days [first, end) of a time, since 1970, and its quarter hours before and behind these."""

    first: int
    end: int
    before: Buckets
    behind: Buckets


def day_of(bucket: int) -> int:
    """The day that a quarter hour is of, since 1970."""
    return bucket // DAY_BUCKETS


def day_in_sql(bucket: str) -> str:
    """The same as an expression of SQL, whose division rounds towards zero."""
    return f"(({bucket}) - CASE WHEN ({bucket}) < 0 THEN {DAY_BUCKETS - 1} ELSE 0 END) / {DAY_BUCKETS}"


def whole_days(buckets: Buckets) -> WholeDays:
    """A time by days, as far as it is made of whole ones: every quarter hour of it once, and no other."""
    first, end = -day_of(-buckets.first), day_of(buckets.end)
    past = min(first * DAY_BUCKETS, buckets.end)
    behind = Buckets(max(end * DAY_BUCKETS, past), buckets.end)
    return WholeDays(first, end, Buckets(buckets.first, past), behind)
