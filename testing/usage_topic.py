"""A topic of usage for what asks brokers about it and counts nothing."""

from infra.settings import KafkaSettings, UsageSettings
from usage.topic import ensure_usage_topic


async def usage_topic(kafka: KafkaSettings, usage: UsageSettings) -> None:
    """Make it on one broker."""
    assert kafka.bootstrap is not None
    await ensure_usage_topic(
        kafka.bootstrap,
        prefix=kafka.topic_prefix,
        partitions=usage.partitions,
        replication_factor=1,
        retention_days=usage.retention_days,
        request_timeout_ms=kafka.request_timeout_ms,
    )
