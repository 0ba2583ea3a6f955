"""What usage comes to, window by window and part by part, as it is counted so far: late usage included.

The database adds up, so a month of a busy meter costs a row for each window, not one for each quarter hour. What comes
out is what `domain.metering.aggregation` makes of the same events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from asyncpg import Range

from domain.metering.aggregation import (
    ADDED_BY_GROUP,
    ZERO,
    Aggregation,
    PartialAggregate,
    Tally,
    Window,
    level_at,
    quantity_of,
    total_of,
)
from domain.metering.usage_value import units
from usage.partials import (
    EPOCH,
    MICROSECOND,
    Buckets,
    MeteredSeries,
    Queries,
    grouped,
    left_of,
    levels_before,
    start_of,
)

Place: TypeAlias = tuple[int, int]
"""A part and a window, both counted from zero."""

_PARTS: Final = "unnest($1::bytea[], $2::int[]) AS p (series, part)"
_WINDOW: Final = "width_bucket(t.bucket, $3::int[]) - 1"
_BETWEEN: Final = "t.series = p.series AND t.bucket >= ($3::int[])[1] AND t.bucket < $4"
_INSIDE: Final = f"{_BETWEEN} AND NOT t.bucket <@ $5::int4multirange"

_SUMS: Final = f"""
SELECT p.part, {_WINDOW} AS nth, sum(t.n)::bigint AS events, sum(t.total) AS value
FROM {_PARTS} JOIN usage.aggregates t ON {_INSIDE} GROUP BY 1, 2
"""  # noqa: S608  constants
_MAXIMA: Final = f"""
SELECT part, nth, max(value) AS value FROM (
    SELECT p.part, {_WINDOW} AS nth, t.value FROM {_PARTS} JOIN usage.tallies t ON {_INSIDE}
    GROUP BY 1, 2, 3 HAVING sum(t.times) > 0
) AS kept GROUP BY 1, 2
"""  # noqa: S608  constants
_MEMBERS: Final = f"""
SELECT part, nth, count(*) AS value FROM (
    SELECT p.part, {_WINDOW} AS nth, t.member FROM {_PARTS} JOIN usage.tallies t ON {_INSIDE}
    GROUP BY 1, 2, 3 HAVING sum(t.times) > 0
) AS kept GROUP BY 1, 2
"""  # noqa: S608  constants
_LATEST: Final = f"""
SELECT DISTINCT ON (part, nth) part, nth, value FROM (
    SELECT p.part, {_WINDOW} AS nth, t.at_us, t.event_id, t.value FROM {_PARTS} JOIN usage.tallies t ON {_INSIDE}
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(t.times) > 0
) AS kept ORDER BY part, nth, at_us DESC, event_id DESC, value DESC
"""  # noqa: S608  constants
_POINTS: Final = f"""
SELECT p.part, {_WINDOW} AS nth, t.at_us, t.event_id, t.value FROM {_PARTS} JOIN usage.tallies t ON {_BETWEEN}
GROUP BY 1, 2, 3, 4, 5 HAVING sum(t.times) > 0 ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608  constants
_TALLIED: Final = {Aggregation.MAX: _MAXIMA, Aggregation.UNIQUE: _MEMBERS, Aggregation.LATEST: _LATEST}


class Figure(NamedTuple):
    """A quantity in the meter's unit, exact, and of how many events it is, less their voids."""

    quantity: Decimal | Fraction
    events: int


NOTHING: Final = Figure(ZERO, 0)


async def figures(
    connection: Queries,
    parts: Sequence[Sequence[MeteredSeries]],
    starts: Sequence[int],
    end: int,
    *,
    held_until: datetime,
    without: Sequence[Buckets] = (),
) -> Mapping[Place, Figure]:
    """By part and window what the series of a part come to together; where nothing was counted there may be none.

    Windows begin in the buckets `starts`, in order, each ends where the next begins, and the last before `end`; what is
    `without` counts in none. The series are one meter's. Levels are held until `held_until` at the longest, so that no
    time counts that is to come.
    """
    series = [each for part in parts for each in part]
    if not series:
        return {}
    if series[0].version.aggregation not in ADDED_BY_GROUP:
        return await _figures(connection, parts, starts, end, held_until=held_until, without=without)
    groups = [(nth, group) for nth, part in enumerate(parts) for group in grouped(part).values()]
    own = [group for _, group in groups]
    found = await _figures(connection, own, starts, end, held_until=held_until, without=without)
    of_parts: dict[Place, list[Figure]] = {}
    for (nth, window), figure in found.items():
        of_parts.setdefault((groups[nth][0], window), []).append(figure)
    return {place: _total(each) for place, each in of_parts.items()}


def _total(figures_: Sequence[Figure]) -> Figure:
    return Figure(total_of(each.quantity for each in figures_), sum(each.events for each in figures_))


async def _figures(
    connection: Queries,
    parts: Sequence[Sequence[MeteredSeries]],
    starts: Sequence[int],
    end: int,
    *,
    held_until: datetime,
    without: Sequence[Buckets],
) -> Mapping[Place, Figure]:
    """As `figures`, of parts that are counted alike: where each group has a level of its own, of one group each."""
    series = [each for part in parts for each in part]
    of = [nth for nth, part in enumerate(parts) for _ in part]
    between = ([each.series for each in series], of, list(starts), end)
    placed = (*between, [Range(each.first, each.end) for each in without])
    sums = {(row["part"], row["nth"]): row for row in await connection.fetch(_SUMS, *placed)}
    aggregation = series[0].version.aggregation
    match aggregation:
        case Aggregation.COUNT:
            return {place: Figure(Decimal(row["events"]), row["events"]) for place, row in sums.items()}
        case Aggregation.SUM | Aggregation.AMOUNTS:
            return {place: Figure(units(row["value"]), row["events"]) for place, row in sums.items()}
        case Aggregation.TIME_WEIGHTED_SUM:
            held = await _held(connection, parts, between, held_until, without)
            return {place: Figure(each, sums[place]["events"] if place in sums else 0) for place, each in held.items()}
    values = {(row["part"], row["nth"]): row["value"] for row in await connection.fetch(_TALLIED[aggregation], *placed)}
    is_number = aggregation is Aggregation.UNIQUE
    return {
        place: Figure(Decimal(values.get(place, 0)) if is_number else units(values.get(place, 0)), row["events"])
        for place, row in sums.items()
    }


async def _held(
    connection: Queries,
    parts: Sequence[Sequence[MeteredSeries]],
    between: tuple[list[bytes], list[int], list[int], int],
    held_until: datetime,
    without: Sequence[Buckets],
) -> dict[Place, Decimal | Fraction]:
    """Levels by the time that they were held, in every window of every part. What is told in a time that does not count
    goes on behind it.
    """
    _, _, starts, end = between
    levels = await levels_before(connection, parts, starts[0])
    points: dict[Place, list[Tally]] = {}
    for row in await connection.fetch(_POINTS, *between):
        at = EPOCH + row["at_us"] * MICROSECOND
        tally = Tally(at=at, event_id=row["event_id"], value=units(row["value"]), times=1)
        points.setdefault((row["part"], row["nth"]), []).append(tally)
    found: dict[Place, Decimal | Fraction] = {}
    for part in range(len(parts)):
        level = levels.get(part, ZERO)
        for nth, window in enumerate(map(Buckets, starts, (*starts[1:], end))):
            tallies = tuple(points.get((part, nth), ()))
            partial = PartialAggregate(aggregation=Aggregation.TIME_WEIGHTED_SUM, tallies=tallies)
            pieces = (
                Window(start=start_of(each.first), end=min(start_of(each.end), held_until))
                for each in left_of(window, without)
            )
            found[part, nth] = total_of(quantity_of(partial, piece, level) for piece in pieces)
            level = level_at(partial, start_of(window.end), level)
    return found
