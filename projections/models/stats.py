"""The dashboard's figures: how many customers, subscriptions, invoices and payments are in which state, and the money.

Stocks (`invoices.open`) are sums up to a day, flows (`invoice.paid`) are sums over days; both from the same rows.
"""

from datetime import date
from typing import Final, NamedTuple

from projections.read_model import Projection
from projections.reading import Reader
from projections.status_tally import stats_model

BILLING: Final = stats_model("billing_stats", Projection.BILLING)
PAYMENTS: Final = stats_model("payment_stats", Projection.PAYMENTS)

_FROM: Final = (
    "(SELECT * FROM read.billing_stats WHERE tenant_id = $1 "
    "UNION ALL SELECT * FROM read.payment_stats WHERE tenant_id = $1) AS s"
)


class Figure(NamedTuple):
    """A count and a sum of minor units. `day` is None for a sum over days."""

    measure: str
    currency: str
    day: date | None
    quantity: int
    amount: int


async def by_now(connection: Reader, tenant_id: str, *, until: date | None = None) -> list[Figure]:
    """Every measure per currency, summed up to the end of a day (None: all). Flows: since the beginning."""
    records = await connection.fetch(
        f"""SELECT measure, currency, NULL::date AS day, sum(count)::bigint, sum(amount)::bigint FROM {_FROM}
            WHERE $2::date IS NULL OR day <= $2 GROUP BY measure, currency ORDER BY measure, currency""",  # noqa: S608
        tenant_id,
        until,
    )
    return [Figure(*record) for record in records]
