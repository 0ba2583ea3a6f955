"""Subscriptions as they are now, and what their customers may have by them."""

from typing import Final, NamedTuple

from domain.kernel.money import Money
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from projections.read_model import Projection
from projections.reading import Reader
from projections.status_tally import status_tally
from projections.stream_rows import stream_model

TABLE = stream_model(
    SUBSCRIPTION,
    Subscription,
    name="subscriptions",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, customer_id, created_at, subscription_id",),
    tally=status_tally(
        "subscriptions",
        status=lambda subscription: subscription.status,
        money=lambda subscription: Money(0, subscription.terms.currency),
    ),
    tallied_by="billing_stats",
)


class Entitled(NamedTuple):
    """By how many subscriptions that run a customer has a feature, and up to which limit together; None has none."""

    subscriptions: int
    limit: int | None


_ENTITLED: Final = """
SELECT count(*) AS subscriptions, count(*) FILTER (WHERE feature ->> 'limit' IS NULL) AS endless,
    coalesce(sum((feature ->> 'limit')::bigint), 0)::bigint AS most
FROM read.subscriptions, jsonb_array_elements(terms -> 'features') feature
WHERE tenant_id = $1 AND customer_id = $2 AND status IN ('trialing', 'active', 'past_due') AND feature ->> 'key' = $3
"""


async def entitled(connection: Reader, tenant_id: str, customer_id: str, key: str) -> Entitled:
    """What the customer's subscriptions that run say of a feature: limits add up, and without one there is none."""
    row = await connection.fetchrow(_ENTITLED, tenant_id, customer_id, key)
    assert row is not None, "an aggregate has a row"
    return Entitled(row["subscriptions"], None if row["endless"] else row["most"])
