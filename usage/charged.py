"""What a percentage makes of the single events of a period that runs, added up where they lie.

A period is looked at again and again before it is over, and may have a hundred thousand events: what they are charged
together is one row, however many they are. `domain.pricing.percentage` says the same of each of them.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from asyncpg import Range

from domain.kernel.percent import factor_of
from domain.pricing.measured import ChargedEvents
from domain.pricing.models import Percentage
from usage.partials import Buckets, MeteredSeries, Queries, left_of

_CHARGED: Final = """
WITH kept AS MATERIALIZED (
    SELECT t.at_us, t.event_id, t.value * 1e-9 AS amount, sum(t.times) AS times FROM usage.tallies t
    WHERE t.series = ANY($1::bytea[]) AND t.bucket >= $2 AND t.bucket < $3 AND NOT t.bucket <@ $4::int4multirange
    GROUP BY 1, 2, 3 HAVING sum(t.times) > 0
), placed AS (
    SELECT amount, times, sum(times) OVER (ORDER BY at_us, event_id, amount) - times AS before FROM kept
), priced AS (
    SELECT amount, times, times - least(times, greatest($5::bigint - before, 0)) AS charged,
        amount * $6::numeric + $7::numeric AS cost FROM placed
)
SELECT coalesce(bool_or(amount < 0), false) AS gives_back, coalesce(sum(times), 0)::bigint AS events,
    coalesce(sum(charged), 0)::bigint AS charged, coalesce(sum(amount * charged), 0) AS base,
    coalesce(sum(charged * greatest($8::numeric - cost, 0)), 0) AS raised_by,
    coalesce(sum(charged * least($9::numeric - cost, 0)), 0) AS cut_by
FROM priced
"""


async def charged_together(
    connection: Queries, series: Sequence[MeteredSeries], pieces: Sequence[Buckets], price: Percentage
) -> ChargedEvents | None:
    """What the events of these quarter hours are charged, of all series alike; None where some give back: then it is
    by their order what each vacates.
    """
    if not pieces:
        return ChargedEvents(free=0, charged=0, base=Fraction(0), events=0, raised_by=Fraction(0), cut_by=Fraction(0))
    whole = Buckets(pieces[0].first, pieces[-1].end)
    without = [Range(each.first, each.end) for each in left_of(whole, pieces)]
    row = await connection.fetchrow(
        _CHARGED,
        [each.series for each in series],
        *whole,
        without,
        price.free_events,
        factor_of(price.percent),
        price.fixed_amount,
        price.event_minimum,
        price.event_maximum,
    )
    if row["gives_back"]:
        return None
    return ChargedEvents(
        free=row["events"] - row["charged"],
        charged=row["charged"],
        base=Fraction(row["base"]),
        events=row["charged"],
        raised_by=Fraction(row["raised_by"]),
        cut_by=Fraction(row["cut_by"]),
    )
