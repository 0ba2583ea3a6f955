"""Subscriptions as they were at an instant of their own time: folded from the log, which is seldom asked for; and when
they changed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from projections.reading import Reader
from schemas.codec import decode_event

_EVENTS: Final = """
SELECT effective_at, payload FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3
ORDER BY stream_version
"""
_CHANGES: Final = """
SELECT DISTINCT last.effective_at FROM unnest($3::text[]) AS of (stream_id)
CROSS JOIN LATERAL (
    SELECT e.effective_at FROM log.events e
    WHERE e.tenant_id = $1 AND e.stream_type = $2 AND e.stream_id = of.stream_id AND e.event_type <> ALL($6)
    ORDER BY e.stream_version DESC LIMIT $5
) AS last WHERE last.effective_at >= $4 ORDER BY 1 DESC
"""
CHANGES_MAX: Final = 20
"""The last ones of a subscription that are looked through."""
CHANGES_NOTHING: Final = ("subscription.usage_billed", "subscription.usage_threshold_set", "subscription.metadata_set")
"""Events that leave a subscription as it was, however many there are."""


async def subscriptions_before(
    connection: Reader, tenant_id: str, subscription_ids: Sequence[str], at: datetime
) -> list[Subscription]:
    """As they were right before `at`; those that did not exist are left out."""
    found: list[Subscription] = []
    for subscription_id in subscription_ids:
        state: Subscription | None = None
        for row in await connection.fetch(_EVENTS, tenant_id, SUBSCRIPTION.name, subscription_id):
            if row["effective_at"] >= at:
                break
            state = SUBSCRIPTION.evolve(state, decode_event(row["payload"]))
        if state is not None:
            found.append(state)
    return found


async def changed_since(
    connection: Reader, tenant_id: str, subscription_ids: Sequence[str], since: datetime
) -> list[datetime]:
    """When something happened to one of them, from an instant on: by its own time, the latest first."""
    of = tenant_id, SUBSCRIPTION.name, list(subscription_ids), since
    rows = await connection.fetch(_CHANGES, *of, CHANGES_MAX, CHANGES_NOTHING)
    return [row["effective_at"] for row in rows]
