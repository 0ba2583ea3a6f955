"""What wants events from Kafka: a consumer says which, and what is done with one.

Each is a reader of its own of the processes' group, with its own place in the topics and its own dead letters. It is
given every event at least once and in its key's order, never one that the log does not have, and does nothing slow:
it issues a command, or writes down what due work then does.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from domain.kernel.stream import Topic, WorkKind
from infra.database import Pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.port import Writer
from infra.event_store.storage import Codec
from infra.kafka.dead_letters import DeadLetters
from infra.kafka.provenance import ForeignRecord, foreign
from infra.kafka.records import ConsumerRecord, Delivered, NotOurRecord, delivered
from infra.kafka.topics import full_name
from infra.telemetry import correlated
from processors.delivery import BoundConsumer
from processors.journeys import Journeys

Handle = Callable[[Delivered], Awaitable[None]]


class ConsumerParts(NamedTuple):
    """What consumers work with. The pool's role is the writer's."""

    writer: Writer
    journeys: Journeys
    codec: Codec
    pool: Pool
    topic_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """`event_types` are business names. `holds` is the kind of due work that its events schedule for want of it: held
    while the record is a dead letter, released by the replay.
    """

    name: str
    topics: tuple[Topic, ...]
    event_types: frozenset[str]
    handle: Handle
    holds: WorkKind | None = None


Consumers = Callable[[ConsumerParts], tuple[Consumer, ...]]
"""What makes some consumers of a process; see `CONSUMERS` in `processors/app.py`."""


def bound(consumer: Consumer, parts: ConsumerParts) -> BoundConsumer:
    """What Faust needs to bring a consumer its events."""

    async def handle(fact: Delivered) -> None:
        with correlated(fact.correlation_id, causation_id=fact.event_id):
            await consumer.handle(fact)

    return BoundConsumer(
        name=consumer.name,
        topics=tuple(full_name(parts.topic_prefix, topic) for topic in consumer.topics),
        event_types=consumer.event_types,
        foreign=lambda facts: foreign(parts.pool, facts),
        handle=handle,
    )


class ConsumerDeadLetters:
    """Buries a consumer's record, and holds the due work that it would have met: shown as held until it is replayed."""

    def __init__(self, dead_letters: DeadLetters, queue: PostgresDueWork, holds: WorkKind | None) -> None:
        self._dead_letters = dead_letters
        self._queue = queue
        self._holds = holds

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        """See `delivery.DeadLetters`."""
        await self._dead_letters.bury(record, consumer=consumer, error=error, attempts=attempts)
        if self._holds is not None and not isinstance(error, NotOurRecord | ForeignRecord):  # a forgery holds up nobody
            event_id = delivered(record).event_id
            await self._queue.hold_caused_by(event_id, self._holds, error=f"dead letter: {error}")
