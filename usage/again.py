"""A dead letter of usage is sent again: it stands at the topic's end, and what of it counted does not count twice."""

from typing import Any

from aiokafka import AIOKafkaProducer

from infra.kafka.dead_letters import DeadLetter
from infra.settings import Settings
from usage.topic import COMPRESSION


class CannotSendAgain(Exception):
    """The letter does not hold its record; the message says where that may be."""


async def send_again(settings: Settings, letter: DeadLetter) -> None:
    """Append the record to its topic and partition. Raises CannotSendAgain, and what aiokafka raises."""
    if letter.by_reference:
        raise CannotSendAgain(
            f"it was too large to be kept: {letter.topic}/{letter.partition}@{letter.offset} may still have it"
        )
    if settings.kafka.bootstrap is None:
        raise CannotSendAgain("no Kafka is named: set TALLYBOOK_KAFKA_BOOTSTRAP")
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type=COMPRESSION,
        request_timeout_ms=settings.kafka.request_timeout_ms,
    )
    await producer.start()
    try:
        await producer.send_and_wait(
            letter.topic, letter.value, letter.key, partition=letter.partition, headers=list(letter.headers)
        )
    finally:
        await producer.stop()
