"""Dead letters: what a consumer gave up on, kept in a table (to list and replay) and on a topic (for anybody else).

Both are written before the record counts as done; a redelivered record is buried once. Events hold no personal data,
so neither do dead letters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer

from infra.database import Pool
from infra.kafka.records import ConsumerRecord
from infra.kafka.topics import TopicName, full_name

log = structlog.get_logger(__name__)

ERROR_CHARS_MAX: Final = 2_000

_BURY: Final = """
INSERT INTO ops.dead_letters (consumer, topic, partition, record_offset, tenant_id, event_id, record_key, record_value,
                              header_names, header_values, error, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (consumer, topic, partition, record_offset) DO UPDATE
    SET error = excluded.error, attempts = ops.dead_letters.attempts + excluded.attempts
"""
_COLUMNS: Final = (
    "dead_letter_id, consumer, topic, partition, record_offset, record_key, record_value, header_names, header_values, "
    "error, attempts, buried_at, replayed_at"
)


class Producer(Protocol):
    """The part of a Kafka producer that a dead letter needs."""

    async def send_and_wait(
        self, topic: str, value: bytes | None, key: bytes | None, *, headers: Sequence[tuple[str, bytes]]
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that was given up, as a consumer would see it again: it is a `ConsumerRecord`."""

    dead_letter_id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    error: str
    attempts: int
    buried_at: datetime
    replayed_at: datetime | None


class DeadLetters:
    """Writes and reads dead letters. The pool's role is the writer's or the projector's."""

    def __init__(self, pool: Pool, producer: Producer | AIOKafkaProducer, *, topic_prefix: str) -> None:
        self._pool = pool
        self._producer = producer
        self._topic = full_name(topic_prefix, TopicName.DEAD_LETTERS)

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        """Keep a record that `consumer` could not handle. Raises if it could not be kept in both places."""
        text = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
        headers = list(record.headers)
        found: Mapping[str, bytes] = dict(headers)
        await self._pool.execute(
            _BURY,
            consumer,
            record.topic,
            record.partition,
            record.offset,
            _text(found.get("tenant")),
            _text(found.get("ce_id")),
            record.key,
            record.value,
            [name for name, _ in headers],
            [value for _, value in headers],
            text,
            attempts,
        )
        origin = [
            ("dead_letter_consumer", consumer.encode()),
            ("dead_letter_topic", record.topic.encode()),
            ("dead_letter_partition", b"%d" % record.partition),
            ("dead_letter_offset", b"%d" % record.offset),
            ("dead_letter_error", text.encode()),
            ("dead_letter_attempts", b"%d" % attempts),
        ]
        await self._producer.send_and_wait(self._topic, record.value, record.key, headers=[*headers, *origin])

    async def waiting(self, *, limit: int, consumer: str | None = None) -> list[DeadLetter]:
        """Letters that were not replayed yet, oldest first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM ops.dead_letters WHERE replayed_at IS NULL "  # noqa: S608  constants
            "AND ($2::text IS NULL OR consumer = $2) ORDER BY dead_letter_id LIMIT $1",
            limit,
            consumer,
        )
        return [
            DeadLetter(
                dead_letter_id=row["dead_letter_id"],
                consumer=row["consumer"],
                topic=row["topic"],
                partition=row["partition"],
                offset=row["record_offset"],
                key=row["record_key"],
                value=row["record_value"],
                headers=list(zip(row["header_names"], row["header_values"], strict=True)),
                error=row["error"],
                attempts=row["attempts"],
                buried_at=row["buried_at"],
                replayed_at=row["replayed_at"],
            )
            for row in rows
        ]

    async def mark_replayed(self, dead_letter_id: int) -> None:
        """The letter was handled after all."""
        await self._pool.execute(
            "UPDATE ops.dead_letters SET replayed_at = clock_timestamp() WHERE dead_letter_id = $1", dead_letter_id
        )

    async def mark_failed(self, dead_letter_id: int, error: BaseException) -> None:
        """A replay failed as well: it stays, with the new error."""
        await self._pool.execute(
            "UPDATE ops.dead_letters SET attempts = attempts + 1, error = $2 WHERE dead_letter_id = $1",
            dead_letter_id,
            f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX],
        )


def _text(value: bytes | None) -> str | None:
    """A header as text PostgreSQL can hold: a poison record may carry anything."""
    return None if value is None else value.decode("utf-8", "replace").replace("\x00", "\ufffd")
