"""Records that nobody should write to our topics, and a client that writes them all the same."""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.util import calc_crc32c

from infra.kafka.records import Headers
from infra.kafka.topics import TopicName, full_name
from infra.kafka.unreadable import tolerate_unreadable_batches
from testing.services import KafkaServer

BYTES_MAX = 10_000_000
"""What a topic of these tests takes: far more than a consumer expects."""

HUGE = b"\x00" * 6_000_000
FAR_AHEAD = 1_000_000


class Foreign(NamedTuple):
    """A record and what it is called in a failure."""

    about: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def foreign_records(key: bytes, value: bytes, headers: Headers) -> list[Foreign]:
    """Everything hostile that can be made of a record of ours, and some that is nothing like one."""
    real = dict(headers)

    def changed(about: str, **values: bytes | None) -> Foreign:
        return Foreign(about, key, value, list((real | values).items()))

    position = int(real["position"])
    return [
        Foreign("nothing at all", None, None, []),
        Foreign("no value", key, None, headers),
        Foreign("no key", None, value, headers),
        Foreign("no headers", key, value, []),
        Foreign("every header without a value", key, value, [(name, None) for name in real]),
        *(changed(f"{name} without a value", **{name: None}) for name in real),
        *(changed(f"{name} is no text", **{name: b"\xff\xfe\x00"}) for name in real),
        *(changed(f"{name} is empty", **{name: b""}) for name in real),
        changed("a tenant that PostgreSQL cannot hold", tenant=b"ac\x00me"),
        changed("a stream that no index can hold", ce_subject=b"invoice/" + b"x" * 100_000),
        Foreign("a key that is no text", b"\xff\xfe", value, headers),
        Foreign("another tenant's key", b"other:" + key, value, headers),
        *(
            changed(f"{name} is {number!r}", **{name: number})
            for name in ("position", "previous_position", "incarnation", "stream_version")
            for number in (b"-1", b"1e9", b" 1", b"1_0", b"9" * 30, b"9" * 5000, b"0x1")
        ),
        changed("a time that is none", ce_time=b"yesterday"),
        changed("a time without its zone", recorded_at=b"2026-01-01T00:00:00"),
        changed("an incarnation that nobody began", incarnation=b"1000000"),
        changed("a record behind a gap", position=b"%d" % (position + FAR_AHEAD), ce_id=b"evt_forged"),
        changed("bytes of no schema", position=b"%d" % (position + 1), previous_position=real["position"]),
        Foreign("not even framed", key, b"garbage", list((real | {"ce_id": b"evt_forged"}).items())),
        Foreign("an unknown schema", key, b"\x00\x7f\xff\xff\xff?", list((real | {"ce_id": b"evt_forged"}).items())),
        Foreign("ten thousand headers", key, value, [*headers, *((f"h{n}", b"x") for n in range(10_000))]),
        Foreign("a header's name that PostgreSQL cannot hold", key, value, [("a\x00b", b"x")]),
        Foreign("a record of 6 MB", key, HUGE, headers),
        Foreign("a key of 6 MB", HUGE, value, headers),
        Foreign("a header of 6 MB", key, value, [*headers, ("more", HUGE)]),
    ]


async def make_topics(kafka: KafkaServer, prefix: str, partitions: int) -> None:
    """The cell's topics, as somebody made them who lets more through than the relay ever sends."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        limits = {"max.message.bytes": str(BYTES_MAX), "retention.ms": "-1"}
        topics = [NewTopic(full_name(prefix, name), partitions, 1, topic_configs=limits) for name in TopicName]
        await admin.create_topics(topics)
    finally:
        await admin.close()


async def write(
    kafka: KafkaServer,
    topic: str,
    partition: int,
    records: Sequence[Foreign],
    *,
    timestamp_ms: int | None = None,
    packed: bool = True,
) -> None:
    """Write records as they are, one batch each."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        max_request_size=BYTES_MAX,
        max_batch_size=BYTES_MAX,
        compression_type="gzip" if packed else None,
    )
    await producer.start()
    try:
        for record in records:
            batch = producer.create_batch()
            batch.append(
                key=record.key,
                value=record.value,
                timestamp=timestamp_ms,
                headers=record.headers,
            )
            acknowledged = await producer.send_batch(batch, topic, partition=partition)
            await acknowledged
    finally:
        await producer.stop()


class Written(NamedTuple):
    """A record as the topic holds it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


async def read_all(kafka: KafkaServer, topic: str, partitions: int) -> list[Written]:
    """Every record of a topic."""
    tolerate_unreadable_batches()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Written] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                for polled in (await consumer.getmany(timeout_ms=200)).values():
                    found += [Written(r.partition, r.offset, r.key, r.value, r.headers) for r in polled]
        return found
    finally:
        await consumer.stop()


async def write_unreadable(kafka: KafkaServer, topic: str, partition: int) -> None:
    """Write a batch that the client raises for: its header's name is no text."""
    await write_batch(kafka.bootstrap, topic, partition, unreadable)


async def write_batch(bootstrap: str, topic: str, partition: int, spoil: Callable[[bytes], bytes]) -> None:
    """Write what is made of a batch of one small record."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch.append(key=b"k", value=b"v", timestamp=None, headers=[(HEADER_NAME.decode(), b"")])
        batch.close()
        batch._buffer = bytearray(spoil(bytes(batch._build())))
        acknowledged = await producer.send_batch(batch, topic, partition=partition)
        await acknowledged
    finally:
        await producer.stop()


HEADER_NAME = b"a-name-that-is-found"


def unreadable(batch: bytes) -> bytes:
    """A batch whose header's name is made bytes that are no UTF-8, with the checksum put right."""
    damaged = bytearray(batch.replace(HEADER_NAME, b"\xff" * len(HEADER_NAME)))
    damaged[17:21] = struct.pack(">I", calc_crc32c(bytes(damaged[21:])))
    return bytes(damaged)
