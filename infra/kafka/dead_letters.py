"""Dead letters: what a consumer gave up on, kept in a table (to list and replay) and on a topic (for anybody else).

Both are written before the record counts as done; a redelivered record is buried once. Which record it is, is told by
its place and its digest: a topic that was made anew counts its offsets anew, and what stands there is another letter.
A record too large to be kept is kept by reference: its place, size, digest, and the small ones of its headers. Events
hold no personal data, so neither do dead letters.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import structlog
from aiokafka import AIOKafkaProducer

from infra.database import Pool
from infra.kafka.records import ConsumerRecord
from infra.kafka.topics import TopicName, full_name

log = structlog.get_logger(__name__)

ERROR_CHARS_MAX: Final = 2_000
WHOLE_BYTES_MAX: Final = 1_000_000
"""Larger records are kept by reference: with where it came from, a letter has to fit into a batch of 1 MiB."""

HEADER_BYTES: Final = 32  # what a header takes beside its name and value
SMALL_BYTES_MAX: Final = 1_000
SMALL_HEADERS_MAX: Final = 32
NAME_CHARS_MAX: Final = 255

Headers = Sequence[tuple[str, bytes | None]]

_BURY: Final = """
INSERT INTO ops.dead_letters (consumer, topic, partition, record_offset, record_timestamp_ms, record_sha256,
                              record_bytes, by_reference, tenant_id, event_id, record_key, record_value,
                              header_names, header_values, error, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (consumer, topic, partition, record_offset, record_sha256) DO UPDATE
    SET error = excluded.error, attempts = ops.dead_letters.attempts + excluded.attempts
"""
_COLUMNS: Final = (
    "dead_letter_id, consumer, topic, partition, record_offset, record_timestamp_ms, record_bytes, by_reference, "
    "record_key, record_value, header_names, header_values, error, attempts, buried_at, replayed_at"
)


class Kept(NamedTuple):
    """What is kept of a record: all of it, or what is small."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    size_bytes: int
    sha256: bytes
    by_reference: bool


def kept(record: ConsumerRecord) -> Kept:
    """The record as a letter keeps it, with its size and its digest."""
    key, value, headers = record.key, record.value, list(record.headers)
    size = len(key or b"") + len(value or b"")
    size += sum(HEADER_BYTES + len(name.encode()) + len(found or b"") for name, found in headers)
    digest = _digest(record)
    if size <= WHOLE_BYTES_MAX:
        return Kept(key, value, headers, size, digest, by_reference=False)
    small = [each for each in headers if len(each[0]) + len(each[1] or b"") <= SMALL_BYTES_MAX][:SMALL_HEADERS_MAX]
    key = None if key is None or len(key) > SMALL_BYTES_MAX else key
    return Kept(key, None, small, size, digest, by_reference=True)


def _digest(record: ConsumerRecord) -> bytes:
    """SHA-256 of everything about the record but its place."""
    digest = hashlib.sha256(struct.pack(">q", record.timestamp))
    for part in (
        record.key,
        record.value,
        *(part for name, value in record.headers for part in (name.encode(), value)),
    ):
        digest.update(struct.pack(">q", -1 if part is None else len(part)))
        digest.update(part or b"")
    return digest.digest()


class Producer(Protocol):
    """The part of a Kafka producer that a dead letter needs."""

    async def send_and_wait(
        self, topic: str, value: bytes | None, key: bytes | None, *, headers: Headers
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that was given up, as a consumer would see it again: it is a `ConsumerRecord`.

    `by_reference`: it was too large to be kept; its topic may still have it. `size_bytes` is the size it came in.
    """

    dead_letter_id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    size_bytes: int
    by_reference: bool
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: str
    attempts: int
    buried_at: datetime
    replayed_at: datetime | None


class KeptLetters:
    """The letters in their table, which is all that it takes to see, replay or dismiss them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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
                timestamp=row["record_timestamp_ms"],
                size_bytes=row["record_bytes"],
                by_reference=row["by_reference"],
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
            _error_text(error),
        )


class DeadLetters(KeptLetters):
    """Writes dead letters, too. The pool's role is the writer's or the projector's."""

    def __init__(self, pool: Pool, producer: Producer | AIOKafkaProducer, *, topic_prefix: str) -> None:
        super().__init__(pool)
        self._producer = producer
        self._topic = full_name(topic_prefix, TopicName.DEAD_LETTERS)

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        """Keep a record that `consumer` could not handle. Raises if it could not be kept in both places."""
        text = _error_text(error)
        letter = kept(record)
        found: Mapping[str, bytes | None] = dict(letter.headers)
        await self._pool.execute(
            _BURY,
            consumer,
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            letter.sha256,
            letter.size_bytes,
            letter.by_reference,
            _text(found.get("tenant")),
            _text(found.get("ce_id")),
            letter.key,
            letter.value,
            [_holdable(name) for name, _ in letter.headers],
            [value for _, value in letter.headers],
            text,
            attempts,
        )
        origin = [
            ("dead_letter_consumer", consumer.encode()),
            ("dead_letter_topic", record.topic.encode()),
            ("dead_letter_partition", b"%d" % record.partition),
            ("dead_letter_offset", b"%d" % record.offset),
            ("dead_letter_bytes", b"%d" % letter.size_bytes),
            ("dead_letter_sha256", letter.sha256.hex().encode()),
            ("dead_letter_by_reference", b"true" if letter.by_reference else b"false"),
            ("dead_letter_error", text.encode()),
            ("dead_letter_attempts", b"%d" % attempts),
        ]
        # The client sends no record that has neither key nor value.
        value = b"" if letter.key is None and letter.value is None else letter.value
        await self._producer.send_and_wait(self._topic, value, letter.key, headers=[*letter.headers, *origin])


def _error_text(error: BaseException) -> str:
    return _holdable(f"{type(error).__name__}: {error}")[:ERROR_CHARS_MAX]


def _text(value: bytes | None) -> str | None:
    """A header as text for people to search by: a poison record may carry anything."""
    return None if value is None else _holdable(value.decode("utf-8", "replace"))[:NAME_CHARS_MAX]


def _holdable(text: str) -> str:
    """Text that PostgreSQL can hold."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
