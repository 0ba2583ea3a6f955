"""Records that the relay did not write, on each topic: as damaged, as forged and as large as anybody can send them.

Each bears a header of ours, so that the letters that consumers bury for it are told from those for real records.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer

from infra.event_store.port import Recorded
from infra.kafka.records import PREVIOUS_POSITION, HeaderWriter
from infra.kafka.topics import TopicName, full_name
from infra.settings import KafkaSettings

MARK: Final = "forger"
FORGED_INCARNATION: Final = 1_000_000
FAR_AHEAD: Final = 1_000_000_000
LARGE_BYTES: Final = 1_000_000
"""Nearly what a topic takes; more than a dead letter keeps."""

BYTES_MAX: Final = 1_048_576


class ForeignRecord(NamedTuple):
    """A record as it is sent."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def foreign_records(model: Recorded, *, incarnation: int, mark: str) -> list[ForeignRecord]:
    """What can be made of a record of ours; the last is one that every consumer buries."""
    key, value = model.partition_key.encode(), model.payload
    ours: dict[str, bytes | None] = dict(HeaderWriter(b"faults", incarnation).write(model))
    before = b"%d" % (model.position - 1)

    def changed(value: bytes | None = value, **headers: bytes | None) -> ForeignRecord:
        return ForeignRecord(
            key, value, [*(ours | {PREVIOUS_POSITION: before} | headers).items(), (MARK, mark.encode())]
        )

    ahead = b"%d" % (FAR_AHEAD + model.position)
    return [
        changed(incarnation=b"%d" % FORGED_INCARNATION),
        changed(b"garbage", ce_id=b"evt_forged", position=ahead),
        changed(b"\x00" * LARGE_BYTES, ce_id=b"evt_forged", position=ahead),
        changed(tenant=None),
    ]


async def send_foreign(
    kafka: KafkaSettings, *, bootstrap: str, partition: int, records: Sequence[ForeignRecord]
) -> None:
    """Write them to a partition of each topic. Raises KafkaError where the broker does not take them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, max_request_size=2 * BYTES_MAX, request_timeout_ms=kafka.request_timeout_ms
    )
    try:
        await producer.start()
        for topic in TopicName:
            name = full_name(kafka.topic_prefix, topic)
            for record in records:
                await producer.send_and_wait(
                    name, record.value, record.key, partition=partition, headers=list(record.headers)
                )
    finally:
        await producer.stop()
