"""The topics of a cell: their names, their partitions, and how they are made."""

import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

log = structlog.get_logger(__name__)

_WORDS: Final = struct.Struct("<I")
KEEP_FOR_EVER_MS: Final = "-1"


class TopicName(StrEnum):
    """Every topic there is, without its cell's prefix."""

    BILLING = "billing.events.v1"
    PAYMENTS = "payments.events.v1"
    LEDGER = "ledger.entries.v1"
    IDENTITY = "identity.events.v1"
    DEAD_LETTERS = "dead-letters.v1"


PUBLISHED: Final = (TopicName.BILLING, TopicName.PAYMENTS, TopicName.LEDGER, TopicName.IDENTITY)
"""The topics that the relay writes: they are made from the log and can be made again."""


class PartitionsDiffer(Exception):
    """A topic has another number of partitions than the settings say."""


def full_name(prefix: str, topic: str) -> str:
    """A topic's name in its cell: the prefix comes first, as it is (`cell1.` makes `cell1.billing.events.v1`)."""
    return prefix + topic


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: murmur2 as the Java client computes it, so that any client's topics can be joined."""
    return (murmur2(key) & 0x7FFF_FFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 by Austin Appleby, 32 bits, with the Java client's seed; unsigned.

    aiokafka has one too; this takes a quarter of its time, and the relay hashes every new key.
    """
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length & ~3
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        mixed = word * 0x5BD1E995 & 0xFFFF_FFFF
        mixed = (mixed ^ mixed >> 24) * 0x5BD1E995 & 0xFFFF_FFFF
        value = value * 0x5BD1E995 & 0xFFFF_FFFF ^ mixed
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & 0xFFFF_FFFF
    value = (value ^ value >> 13) * 0x5BD1E995 & 0xFFFF_FFFF
    return value ^ value >> 15


async def ensure_topics(
    bootstrap: str, *, prefix: str, partitions: int, replication_factor: int, request_timeout_ms: int
) -> None:
    """Make the topics that are missing. Raises PartitionsDiffer where one exists with another partition count."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=request_timeout_ms)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        wanted = [full_name(prefix, topic) for topic in TopicName]
        missing = [
            NewTopic(
                name=name,
                num_partitions=partitions,
                replication_factor=replication_factor,
                # The broker unpacks what others packed, with codecs that we may not have, and refuses what is then too
                # large.
                topic_configs={
                    "retention.ms": KEEP_FOR_EVER_MS,
                    "retention.bytes": "-1",
                    "compression.type": "uncompressed",
                },
            )
            for name in wanted
            if name not in existing
        ]
        if missing:
            response = await admin.create_topics(missing)
            for topic, code, *message in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:  # another process made it at the same moment
                    raise error(f"{topic}: {message}")
            log.info("topics_made", topics=[topic.name for topic in missing], partitions=partitions)
        for topic in await admin.describe_topics(wanted):
            found = len(topic["partitions"])
            if found not in (0, partitions):
                raise PartitionsDiffer(
                    f"{topic['topic']} has {found} partitions, the settings say {partitions}: "
                    "set TALLYBOOK_KAFKA_PARTITIONS to it, or drop the topics and run `tallybook relay republish`"
                )
    finally:
        await admin.close()


class PublishedTopics:
    """The published topics that the brokers have (never the dead letters, which nothing can make again)."""

    def __init__(self, admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
        self._admin = admin
        self.names = names

    async def drop(self) -> None:
        """Delete them."""
        if not self.names:
            return
        response = await self._admin.delete_topics(list(self.names))
        for topic, code in response.topic_error_codes:
            error = for_code(code)
            if code and error is not UnknownTopicOrPartitionError:  # gone already
                raise error(topic)


@contextlib.asynccontextmanager
async def published_topics(bootstrap: str, *, prefix: str, request_timeout_ms: int) -> AsyncIterator[PublishedTopics]:
    """Ask the brokers for the published topics. Raises KafkaError where none answers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=request_timeout_ms)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        yield PublishedTopics(admin, [name for topic in PUBLISHED if (name := full_name(prefix, topic)) in existing])
    finally:
        await admin.close()
