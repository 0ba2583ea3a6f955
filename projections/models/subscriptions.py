"""Subscriptions as they are now."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.kernel.money import Money
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from projections.read_model import Projection
from projections.reading import Reader, many
from projections.status_tally import status_tally
from projections.stream_rows import stream_model

TABLE = stream_model(
    SUBSCRIPTION,
    Subscription,
    name="subscriptions",
    version=2,
    projection=Projection.BILLING,
    indexes=("tenant_id, customer_id, created_at, subscription_id", "tenant_id, (terms ->> 'plan_id')"),
    tally=status_tally(
        "subscriptions",
        status=lambda subscription: subscription.status,
        money=lambda subscription: Money(0, subscription.terms.currency),
    ),
    tallied_by="billing_stats",
)


class OnPlan(NamedTuple):
    """How many subscriptions run on older terms of a plan, and of how many nothing stands in the way of a change."""

    subscriptions: int
    changeable: int


_ON_PLAN: Final = """
SELECT count(*) AS subscriptions,
    count(*) FILTER (WHERE paused_at IS NULL AND cancel_at IS NULL AND scheduled IS NULL) AS changeable
FROM read.subscriptions
WHERE tenant_id = $1 AND terms ->> 'plan_id' = $2 AND status <> 'canceled'
    AND ($4::bigint IS NULL OR (terms ->> 'plan_version')::bigint = $4)
    AND ((terms ->> 'plan_version')::bigint < $3
        OR EXISTS (SELECT FROM jsonb_array_elements(terms -> 'items') item WHERE item ->> 'price_id' = ANY($5))
        OR NOT (SELECT array_agg(item ->> 'price_id') FROM jsonb_array_elements(terms -> 'items') item) @> $6::text[])
    AND NOT coalesce(scheduled -> 'terms' ->> 'plan_id' = $2
        AND (scheduled -> 'terms' ->> 'plan_version')::bigint >= $3, false)
"""


async def on_older_terms(
    connection: Reader,
    tenant_id: str,
    plan_id: str,
    *,
    version: int,
    only: int | None,
    replaced: Sequence[str],
    added: Sequence[str],
) -> OnPlan:
    """Those on older versions than `version` (or on `only` that one), with a price that is replaced, or without one
    that is added; less those that are scheduled to get there.
    """
    row = await connection.fetchrow(_ON_PLAN, tenant_id, plan_id, version, only, list(replaced), list(added))
    assert row is not None, "an aggregate has a row"
    return OnPlan(row["subscriptions"], row["changeable"])


_BILLING_USAGE: Final = """
SELECT subscription_id FROM read.subscriptions
WHERE tenant_id = $1 AND customer_id = $2 AND status <> 'canceled'
    AND EXISTS (SELECT FROM jsonb_array_elements(terms -> 'items') item WHERE item ->> 'meter_id' IS NOT NULL)
ORDER BY created_at, subscription_id
"""


async def billing_usage(connection: Reader, tenant_id: str, customer_id: str) -> list[Subscription]:
    """The customer's subscriptions with items that a meter counts, but for those that are cancelled; the oldest first.

    A meter is of one of them at the most.
    """
    ids = [row["subscription_id"] for row in await connection.fetch(_BILLING_USAGE, tenant_id, customer_id)]
    found = {row.state.subscription_id: row.state for row in await many(connection, TABLE, tenant_id, ids)}
    return [found[each] for each in ids if each in found]


_COUNTING: Final = """
SELECT subscription_id FROM read.subscriptions WHERE tenant_id = $1 AND customer_id = ANY($2::text[])
    AND (terms -> 'features' <> '[]' OR metered <> '[]')
"""


async def counting(connection: Reader, tenant_id: str, customer_ids: Sequence[str]) -> list[Subscription]:
    """The customers' subscriptions with a feature, or that a meter counts or has counted an item of, in whatever state;
    in no order.

    A feature that is not metered adds to the limit of one that is.
    """
    ids = [row["subscription_id"] for row in await connection.fetch(_COUNTING, tenant_id, list(customer_ids))]
    return [row.state for row in await many(connection, TABLE, tenant_id, ids)]
