"""The topic of usage: how it is made, and what is frozen about it."""

from typing import Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from infra.kafka.topics import PartitionsDiffer
from usage.wire import topic_of

log = structlog.get_logger(__name__)

COMPRESSION: Final = "zstd"
DAY_MS: Final = 86_400_000
TIMESTAMP_TYPE: Final = "message.timestamp.type"
APPEND_TIME: Final = "LogAppendTime"


class UsageTopicDiffers(Exception):
    """The topic of usage was made by somebody else, in a way that counts wrongly; the message says what to do."""


async def ensure_usage_topic(
    bootstrap: str,
    *,
    prefix: str,
    partitions: int,
    replication_factor: int,
    retention_days: int,
    request_timeout_ms: int,
) -> None:
    """Make the topic unless it is there. Times are the broker's (LogAppendTime): how long an id is remembered rests on
    them. Raises PartitionsDiffer where it has another number of partitions: that is frozen, since deduplication belongs
    to a partition.
    """
    name = topic_of(prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=request_timeout_ms)
    await admin.start()
    try:
        if name not in await admin.list_topics():
            response = await admin.create_topics(
                [
                    NewTopic(
                        name=name,
                        num_partitions=partitions,
                        replication_factor=replication_factor,
                        topic_configs={
                            TIMESTAMP_TYPE: APPEND_TIME,
                            "retention.ms": str(retention_days * DAY_MS),
                            "retention.bytes": "-1",
                            "cleanup.policy": "delete",
                            # whatever a producer packs with, it is read with a codec that we have
                            "compression.type": COMPRESSION,
                        },
                    )
                ]
            )
            for topic, code, *message in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:  # another process made it at the same moment
                    raise error(f"{topic}: {message}")
        await _check(admin, name, partitions)
    finally:
        await admin.close()


async def _check(admin: AIOKafkaAdminClient, name: str, partitions: int) -> None:
    for topic in await admin.describe_topics([name]):
        found = len(topic["partitions"])
        if found not in (0, partitions):
            raise PartitionsDiffer(
                f"{name} has {found} partitions, the settings say {partitions}: set TALLYBOOK_USAGE_PARTITIONS to "
                f"{found}; the number is frozen, because an id is remembered by its partition"
            )
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    for answer in answers:
        for resource in answer.resources:
            configured = {entry[0]: entry[1] for entry in resource[4]}
            kept = configured.get(TIMESTAMP_TYPE)
            if kept not in (None, APPEND_TIME):
                raise UsageTopicDiffers(
                    f"{name} keeps the producers' times ({kept}): set its {TIMESTAMP_TYPE} to {APPEND_TIME}"
                )
