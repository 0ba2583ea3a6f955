"""Driving sagas: an event comes in, the saga's commands go out. Kafka's consumers and the sweeper call `drive`.

Sagas travel by Kafka; the sweeper is there for what was lost on the way. Who drove one is the actor of its commands,
so the log tells how many the sweeper had to.
"""

from domain.kernel.saga import Saga
from domain.kernel.stream import Event, WorkKind
from domain.sagas import SAGAS
from infra.event_store.port import Writer
from infra.kafka.records import Delivered
from processors.consumers import Consumer, ConsumerParts
from processors.issue import Cause, issue
from processors.journeys import Driver, Journeys


def consumers_of(parts: ConsumerParts) -> tuple[Consumer, ...]:
    """A consumer for each saga that asks for something."""
    return tuple(_consumer(saga, parts) for saga in SAGAS if saga.react is not None)


def _consumer(saga: Saga, parts: ConsumerParts) -> Consumer:
    async def handle(fact: Delivered) -> None:
        await drive(
            saga,
            parts.writer,
            parts.journeys,
            event_id=fact.event_id,
            event=parts.codec.decode_event(fact.value),
            tenant_id=fact.tenant_id,
            correlation_id=fact.correlation_id,
            by=Driver.KAFKA,
        )

    return Consumer(
        name=f"saga-{saga.name}",
        topics=(saga.topic,),
        event_types=frozenset({saga.started_by}),
        handle=handle,
        holds=WorkKind.SAGA_DEADLINE,
    )


async def drive(
    saga: Saga,
    writer: Writer,
    journeys: Journeys,
    *,
    event_id: str,
    event: Event,
    tenant_id: str,
    correlation_id: str,
    by: Driver,
) -> None:
    """Issue what the saga wants after this event; nothing happens for what it has issued before."""
    if saga.react is None:
        return
    cause = Cause(tenant_id=tenant_id, correlation_id=correlation_id, causation_id=event_id)
    for step, command in saga.react(event_id, event):
        key = f"{saga.name}:{event_id}:{step}"
        outcome = await issue(writer, command, key=key, cause=cause, actor=f"{by}:{saga.name}")
        if not outcome.replayed:
            journeys.started(saga.name, by)
