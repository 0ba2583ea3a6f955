"""What is watched, or over which period, has changed: what a customer has used by now is looked at again."""

from typing import Final

from domain.catalog.plan import PLAN, PlanCreated, PlanVersionAdded
from domain.customers.test_clock import TEST_CLOCK
from domain.entitlements.usage_alert import USAGE_ALERT, UsageAlertCreated
from domain.kernel.stream import Topic
from domain.subscriptions.subscription import SUBSCRIPTION
from infra.event_store.storage import Codec
from infra.kafka.records import Delivered
from processors.consumers import Consumer, ConsumerParts
from usage.looks import NO_EARLIER, ask, wake
from usage.partials import Connection, bucket_of

_OF_SUBSCRIPTIONS: Final = frozenset(
    {
        "subscription.created",
        "subscription.trial_started",
        "subscription.trial_extended",
        "subscription.trial_ended",
        "subscription.period_started",
        "subscription.changed",
        "subscription.paused",
        "subscription.resumed",
        "subscription.suspended",
        "subscription.reactivated",
        "subscription.continued",
        "subscription.canceled",
        "subscription.usage_threshold_set",
    }
)
_OF_ALERTS: Final = frozenset({"usage_alert.created", "usage_alert.changed"})
_OF_CUSTOMERS: Final = frozenset({"customer.updated", "entitlement.reset"})
"""Another time zone has other months."""
_OF_CLOCKS: Final = frozenset({"test_clock.moved", "test_clock.advanced"})

_FIRST: Final = """
SELECT payload FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3
ORDER BY stream_version LIMIT 1
"""
_TERMS: Final = """
SELECT payload FROM log.events WHERE tenant_id = $1 AND stream_type = $2
    AND event_type IN ('plan.created', 'plan.version_added')
"""


def consumers_of(parts: ConsumerParts) -> tuple[Consumer, ...]:
    """One, that asks for looks of whoever it is about, at periods that run then or begin later."""

    async def handle(fact: Delivered) -> None:
        async with parts.pool.acquire() as connection:
            if fact.stream_type == TEST_CLOCK.name:
                await wake(connection, fact.tenant_id, clock_id=fact.stream_id)
            elif fact.stream_type == USAGE_ALERT.name:
                await _ask_for_alert(connection, parts.codec, fact)
            else:
                customer_id = fact.key.decode()[len(fact.tenant_id) + 1 :]
                since = bucket_of(fact.effective_at) if fact.stream_type == SUBSCRIPTION.name else NO_EARLIER
                await ask(connection, fact.tenant_id, customer_id=customer_id, meter_ids=None, first_bucket=since)

    return (
        Consumer(
            name="usage-looks",
            topics=(Topic.BILLING,),
            event_types=_OF_SUBSCRIPTIONS | _OF_ALERTS | _OF_CUSTOMERS | _OF_CLOCKS,
            handle=handle,
        ),
    )


async def _ask_for_alert(connection: Connection, codec: Codec, fact: Delivered) -> None:
    """At what it watches: its meter, or those that count its feature."""
    created = codec.decode_event(await connection.fetchval(_FIRST, fact.tenant_id, USAGE_ALERT.name, fact.stream_id))
    assert isinstance(created, UsageAlertCreated), "the first event of a usage alert is usage_alert.created"
    meter_ids = [] if created.meter_id is None else [created.meter_id]
    if created.feature is not None:
        meter_ids = await _meters_of(connection, codec, fact.tenant_id, created.feature)
    await ask(
        connection,
        fact.tenant_id,
        customer_id=created.customer_id,
        meter_ids=meter_ids,
        first_bucket=NO_EARLIER,
    )


async def _meters_of(connection: Connection, codec: Codec, tenant_id: str, feature: str) -> list[str]:
    """Those that count it by any version of a plan, as subscriptions keep what theirs said."""
    found: set[str] = set()
    for row in await connection.fetch(_TERMS, tenant_id, PLAN.name):
        event = codec.decode_event(row["payload"])
        assert isinstance(event, PlanCreated | PlanVersionAdded), "these have terms"
        found |= {each.meter_id for each in event.terms.features if each.key == feature and each.meter_id is not None}
    return sorted(found)
