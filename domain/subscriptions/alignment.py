"""From where a subscription's periods are counted: its start, an anchor that was named, or the calendar."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, local_of_instant
from domain.kernel.refusal import Refusal, RefusalKind

_YEAR: Final = Interval(IntervalUnit.YEAR)
_OF_A_YEAR: Final = frozenset({Interval(IntervalUnit.MONTH), Interval(IntervalUnit.QUARTER)})


class PeriodAlignment(StrEnum):
    """`start`: the first period begins it, whole. `anchor`: a date of its own. `calendar`: the 1st of a month, of a
    quarter, of a year, and Mondays, at midnight.
    """

    START = "start"
    ANCHOR = "anchor"
    CALENDAR = "calendar"


class StubPeriod(StrEnum):
    """What a period costs that begins within one of the schedule: its share of the price, or nothing."""

    PRORATED = "prorated"
    FREE = "free"


class ContradictoryAnchor(Refusal):
    """A `billing_anchor` goes with the alignment `anchor` alone: name both, or neither."""

    code = "contradictory_anchor"
    kind = RefusalKind.INVALID
    param = "billing_anchor"


@dataclass(frozen=True, slots=True)
class Counted:
    """Period `anchor_index` begins at the anchor; period 0 is the first. It is short where it begins within one of the
    schedule.
    """

    anchor_at: datetime
    anchor_index: int
    begins_short: bool


def counted_from(
    alignment: PeriodAlignment,
    anchor_at: datetime | None,
    first_at: datetime,
    time_zone: str,
    intervals: Iterable[Interval],
) -> Counted:
    """Where the first period begins at `first_at`. The shortest of the intervals, which nest, counts the periods; the
    longest says where the calendar begins. Raises ContradictoryAnchor, BeyondCalendar.
    """
    if (anchor_at is not None) is not (alignment is PeriodAlignment.ANCHOR):
        raise ContradictoryAnchor(alignment=alignment)
    if alignment is PeriodAlignment.START:
        return Counted(first_at, 0, begins_short=False)
    by_length = sorted(intervals, key=lambda each: (each.days, each.months))
    anchor = anchor_at or _calendar_anchor(first_at, time_zone, by_length[-1])
    cycle = BillingCycle.anniversary(anchor, time_zone, by_length[0])
    nth = cycle.index_at(first_at)
    return Counted(anchor, -nth, begins_short=first_at != anchor and cycle.boundary(nth) < first_at)


def _calendar_anchor(first_at: datetime, time_zone: str, interval: Interval) -> datetime:
    """The calendar's boundary before that time; an earlier one where a zone skipped that midnight, since the hour to
    which it then moved is not the schedule's. Of months and quarters it is the year's, so that a year that is added
    later is the calendar's, too.
    """
    if interval in _OF_A_YEAR:
        interval = _YEAR
    cycle = BillingCycle.calendar(first_at, time_zone, interval)
    k = 0
    while local_of_instant(cycle.boundary(k), time_zone) != cycle.local_boundary(k):
        k -= 1
    return cycle.boundary(k)
