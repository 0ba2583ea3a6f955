"""What is watched, or over which period, has changed: what a customer has used by now is looked at again."""

from typing import Final

from domain.entitlements.usage_alert import USAGE_ALERT
from domain.kernel.stream import Topic
from infra.kafka.records import Delivered
from processors.consumers import Consumer, ConsumerParts
from usage.looks import NO_EARLIER, ask

_OF_SUBSCRIPTIONS: Final = frozenset(
    {
        "subscription.created",
        "subscription.trial_started",
        "subscription.period_started",
        "subscription.changed",
        "subscription.resumed",
        "subscription.reactivated",
        "subscription.continued",
        "subscription.canceled",
        "subscription.usage_threshold_set",
    }
)
_OF_ALERTS: Final = frozenset({"usage_alert.created", "usage_alert.changed"})


def consumers_of(parts: ConsumerParts) -> tuple[Consumer, ...]:
    """One, that asks for looks at the running periods of whoever it is about."""

    async def handle(fact: Delivered) -> None:
        subject = fact.key.decode()[len(fact.tenant_id) + 1 :]
        customer_id: str | None = subject
        if fact.stream_type == USAGE_ALERT.name and subject == fact.stream_id:
            customer_id = None  # an alert of all customers
        async with parts.pool.acquire() as connection:
            await ask(connection, fact.tenant_id, customer_id=customer_id, meter_id=None, first_bucket=NO_EARLIER)

    return (
        Consumer(
            name="usage-looks",
            topics=(Topic.BILLING,),
            event_types=_OF_SUBSCRIPTIONS | _OF_ALERTS,
            handle=handle,
        ),
    )
