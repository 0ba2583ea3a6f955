"""How much a customer has used of a meter in a period, asked often: what counts and adds up takes one query."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.metering.aggregation import Aggregation, Window
from domain.metering.usage_value import units
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
FROM own CROSS JOIN LATERAL (
    SELECT sum(a.n) AS n, sum(a.total) AS total FROM usage.aggregates a
    WHERE a.series = own.series AND a.bucket >= $4 AND a.bucket < $5
) AS t
"""


async def used_in(connection: Queries, metered: Metered, period: Window, *, held_until: datetime) -> Figure:
    """The figure of a subscription's period as it is counted now. Levels are held until `held_until`."""
    buckets = buckets_of(period.start, period.end)
    row = await connection.fetchrow(_USED, *metered, *buckets)
    assert row is not None, "an aggregate has a row"
    match row["aggregation"]:
        case None:
            return NOTHING
        case Aggregation.COUNT:
            return Figure(Decimal(row["events"]), row["events"])
        case Aggregation.SUM | Aggregation.AMOUNTS:
            return Figure(units(row["total"]), row["events"])
    series = await series_of_customer(connection, metered.tenant_id, metered.customer_id, [metered.meter_id])
    found = await figures(connection, [series], [buckets.first], buckets.end, held_until=held_until)
    return found.get((0, 0), NOTHING)
