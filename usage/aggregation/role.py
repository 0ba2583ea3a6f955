"""The role `metering`: an aggregator with what it needs, and the upkeep of what it keeps."""

import asyncio
import contextlib

from aiokafka import AIOKafkaProducer

from infra.database import Connection, Role, open_pool
from infra.kafka.dead_letters import DeadLetters
from infra.kafka.probe import KafkaProbe
from infra.kafka.topics import ensure_topics
from infra.settings import Settings
from infra.telemetry import PartHealth, timed_part
from usage.aggregation.meters import MeterSource
from usage.aggregation.upkeep import Upkeep
from usage.aggregation.worker import ROLE, Aggregator
from usage.topic import ensure_usage_topic
from usage.wire import topic_of


class Metering:
    """The role: an aggregator with what it needs."""

    def __init__(self, settings: Settings, *, dsn: str, bootstrap: str, meters: MeterSource) -> None:
        self._settings = settings
        self._dsn = dsn
        self._bootstrap = bootstrap
        self._meters = meters
        self._aggregator: Aggregator | None = None
        topic = topic_of(settings.kafka.topic_prefix)
        self._kafka = KafkaProbe(bootstrap, [topic], timeout_ms=settings.telemetry.health_timeout_ms)

    async def run(self) -> None:
        """Count until cancelled; a poll under way is then committed, or dropped whole."""
        settings = self._settings
        kafka = settings.kafka
        await ensure_topics(  # of which it needs the dead letters'
            self._bootstrap,
            prefix=kafka.topic_prefix,
            partitions=kafka.partitions,
            replication_factor=kafka.replication_factor,
            request_timeout_ms=kafka.request_timeout_ms,
        )
        await ensure_usage_topic(
            self._bootstrap,
            prefix=settings.kafka.topic_prefix,
            partitions=settings.usage.partitions,
            replication_factor=settings.kafka.replication_factor,
            retention_days=settings.usage.retention_days,
            request_timeout_ms=settings.kafka.request_timeout_ms,
        )
        pool = await open_pool(self._dsn, Role.METERING, settings.database)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", request_timeout_ms=settings.kafka.request_timeout_ms
        )
        await producer.start()
        try:
            dead_letters = DeadLetters(pool, producer, topic_prefix=settings.kafka.topic_prefix)
            self._aggregator = Aggregator(
                settings,
                dsn=self._dsn,
                bootstrap=self._bootstrap,
                meters=self._meters,
                dead_letters=dead_letters,
            )
            upkeep = asyncio.create_task(
                Upkeep(settings, pool, bootstrap=self._bootstrap).run(), name="upkeep of usage"
            )
            try:
                await self._aggregator.run()
            finally:
                upkeep.cancel()
                await asyncio.gather(upkeep, return_exceptions=True)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), timeout=settings.kafka.session_timeout_ms / 1000)
            pool.terminate()

    async def health(self, connection: "Connection | None") -> tuple[PartHealth, ...]:
        """Kafka, and the aggregator."""
        kafka = await timed_part("kafka", self._kafka.check)
        if self._aggregator is None:
            return kafka, PartHealth(name=ROLE, ok=False, detail="starting")
        return kafka, self._aggregator.health()
