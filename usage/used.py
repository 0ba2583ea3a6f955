"""How much a customer has used of a meter in a period, asked often: what counts and adds up takes one query, of a row a
day.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.metering.aggregation import Aggregation, Window
from domain.metering.usage_value import units
from usage.days import whole_days
from usage.figures import NOTHING, Figure, figures
from usage.live import Metered
from usage.partials import Queries, buckets_of, series_of_customer

_USED: Final = """
WITH own AS MATERIALIZED (
    SELECT s.series, (SELECT a.rule ->> 'aggregation' FROM usage.adopted_meters a WHERE a.partition = s.partition
        AND a.tenant_id = s.tenant_id AND a.meter_id = s.meter_id AND a.version = s.version) AS aggregation
    FROM usage.series s WHERE s.tenant_id = $1 AND s.customer_id = $2 AND s.meter_id = $3
)
SELECT min(own.aggregation) AS aggregation, coalesce(sum(t.n), 0)::bigint AS events, coalesce(sum(t.total), 0) AS total
FROM own LEFT JOIN LATERAL (
    SELECT n, total FROM usage.days WHERE series = own.series AND day >= $4 AND day < $5
    UNION ALL
    SELECT n, total FROM (VALUES ($6::int, $7::int), ($8::int, $9::int)) AS left_of (first, past)
        JOIN usage.aggregates ON series = own.series AND bucket >= left_of.first AND bucket < left_of.past
) AS t ON true
"""


async def summed_in(connection: Queries, metered: Metered, period: Window) -> Figure | None:
    """The figure of a subscription's period as it is counted now, in one query; None where it is not a sum."""
    buckets = buckets_of(period.start, period.end)
    days = whole_days(buckets)
    row = await connection.fetchrow(_USED, *metered, days.first, days.end, *days.before, *days.behind)
    assert row is not None, "an aggregate has a row"
    match row["aggregation"]:
        case None:
            return NOTHING
        case Aggregation.COUNT:
            return Figure(Decimal(row["events"]), row["events"])
        case Aggregation.SUM | Aggregation.AMOUNTS:
            return Figure(units(row["total"]), row["events"])
    return None


async def used_in(connection: Queries, metered: Metered, period: Window, *, held_until: datetime) -> Figure:
    """The figure of a subscription's period as it is counted now. Levels are held until `held_until`."""
    summed = await summed_in(connection, metered, period)
    if summed is not None:
        return summed
    buckets = buckets_of(period.start, period.end)
    series = await series_of_customer(connection, metered.tenant_id, metered.customer_id, [metered.meter_id])
    found = await figures(connection, [series], [buckets.first], buckets.end, held_until=held_until)
    return found.get((0, 0), NOTHING)
