"""Usage over a window of time: partial aggregates that merge in any order, and the figures they give.

A partial aggregate is a signed tally: an event adds to it, its void takes the same away again. Tallies merge by adding,
so hours add up to days and months, late events and corrections land where they belong, and the order in which parts
arrive does not matter. What a figure needs is kept and no more: a number for count and sum; the distinct values for
max; the distinct keys for unique; the instants with their values for latest, for the time-weighted sum and for amounts.

Where a meter groups, the total is of all events alike for count, sum, max, unique and amounts. Of latest and of the
time-weighted sum each group is a counter of its own, such as one of three disks: it has a last value and a level of its
own, and the total is their sum.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import chain

from domain.kernel.rounding import EXACT

ZERO = Decimal(0)
NOTHING = Fraction(0)
HOUR = timedelta(hours=1)


class Aggregation(StrEnum):
    """How a meter turns events into one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    LATEST = "latest"
    UNIQUE = "unique"
    TIME_WEIGHTED_SUM = "time_weighted_sum"
    AMOUNTS = "amounts"


ADDED_BY_GROUP = frozenset({Aggregation.LATEST, Aggregation.TIME_WEIGHTED_SUM})
"""Of these each group is a counter of its own, and the total is the sum of the groups' figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One measured event. `value` is what is summed, compared or held; `key` is what UNIQUE counts."""

    event_id: str
    at: datetime
    value: Decimal = ZERO
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One distinct entry and how many times it counts: events less voids. Fields the figure ignores stay empty."""

    at: datetime | None = None
    event_id: str = ""
    value: Decimal = ZERO
    key: str = ""
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialAggregate:
    """What some events add to a figure. `count` and `total` are kept for every aggregation."""

    aggregation: Aggregation
    count: int = 0
    total: Decimal = ZERO
    tallies: tuple[Tally, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """[start, end), two instants with a time zone."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUsage:
    """What the events of one group add in a window, and the level that the group carries into it."""

    partial: PartialAggregate
    carried_in: Decimal = ZERO


def aggregate(aggregation: Aggregation, events: Iterable[UsageEvent]) -> PartialAggregate:
    """The partial aggregate of events that are known not to be repeats: dedupe by event id comes before."""
    count, total = 0, ZERO
    tallies: list[Tally] = []
    for event in events:
        count += 1
        total = EXACT.add(total, event.value)
        tally = _tally(aggregation, event)
        if tally is not None:
            tallies.append(tally)
    return PartialAggregate(aggregation=aggregation, count=count, total=total, tallies=_combined(tallies))


def merge(first: PartialAggregate, *others: PartialAggregate) -> PartialAggregate:
    """All of them together; associative and commutative, and the empty aggregate changes nothing. No rounding.

    Every entry is looked at once, so the hours of a month are merged in one call, not one after another into a sum that
    is read anew each time. Raises ValueError when they aggregate differently.
    """
    partials = (first, *others)
    total = ZERO
    for partial in partials:
        if partial.aggregation is not first.aggregation:
            raise ValueError(f"cannot merge {first.aggregation} with {partial.aggregation}")
        total = EXACT.add(total, partial.total)
    return PartialAggregate(
        aggregation=first.aggregation,
        count=sum(partial.count for partial in partials),
        total=total,
        tallies=_combined(chain.from_iterable(partial.tallies for partial in partials)),
    )


def void(aggregation: Aggregation, event: UsageEvent) -> PartialAggregate:
    """What to merge so that the event never happened; it may be merged before the event itself is."""
    added = aggregate(aggregation, [event])
    return PartialAggregate(
        aggregation=aggregation,
        count=-added.count,
        total=EXACT.minus(added.total),
        tallies=tuple(
            Tally(at=tally.at, event_id=tally.event_id, value=tally.value, key=tally.key, times=-tally.times)
            for tally in added.tallies
        ),
    )


def correction(aggregation: Aggregation, wrong: UsageEvent, right: UsageEvent) -> PartialAggregate:
    """What to merge so that `right` stands where `wrong` stood."""
    return merge(void(aggregation, wrong), aggregate(aggregation, [right]))


def quantity_of(
    partial: PartialAggregate, window: Window, carried_in: Decimal = ZERO, unit: timedelta = HOUR
) -> Decimal | Fraction:
    """The figure over the window, in units of the meter, exactly: a price rounds once, and nothing is rounded before.

    The events of `partial` are those of the window, except that a time-weighted sum also takes earlier ones for the
    level it starts from (else `carried_in`), and leaves out those at or after the end. COUNT and SUM may be below zero
    when corrections outweigh events; AMOUNTS is the sum, too. MAX and LATEST of nothing are zero; so is UNIQUE. LATEST:
    at one instant the greater event id wins. TIME_WEIGHTED_SUM: level × time held, in value-`unit`s (GB-hours), by
    elapsed time, so a day of 25 hours weighs 25 (vector 39); a Fraction, for it need not come out even.
    """
    match partial.aggregation:
        case Aggregation.COUNT:
            return Decimal(partial.count)
        case Aggregation.SUM | Aggregation.AMOUNTS:
            return partial.total
        case Aggregation.MAX:
            return max((tally.value for tally in partial.tallies if tally.times > 0), default=ZERO)
        case Aggregation.UNIQUE:
            return Decimal(sum(1 for tally in partial.tallies if tally.times > 0))
        case Aggregation.LATEST:
            points = _points(partial)
            return points[-1].value if points else ZERO
        case Aggregation.TIME_WEIGHTED_SUM:
            return time_weighted_sum(partial, window, carried_in, unit)


def amounts_of(partial: PartialAggregate) -> tuple[Decimal, ...]:
    """The values of the events of an AMOUNTS, in the order of their times, of one instant in that of their ids."""
    return tuple([tally.value for tally in _points(partial) for _ in range(tally.times)])


def quantity_of_groups(
    aggregation: Aggregation, groups: Sequence[GroupUsage], window: Window, unit: timedelta = HOUR
) -> Decimal | Fraction:
    """The figure of all groups of a meter over the window, exactly, as `quantity_of` has that of one.

    Of ADDED_BY_GROUP a group without events in the window counts, too, where it carries a level in. Raises ValueError
    for a group that is aggregated differently.
    """
    if aggregation in ADDED_BY_GROUP:
        return total_of(quantity_of(each.partial, window, each.carried_in, unit) for each in groups)
    nothing = PartialAggregate(aggregation=aggregation)
    return quantity_of(merge(nothing, *(each.partial for each in groups)), window, unit=unit)


def total_of(quantities: Iterable[Decimal | Fraction]) -> Decimal | Fraction:
    """Quantities added up, exactly."""
    whole, parts = ZERO, NOTHING
    for quantity in quantities:
        if isinstance(quantity, Decimal):
            whole = EXACT.add(whole, quantity)
        else:
            parts += quantity
    return Fraction(whole) + parts if parts else whole


def time_weighted_sum(
    partial: PartialAggregate, window: Window, carried_in: Decimal = ZERO, unit: timedelta = HOUR
) -> Fraction:
    """The integral of the level over the window in value-`unit`s, exactly, by elapsed time and not by the clock's face.

    A level holds from its event's instant until the next event's; at one instant the greater event id holds. Sums over
    adjacent windows add up when each carries in the level the one before ended with (`level_at`).
    """
    level = carried_in
    since, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    weighted = NOTHING
    for tally in _points(partial):
        at = _instant(tally)
        if at >= end:
            break
        if at > since:
            weighted += Fraction(level) * ((at - since) // _MICROSECOND)
            since = at
        level = tally.value
    weighted += Fraction(level) * max((end - since) // _MICROSECOND, 0)
    return Fraction(weighted, unit // _MICROSECOND)


def level_at(partial: PartialAggregate, at: datetime, carried_in: Decimal = ZERO) -> Decimal:
    """The gauge's level just before that instant: what a window that starts there carries in."""
    level = carried_in
    for tally in _points(partial):
        if _instant(tally) >= at:
            break
        level = tally.value
    return level


def time_weighted_average(partial: PartialAggregate, window: Window, carried_in: Decimal = ZERO) -> Fraction:
    """The mean level over the window, exactly. Raises ZeroDivisionError when the window is empty."""
    length = window.end.astimezone(UTC) - window.start.astimezone(UTC)
    return time_weighted_sum(partial, window, carried_in, length)


def settled(partial: PartialAggregate) -> PartialAggregate:
    """The least that still gives the same figure, once no void or correction of its events is accepted any more.

    Keeps the greatest value of a MAX and the last point of a LATEST; voided entries are gone everywhere.
    """
    kept = [tally for tally in partial.tallies if tally.times > 0]
    match partial.aggregation:
        case Aggregation.MAX:
            kept = [max(kept, key=lambda tally: tally.value)] if kept else []
        case Aggregation.LATEST:
            kept = kept[-1:]
        case _:
            pass
    return PartialAggregate(
        aggregation=partial.aggregation, count=partial.count, total=partial.total, tallies=tuple(kept)
    )


_MICROSECOND = timedelta(microseconds=1)
_NO_INSTANT = datetime.min.replace(tzinfo=UTC)
_Key = tuple[datetime | None, str, Decimal, str]


def _tally(aggregation: Aggregation, event: UsageEvent) -> Tally | None:
    match aggregation:
        case Aggregation.COUNT | Aggregation.SUM:
            return None
        case Aggregation.MAX:
            return Tally(value=event.value, times=1)
        case Aggregation.UNIQUE:
            return Tally(key=event.key, times=1)
        case Aggregation.LATEST | Aggregation.TIME_WEIGHTED_SUM | Aggregation.AMOUNTS:
            # in UTC: two times of one zone are compared and subtracted by the clock's face, not by elapsed time
            return Tally(at=event.at.astimezone(UTC), event_id=event.event_id, value=event.value, times=1)


def _combined(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    """Equal entries added up, those that cancel out dropped, in one order whatever came first."""
    times: dict[_Key, int] = {}
    for tally in tallies:
        key = (tally.at, tally.event_id, tally.value, tally.key)
        times[key] = times.get(key, 0) + tally.times
    return tuple(
        Tally(at=at, event_id=event_id, value=value, key=text, times=count)
        for (at, event_id, value, text), count in sorted(times.items(), key=lambda item: _order(item[0]))
        if count
    )


def _order(key: _Key) -> tuple[datetime, str, Decimal, str]:
    at, event_id, value, text = key
    return (_NO_INSTANT if at is None else at, event_id, value, text)


def _points(partial: PartialAggregate) -> list[Tally]:
    return [tally for tally in partial.tallies if tally.times > 0]


def _instant(tally: Tally) -> datetime:
    if tally.at is None:
        raise TypeError("a point in time has an instant")
    return tally.at
