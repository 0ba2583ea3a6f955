"""What a customer may have of a feature, in one query: programs ask before each use."""

from datetime import datetime
from typing import Final, NamedTuple

from domain.customers.customer import CUSTOMER
from domain.entitlements.entitlement import ENTITLEMENT, Entitlement, entitlement_id_of
from projections.current import as_logged
from projections.models import entitlements
from projections.reading import Reader

_ENTITLED: Final = f"""
SELECT {", ".join(f"k.{column.name}" for column in entitlements.TABLE.columns)}, e.version AS log_version,
    c.test_clock_id, f.*
FROM log.streams s
    LEFT JOIN read.customers c ON c.tenant_id = s.tenant_id AND c.customer_id = s.stream_id
    LEFT JOIN log.streams e ON e.tenant_id = s.tenant_id AND e.stream_type = $5 AND e.stream_id = $6
    LEFT JOIN read.entitlements k ON k.tenant_id = e.tenant_id AND k.entitlement_id = e.stream_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS subscriptions, count(*) FILTER (WHERE feature ->> 'limit' IS NULL) AS endless,
            coalesce(sum((feature ->> 'limit')::bigint), 0)::bigint AS most,
            coalesce(bool_or(feature ->> 'limit_kind' IS DISTINCT FROM 'soft'), true) AS is_hard,
            (array_agg(feature ->> 'meter_id' ORDER BY created_at, subscription_id)
                FILTER (WHERE feature ->> 'meter_id' IS NOT NULL))[1] AS meter_id,
            (array_agg(coalesce(period_start, starts_at) ORDER BY created_at, subscription_id)
                FILTER (WHERE feature ->> 'meter_id' IS NOT NULL))[1] AS period_start,
            (array_agg(coalesce(period_end, trial_end) ORDER BY created_at, subscription_id)
                FILTER (WHERE feature ->> 'meter_id' IS NOT NULL))[1] AS period_end
        FROM read.subscriptions, jsonb_array_elements(terms -> 'features') AS of_plan (feature)
        WHERE tenant_id = $1 AND customer_id = $2 AND status IN ('trialing', 'active', 'past_due')
            AND feature ->> 'key' = $3
    ) AS f
WHERE s.tenant_id = $1 AND s.stream_type = $4 AND s.stream_id = $2
"""  # noqa: S608  constants


class Granted(NamedTuple):
    """By how many subscriptions that run a customer has a feature, and up to which limit together; None has none.

    `meter_id` counts up to the limit, in the period [start, end) of the oldest of them that names one.
    """

    subscriptions: int
    limit: int | None
    is_hard: bool
    meter_id: str | None
    start: datetime | None
    end: datetime | None


class Entitled(NamedTuple):
    """What is granted, the clock of the customer's time, and what the log tells of the limit, as of its last event."""

    granted: Granted
    test_clock_id: str | None
    entitlement: Entitlement | None


async def entitled(connection: Reader, tenant_id: str, customer_id: str, feature: str) -> Entitled | None:
    """What the customer's subscriptions that run say of a feature: limits add up, and without one there is none.

    None where there is no such customer. Of a customer that the read models do not have yet they have no subscription.
    """
    entitlement_id = entitlement_id_of(customer_id, feature)
    asked = tenant_id, customer_id, feature, CUSTOMER.name, ENTITLEMENT.name, entitlement_id
    row = await connection.fetchrow(_ENTITLED, *asked)
    if row is None:
        return None
    known = None
    if row["log_version"] is not None:
        key = tenant_id, entitlement_id
        known = await as_logged(connection, entitlements.TABLE, ENTITLEMENT, entitlement_id, key, row)
    limit = None if row["endless"] else row["most"]
    place = row["meter_id"], row["period_start"], row["period_end"]
    granted = Granted(row["subscriptions"], limit, row["is_hard"], *place)
    return Entitled(granted, row["test_clock_id"], None if known is None else known.state)
