"""The sagas that events drive: an event comes in, the saga's commands go out. Faust and the sweeper call `drive`.

Sagas travel by Kafka; the sweeper is there for what was lost on the way. Who drove one is the actor of its commands,
so the log tells how many the sweeper had to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.kernel.stream import Command, Event, Topic
from domain.payments import charge_saga, refund_saga
from infra.event_store.port import Writer
from processors.issue import Cause, issue
from processors.journeys import Driver, Journeys

React = Callable[[str, Event], list[tuple[str, Command]]]


@dataclass(frozen=True, slots=True)
class Saga:
    """A saga's pure part, and which events of which topic concern it."""

    name: str
    topic: Topic
    event_types: frozenset[str]
    react: React


SAGAS: Final = (
    Saga(charge_saga.NAME, Topic.BILLING, frozenset({"invoice.finalized"}), charge_saga.react),
    Saga(refund_saga.NAME, Topic.PAYMENTS, frozenset({"payment.captured"}), refund_saga.react),
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
    cause = Cause(tenant_id=tenant_id, correlation_id=correlation_id, causation_id=event_id)
    for step, command in saga.react(event_id, event):
        key = f"{saga.name}:{event_id}:{step}"
        outcome = await issue(writer, command, key=key, cause=cause, actor=f"{by}:{saga.name}")
        if not outcome.replayed:
            journeys.started(saga.name, by)
